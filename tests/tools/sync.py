"""Records runs and uploads them, in this process, with little patience."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from tests.tools.patience import PATIENCE_S
from waxlocal import WaxellContext
from waxlocal.records import RECORD_TABLES
from waxlocal.settings.secret import Secret
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.circuit import Pace
from waxlocal_daemon.log import Log
from waxlocal_daemon.uploader import Progress, Uploader

__all__ = [
    "PATIENT",
    "QUICK",
    "ask",
    "change",
    "contents_of",
    "copy_whole",
    "record",
    "settings_for",
    "upload",
    "uploading",
]

_TABLES = ("runs", *(table.name for table in RECORD_TABLES))
# What says where a row lies in its file, not what it is.
_OF_THE_FILE = ("id",)
# A hundredth of the usual waits.
QUICK = Pace(unit=0.01, paused=0.05)
_OF_UPLOADER = ("clock", "random", "at", "on_progress")
# For a server in this process, which answers late where the machine is busy.
PATIENT = {"read_timeout": PATIENCE_S, "request_timeout": PATIENCE_S}


def record(count: int, *, session: str = "sess_1", **inputs: Any) -> list[str]:
    """Record runs with one call, one step and one score each; return their ids."""
    run_ids = []
    for number in range(count):
        with WaxellContext(
            "chatbot", session_id=session, user_id="user_alice", inputs={"n": number, **inputs}
        ) as run:
            run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.001)
            run.record_step("think", {"n": number})
            run.record_score("quality", 0.5)
            run.set_result({"n": number})
            run_ids.append(run.run_id)
    return run_ids


def settings_for(url: str, **more: Any) -> UploadSettings:
    """Return settings for a server of a test; without batches, unless said otherwise."""
    given = {"bulk": False, "connect_timeout": 1.0, "read_timeout": 1.0, "request_timeout": 2.0}
    return UploadSettings(url, Secret("wax_sk_test"))._replace(**(given | more))


@contextmanager
def uploading(
    path: Path, url: str, *, log: StringIO | None = None, pace: Pace = QUICK, **more: Any
) -> Iterator[Uploader]:
    """Open an uploader for the block; more goes to it, or to its settings."""
    of_uploader = {name: more.pop(name) for name in _OF_UPLOADER if name in more}
    uploader = Uploader(
        path,
        settings_for(url, **more),
        log=Log(StringIO() if log is None else log),
        pace=pace,
        **of_uploader,
    )
    try:
        yield uploader
    finally:
        uploader.close()


def upload(
    path: Path, url: str, *, until: Callable[[], bool] | None = None, **more: Any
) -> Progress:
    """Upload until nothing is pending (or `until` says so); return what it came to."""
    with uploading(path, url, **more) as uploader:
        stop = threading.Event()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            rest = uploader.run(stop)
            if until() if until else not uploader.progress().pending:
                return uploader.progress()
            time.sleep(min(rest, 0.1))
        raise AssertionError(f"still pending: {uploader.progress()}, {uploader.reason}")


def ask(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


def change(path: Path, sql: str, *values: object) -> None:
    """Change the file behind everybody's back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql, values)
        connection.commit()


def copy_whole(path: Path, to: Path) -> None:
    """Put a copy of a file in a place, as a backup or as its restoration, without any log."""
    for end in ("", "-wal", "-shm"):
        Path(f"{to}{end}").unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source:
        source.execute("VACUUM INTO ?", (str(to),))


def contents_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of a file but for where they lie in it, and the totals of its sessions."""
    found = {}
    for table in _TABLES:
        names = ", ".join(
            name
            for (name,) in ask(path, f"SELECT name FROM pragma_table_xinfo('{table}')")
            if name not in _OF_THE_FILE
        )
        found[table] = ask(path, f"SELECT {names} FROM {table} ORDER BY 1, 2")
    found["sessions"] = ask(
        path,
        "SELECT run_count, open_runs, failed_runs, llm_calls, round(total_cost, 9) FROM sessions",
    )
    return found
