"""List and count sessions, and get one session with its runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from waxlocal.errors import NotFound
from waxlocal.queries.filters import EVERYTHING, SessionFilter, checked_page, order_by, where
from waxlocal.queries.leading_sessions import may_lead
from waxlocal.queries.liveness import GoneProcesses, ShownRuns
from waxlocal.queries.rows import RunSummary, Session, SessionDetail
from waxlocal.queries.run_order import (
    MOST_IN_ORDER,
    PlacedRun,
    runs_by_start,
    runs_in_order,
)
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.summaries import these_runs, unmetered_calls
from waxlocal.queries.texts import message_text, title
from waxlocal.queries.times import microseconds
from waxlocal.queries.turns import Place, turn_columns

__all__ = [
    "count_sessions",
    "get_session",
    "get_turns",
    "list_sessions",
    "session_ids",
    "session_titles",
    "sessions_by_id",
    "some_of_session",
]

# Columns stored under the same name and type as in `Session`.
_AS_STORED = (
    *("session_id", "user_id", "run_count", "llm_calls", "tokens_in", "tokens_out"),
    *("total_tokens", "priced_tokens", "first_run_at", "last_run_at"),
)
# All columns: a file of an earlier version has no `unmetered_calls`.
_SOME = """
SELECT s.*, {turns.count} AS turn_count, {turns.failed} AS failed_turns,
  {turns.duration} AS turn_duration, {turns.last_activity} AS exact_activity,
  {turns.cost} AS known_cost
FROM sessions s WHERE s.session_id IN (SELECT value FROM json_each(?))
"""
# At most so many users of a session are named.
MOST_USERS = 100
_USERS = f"""
SELECT wanted.value, (SELECT json_group_array(user_id) FROM (
  SELECT user_id FROM session_users u WHERE u.session_id = wanted.value LIMIT {MOST_USERS})),
  (SELECT count(*) FROM session_users u WHERE u.session_id = wanted.value)
FROM json_each(?) AS wanted
"""  # noqa: S608
_USERS_OF_RUNS = f"""
SELECT wanted.value, (SELECT json_group_array(user_id) FROM (
  SELECT DISTINCT r.user_id AS user_id FROM runs r
  WHERE r.session_id = wanted.value AND r.user_id IS NOT NULL LIMIT {MOST_USERS})),
  (SELECT count(DISTINCT r.user_id) FROM runs r WHERE r.session_id = wanted.value)
FROM json_each(?) AS wanted
"""  # noqa: S608
# One lookup in runs_by_session per session; the rowid is the index's last column.
_FIRST_INPUTS = """
SELECT wanted.value, (SELECT r.inputs FROM runs r WHERE r.session_id = wanted.value
  ORDER BY r.started_at, r.id LIMIT 1) AS inputs
FROM json_each(?) AS wanted
"""
# Where the first run was given no words: those of the next ones, or of the first prompt of each.
FIRST_RUNS = 10
_FIRST_WORDS = f"""
SELECT wanted.value, r.inputs, (SELECT CAST(c.prompt_preview AS TEXT) FROM llm_calls c
  WHERE c.run_id = r.run_id AND c.prompt_preview <> '' ORDER BY c.position LIMIT 1)
FROM json_each(?) AS wanted CROSS JOIN runs r ON r.id IN (SELECT f.id FROM runs f
  WHERE f.session_id = wanted.value ORDER BY f.started_at, f.id LIMIT {FIRST_RUNS})
ORDER BY r.started_at, r.id
"""  # noqa: S608
# A turn may have called as many sub-agents as it liked.
MOST_SUB_AGENT_RUNS = 1_000


@in_snapshot
def list_sessions(
    conn: sqlite3.Connection,
    *,
    filter: SessionFilter = EVERYTHING,
    ordering: str = "-last_activity_at",
    limit: int = 20,
    offset: int = 0,
    has_part: bool = False,
) -> list[Session]:
    """Return one page of the sessions that match the filter.

    `has_part`: those that `statistics` counts, also if they went on after `until`.
    `limit` is 1 to 1,000. Ordered by cost, sessions of unknown cost come last in both directions.
    Raises `InvalidQuery`.
    """
    gone = GoneProcesses(conn)
    page = checked_page(limit, offset)
    order = order_by(conn, ordering)
    if filter == EVERYTHING:
        condition, values = may_lead(conn, ordering, offset + limit)
    else:
        condition, values = where(conn, filter, gone, has_part=has_part)
    # Select ids first: sorting whole rows would move all of their columns.
    found = conn.execute(
        f"SELECT s.session_id FROM sessions s {condition} {order} LIMIT :limit OFFSET :offset",  # noqa: S608
        values | page,
    ).fetchall()
    return _sessions(conn, [row[0] for row in found], gone)


def session_ids(
    conn: sqlite3.Connection,
    *,
    filter: SessionFilter = EVERYTHING,
    ordering: str = "-last_activity_at",
) -> Iterator[str]:
    """Return the ids of the sessions that match the filter, in order; raises `InvalidQuery`."""
    condition, values = where(conn, filter, GoneProcesses(conn))
    order = order_by(conn, ordering)
    sql = f"SELECT s.session_id FROM sessions s {condition} {order}"  # noqa: S608
    return (row[0] for row in conn.execute(sql, values))


def count_sessions(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> int:
    """Return how many sessions match the filter."""
    condition, values = where(conn, filter, GoneProcesses(conn))
    sql = f"SELECT count(*) FROM sessions s {condition}"  # noqa: S608
    return int(conn.execute(sql, values).fetchone()[0])


@in_snapshot
def get_session(
    conn: sqlite3.Connection, session_id: str, *, limit: int = 1_000, offset: int = 0
) -> SessionDetail:
    """Return a session and its runs in the order of the conversation.

    `limit` is 1 to 1,000 runs; `session.run_count` tells whether there are more. Of more than
    20,000 runs without sub-agents, the order is that of their starts. Raises `NotFound` and
    `InvalidQuery`.
    """
    checked_page(limit, offset)
    return _detail(
        conn, session_id, lambda runs: runs[offset : offset + limit], limit=limit, offset=offset
    )


@in_snapshot
def get_turns(
    conn: sqlite3.Connection, session_id: str, *, limit: int = 50, offset: int = 0
) -> SessionDetail:
    """Return a session and some of its turns, with the runs of their sub-agents, in order.

    `limit` is 1 to 1,000 turns; of the runs of their sub-agents, the first 1,000 are there. Raises
    `NotFound` and `InvalidQuery`.
    """
    checked_page(limit, offset)

    def chosen(runs: Sequence[PlacedRun]) -> list[PlacedRun]:
        shown = [run for run in runs if offset < run.place.turn <= offset + limit]
        nested = [run.id for run in shown if run.place.nested]
        left_out = set(nested[MOST_SUB_AGENT_RUNS:])
        return [run for run in shown if run.id not in left_out]

    return _detail(conn, session_id, chosen, limit=limit, offset=offset)


def _detail(
    conn: sqlite3.Connection,
    session_id: str,
    chosen: Callable[[Sequence[PlacedRun]], Sequence[PlacedRun]],
    *,
    limit: int,
    offset: int,
) -> SessionDetail:
    gone = GoneProcesses(conn)
    sessions = _sessions(conn, [session_id], gone)
    if not sessions:
        raise NotFound(f"no session {session_id!r}")
    if sessions[0].run_count == sessions[0].turn_count > MOST_IN_ORDER:
        placed: Sequence[PlacedRun] = runs_by_start(conn, session_id, limit, offset)
    else:
        placed = chosen(runs_in_order(conn, session_id))
    return SessionDetail(sessions[0], *_read(conn, placed, gone))


def _read(
    conn: sqlite3.Connection, placed: Sequence[PlacedRun], gone: GoneProcesses
) -> tuple[tuple[RunSummary, ...], tuple[Place, ...]]:
    runs = these_runs(conn, [one.id for one in placed], gone)
    places = {one.id: one.place for one in placed}
    return runs, tuple(places[run.id] for run in runs)


@in_snapshot
def some_of_session(
    conn: sqlite3.Connection, session: Session, placed: Sequence[PlacedRun]
) -> SessionDetail:
    """Return these runs of a session; those that were deleted meanwhile are left out."""
    return SessionDetail(session, *_read(conn, placed, GoneProcesses(conn)))


@in_snapshot
def sessions_by_id(conn: sqlite3.Connection, ids: list[str]) -> list[Session]:
    """Return these sessions in this order, without ids that do not exist."""
    return _sessions(conn, ids, GoneProcesses(conn))


def _sessions(conn: sqlite3.Connection, ids: list[str], gone: GoneProcesses) -> list[Session]:
    """Return these sessions in this order, with titles and displayed statuses."""
    wanted = json.dumps(ids)
    turns = turn_columns(conn)
    some = _SOME.format(turns=turns)
    rows = {row["session_id"]: row for row in conn.execute(some, (wanted,)).fetchall()}
    doubtful = [one for one, row in rows.items() if row["open_runs"] or row["failed_runs"]]
    shown = gone.shown_runs(doubtful) if doubtful else {}
    titles = session_titles(conn, ids)
    of_users = _USERS if turns.are_counted else _USERS_OF_RUNS
    users = {
        one: (json.loads(names), count)
        for one, names, count in conn.execute(of_users, (wanted,)).fetchall()
    }
    return [
        _session(rows[one], shown.get(one) or ShownRuns(), titles[one], *users[one])
        for one in ids
        if one in rows
    ]


def session_titles(conn: sqlite3.Connection, ids: Sequence[str]) -> dict[str, str]:
    """Return the first words of each of these sessions."""
    wanted = json.dumps(list(ids))
    first = conn.execute(_FIRST_INPUTS, (wanted,)).fetchall()
    found = {one: title(message_text(inputs)) for one, inputs in first}
    if wordless := [one for one, words in found.items() if not words]:
        for one, inputs, prompt in conn.execute(_FIRST_WORDS, (json.dumps(wordless),)).fetchall():
            found[one] = found[one] or title(message_text(inputs) or message_text(prompt))
    return found


def _session(
    row: sqlite3.Row, shown: ShownRuns, words: str, users: list[str], user_count: int
) -> Session:
    last = row["exact_activity"]
    wall = microseconds(last) - microseconds(row["first_run_at"])
    first = row["user_id"]
    failed_turns = row["failed_turns"] + shown.left_turns
    return Session(
        **{name: row[name] for name in _AS_STORED},
        users=() if first is None else (first, *(one for one in users if one != first)),
        user_count=user_count,
        turn_count=row["turn_count"],
        failed_turns=failed_turns,
        open_runs=row["open_runs"] - shown.left_open,
        failed_runs=row["failed_runs"] + shown.left_open,
        total_duration=row["turn_duration"],
        total_cost=row["known_cost"],
        last_activity_at=last,
        unmetered_calls=unmetered_calls(row),
        agents=tuple(json.loads(row["agents"])),
        wall_duration=wall / 1e6,
        status=shown.of_session(failed_turns),
        title=words,
    )
