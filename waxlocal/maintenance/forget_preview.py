"""What would be deleted: how much, in which sessions, and what of it is elsewhere already."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from waxlocal.encode import text
from waxlocal.maintenance.chosen_runs import Choice, ChosenRun, chosen_runs
from waxlocal.maintenance.side_files import waiting
from waxlocal.queries.turns import TURN
from waxlocal.records import RECORD_TABLES, RUNS, Table
from waxlocal.storage.forgotten import Forgotten
from waxlocal.storage.paths import real_path

__all__ = ["Preview", "Uploads", "files_beside", "preview"]

# Runs that one question is about.
_AT_ONCE = 1_000
_THESE = "(SELECT value FROM json_each(:ids))"
_RECORDS = "{table.name} t JOIN runs r ON r.run_id = t.run_id WHERE r.id IN " + _THESE
_TURNS = f"SELECT count(*) FROM runs r WHERE r.id IN {_THESE} AND {TURN}"  # noqa: S608
_MESSAGES = f"""
SELECT coalesce(sum(CASE
  WHEN c.messages IS NULL AND json_valid(c.message_keys) THEN json_array_length(c.message_keys)
  WHEN json_valid(c.messages) THEN json_array_length(c.messages) END), 0)
FROM llm_calls c JOIN runs r ON r.run_id = c.run_id WHERE r.id IN {_THESE}
"""  # noqa: S608
# A run that no upload has looked at yet waits, too.
_UPLOADS = f"""
SELECT t.url, count(*) FILTER (WHERE d.state = 'delivered' OR d.remote_run_id IS NOT NULL),
  count(*) FILTER (WHERE d.state <> 'delivered' OR d.state IS NULL)
FROM targets t JOIN runs r ON r.id IN {_THESE}
LEFT JOIN deliveries d ON d.run_id = r.run_id AND d.target_id = t.target_id
GROUP BY t.target_id ORDER BY t.target_id
"""  # noqa: S608
_RUNS_OF_SESSION = "SELECT count(*) FROM runs WHERE session_id = ?"


@dataclass
class Uploads:
    """Runs that a server has in whole or in part, and runs of which something waits for it."""

    url: str
    uploaded: int = 0
    waiting: int = 0


@dataclass
class Preview:
    """What a choice comes to.

    `runs` would be deleted, `open_runs` stay, for their programs still record into them. Of the
    `sessions` that lose runs, `whole_sessions` vanish. `records`: rows by table; `messages`: those
    of the calls; `bytes`: of all values, but for messages that several calls share. `unfinished`:
    an earlier deletion was stopped before the end; `known`: the same was deleted before.
    `side_files` hold what is not in the file yet, and `copies` are files that an earlier recovery
    has kept: nothing is deleted there.
    """

    runs: int = 0
    open_runs: int = 0
    sessions: int = 0
    whole_sessions: int = 0
    turns: int = 0
    messages: int = 0
    bytes: int = 0
    records: dict[str, int] = field(default_factory=dict)
    uploads: list[Uploads] = field(default_factory=list)
    unfinished: bool = False
    known: bool = False
    side_files: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)

    def is_nothing_to_do(self, *, compact: bool = False) -> bool:
        """Return whether the file has no such run, and no bytes of them are left to remove."""
        has_rest = self.known and (self.unfinished or compact)
        return not (self.runs or self.open_runs or has_rest)


def preview(connection: sqlite3.Connection, choice: Choice) -> Preview:
    """Return what would be deleted; takes a look at all runs for a user."""
    chosen = chosen_runs(connection, choice)
    going = [run for run in chosen if not run.is_open]
    forgotten = Forgotten(connection)
    found = Preview(
        runs=len(going),
        open_runs=len(chosen) - len(going),
        records={table.name: 0 for table in RECORD_TABLES},
        unfinished=forgotten.is_unfinished,
        known=forgotten.has(choice.tombstone, text(choice.name)),
    )
    _count_sessions(connection, going, found)
    for ids in _pieces(going):
        _count(connection, ids, found)
    return found


def files_beside(path: Path, found: Preview) -> Preview:
    """Add to a preview the files beside that hold recordings, too."""
    found.side_files = [str(side.path) for side in waiting(path)]
    real = real_path(path)
    kept = real.parent.glob(f"{real.name}.damaged-*")
    found.copies = sorted(str(one) for one in kept)
    return found


def _pieces(runs: Sequence[ChosenRun]) -> Iterator[str]:
    for start in range(0, len(runs), _AT_ONCE):
        yield json.dumps([run.id for run in runs[start : start + _AT_ONCE]])


def _count_sessions(
    connection: sqlite3.Connection, runs: Sequence[ChosenRun], found: Preview
) -> None:
    counts: dict[str, int] = {}
    for run in runs:
        if run.session_id is not None:
            counts[run.session_id] = counts.get(run.session_id, 0) + 1
    found.sessions = len(counts)
    for session_id, count in counts.items():
        (all_runs,) = connection.execute(_RUNS_OF_SESSION, (session_id,)).fetchone()
        found.whole_sessions += all_runs <= count


def _count(connection: sqlite3.Connection, ids: str, found: Preview) -> None:
    given = {"ids": ids}
    found.turns += connection.execute(_TURNS, given).fetchone()[0]
    found.messages += connection.execute(_MESSAGES, given).fetchone()[0]
    for table in RECORD_TABLES:
        of_table = _RECORDS.format(table=table)
        sql = f"SELECT count(*), {_size(table)} FROM {of_table}"  # noqa: S608
        count, size = connection.execute(sql, given).fetchone()
        found.records[table.name] += count
        found.bytes += size
    sql = f"SELECT {_size(RUNS)} FROM runs t WHERE t.id IN {_THESE}"  # noqa: S608
    found.bytes += connection.execute(sql, given).fetchone()[0]
    _count_uploads(connection, given, found)


def _count_uploads(connection: sqlite3.Connection, given: dict[str, str], found: Preview) -> None:
    known = {one.url: one for one in found.uploads}
    for url, uploaded, left in connection.execute(_UPLOADS, given).fetchall():
        server = known.setdefault(url, Uploads(url))
        server.uploaded += uploaded
        server.waiting += left
    found.uploads = list(known.values())


def _size(table: Table) -> str:
    """Return SQL for the bytes of the values in all columns of a table `t`."""
    sizes = (f"coalesce(length(CAST(t.{name} AS BLOB)), 0)" for name in table.names)
    return f"coalesce(sum({' + '.join(sizes)}), 0)"
