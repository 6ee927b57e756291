"""Session filters, orderings and paging as SQL with bound values."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Any, Protocol

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.decode import loads
from waxlocal.encode import text
from waxlocal.errors import InvalidQuery
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.sums import APART, are_usable
from waxlocal.queries.times import parse_period
from waxlocal.queries.turns import TURN, TurnColumns, turn_columns
from waxlocal.records import LARGEST_INTEGER, RUN_STATUSES, RunStatus

__all__ = [
    "EVERYTHING",
    "JSON_OBJECT",
    "MAX_LIMIT",
    "MAX_OFFSET",
    "ORDERINGS",
    "PAIR_VALUE",
    "SessionFilter",
    "as_recorded",
    "check_ordering",
    "check_status",
    "checked_page",
    "order_by",
    "run_conditions",
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


def check_status(status: str | None) -> None:
    """Raise `InvalidQuery` for an unknown status."""
    if status and status not in RUN_STATUSES:
        raise InvalidQuery(
            f"unknown status {status!r}", hint=f"use one of: {', '.join(RUN_STATUSES)}"
        )


@dataclass(frozen=True)
class SessionFilter:
    """A filter on sessions: a session matches if it meets every condition that is set.

    `user_id`, `agent`, `tag`, `metadata` and `search` match if one of the session's runs does, the
    status `blocked` or `cancelled` if one of its turns does. `tag` and `metadata` are `key` or
    `key=value`; numbers, `true`, `false` and `null` match by their JSON text. `search` is text that
    occurs in a value of the inputs or the result, ignoring case. `since` and `until` limit the last
    activity, both inclusive, in any form that `parse_time` accepts. Raises `InvalidQuery`.
    """

    user_id: str | None = None
    agent: str | None = None
    tag: str | None = None
    metadata: str | None = None
    status: str | None = None
    since: str | None = None
    until: str | None = None
    search: str | None = None
    clock: InitVar[Clock] = SYSTEM_CLOCK

    def __post_init__(self, clock: Clock) -> None:
        check_status(self.status)
        # The class is frozen. Resolve "24 hours ago" once, so that all queries use the same time.
        since, until = parse_period(self.since, self.until, clock=clock)
        object.__setattr__(self, "since", since)
        object.__setattr__(self, "until", until)


EVERYTHING = SessionFilter()

_ANY_RUN = "EXISTS (SELECT 1 FROM runs r WHERE r.session_id = s.session_id AND {})"
# `agents` is a JSON array; the first half of the test is cheap and drops most rows.
_AGENT = """instr(s.agents, json_quote(:agent))
  AND EXISTS (SELECT 1 FROM json_each(s.agents) WHERE value = :agent)"""
# The first half is for the index: the stored time may be up to a second before the exact one.
_SINCE = "s.last_activity_at >= substr(:since, 1, 19) AND {} >= :since"
_UNTIL = "s.last_activity_at <= :until AND {} <= :until"
# As with agents: first a cheap test whether the key, and text as a value, occur in the text at all.
# The encoder stores non-ASCII text unescaped, so both must be quoted the same way here. Another
# program may write escapes, which begin with a backslash: that text is read.
_PAIR = """(instr(r.{column}, char(92)) OR instr(r.{column}, :{column}_quoted){occurs})
  AND EXISTS (SELECT 1 FROM json_each({json}) AS pair WHERE pair.key = :{column}_key{value})"""
# Another program may have written no JSON.
JSON_OBJECT = "iif(json_valid({column}), {column}, '{{}}')"
# Of a row `pair` of json_each.
PAIR_VALUE = """CASE
  WHEN pair.type IN ('true', 'false', 'null') THEN pair.type ELSE CAST(pair.value AS TEXT) END"""
_VALUE = f" AND :{{column}}_value = {PAIR_VALUE}"
# The sums have a session's pairs, a line each.
_TAGGED = f"""iif(s.session_id IN {APART}, {{any_run}}, EXISTS (SELECT 1 FROM session_tags t
  WHERE t.session_id = s.session_id AND instr(t.tags, {{pair}})))"""  # noqa: S608
_WITH_VALUE = "char(10) || hex(:tags_key) || '=' || hex(:tags_value) || char(10)"
_WITH_ANY_VALUE = "char(10) || hex(:tags_key) || '='"
# A value that JSON can only hold as this text, and hardly any program writes with escapes.
_PLAIN_TEXT = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][\w .:@-]*", re.ASCII)
_OCCURS = " AND instr(r.{column}, :{column}_text)"
_SEARCH = "(waxlocal_says(r.inputs, :search) OR waxlocal_says(r.result, :search))"
_OPEN = """s.open_runs > 0 AND EXISTS (SELECT 1 FROM runs r WHERE r.session_id = s.session_id
  AND r.status = 'running'
  AND (r.process_id IS NULL OR r.process_id NOT IN (SELECT value FROM json_each(:gone))))"""
_ANY_TURN = _ANY_RUN.format(f"{{}} AND {TURN}")
# Where no run is open, those that are stored so are of processes that have ended.
_INTERRUPTED = "(s.open_runs > 0 OR s.failed_runs > 0) AND " + _ANY_TURN.format(
    "(r.status = 'interrupted' OR r.status = 'running')"
)
_BY_STATUS = {
    RunStatus.RUNNING: _OPEN,
    RunStatus.INTERRUPTED: f"({_INTERRUPTED}) AND NOT ({_OPEN})",
    RunStatus.ERROR: f"{{failed}} > 0 AND NOT ({_INTERRUPTED}) AND NOT ({_OPEN})",
    RunStatus.SUCCESS: f"(s.open_runs = 0 AND s.failed_runs = 0)"
    f" OR ({{failed}} = 0 AND NOT ({_INTERRUPTED}) AND NOT ({_OPEN}))",
    RunStatus.BLOCKED: "s.failed_runs > 0 AND " + _ANY_TURN.format("r.status = 'blocked'"),
    RunStatus.CANCELLED: _ANY_TURN.format("r.status = 'cancelled'"),
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
    if filter.user_id:
        values["user_id"] = filter.user_id
        by_runs = _ANY_RUN.format("r.user_id = :user_id")
        conditions.append(_of_user(conn, filter.user_id) if turns.are_counted else by_runs)
    conditions += _on_runs(conn, filter, values)
    if filter.status:
        values["gone"] = json.dumps(gone.of_open_runs())
        conditions.append(_BY_STATUS[filter.status].format(failed=turns.failed))
    clause = " AND ".join(f"({condition})" for condition in conditions)
    return f"WHERE {clause}" if clause else "", as_recorded(values)


def _on_runs(
    conn: sqlite3.Connection, filter: SessionFilter, values: dict[str, object]
) -> Iterator[str]:
    for name, condition in run_conditions(conn, filter, values).items():
        any_run = _ANY_RUN.format(condition)
        if name == "tags" and are_usable(conn):
            pair = _WITH_VALUE if "tags_value" in values else _WITH_ANY_VALUE
            any_run = _TAGGED.format(pair=pair, any_run=any_run)
        yield any_run


def as_recorded(values: Mapping[str, object]) -> dict[str, object]:
    """Return values to bind, texts as they are stored: those of a command line may be no UTF-8."""
    return {name: text(one) if isinstance(one, str) else one for name, one in values.items()}


class _Texts(Protocol):
    @property
    def tag(self) -> str | None: ...
    @property
    def metadata(self) -> str | None: ...
    @property
    def search(self) -> str | None: ...


def run_conditions(
    conn: sqlite3.Connection, filter: _Texts, values: dict[str, object]
) -> dict[str, str]:
    """Return the conditions on a run `r` that are about its texts, by name; adds their values."""
    conditions = {
        column: _pair_condition(column, pair, values)
        for column, pair in (("tags", filter.tag), ("metadata", filter.metadata))
        if pair
    }
    if filter.search:
        # SQLite itself folds the case of ASCII letters only.
        conn.create_function("waxlocal_says", 2, _says, deterministic=True)
        values["search"] = filter.search.casefold()
        conditions["search"] = _SEARCH
    return conditions


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


def _pair_condition(column: str, pair: str, values: dict[str, object]) -> str:
    key, equals, value = pair.partition("=")
    values[f"{column}_key"] = key
    values[f"{column}_quoted"] = json.dumps(key, ensure_ascii=False)
    stored = JSON_OBJECT.format(column=f"r.{column}")
    if not equals:
        return _PAIR.format(column=column, occurs="", value="", json=stored)
    values[f"{column}_value"] = value
    occurs = ""
    if _PLAIN_TEXT.fullmatch(value):
        values[f"{column}_text"] = json.dumps(value, ensure_ascii=False)
        occurs = _OCCURS.format(column=column)
    is_value = _VALUE.format(column=column)
    return _PAIR.format(column=column, occurs=occurs, value=is_value, json=stored)


def _says(stored: str | None, wanted: str) -> bool:
    """Return whether a value in stored JSON contains the (already casefolded) text."""
    if stored is None:
        return False
    # Decoding is slow. Raw JSON differs from its values only by escapes, which contain a backslash.
    if "\\" not in stored and wanted not in stored.casefold():
        return False
    try:
        return any(wanted in text.casefold() for text in _texts(loads(stored)))
    except ValueError:
        return wanted in stored.casefold()


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, str):
            yield one
        elif one is not None:
            yield json.dumps(one)


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
    unknown_last = f"{turns.cost} IS NULL, " if column == "total_cost" else ""
    by = {"turn_count": turns.count, "total_duration": turns.duration, "total_cost": turns.cost}
    value = by.get(column, f"s.{column}")
    return f"ORDER BY {unknown_last}{value} {direction}, s.session_id {direction}"


def checked_page(limit: int, offset: int = 0) -> dict[str, object]:
    """Return limit and offset as values to bind; raises `InvalidQuery` when out of range."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidQuery(f"limit {limit} is out of range", hint=f"use 1 to {MAX_LIMIT}")
    if not 0 <= offset <= MAX_OFFSET:
        raise InvalidQuery(f"offset {offset} is out of range", hint=f"use 0 to {MAX_OFFSET:,}")
    return {"limit": limit, "offset": offset}
