"""Looking into a recorded file from outside of the recorder, and running programs that record."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.tools.patience import PATIENCE_S

__all__ = [
    "TABLES",
    "assert_sound",
    "count",
    "environment",
    "rows",
    "run_program",
    "start_program",
    "wrong_totals",
]

ROOT = Path(__file__).parents[2]
TABLES = ("runs", "llm_calls", "steps", "spans", "scores", "events")

_TOTALS = """
SELECT r.session_id, count(*), sum(r.status = 'running'),
  sum(r.status IN ('error', 'blocked', 'interrupted')), sum(t.llm_calls), sum(t.tokens_in),
  sum(t.tokens_out), sum(t.total_tokens), sum(t.priced_tokens), min(r.started_at),
  max(r.started_at), sum(t.unmetered_calls)
FROM runs r JOIN run_totals t USING (run_id) WHERE r.session_id IS NOT NULL
GROUP BY r.session_id
"""
_KEPT = """
SELECT session_id, run_count, open_runs, failed_runs, llm_calls, tokens_in, tokens_out,
  total_tokens, priced_tokens, first_run_at, last_run_at, unmetered_calls
FROM sessions
"""


_LACKING = """
SELECT run_id, position, k.value FROM llm_calls JOIN json_each(message_keys) k
WHERE k.value NOT IN (SELECT key FROM contents)
"""


def rows(path: Path, sql: str, parameters: tuple[object, ...] = ()) -> list[Any]:
    """Return all rows of a query; a query of one column gives a list of its values."""
    with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as conn:
        found = conn.execute(sql, parameters).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


def count(path: Path, table: str) -> int:
    """Return the number of rows in a table."""
    return int(rows(path, f"SELECT count(*) FROM {table}")[0])


def wrong_totals(path: Path) -> list[Any]:
    """Return the sessions whose kept totals differ from those of a GROUP BY."""
    return rows(path, f"SELECT * FROM ({_TOTALS} EXCEPT {_KEPT})") + rows(
        path, f"SELECT * FROM ({_KEPT} EXCEPT {_TOTALS})"
    )


def assert_sound(path: Path) -> None:
    """Assert that SQLite finds no damage, totals are right, and calls have all their messages."""
    assert rows(path, "PRAGMA integrity_check") == ["ok"]
    assert wrong_totals(path) == []
    assert rows(path, _LACKING) == []


def environment(path: Path, **more: str) -> dict[str, str]:
    """Return the environment of a program that records into the file.

    It is patient: on a busy machine a file that others record into, too, may be locked for longer
    than a program waits otherwise, and what it then does is not what its test is about.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WAX")}
    python_path = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    settings = {"WAXLOCAL_DB": str(path), "WAXLOCAL_WAIT": "60"}
    return {**plain, "PYTHONPATH": python_path, **settings, **more}


def run_program(
    path: Path,
    code: str,
    *arguments: str,
    before: tuple[str, ...] = (),
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end in a process that records into the file.

    `before` is what the command begins with, as `tests.tools.rights` gives it.
    """
    return subprocess.run(
        [*before, sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=environment(path, **env),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def start_program(path: Path, code: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start Python code in a process that records into the file; its output is piped."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=environment(path, **env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
