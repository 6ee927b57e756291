"""The page of a run: all of its records, and its related runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.delivery.status import Receipt, list_receipts
from waxlocal.queries import LlmCall, RunDetail, Span, get_run, resolve_run_id
from waxlocal.queries.times import microseconds
from waxlocal.records import RunStatus
from waxlocal.web.db import ask
from waxlocal.web.pages import charts
from waxlocal.web.pages.folds import Fold, fold
from waxlocal.web.pages.rendering import show
from waxlocal.web.pages.upload_state import host_of

__all__ = ["run_page"]

# Maximum characters of one value on the page; the JSON has all of them.
MOST_CHARS = 100_000
# Maximum records of one kind on the page.
MOST_RECORDS = 200
# Fold values with more lines than this: about half a screen.
LINES, CHARS = 18, 1_200
# Spans below this depth are not indented further.
MOST_DEPTH = 12


@dataclass(frozen=True)
class Row:
    """A row of the waterfall; `place` and `width` in percent, `width` None without a duration."""

    depth: int
    name: str
    kind: str
    status: str
    error: str | None
    duration_ms: float | None
    place: float
    width: float | None
    position: int
    folds: tuple[tuple[str, Fold], ...]


@dataclass(frozen=True)
class Call:
    """A model call, with its texts folded."""

    call: LlmCall
    folds: tuple[tuple[str, Fold], ...]


async def run_page(request: Request) -> Response:
    """Show a run, by run id, workflow id or the beginning of one. Raises `NotFound`."""
    wanted = request.path_params.get("run_id") or request.query_params.get("id", "")

    def question(conn: sqlite3.Connection) -> tuple[RunDetail, list[Receipt]]:
        run_id = resolve_run_id(conn, wanted)
        return get_run(conn, run_id), list_receipts(conn, run_id)

    detail, receipts = await ask(request, question)
    run = detail.run
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
        inputs=_value(detail.inputs),
        result=_value(detail.result),
        traceback=fold(detail.traceback, most=MOST_CHARS, lines=LINES * 2, chars=CHARS * 3),
        waterfall=list(_waterfall(detail))[:MOST_RECORDS],
        calls=[_call(one) for one in detail.llm_calls[:MOST_RECORDS]],
        steps=[(one, _folds(output=one.output, attributes=one.attributes))
               for one in detail.steps[:MOST_RECORDS]],
        events=[(one, _folds(data=one.data)) for one in detail.events[:MOST_RECORDS]],
        most=MOST_RECORDS,
        spans=sum(1 for _ in _walk(detail.spans)),
        pairs=[(title, _pairs(value)) for title, value in
               (("Tags", detail.tags), ("Metadata", detail.metadata)) if value],
        receipts=receipts,
        host_of=host_of,
    )  # fmt: skip


def _value(value: object) -> Fold | None:
    return fold(value, most=MOST_CHARS, lines=LINES, chars=CHARS)


def _folds(**values: object) -> tuple[tuple[str, Fold], ...]:
    """Return the non-empty values, folded, by name."""
    folded = {name: _value(value) for name, value in values.items() if value not in (None, {}, [])}
    return tuple((name.replace("_", " "), one) for name, one in folded.items() if one)


def _call(call: LlmCall) -> Call:
    prompt = call.messages if call.messages is not None else call.prompt_preview
    answer = call.answer() or None
    return Call(call, _folds(prompt=prompt, answer=answer, tools=call.tools, details=call.details))


def _pairs(value: object) -> list[tuple[str, Fold]]:
    """Return the members of an object, or the value itself, folded."""
    members = value.items() if isinstance(value, dict) else [("", value)]
    empty = Fold("–", "", 1)  # noqa: RUF001
    return [(str(key), _value(item) or empty) for key, item in members]


def _walk(spans: Sequence[Span], depth: int = 0) -> Iterator[tuple[int, Span]]:
    for span in spans:
        yield depth, span
        yield from _walk(span.children, depth + 1)


def _waterfall(detail: RunDetail) -> Iterator[Row]:
    """Yield spans and LLM calls ordered by start, each span followed by its children."""
    begin = microseconds(detail.run.started_at)
    tops: list[tuple[int, int, Span | LlmCall]] = [
        (microseconds(span.started_at), span.position, span) for span in detail.spans
    ]
    tops += [(_began(call), call.position, call) for call in detail.llm_calls]
    tops.sort(key=lambda top: top[:2])
    whole = _whole(detail, begin, tops)
    for start, position, one in tops:
        if isinstance(one, LlmCall):
            yield _call_row(one, start - begin, whole, position)
        else:
            for depth, span in _walk((one,)):
                yield _span_row(span, depth, begin, whole)


def _began(call: LlmCall) -> int:
    return microseconds(call.recorded_at) - (call.duration_ms or 0) * 1000


def _whole(detail: RunDetail, begin: int, tops: Sequence[tuple[int, int, Span | LlmCall]]) -> float:
    """Return the interval of the waterfall in microseconds: the run's, or that of its records."""
    ends = [(detail.run.duration or 0.0) * 1e6]
    ends += [start - begin + (one.duration_ms or 0) * 1000 for start, _, one in tops]
    return max(ends)


def _call_row(call: LlmCall, start: float, whole: float, position: int) -> Row:
    length = None if call.duration_ms is None else call.duration_ms * 1000.0
    place, width = charts.stretch(start, length or 0.0, whole)
    said = ": ".join(filter(None, (call.error_type, call.error_message)))
    return Row(
        depth=0,
        name=call.model,
        kind="llm",
        status=call.status,
        error=said or None,
        duration_ms=call.duration_ms,
        place=place,
        width=None if length is None else width,
        position=position,
        folds=(),
    )


def _span_row(span: Span, depth: int, begin: int, whole: float) -> Row:
    start = microseconds(span.started_at) - begin
    place, width = charts.stretch(start, (span.duration_ms or 0.0) * 1000, whole)
    return Row(
        depth=min(depth, MOST_DEPTH),
        name=span.name,
        kind=span.kind,
        status=span.status,
        error=span.error,
        duration_ms=span.duration_ms,
        place=place,
        width=None if span.duration_ms is None else width,
        position=span.position,
        folds=_folds(input=span.input, output=span.output, attributes=span.attributes),
    )
