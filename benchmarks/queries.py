"""The session queries on a file of a million runs, beside the bare SQL where there is one.

python -m benchmarks.queries [--dir DIR] [--quick]
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from benchmarks.fill import RUNS, filled, warm
from benchmarks.measure import timed
from benchmarks.report import arguments, directory, figure, note, progress, table, title
from waxlocal.maintenance.sums import add_up
from waxlocal.queries import (
    EVERYTHING,
    SessionFilter,
    get_session,
    list_models,
    list_sessions,
    list_users,
    statistics,
)
from waxlocal.storage.connection import COMMAND_CACHE_KIB, reader

ROUNDS = 30
# Sessions and users asked for in turn: the same one again would find its pages warmest.
ASKED = 200

_NEWEST = "SELECT * FROM sessions ORDER BY last_activity_at DESC LIMIT 20"
_BY_USER = """
SELECT s.* FROM session_users u JOIN sessions s USING (session_id) WHERE u.user_id = ?
ORDER BY s.last_activity_at DESC LIMIT 20
"""
_SINCE = """
SELECT * FROM sessions WHERE last_activity_at >= ? ORDER BY last_activity_at DESC LIMIT 20
"""
_TOP = "SELECT session_id FROM sessions ORDER BY {} DESC LIMIT 20"
_RUNS = "SELECT * FROM runs WHERE session_id = ? ORDER BY started_at"
_ALL = """
SELECT run_count, failed_runs, open_runs, total_duration, total_cost, total_tokens, priced_tokens
FROM sessions
"""
_MODELS = """
SELECT model, provider, count(*), sum(tokens_in), sum(tokens_out), sum(cost) FROM llm_calls
GROUP BY model, provider
"""
_USERS = """
SELECT user_id, count(*), sum(run_count), sum(total_tokens), sum(total_cost) FROM sessions
GROUP BY user_id
"""
_SAMPLE = "SELECT session_id FROM sessions WHERE run_count BETWEEN 5 AND 20 LIMIT ? OFFSET 1000"
_BUSIEST = "SELECT user_id FROM sessions GROUP BY user_id ORDER BY count(*) DESC LIMIT ?"
_A_DAY_AGO = """
SELECT strftime('%Y-%m-%dT%H:%M:%SZ', max(last_activity_at), '-1 day') FROM sessions
"""


class Question(NamedTuple):
    """One question, the bare SQL that is its floor, and what it may take, in ms."""

    name: str
    ask: Callable[[], object]
    floor: Callable[[], object]
    bound: float


def _questions(connection: sqlite3.Connection) -> Iterator[Question]:
    sessions = _column(connection, _SAMPLE, ASKED)
    users = _column(connection, _BUSIEST, ASKED)
    (since,) = _column(connection, _A_DAY_AGO)

    def bare(sql: str, *values: object) -> Callable[[], object]:
        return lambda: connection.execute(sql, values).fetchall()

    def each(sql: str, asked: Sequence[str]) -> Callable[[], object]:
        one = cycle(asked)
        return lambda: connection.execute(sql, (next(one),)).fetchall()

    def listed(wanted: SessionFilter) -> Callable[[], object]:
        return lambda: list_sessions(connection, filter=wanted)

    user, session = cycle(users), cycle(sessions)
    yield Question("newest", listed(EVERYTHING), bare(_NEWEST), 3)
    yield Question(
        "by user",
        lambda: list_sessions(connection, filter=SessionFilter(user_id=next(user))),
        each(_BY_USER, users),
        3,
    )
    yield Question(
        "busiest user", listed(SessionFilter(user_id=users[0])), bare(_BY_USER, users[0]), 3
    )
    yield Question("of the last day", listed(SessionFilter(since=since)), bare(_SINCE, since), 3)
    for column in ("total_cost", "total_duration", "total_tokens", "run_count"):
        yield Question(f"by {column}", _ordered(connection, column), bare(_TOP.format(column)), 25)
    yield Question(
        "one session", lambda: get_session(connection, next(session)), each(_RUNS, sessions), 3
    )
    yield Question("statistics", lambda: statistics(connection), bare(_ALL), 100)
    yield Question("models", lambda: list_models(connection), bare(_MODELS), 100)
    yield Question("users", lambda: list_users(connection), bare(_USERS), 100)


def _ordered(connection: sqlite3.Connection, column: str) -> Callable[[], object]:
    return lambda: list_sessions(connection, ordering=f"-{column}")


def _column(connection: sqlite3.Connection, sql: str, *values: object) -> list[str]:
    return [str(row[0]) for row in connection.execute(sql, values).fetchall()]


def _measure(path: Path, rounds: int) -> None:
    with reader(path, cache_kib=COMMAND_CACHE_KIB) as connection:
        asked = list(_questions(connection))
        calls = [(one.name, one.ask) for one in asked]
        calls += [(f"floor: {one.name}", one.floor) for one in asked]
        taken = timed(calls, rounds)
    rows: list[list[str | float]] = []
    for one in asked:
        ours, floor = taken[one.name], taken[f"floor: {one.name}"]
        times = (ours.ms(0.5), ours.ms(0.95), floor.ms(0.5))
        rows.append([one.name, *times, times[0] / times[2]])
    table(("question", "median ms", "p95 ms", "bare SQL ms", "x"), rows)
    print()
    for one in asked:
        figure(one.name, taken[one.name].ms(0.5), one.bound, " ms")


def _measure_cold_connection(path: Path, rounds: int) -> None:
    """As a command does it: each question on a connection of its own."""

    def ask() -> None:
        with reader(path, cache_kib=COMMAND_CACHE_KIB) as connection:
            list_sessions(connection)

    def open_and_close() -> None:
        with reader(path, cache_kib=COMMAND_CACHE_KIB):
            return

    taken = timed([("open, newest", ask), ("open alone", open_and_close)], rounds)
    times = [taken[name].ms(0.5) for name in ("open, newest", "open alone")]
    shown = " ms, of which opening ".join(f"{value:.2f}" for value in times)
    note(f"On a connection of its own, newest: {shown} ms.")


def _contents(path: Path) -> str:
    with reader(path) as connection:
        (sessions, runs) = connection.execute(
            "SELECT count(*), sum(run_count) FROM sessions"
        ).fetchone()
    size = path.stat().st_size / (1 << 20)
    return f"{runs:,} runs, {sessions:,} sessions, {size:,.0f} MB"


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    rounds = ROUNDS // (3 if options.quick else 1)
    with directory(options.dir) as place:
        path = filled(options.dir or place, RUNS // (10 if options.quick else 1))
        progress("adding up what the daemon or the server would have added up")
        add_up(path)
        progress("reading the file once")
        warm(path)
        title(f"Questions to a file of {_contents(path)}; limit 20, {rounds} rounds")
        _measure(path, rounds)
        _measure_cold_connection(path, rounds)


if __name__ == "__main__":
    main()
