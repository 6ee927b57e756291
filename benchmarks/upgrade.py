"""A file with a million runs is upgraded while programs record into it: how long all of that takes.

python -m benchmarks.upgrade [--dir DIR] [--runs 1000000] [--quick]
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.fill import RUNS, filled, warm
from benchmarks.report import arguments, directory, figure, progress, table, title
from waxlocal.errors import FileLocked
from waxlocal.storage.connection import open_writer
from waxlocal.storage.retry import is_busy, rest
from waxlocal.storage.schema import VERSION, file_version

# The schema as 0.2.0 shipped it.
BEFORE = Path(__file__).parents[1] / "tests" / "data" / "v2.sql"
WRITERS = 4
# How long they record before and after the upgrade.
AROUND_S = 1.0

# The longest statement of a writer in seconds, and how many runs it recorded.
Told = SimpleQueue[tuple[float, int]]

# What a program of 0.2.0 writes, in its own words.
_ADD_RUN = """
INSERT INTO runs (run_id, agent_name, workflow_name, session_id, trace_id, interaction_mode, status,
  started_at)
VALUES (?, 'agent', 'default', ?, ?, 'interactive', 'running', '2026-11-01T00:00:00.000000Z')
"""
_END_RUN = """
UPDATE runs SET status = 'success', completed_at = '2026-11-01T00:00:01.000000Z', duration = 1.0
WHERE run_id = ?
"""


def old_file(source: Path, place: Path) -> Path:
    """Return a file of version 2 in `place`, with the rows of a file of this version."""
    path = (place / "upgraded.db").absolute()
    progress("writing the same rows into a file of version 2")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        tables, triggers = _parts(BEFORE.read_text(encoding="utf-8"))
        connection.executescript(tables)
        connection.execute("ATTACH ? AS source", (str(source),))
        connection.execute("BEGIN")
        for (name,) in connection.execute(
            "SELECT name FROM main.sqlite_schema WHERE type = 'table' ORDER BY rowid"
        ).fetchall():
            columns = ", ".join(_common(connection, name))
            connection.execute(
                f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM source.{name}"
            )
        connection.execute("COMMIT")
        connection.execute("DETACH source")
        connection.executescript(triggers)
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def _parts(script: str) -> tuple[str, str]:
    """Return the script without its triggers, and the triggers, which would slow the copy down."""
    statements, lines = [], []
    for line in script.splitlines():
        lines.append(line)
        if sqlite3.complete_statement("\n".join(lines)):
            statements.append("\n".join(lines))
            lines = []
    triggers = [one for one in statements if "CREATE TRIGGER" in one]
    return "\n".join(one for one in statements if one not in triggers), "\n".join(triggers)


def _common(connection: sqlite3.Connection, name: str) -> Iterable[str]:
    both = [
        {
            row[1]
            for row in connection.execute(f"PRAGMA {schema}.table_xinfo({name})")
            if not row[6]  # not computed from others
        }
        for schema in ("main", "source")
    ]
    return sorted(both[0] & both[1])


def write(path: Path, number: int, stop: Event, taken: Told) -> None:
    """Record as a program that has the old file open; report how long each statement took."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        slowest, count = 0.0, 0
        while not stop.is_set():
            run_id = f"bench-{number}-{count}"
            for sql, values in ((_ADD_RUN, (run_id, f"s{number}", run_id)), (_END_RUN, (run_id,))):
                before = time.perf_counter()
                _patiently(connection, sql, values)
                slowest = max(slowest, time.perf_counter() - before)
            count += 1
    taken.put((slowest, count))


def _patiently(connection: sqlite3.Connection, sql: str, values: tuple[str, ...]) -> None:
    while True:
        try:
            connection.execute(sql, values)
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
        rest()


def measure(path: Path) -> tuple[float, float, int]:
    """Upgrade the file under its writers; return seconds, the longest wait, runs recorded."""
    context = multiprocessing.get_context("spawn")
    stop, taken = context.Event(), context.SimpleQueue()
    writers = [
        context.Process(target=write, args=(path, number, stop, taken)) for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    _wait_for(path, WRITERS)
    time.sleep(AROUND_S)
    before = time.perf_counter()
    while True:
        try:
            open_writer(path).close()
            break
        except FileLocked:
            rest()
    seconds = time.perf_counter() - before
    time.sleep(AROUND_S)
    stop.set()
    told = [taken.get() for _ in writers]
    for writer in writers:
        writer.join()
    return seconds, max(slowest for slowest, _ in told), sum(count for _, count in told)


def _wait_for(path: Path, sessions: int) -> None:
    asked = "SELECT count(*) FROM sessions WHERE session_id IN ('s0', 's1', 's2', 's3')"
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        while connection.execute(asked).fetchone()[0] < sessions:
            time.sleep(0.01)


def main() -> None:
    """Build, upgrade, print."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    title(f"Upgrade from version 2 to {VERSION} while {WRITERS} programs record")
    with directory(options.dir) as place:
        runs = options.runs // (10 if options.quick else 1)
        path = old_file(filled(options.dir or place, runs), place)
        warm(path)
        seconds, waited, recorded = measure(path)
        with closing(sqlite3.connect(path)) as connection:
            version = file_version(connection).version
            (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        table(
            ("runs in the file", "upgrade ms", "longest wait of a writer ms", "recorded meanwhile"),
            [(f"{runs:,}, version {version}", seconds * 1000, waited * 1000, float(recorded))],
        )
        figure("upgrade", seconds, 5.0, "s")
        figure("a writer waits", waited, 1.0, "s")


if __name__ == "__main__":
    main()
