"""The page of a run: its trace with the selected row, all of its records, and related runs."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.delivery.status import Receipt, list_receipts
from waxlocal.errors import NotFound
from waxlocal.queries import RunDetail, get_run, resolve_run_id
from waxlocal.queries.records import Record, list_records
from waxlocal.queries.sub_agents import Below, below
from waxlocal.records import RunStatus
from waxlocal.web.db import ask
from waxlocal.web.pages.folds import CHARS, LINES, MOST_VALUE_CHARS, Fold, fold, folded_value
from waxlocal.web.pages.pane import VIEWS, Pane, pane_of
from waxlocal.web.pages.rendering import show
from waxlocal.web.pages.trace import Trace, trace_of
from waxlocal.web.pages.upload_state import host_of

__all__ = ["run_page"]

# Maximum rows of the trace, and calls, on the page.
MOST_ROWS = 500


@dataclass(frozen=True)
class Whole:
    """The content of the page: the run, those of its sub-agents and their records, its uploads."""

    detail: RunDetail
    below: Below
    records: dict[str, list[Record]]
    receipts: list[Receipt]


async def run_page(request: Request) -> Response:
    """Show a run, by run id, workflow id or the beginning of one. Raises `NotFound`.

    `row` is the key of the row of its trace that is shown beside it, by default the run; `view` is
    how.
    """
    wanted = request.path_params.get("run_id") or request.query_params.get("id", "")

    def question(conn: sqlite3.Connection) -> Whole:
        run_id = resolve_run_id(conn, wanted)
        detail = get_run(conn, run_id)
        called = below(conn, detail.run)
        records = list_records(conn, [one.run_id for one in called.runs])
        return Whole(detail, called, records, list_receipts(conn, run_id))

    found = await ask(request, question)
    detail, run = found.detail, found.detail.run
    # In a thread, as long values take a while.
    trace = await asyncio.to_thread(trace_of, detail, found.below.runs, found.records)
    key, view = (request.query_params.get(name, "") for name in ("row", "view"))
    view = view if view in VIEWS else VIEWS[0]
    pane = await _pane(request, trace, key, view, detail)
    name = run.agent_name
    if run.workflow_name not in ("default", ""):
        name = f"{name} / {run.workflow_name}"
    return await show(
        request,
        "run.html",
        title=f"Run of {run.agent_name}",
        section="runs" if run.session_id is None else "sessions",
        refresh="running" if run.status == RunStatus.RUNNING else "still",
        detail=detail,
        run=run,
        name=name,
        traceback=fold(detail.traceback, most=MOST_VALUE_CHARS, lines=LINES * 2, chars=CHARS * 3),
        below=found.below,
        trace=trace,
        begin=_begin_of_part(trace, pane),
        pane=pane,
        views=VIEWS,
        view=view,
        is_unknown=key not in ("", pane.bar.key),
        calls=detail.llm_calls[:MOST_ROWS],
        most=MOST_ROWS,
        pairs=[(title, _pairs(value)) for title, value in
               (("Tags", detail.tags), ("Metadata", detail.metadata)) if value],
        receipts=found.receipts,
        host_of=host_of,
    )  # fmt: skip


def _begin_of_part(trace: Trace, pane: Pane) -> int:
    """Return where the part of the rows begins in which the selected one is."""
    keys = (row.bar.key for row in trace.rows)
    at = next(number for number, key in enumerate(keys) if key == pane.bar.key)
    return at - at % MOST_ROWS


async def _pane(request: Request, trace: Trace, key: str, view: str, detail: RunDetail) -> Pane:
    """Return what there is of the row of this key; of the run itself, where it has no such row."""
    root = trace.rows[0].bar
    bar = next((row.bar for row in trace.rows if row.bar.key == key), root)
    owner = detail
    if bar.owner != detail.run.run_id:
        try:
            owner = await ask(request, lambda conn: get_run(conn, bar.owner))
        except NotFound:  # deleted since the trace was read
            bar = root
    return await asyncio.to_thread(pane_of, bar, owner, root.start, view)


def _pairs(value: object) -> list[tuple[str, Fold]]:
    """Return the members of an object, or the value itself, folded."""
    members = value.items() if isinstance(value, dict) else [("", value)]
    empty = Fold("–", "", 1)  # noqa: RUF001
    return [(str(key), folded_value(item) or empty) for key, item in members]
