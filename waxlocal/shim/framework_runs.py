"""The run that a callback handler of a framework records into, and the spans that are open in it.

A framework says of each chain, tool and call by an id when it begins and when it ends, in whatever
thread or task that is. So the spans are found by these ids, not by where the code is; while one is
open, what the program records itself in that place lies inside it all the same.
"""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Any

from waxlocal.capture.bounds import bounded
from waxlocal.capture.handler_spans import HandlerSpan
from waxlocal.capture.pauses import pause_of
from waxlocal.records import ENDED_STATUSES, RecordStatus, RunStatus
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import current_run, current_span, open_run, open_span, run_here

__all__ = ["FrameworkRun"]

Handle = dict[str, Any]


class FrameworkRun:
    """One run at a time: it begins with the first span and ends with `finish`.

    With `starts_run=False` everything goes into the run that is open where the framework calls.
    Safe from any thread.
    """

    def __init__(self, *, starts_run: bool = True, **given: Any) -> None:
        self._starts_run = starts_run
        self._given = given
        self._context: WaxellContext | None = None
        self._lock = Lock()
        self._spans: dict[Hashable, Handle] = {}
        # The run that was open around each outermost span, and around each call.
        self._around: dict[Hashable, WaxellContext | None] = {}
        self.run_id = ""

    def name_session(self, session_id: str) -> None:
        """Take this session for the run, unless one was given or the run has begun."""
        self._given["session_id"] = self._given.get("session_id") or session_id

    def is_anywhere(self) -> bool:
        """Return whether `context` would return a run."""
        return self._starts_run or run_here() is not None

    def context(self, inputs: dict[str, Any] | None = None) -> WaxellContext | None:
        """Return the run, begun if it has not; None without one."""
        if not self._starts_run:
            return run_here()
        with self._lock:
            if self._context is None:
                self._context = self._begin(inputs)
        return self._context

    def _begin(self, inputs: dict[str, Any] | None) -> WaxellContext:
        # Of an image, what it is: its data is kept in calls and spans, if anywhere.
        context = WaxellContext(inputs=None if inputs is None else bounded(inputs), **self._given)
        context._open(open_run())
        self.run_id = context.run_id
        return context

    def enter(
        self,
        span_id: Hashable,
        parent_id: Hashable | None,
        name: str,
        kind: str,
        *,
        attributes: dict[str, Any] | None = None,
        input: Any = None,
    ) -> None:
        """Open a span inside that of another id; outermost, it makes the run the open one here."""
        inputs = input if isinstance(input, dict) else None if input is None else {"input": input}
        context = self.context(inputs)
        if context is None:
            return
        parent = self._spans.get(parent_id)
        if parent is None:
            self._make_current(span_id, context)
        current_span.set(self._span_around() if parent is None else parent)
        handle = context.enter_span(name, kind=kind, attributes=attributes, input_data=input)
        told = HandlerSpan(span_id, context, handle["position"])
        self._spans[span_id] = {**handle, "by": self, "told": told}
        current_span.set(self._spans[span_id])

    def _span_around(self) -> Handle | None:
        """Return the span that an outermost one lies in.

        Not one of the framework's: those of a batch begin in one place, one after the other.
        """
        span = open_span()
        while span is not None and span.get("by") is self:
            span = span["outer"]
        return span

    def pass_through(self, span_id: Hashable, parent_id: Hashable | None) -> None:
        """Let what is inside an id that is not worth a span lie in the span around it."""
        parent = self._spans.get(parent_id)
        if parent is not None:
            self._spans[span_id] = parent

    def leave(
        self,
        span_id: Hashable,
        *,
        output: Any = None,
        error: BaseException | None = None,
        passed: bool = False,
    ) -> None:
        """Close the span of an id; with `passed`, only forget the id."""
        handle = self._spans.pop(span_id, None)
        if handle is None or passed:
            return
        context = self.context()
        if context is None:
            return
        pause = None if error is None else pause_of(error)
        if pause is not None:
            error, output = None, pause
        status = RecordStatus.OK if error is None else RecordStatus.ERROR
        context.exit_span(handle, output_data=output, status=status, exc=error)
        self._leave_current(span_id, context)

    def enter_call(self, call_id: Hashable, inputs: dict[str, Any]) -> None:
        """Make the run the open one here, so that what is captured of a call lies in it."""
        context = self.context(inputs)
        if context is not None:
            self._make_current(call_id, context)

    def leave_call(self, call_id: Hashable) -> None:
        """Make the run that was open around a call the open one again."""
        context = self.context()
        if context is not None:
            self._leave_current(call_id, context)

    def _make_current(self, event_id: Hashable, context: WaxellContext) -> None:
        if current_run.get() is not context:
            self._around[event_id] = current_run.get()
            current_run.set(context)

    def _leave_current(self, event_id: Hashable, context: WaxellContext) -> None:
        if event_id in self._around:
            around = self._around.pop(event_id)
            # Not by a token: the end may come in another context than the beginning, where it
            # raises.
            if current_run.get() is context:
                current_run.set(around)

    def finish(self, result: Any, status: str, error: str) -> None:
        """End the run; what comes later begins another one. Does nothing without a run."""
        with self._lock:
            context, self._context = self._context, None
        if context is None:
            return
        for handle in list(self._spans.values()):
            context.exit_span(handle, status=RecordStatus.ERROR if error else RecordStatus.OK)
        self._spans.clear()
        self._around.clear()
        if result is not None:
            context.set_result(result if isinstance(result, dict) else {"output": result})
        context._close(status if status in ENDED_STATUSES else RunStatus.ERROR, error)
