"""The page of a run: all of its records, and its related runs."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.delivery.status import Receipt, list_receipts
from waxlocal.queries import LlmCall, RunDetail, get_run, resolve_run_id
from waxlocal.queries.records import Record, list_records
from waxlocal.queries.sub_agents import Below, below
from waxlocal.records import RunStatus
from waxlocal.web.db import ask
from waxlocal.web.pages.folds import CHARS, LINES, MOST_VALUE_CHARS, Fold, fold, folded_value, folds
from waxlocal.web.pages.rendering import show
from waxlocal.web.pages.upload_state import host_of
from waxlocal.web.pages.waterfall import waterfall

__all__ = ["run_page"]

# Maximum records of one kind on the page.
MOST_RECORDS = 200


@dataclass(frozen=True)
class Whole:
    """The content of the page: the run, those of its sub-agents and their records, its uploads."""

    detail: RunDetail
    below: Below
    records: dict[str, list[Record]]
    receipts: list[Receipt]


@dataclass(frozen=True)
class Call:
    """A model call, with its texts folded."""

    call: LlmCall
    folds: tuple[tuple[str, Fold], ...]


async def run_page(request: Request) -> Response:
    """Show a run, by run id, workflow id or the beginning of one. Raises `NotFound`."""
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
    rows = await asyncio.to_thread(waterfall, detail, found.below.runs, found.records)
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
        inputs=folded_value(detail.inputs),
        result=folded_value(detail.result),
        traceback=fold(detail.traceback, most=MOST_VALUE_CHARS, lines=LINES * 2, chars=CHARS * 3),
        below=found.below,
        waterfall=rows[:MOST_RECORDS],
        rows=len(rows),
        calls=[_call(one) for one in detail.llm_calls[:MOST_RECORDS]],
        steps=[(one, folds(output=one.output, attributes=one.attributes))
               for one in detail.steps[:MOST_RECORDS]],
        events=[(one, folds(data=one.data)) for one in detail.events[:MOST_RECORDS]],
        most=MOST_RECORDS,
        pairs=[(title, _pairs(value)) for title, value in
               (("Tags", detail.tags), ("Metadata", detail.metadata)) if value],
        receipts=found.receipts,
        host_of=host_of,
    )  # fmt: skip


def _call(call: LlmCall) -> Call:
    prompt = call.messages if call.messages is not None else call.prompt_preview
    answer = call.answer() or None
    return Call(call, folds(prompt=prompt, answer=answer, tools=call.tools, details=call.details))


def _pairs(value: object) -> list[tuple[str, Fold]]:
    """Return the members of an object, or the value itself, folded."""
    members = value.items() if isinstance(value, dict) else [("", value)]
    empty = Fold("–", "", 1)  # noqa: RUF001
    return [(str(key), folded_value(item) or empty) for key, item in members]
