"""Where a captured span is recorded: which run, which span of that run, or a run of its own.

Decided at the start of the span: a stream ends in another context than it began in, often when
the run around it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from waxlocal.capture.captured_span import CapturedSpan
from waxlocal.capture.facts import ReadSpan, RunFacts, SpanFacts, SpanKind
from waxlocal.capture.pairing import Report
from waxlocal.recording.recorder import current_recorder
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import is_in_named_block, outermost, run_here, still_open

__all__ = [
    "CALLS",
    "SEVERAL",
    "Place",
    "around",
    "captured_run",
    "is_call",
    "keeps_blobs",
    "kept_attributes",
    "position_in",
    "run_around",
]

CALLS = (SpanKind.LLM, SpanKind.EMBEDDING)
# So many calls inside a report of a call are retries or fallbacks.
SEVERAL = 2


@dataclass(slots=True)
class Place:
    """The run of a captured span, and its row there.

    `run` is None for a call outside any run, until something is written of it. `opened`: the run
    stands for this span, and ends with it; `outer` is the one around that. `position` is that of
    the row in `spans`, 0 if there is none: a call, or a span that is a run; `told` is what this row
    said at the start. `inner` has the first two calls inside the span: a report that was merged
    into another one has no row of its own. `failure` is that of the last agent
    inside the span, if it failed. `asked` and `answered` are what the first call inside was asked,
    and what the last one answered. `read` is the span as it was when `told`, and `about` of its
    run, were read from it. `of_handler`: the row at `position` is that of a handler of the program,
    which also ends it. `report` is what a call, or an agent with the sum of its calls, is written
    as. `session` (and whether it was made up) and `own_run`, perhaps not yet begun, are those of a
    call outside any run. All three are kept because a signal handler may strike, and the rest is
    done again.
    """

    kind: str
    run: WaxellContext | None
    position: int = 0
    opened: bool = False
    outer: WaxellContext | None = None
    told: SpanFacts | None = None
    inner: list[Report] = field(default_factory=list)
    failure: SpanFacts | None = None
    asked: str | None = None
    answered: str | None = None
    about: RunFacts | None = None
    read: ReadSpan | None = None
    of_handler: bool = False
    report: Report | None = None
    session: tuple[str, bool] | None = None
    own_run: WaxellContext | None = None

    def has_read_all(self, now: ReadSpan) -> bool:
        """Return whether a span says no more than what was read from it."""
        # Events are only ever added.
        if self.read is None or len(self.read.events) != len(now.events):
            return False
        # By identity: its values may be objects that do not answer `==` with yes or no.
        read, given = self.read.attributes, now.attributes
        return len(read) == len(given) and all(given.get(key) is read[key] for key in read)


def is_call(span: CapturedSpan) -> bool:
    """Return whether a span is a call of a model."""
    return isinstance(span.place, Place) and span.place.kind in CALLS


def around(span: CapturedSpan) -> Iterator[Place]:
    """Return the places of the captured spans around this one, the nearest first."""
    outer = span.parent
    while outer is not None:
        if isinstance(outer.place, Place):
            yield outer.place
        outer = outer.parent


def run_around(span: CapturedSpan) -> WaxellContext | None:
    """Return the innermost open run around a span: one that a span opened, or the program's.

    A tool that is captured may call a function that is a run of the program, and the other way
    round.
    """
    here = run_here()
    outer = captured_run(span)
    # What is in a block that names a session is not in that of the process's own run around it.
    if here is outermost.run and is_in_named_block():
        here = None
    if outer is None or here is None:
        return here or outer
    if here is outermost.run:
        return outer
    return outer if _is_within(outer, here) else here


def captured_run(span: CapturedSpan) -> WaxellContext | None:
    """Return the open run that the captured spans around this one are recorded in."""
    return next((still_open(place.run) for place in around(span) if place.run is not None), None)


def keeps_blobs(run: WaxellContext | None) -> bool:
    """Return whether binary data is kept whole in a run; None stands for one that is to begin."""
    return (current_recorder() if run is None else run._recorder).settings.keep_blobs


def kept_attributes(run: WaxellContext, said: SpanFacts) -> dict[str, Any]:
    """Return what a span says beside the facts that have a column, as far as its run keeps it."""
    # What nothing was read from may be any text.
    found = dict(said.attributes) if run._recorder.capture_content else {}
    if said.tool_call_id is not None:
        found["tool_call_id"] = said.tool_call_id
    return found


def _is_within(run: WaxellContext | None, outer: WaxellContext) -> bool:
    while run is not None and run is not outer:
        run = run._outer
    return run is outer


def position_in(run: WaxellContext, span: CapturedSpan) -> int | None:
    """Return the row of the nearest span around this one in a run; None if there is none."""
    found = (place.position for place in around(span) if place.run is run and place.position)
    return next(found, None)
