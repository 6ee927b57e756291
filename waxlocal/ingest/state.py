"""The conversation state that the original SDK sends, stored as the events that it sums up.

It is cumulative and is part of many requests: events that are in the file already stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from waxlocal.encode import dumps
from waxlocal.ingest.events import add_event, change_event, last_event
from waxlocal.ingest.known_runs import Json, KnownRun
from waxlocal.wire.conversation_state import (
    COUNTERS,
    OTHERS,
    TURNS,
    events_of_state,
    rest_of_state,
)
from waxlocal.wire.values import as_count, as_list, as_object

__all__ = ["keep_state"]

_COUNTS = """
SELECT coalesce(sum(name = 'user_message'), 0), coalesce(sum(name = 'agent_response'), 0)
FROM spans WHERE run_id = ? AND kind = 'io'
"""
_TOOLS = "SELECT DISTINCT name FROM spans WHERE run_id = ? AND kind = 'tool'"
_EVENTS = "SELECT event, count(*) FROM events WHERE run_id = ? GROUP BY event"
_REMOVE = "DELETE FROM events WHERE run_id = ? AND position = ?"


def keep_state(
    connection: sqlite3.Connection, run: KnownRun, state: object, now_ns: int, *, final: bool
) -> None:
    """Store what is new in a state; `final`: no other state comes before the end of the run."""
    given = as_object(state)
    if not given:
        return
    counts = dict(map(tuple, connection.execute(_EVENTS, (run.run_id,)).fetchall()))
    for told in events_of_state(given):
        # Of a list, add the new items; a value that changes replaces its event.
        for data in told.data[counts.get(told.event, 0) if told.is_list else 0 :]:
            if told.is_list:
                add_event(connection, run, told.event, data, now_ns)
            else:
                _replace(connection, run, told.event, data, now_ns)
    _keep_rest(connection, run, given, now_ns, final=final)


def _replace(
    connection: sqlite3.Connection, run: KnownRun, event: str, data: Json, now_ns: int
) -> None:
    """Store the one event of that name, with this data."""
    last = last_event(connection, run.run_id, event)
    if last is None:
        add_event(connection, run, event, data, now_ns)
    elif dumps(last[1]) != dumps(data):
        change_event(connection, run, last[0], data, now_ns)


def _keep_rest(
    connection: sqlite3.Connection, run: KnownRun, state: Json, now_ns: int, *, final: bool
) -> None:
    """Store what no other record of the run holds as the event `conversation_state`."""
    rest = rest_of_state(state)
    counters = {name: state[name] for name in COUNTERS if name in state}
    if any(counters.values()) and not _are_told(connection, run, counters):
        rest |= counters
    if final:
        rest |= dict(_tools_untold(connection, run, state))
    if rest:
        _replace(connection, run, "conversation_state", rest, now_ns)
        return
    last = last_event(connection, run.run_id, "conversation_state") if final else None
    if last is not None and set(last[1]) <= set(COUNTERS):
        # The counts arrived before the messages that explain them.
        connection.execute(_REMOVE, (run.run_id, last[0]))


def _are_told(connection: sqlite3.Connection, run: KnownRun, counters: Json) -> bool:
    """Return whether the counters count exactly the messages of the run."""
    users, agents = connection.execute(_COUNTS, (run.run_id,)).fetchone()
    turns = tuple(as_count(counters.get(name)) for name in TURNS)
    others = any(counters.get(name) for name in OTHERS)
    return turns == (users, users + agents, agents) and not others


def _tools_untold(
    connection: sqlite3.Connection, run: KnownRun, state: Json
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the tools without a span: the SDK's decorator does not send one."""
    known = {row[0] for row in connection.execute(_TOOLS, (run.run_id,)).fetchall()}
    untold = [tool for tool in as_list(state.get("tools_used")) if tool not in known]
    if untold:
        yield "tools_used", untold
