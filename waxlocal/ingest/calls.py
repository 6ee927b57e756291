"""LLM calls that arrive, and the spans that complete them.

The SDK sends each call twice: as a call, without its number in the run, its provider or its
duration, and as a span that has them. Either may arrive first. A call that waits for its span is
stored in order of arrival; a span that waits for its call is a row of `spans` of the kind `llm`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.ingest.costs import Costs
from waxlocal.ingest.known_runs import Json, KnownRun
from waxlocal.ingest.positions import is_sent, is_settled
from waxlocal.records import LLM_CALLS, CostSource
from waxlocal.storage.contents import KEYED, expand, put
from waxlocal.storage.record_sql import NEXT_REVISION, insert
from waxlocal.wire.calls import columns_of_call, columns_of_span, is_llm_span

__all__ = ["LlmSpans", "add_calls", "calls_of_spans"]

_ADD = insert(LLM_CALLS, on_conflict="DO NOTHING")
# The columns that a span fills. Not the cost: the triggers would count it a second time.
_NOT_OF_SPANS = ("run_id", "position", "model", "tokens_in", "tokens_out", "cost", "cost_source")
_COMPLETED = [
    column.name
    for column in LLM_CALLS.travelling
    if column.name not in (*_NOT_OF_SPANS, "status", "revision")
]
_SET_COST = "UPDATE llm_calls SET cost = ?, cost_source = ? WHERE run_id = ? AND position = ?"
_CALLS = f"""
SELECT {", ".join(LLM_CALLS.recorded)} FROM llm_calls WHERE run_id = ? ORDER BY position
"""  # noqa: S608
_WAITING = """
SELECT position, started_at, duration_ms, status, attributes, input, output FROM spans
WHERE run_id = ? AND kind = 'llm' ORDER BY position
"""
_TAKE_SPAN = "DELETE FROM spans WHERE run_id = ? AND position = ?"


class _WaitingSpan(NamedTuple):
    position: int
    row: Json  # of `llm_calls`, made from the span alone


# A call and its span agree in these columns. Calls that agree are matched in order.
_Key = tuple[str, int, int]


def add_calls(
    connection: sqlite3.Connection, run: KnownRun, calls: Iterable[Any], now_ns: int
) -> int:
    """Add calls to a run, each completed by the span that waits for it; return how many."""
    waiting = _by_key(_waiting(connection, run))
    costs = Costs(connection, now_ns)
    first = run.next_free(connection)
    count = 0
    for free, call in enumerate(filter(_is_object, calls), first):
        row = _row_of_call(run, call, now_ns)
        spans = waiting.get(_key(row))
        if spans:
            span = spans.popleft()
            connection.execute(_TAKE_SPAN, (run.run_id, span.position))
            row = _joined(row, span.row) | {"position": span.position}
        else:
            own = run.position_of(call.get("position"))
            row["position"] = free if own is None else own
        _add(connection, costs, row)
        count += 1
    return count


def _add(connection: sqlite3.Connection, costs: Costs, row: Json) -> None:
    (stored,) = put(connection, LLM_CALLS, [row | _cost(costs, row, row["cost"])])
    connection.execute(_ADD, stored)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _row_of_call(run: KnownRun, call: Json, now_ns: int) -> Json:
    """Return the row of a call with its cost, still without a position."""
    return {"run_id": run.run_id, "recorded_at": utc_text(now_ns), **columns_of_call(call)}


def _cost(costs: Costs, row: Json, given: float | None) -> Json:
    """Return the cost columns of a call that was sent with this cost."""
    cost = costs.of(row, given)
    return {"cost": cost.cost, "cost_source": cost.source}


# -- spans ----------------------------------------------------------------------------------------


def _row_of_span(run: KnownRun, ended_at: str, span: Json) -> Json:
    """Return the row of a call, made from its span."""
    return {"run_id": run.run_id, "recorded_at": ended_at, **columns_of_span(span)}


def _joined(call: Json, span: Json) -> Json:
    """Return the row of a call, completed by its span."""
    row = dict(call)
    for name in _COMPLETED:
        row[name] = row[name] or span[name]
    row["recorded_at"] = span["recorded_at"]
    if call["details"] and span["details"]:
        row["details"] = dumps(json.loads(call["details"]) | json.loads(span["details"]))
    return row


def _key(row: Json) -> _Key:
    return row["model"], row["tokens_in"], row["tokens_out"]


def _by_key(spans: Iterable[_WaitingSpan]) -> dict[_Key, deque[_WaitingSpan]]:
    found: dict[_Key, deque[_WaitingSpan]] = {}
    for span in spans:
        found.setdefault(_key(span.row), deque()).append(span)
    return found


def _waiting(connection: sqlite3.Connection, run: KnownRun) -> list[_WaitingSpan]:
    rows = connection.execute(_WAITING, (run.run_id,)).fetchall()
    spans = []
    for position, at, duration_ms, status, *texts in rows:
        attributes, asked, answered = (json.loads(text) if text else {} for text in texts)
        span = {
            "kind": "llm",
            "duration_ms": duration_ms,
            "status": status,
            "attributes": attributes,
            "input_data": asked,
            "output_data": answered,
        }
        if is_llm_span(span):
            spans.append(_WaitingSpan(position, _row_of_span(run, at, span)))
    return spans


class LlmSpans:
    """The calls of a run that still lack their span, while a request with spans is read."""

    def __init__(self, connection: sqlite3.Connection, run: KnownRun, now_ns: int) -> None:
        self._connection = connection
        self._run = run
        self._costs = Costs(connection, now_ns)
        self._at: dict[int, Json] = {}
        self._unsettled: dict[_Key, deque[Json]] = {}
        rows = connection.execute(_CALLS, (run.run_id,)).fetchall()
        calls = [dict(zip(LLM_CALLS.recorded, row, strict=True)) for row in rows]
        expand(connection, calls)
        for call in calls:
            self._at[call["position"]] = call
            if self._is_waiting(call):
                self._unsettled.setdefault(_key(call), deque()).append(call)
        # Another server knows the call by its position, so it must stay there.
        self._is_sent = is_sent(connection, run.run_id)

    def _is_waiting(self, call: Json) -> bool:
        if self._run.awaits_numbers:
            return not is_settled(call["position"])
        # After the end of a run, positions no longer help; columns that only a span fills do.
        return not call["provider"] and call["duration_ms"] is None

    def join(self, span: Json, place: int | None, ended_at: str) -> bool:
        """Complete the call that a span belongs to; return False if it has not arrived yet."""
        said = _row_of_span(self._run, ended_at, span)
        call = self._call_of(said, place)
        if call is None:
            return False
        old = new = call["position"]
        if place is not None and place not in self._at and not self._is_sent:
            new = place
        self._complete(call, _joined(call, said) | {"position": new})
        self._at[new] = self._at.pop(old)
        self._price_anew(call, said)
        return True

    def _complete(self, call: Json, joined: Json) -> None:
        """Store what a call and its span together say, as far as the call alone did not say it.

        Each column that is named here has its triggers run, whether it changes or not.
        """
        changed = [name for name in _COMPLETED if joined[name] != call[name]]
        row = {**joined, "from_position": call["position"]}
        if not KEYED.keys().isdisjoint(changed):
            (row,) = put(self._connection, LLM_CALLS, [row])
            changed += KEYED.values()
        columns = "".join(f", {name} = :{name}" for name in changed)
        statement = f"""
            UPDATE llm_calls SET position = :position, revision = {NEXT_REVISION}{columns}
            WHERE run_id = :run_id AND position = :from_position
        """  # noqa: S608
        self._connection.execute(statement, row)
        call.update(joined)

    def _call_of(self, said: Json, place: int | None) -> Json | None:
        # At its position: the call was sent with its number, or this span was sent before.
        there = self._at.get(place or 0)
        if there is not None and _key(there) == _key(said):
            return there
        unsettled = self._unsettled.get(_key(said))
        return unsettled.popleft() if unsettled else None

    def _price_anew(self, call: Json, said: Json) -> None:
        """Compute the cost again: the provider is known now."""
        if call["cost_source"] == CostSource.CALL:
            return
        cost = _cost(self._costs, call, said["cost"])
        if any(call[name] != value for name, value in cost.items()):
            call.update(cost)
            row = (cost["cost"], cost["cost_source"], self._run.run_id, call["position"])
            self._connection.execute(_SET_COST, row)


def calls_of_spans(connection: sqlite3.Connection, run: KnownRun, now_ns: int) -> None:
    """Turn spans whose call never arrived into calls, when their run ends."""
    waiting = _waiting(connection, run)
    if not waiting:
        return
    costs = Costs(connection, now_ns)
    for position, row in waiting:
        connection.execute(_TAKE_SPAN, (run.run_id, position))
        _add(connection, costs, row | {"position": position})
