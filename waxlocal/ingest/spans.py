"""Spans that arrive: each completes a call or a step, or becomes a row of `spans`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.ingest import calls as llm
from waxlocal.ingest.events import add_event, has_event
from waxlocal.ingest.known_runs import Json, KnownRun
from waxlocal.ingest.lineage import adopt
from waxlocal.ingest.positions import STRIDE
from waxlocal.records import SPANS
from waxlocal.storage.record_sql import NEXT_REVISION, insert
from waxlocal.wire.calls import is_llm_span
from waxlocal.wire.span_kinds import Shape
from waxlocal.wire.spans import is_message, is_of_agent, shape_of
from waxlocal.wire.values import as_content, as_number, as_object, as_text

__all__ = ["add_span", "add_spans"]

# A span with a start before its run, or more than a year after, gets the start of the run.
MAX_OFFSET_MS = 366 * 86_400_000

_DEFAULTS = SPANS.defaults
# A span that a step announced, or that arrives again, is replaced by the newer one.
_KEPT = ("run_id", "position", "name", "kind")
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in SPANS.recorded if name not in _KEPT)
_PUT = insert(SPANS, on_conflict=f"(run_id, position) DO UPDATE SET {_CHANGED}")
_AT = "SELECT name, kind FROM spans WHERE run_id = ? AND position = ?"
_TAKEN_AFTER = "SELECT position FROM spans WHERE run_id = ? AND position BETWEEN ? AND ?"
# A message that a step announced has no attributes; one that arrived as a span has some.
_ANNOUNCED_MESSAGE = """
SELECT position, started_at FROM spans
WHERE run_id = ? AND kind = 'io' AND name = ? AND attributes IS NULL ORDER BY position LIMIT 1
"""
_TAKE = "DELETE FROM spans WHERE run_id = ? AND position = ?"
_STEP_AT = f"""
UPDATE steps SET recorded_at = ?, kind = ?, attributes = ?, revision = {NEXT_REVISION}
WHERE run_id = ? AND position = ? AND step_name = ?
"""  # noqa: S608


def add_spans(
    connection: sqlite3.Connection, run: KnownRun, spans: Iterable[Any], now_ns: int
) -> int:
    """Add spans to a run; return how many were sent."""
    given = [span for span in spans if isinstance(span, dict)]
    calls: llm.LlmSpans | None = None
    last: _Last | None = None
    for span in given:
        if is_of_agent(span):
            continue
        place = run.position_of(span.get("position"))
        if is_llm_span(span):
            calls = calls or llm.LlmSpans(connection, run, now_ns)
            end = _end(run, span, now_ns)
            if calls.join(span, place, end):
                last = _Last(place, end) if place is not None else last
                continue
        last = _add(connection, run, span, last, now_ns)
    adopt(connection, run.run_id, _children(given))
    return len(given)


class _Last(NamedTuple):
    """The previous record of the request: its position and its time."""

    place: int
    at: str


def _children(spans: Iterable[Json]) -> list[str]:
    children = (
        as_object(span.get("attributes")).get("child_run_id") for span in spans if is_of_agent(span)
    )
    return [as_text(child) for child in children if isinstance(child, str) and child]


def _add(
    connection: sqlite3.Connection, run: KnownRun, span: Json, last: _Last | None, now_ns: int
) -> _Last | None:
    """Add a span that does not belong to a call; return it as the previous record of the next."""
    if _is_told_elsewhere(connection, run, span, now_ns):
        return last
    shape, place = shape_of(span), run.position_of(span.get("position"))
    at = _time_of(run, span, shape, last, now_ns)
    if place is not None and _is_step(connection, run, shape, place, at):
        return _Last(place, at)
    inside = run.position_of(span.get("parent_position"))
    after = last and last.place
    if place is None and is_message(shape):
        place, at = _announced(connection, run, shape, at, after)
    place = add_span(connection, run, shape, place, at=at, after=after, inside=inside)
    return _Last(place, at)


def _time_of(run: KnownRun, span: Json, shape: Shape, last: _Last | None, now_ns: int) -> str:
    if is_llm_span(span):
        return _end(run, span, now_ns)
    if is_message(shape):  # the SDK sends no time for messages
        return last.at if last else run.started_at
    # The SDK sends the time of recording, which is the end; our own uploader sends the start.
    is_end = shape.is_end and not run.of_uploader
    return _moment(run, span, now_ns, -(shape.duration_ms or 0) if is_end else 0)


def _announced(
    connection: sqlite3.Connection, run: KnownRun, shape: Shape, at: str, after: int | None
) -> tuple[int | None, str]:
    """Return position and time of the user message that a step announced, if they fit."""
    named = (run.run_id, shape.name)
    for place, arrived_at in connection.execute(_ANNOUNCED_MESSAGE, named).fetchall():
        if after is None or place > after:
            return place, at if run.of_uploader else arrived_at
        connection.execute(_TAKE, (run.run_id, place))
    return None, at


def _is_told_elsewhere(
    connection: sqlite3.Connection, run: KnownRun, span: Json, now_ns: int
) -> bool:
    """Return whether a span repeats an event of the run, or was stored as one now."""
    attributes, name = as_object(span.get("attributes")), as_text(span.get("name"))
    if attributes.get("_phase") == "post_resume":
        data = {"from_run_id": attributes.get("resumed_from_run_id"), "payload": None}
        add_event(connection, run, "resumed", data, now_ns, again=False)
        return True
    if attributes.get("waxell.memory.operation") != "write":
        return False
    tier = as_text(attributes.get("waxell.memory.tier"))
    return has_event(connection, run.run_id, f"memory_{tier}", slot_name=name.partition(":")[2])


def _is_step(
    connection: sqlite3.Connection, run: KnownRun, shape: Shape, place: int, at: str
) -> bool:
    """Complete the step that a span belongs to; return False if it has not arrived yet."""
    attributes = as_content(shape.attributes)
    row = (at, shape.kind, attributes, run.run_id, place, shape.name)
    return connection.execute(_STEP_AT, row).rowcount > 0


def _end(run: KnownRun, span: Json, now_ns: int) -> str:
    """Return when a call ended."""
    lasted_ms = as_number(span.get("duration_ms")) if run.of_uploader else None
    return _moment(run, span, now_ns, lasted_ms or 0)


def _moment(run: KnownRun, span: Json, now_ns: int, further_ms: float) -> str:
    """Return the start of the run plus the span's offset and `further_ms`; now without a start."""
    if run.started_ns is None:
        return utc_text(now_ns)
    offset_ms = as_number(span.get("start_offset_ms"))
    if offset_ms is None:
        offset_ms = (now_ns - run.started_ns) / 1e6
    offset_ms += further_ms
    if not 0 <= offset_ms <= MAX_OFFSET_MS:
        offset_ms = 0.0
    return utc_text(run.started_ns + int(offset_ms * 1e6))


def add_span(
    connection: sqlite3.Connection,
    run: KnownRun,
    shape: Shape,
    place: int | None,
    *,
    at: str,
    after: int | None = None,
    inside: int | None = None,
    announced: bool = False,
) -> int:
    """Add a span at its position, or after the previous record; return its position.

    `announced`: only a step names it, so a span that is there already is better.
    """
    run_id = run.run_id
    if place is not None:
        for name, kind in connection.execute(_AT, (run_id, place)).fetchall():
            if announced:
                return place
            if (name, kind) != (shape.name, shape.kind):
                place = None
            break
    if place is None:
        place = _free_after(connection, run, after)
    row = {
        **_DEFAULTS,
        "run_id": run_id,
        "position": place,
        "parent_position": inside,
        "started_at": at,
        "duration_ms": shape.duration_ms,
        "name": shape.name,
        "kind": shape.kind,
        "status": shape.status,
        "error": shape.error or None,
        "attributes": dumps(shape.attributes) if shape.attributes else None,
        "input": as_content(shape.input),
        "output": as_content(shape.output),
    }
    connection.execute(_PUT, row)
    return place


def _free_after(connection: sqlite3.Connection, run: KnownRun, after: int | None) -> int:
    if after is None or not run.awaits_numbers:
        return run.next_free(connection)
    end = (after // STRIDE + 1) * STRIDE - 1
    taken = {row[0] for row in connection.execute(_TAKEN_AFTER, (run.run_id, after, end))}
    free = after + 1
    while free in taken:
        free += 1
    return free
