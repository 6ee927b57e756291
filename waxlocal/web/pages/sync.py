"""The sync page: targets, parked runs with reasons, last attempts, and retrying."""

from __future__ import annotations

import asyncio
import sqlite3
import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import (
    ParkedRun,
    Receipt,
    count_unsynced,
    list_parked,
    recent_receipts,
)
from waxlocal.web.api.problems import Problem
from waxlocal.web.cache import PATIENCE_S, ask_kept
from waxlocal.web.db import ask, change
from waxlocal.web.pages.addresses import Links
from waxlocal.web.pages.forms import read_form
from waxlocal.web.pages.rendering import show
from waxlocal.web.pages.upload_state import host_of, take_status, target_state

__all__ = ["retry", "sync_page"]

PARKED, RECEIPTS = 100, 20
STAGES = {
    "start": "start",
    "llm-calls": "LLM calls",
    "steps": "steps",
    "spans": "spans",
    "scores": "scores",
    "complete": "end",
    "bulk": "whole run",
}


async def sync_page(request: Request) -> Response:
    """Show the state of each target, the parked runs, and the last attempts."""
    now = time.time_ns()

    def question(conn: sqlite3.Connection) -> tuple[list[ParkedRun], list[Receipt]]:
        return list_parked(conn, PARKED), recent_receipts(conn, RECEIPTS)

    taken, unsynced, (parked, receipts) = await asyncio.gather(
        take_status(request, patience=PATIENCE_S),
        ask_kept(request, "unsynced", count_unsynced),
        ask(request, question),
    )
    targets = [(one, target_state(one, now)) for one in taken.value or ()]
    moving = any(one.pending for one, _ in targets)
    return await show(
        request,
        "sync.html",
        title="Sync",
        section="sync",
        refresh="running" if moving or taken.pending or unsynced.pending else "list",
        taken=taken,
        targets=targets,
        parked=parked,
        receipts=receipts,
        unsynced=unsynced,
        stages=STAGES,
        host_of=host_of,
        requeued=request.query_params.get("requeued", ""),
    )


async def retry(request: Request) -> Response:
    """Make the parked runs in the form, or all of them, pending again."""
    run_ids = await _chosen(request)
    done = await change(request, lambda connection: requeue(connection, run_ids))
    # Also for 0, which `to` would leave out.
    return RedirectResponse(Links.of(request).to("/sync", {"requeued": str(done)}), 303)


async def _chosen(request: Request) -> list[str] | None:
    """Return the run ids in the form, None for all; raises `Problem` for an invalid form."""
    given = await read_form(request, PARKED * 2)
    if given.get("all") == ["1"]:
        return None
    if not given.get("run_id"):
        raise Problem(400, "no run was selected", hint="select a run, or all of them")
    return given["run_id"]
