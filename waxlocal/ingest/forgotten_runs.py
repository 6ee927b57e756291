"""Requests about runs that were deleted here on purpose: accepted, and nothing is stored.

A sender that was refused would send them again, and again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import wraps

from waxlocal.errors import NotFound
from waxlocal.ids import run_id_of
from waxlocal.ingest.known_runs import Json, run_of_workflow
from waxlocal.storage.forgotten import has_forgotten_run
from waxlocal.wire.paths import LIST_OF_STAGE

__all__ = ["OfRun", "is_of_forgotten", "unless_forgotten"]

OfRun = Callable[[sqlite3.Connection, str, Json, int], Json]


def is_of_forgotten(connection: sqlite3.Connection, workflow_id: object) -> bool:
    """Return whether the run of a workflow id was deleted on purpose, and is not here again."""
    run_id = run_id_of(workflow_id)
    is_barred = has_forgotten_run(connection, run_id)
    return is_barred and run_of_workflow(connection, workflow_id) is None


def unless_forgotten(stage: str, work: OfRun) -> OfRun:
    """Return the function of an endpoint that accepts what belongs to a forgotten run.

    Only a run that is not found is looked for among those: the usual request costs nothing more.
    """

    @wraps(work)
    def of_run(connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int) -> Json:
        try:
            return work(connection, run_id, body, now_ns)
        except NotFound:
            if not has_forgotten_run(connection, run_id):
                raise
            return _accepted(stage, run_id, body)

    return of_run


def _accepted(stage: str, run_id: str, body: Json) -> Json:
    """Return the response that the request would have got."""
    if stage == "complete":
        return {"run_id": run_id, "duration": None, "governance": {"action": "allow"}}
    if stage == "partial":
        return {"recorded": 1}
    if stage not in LIST_OF_STAGE:
        return {name: body.get(name) for name in ("slot_name", "scope_key")}
    items = body.get(LIST_OF_STAGE[stage])
    return {"recorded": len(items) if isinstance(items, list) else 0}
