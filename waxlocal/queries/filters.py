"""Session filters, orderings and paging as SQL with bound values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from waxlocal.encode import text
from waxlocal.errors import InvalidQuery
from waxlocal.queries.criteria import Criteria, beginning
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.run_conditions import as_recorded, range_conditions, run_conditions
from waxlocal.queries.sums import APART, are_usable
from waxlocal.queries.turns import TURN, TurnColumns, turn_columns
from waxlocal.records import LARGEST_INTEGER, RunStatus

__all__ = [
    "EVERYTHING",
    "MAX_LIMIT",
    "MAX_OFFSET",
    "ORDERINGS",
    "SessionFilter",
    "check_ordering",
    "checked_page",
    "order_by",
    "where",
]

ORDERINGS = (
    "total_cost",
    "total_duration",
    "total_tokens",
    "turn_count",
    "run_count",
    "first_run_at",
    "last_run_at",
    "last_activity_at",
)
MAX_LIMIT = 1_000
MAX_OFFSET = LARGEST_INTEGER


@dataclass(frozen=True)
class SessionFilter(Criteria):
    """A filter on sessions: a session matches if it meets every condition that is set.

    `user_id`, `agent`, `model`, `tool`, `tag`, `metadata`, `score` and `search` match if one of the
    session's runs does, `error_type` if one of those that failed does, the status `blocked` or
    `cancelled` if one of its turns does. Cost, turns and duration are those of the whole session,
    `since` and `until` are of its last activity. Raises `InvalidQuery`.
    """

    min_turns: float | None = None
    max_turns: float | None = None


EVERYTHING = SessionFilter()

_ANY_RUN = "EXISTS (SELECT 1 FROM runs r WHERE r.session_id = s.session_id AND {})"
# `agents` is a JSON array; the first half of the test is cheap and drops most rows.
_AGENT = """instr(s.agents, json_quote(:agent))
  AND EXISTS (SELECT 1 FROM json_each(s.agents) WHERE value = :agent)"""
# The first half is for the index: the stored time may be up to a second before the exact one.
_SINCE = "s.last_activity_at >= substr(:since, 1, 19) AND {} >= :since"
_UNTIL = "s.last_activity_at <= :until AND {} <= :until"
# The sums have a session's tags, models and ends of turns, a line each; of some of them, its
# beginning is enough.
_NOTED = f"""iif(s.session_id IN {APART}, {{any_run}}, EXISTS (SELECT 1 FROM session_facts t
  WHERE t.session_id = s.session_id AND instr(t.facts, char(10) || {{line}})))"""  # noqa: S608
_TAG_LINE = "hex(:tags_key) || '='"
_MODEL_LINE = "'@' || hex(:model)"
_WHOLE_LINE = " || char(10)"
# There are few scores, and few sessions that have them.
_SCORED = """s.session_id IN (
  SELECT r.session_id FROM runs r WHERE r.session_id IS NOT NULL AND {})"""
_FAILED = "s.failed_runs > 0 AND {}"
_OPEN = """s.open_runs > 0 AND EXISTS (SELECT 1 FROM runs r WHERE r.session_id = s.session_id
  AND r.status = 'running'
  AND (r.process_id IS NULL OR r.process_id NOT IN (SELECT value FROM json_each(:gone))))"""
_ANY_TURN = _ANY_RUN.format(f"{{}} AND {TURN}")
_ENDED = "r.status = '{}'"
# Where no run is open, those that are stored so are of processes that have ended.
_LEFT = "(r.status = 'interrupted' OR r.status = 'running')"
_INTERRUPTED = "((s.open_runs > 0 OR s.failed_runs > 0) AND {interrupted})"
_BY_STATUS = {
    RunStatus.RUNNING: _OPEN,
    RunStatus.INTERRUPTED: f"{_INTERRUPTED} AND NOT ({_OPEN})",
    RunStatus.ERROR: f"{{failed}} > 0 AND NOT {_INTERRUPTED} AND NOT ({_OPEN})",
    RunStatus.SUCCESS: f"(s.open_runs = 0 AND s.failed_runs = 0)"
    f" OR ({{failed}} = 0 AND NOT {_INTERRUPTED} AND NOT ({_OPEN}))",
    RunStatus.BLOCKED: "s.failed_runs > 0 AND {blocked}",
    RunStatus.CANCELLED: "{cancelled}",
}
# The sessions of most users are quickly found and sorted. Of somebody with more than so many, the
# newest are found sooner by going through all sessions in order.
_FREQUENT = 2_000
_OF_USER = "s.session_id IN (SELECT u.session_id FROM session_users u WHERE u.user_id = :user_id)"
_OF_FREQUENT = """EXISTS (SELECT 1 FROM session_users u
  WHERE u.session_id = s.session_id AND u.user_id = :user_id)"""
_IS_FREQUENT = "SELECT 1 FROM session_users WHERE user_id = ? LIMIT 1 OFFSET ?"


def where(
    conn: sqlite3.Connection,
    filter: SessionFilter,
    gone: GoneProcesses,
    *,
    has_part: bool = False,
) -> tuple[str, dict[str, object]]:
    """Return a WHERE clause over `sessions s` (empty for everything) and its values.

    `has_part`: of the sessions that may have runs or calls between `since` and `until`, also those
    that went on afterwards.
    """
    values: dict[str, object] = {}
    turns = turn_columns(conn)
    conditions = list(_plain_conditions(filter, turns, values, has_part))
    amounts = {"cost": turns.cost, "duration": turns.duration, "turns": turns.count}
    conditions += range_conditions(filter, amounts, values)
    if filter.user_id:
        values["user_id"] = filter.user_id
        by_runs = _ANY_RUN.format("r.user_id = :user_id")
        conditions.append(_of_user(conn, filter.user_id) if turns.are_counted else by_runs)
    conditions += _on_runs(conn, filter, values)
    if filter.status:
        values["gone"] = json.dumps(gone.of_open_runs())
        conditions.append(_of_status(conn, filter.status, turns))
    clause = " AND ".join(f"({condition})" for condition in conditions)
    return f"WHERE {clause}" if clause else "", as_recorded(values)


def _on_runs(
    conn: sqlite3.Connection, filter: SessionFilter, values: dict[str, object]
) -> Iterator[str]:
    for name, condition in run_conditions(conn, filter, values).items():
        any_run = _ANY_RUN.format(condition)
        if name == "score":
            yield _SCORED.format(condition)
        elif name == "error_type":
            yield _FAILED.format(any_run)
        elif name in ("tag", "model") and are_usable(conn):
            yield _NOTED.format(line=_line(filter, name), any_run=any_run)
        else:
            yield any_run


def _of_status(conn: sqlite3.Connection, status: str, turns: TurnColumns) -> str:
    noted = are_usable(conn)

    def has_turn(ended: str, condition: str) -> str:
        any_turn = _ANY_TURN.format(condition)
        line = f"'#' || hex('{ended}') || char(10)"
        return _NOTED.format(line=line, any_run=any_turn) if noted else any_turn

    return _BY_STATUS[status].format(
        failed=turns.failed,
        # No session with an open run is in the sums: there, nobody has to ask which ones were left.
        interrupted=has_turn(RunStatus.INTERRUPTED, _LEFT),
        blocked=has_turn(RunStatus.BLOCKED, _ENDED.format(RunStatus.BLOCKED)),
        cancelled=has_turn(RunStatus.CANCELLED, _ENDED.format(RunStatus.CANCELLED)),
    )


def _line(filter: SessionFilter, name: str) -> str:
    """Return the line of `session_facts` that is looked for, or its beginning."""
    if name == "model":
        return _MODEL_LINE + (_WHOLE_LINE if beginning(filter.model or "") is None else "")
    has_value = "=" in (filter.tag or "")
    return _TAG_LINE + (f" || hex(:tags_value){_WHOLE_LINE}" if has_value else "")


def _of_user(conn: sqlite3.Connection, user_id: str) -> str:
    frequent = conn.execute(_IS_FREQUENT, (text(user_id), _FREQUENT)).fetchone()
    return _OF_USER if frequent is None else _OF_FREQUENT


def _plain_conditions(
    filter: SessionFilter, turns: TurnColumns, values: dict[str, object], has_part: bool
) -> Iterator[str]:
    since, until = _SINCE.format(turns.last_activity), _UNTIL.format(turns.last_activity)
    if has_part:
        # An open run may have had calls long after it began.
        since, until = f"({since}) OR s.open_runs > 0", "s.first_run_at <= :until"
    for name, condition in (
        ("agent", _AGENT),
        ("since", since),
        ("until", until),
    ):
        value = getattr(filter, name)
        if value:
            values[name] = value
            yield condition


def check_ordering(ordering: str, known: Sequence[str] = ORDERINGS) -> str:
    """Return the column of an ordering such as `-total_cost`; raises `InvalidQuery`."""
    column = ordering.removeprefix("-")
    if column not in known:
        raise InvalidQuery(
            f"unknown ordering {ordering!r}",
            hint=f"use one of: {', '.join(known)}; put - in front for descending order",
        )
    return column


def order_by(conn: sqlite3.Connection, ordering: str) -> str:
    """Return the ORDER BY clause for an ordering such as `-total_cost`; `-` means largest first.

    Sessions of unknown cost come last in both directions. The id breaks ties, so that pages do not
    overlap. By last activity it is to the second, as the index has it. Raises `InvalidQuery`.
    """
    column = check_ordering(ordering)
    direction = "DESC" if ordering.startswith("-") else "ASC"
    turns = turn_columns(conn)
    unknown_last = " NULLS LAST" if column == "total_cost" else ""
    by = {"turn_count": turns.count, "total_duration": turns.duration, "total_cost": turns.cost}
    value = by.get(column, f"s.{column}")
    return f"ORDER BY {value} {direction}{unknown_last}, s.session_id {direction}"


def checked_page(limit: int, offset: int = 0) -> dict[str, object]:
    """Return limit and offset as values to bind; raises `InvalidQuery` when out of range."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidQuery(f"limit {limit} is out of range", hint=f"use 1 to {MAX_LIMIT}")
    if not 0 <= offset <= MAX_OFFSET:
        raise InvalidQuery(f"offset {offset} is out of range", hint=f"use 0 to {MAX_OFFSET:,}")
    return {"limit": limit, "offset": offset}
