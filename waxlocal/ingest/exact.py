"""Stores items that carry their exact record, as another waxlocal sends them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from waxlocal.errors import InvalidQuery, NotFound
from waxlocal.ingest.known_runs import run_of_workflow
from waxlocal.ingest.placing import place
from waxlocal.records import EVENTS, LLM_CALLS, SCORES, SPANS, STEPS, Table
from waxlocal.wire import calls, spans
from waxlocal.wire.columns import Refused
from waxlocal.wire.events import exact_event
from waxlocal.wire.exact import is_derived, said_of
from waxlocal.wire.memory import exact_memory
from waxlocal.wire.runs import untold_of_end
from waxlocal.wire.scores import exact_score
from waxlocal.wire.steps import exact_step
from waxlocal.wire.values import Json

__all__ = ["store", "store_event", "store_untold"]

Read = Callable[[Json, Json], Json]


def store(
    connection: sqlite3.Connection, run_id: str, stage: str, items: Iterable[Any]
) -> list[Any]:
    """Store the items of a run that carry their exact record; return the others, in order.

    Raises `InvalidQuery` for a record that cannot be stored.
    """
    others: list[Any] = []
    rows: dict[Table, list[Json]] = {}
    for item in items:
        said = said_of(item) if isinstance(item, dict) else None
        if said is None:
            others.append(item)
        elif not is_derived(said):
            table, row = _read(stage, item, said)
            rows.setdefault(table, []).append(row)
    for table, found in rows.items():
        _place(connection, table, run_id, found)
    return others


def _read(stage: str, item: Json, said: Json) -> tuple[Table, Json]:
    of_call = stage == "spans" and said.get("table") == LLM_CALLS.name
    table, read = (LLM_CALLS, calls.exact_span) if of_call else _OF_STAGE[stage]
    try:
        return table, read(item, said)
    except Refused as error:
        raise _invalid(error) from None


def _place(connection: sqlite3.Connection, table: Table, run_id: str, rows: list[Json]) -> None:
    try:
        place(connection, table, run_id, rows)
    except Refused as error:
        raise _invalid(error) from None


def _invalid(error: Refused) -> InvalidQuery:
    return InvalidQuery(f"a record that cannot be stored: {error}")


def store_event(connection: sqlite3.Connection, event: Any) -> bool:
    """Store an event that carries its exact record; return False for any other event."""
    said = said_of(event) if isinstance(event, dict) else None
    if said is None or said.get("outside") is True:
        return False
    workflow_id = said.get("workflow_id", event.get("workflow_id"))
    run = run_of_workflow(connection, workflow_id)
    if run is None:
        raise NotFound(f"no run with the workflow id {workflow_id!r}")
    store(connection, run.run_id, "events", [event])
    return True


def store_untold(connection: sqlite3.Connection, run_id: str, body: Json, said: Json) -> None:
    """Store the records that only the end of a run carries; raises `InvalidQuery`."""
    try:
        for table, row in untold_of_end(body, said):
            place(connection, table, run_id, [row])
    except Refused as error:
        raise _invalid(error) from None


_OF_STAGE: dict[str, tuple[Table, Read]] = {
    "llm-calls": (LLM_CALLS, calls.exact_call),
    "steps": (STEPS, exact_step),
    "spans": (SPANS, spans.exact_span),
    "scores": (SCORES, exact_score),
    "events": (EVENTS, exact_event),
    "episodic": (EVENTS, partial(exact_memory, "episodic")),
    "semantic": (EVENTS, partial(exact_memory, "semantic")),
}
