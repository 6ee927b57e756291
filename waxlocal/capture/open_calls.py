"""The captured calls that have not ended, and what becomes of them when the interpreter ends.

A stream that the program has left, and still refers to, ends when its object does. For one that a
module holds this is while the interpreter goes down: then nothing can be recorded any more, not
even the codecs are there. So such streams are ended before, as if the program had let go of them.
"""

from __future__ import annotations

from weakref import ref

from opentelemetry.trace import StatusCode

from waxlocal.capture.captured_span import CapturedSpan
from waxlocal.capture.places import is_call
from waxlocal.capture.streams import open_streams, span_of

__all__ = ["OpenCalls"]

_CUT_SHORT = "the process ended before the call"


class OpenCalls:
    """The spans that have begun in this process and not ended; for any thread.

    It keeps none of them alive: a stream that is let go of ends at once.
    """

    def __init__(self) -> None:
        self._open: set[ref[CapturedSpan]] = set()
        # Stands for this process, in the spans that begin in it.
        self._here = object()

    def add(self, span: CapturedSpan) -> None:
        """Take note of a span that has begun."""
        span.begun_in = self._here
        self._open.add(ref(span, self._open.discard))

    def discard(self, span: CapturedSpan) -> bool:
        """Forget a span that has ended; return whether it had begun in this process.

        It may be gone from here: of what refers to itself, the garbage collector clears the weak
        references before it calls `__del__`.
        """
        self._open.discard(ref(span))
        return self.is_ours(span)

    def is_ours(self, span: CapturedSpan) -> bool:
        """Return whether a span has begun in this process."""
        return span.begun_in is self._here

    def forget(self) -> None:
        """Forget all of them: in a forked child, they are the parent's to end."""
        self._open.clear()
        self._here = object()

    def end(self) -> None:
        """End the calls that are open, and those alone: what is around them ends as it does.

        A stream first tells what has come of it. A thread may go on reading it; no more is recorded
        of it then.
        """
        if self._left():
            for stream in open_streams():
                if span_of(stream) in self._left():
                    stream.__del__()
        for span in self._left():
            span.set_status(StatusCode.ERROR, _CUT_SHORT)
            span.end()

    def _left(self) -> list[CapturedSpan]:
        # A copy, made at once: other threads go on. `list` would let them in between.
        known = [found() for found in self._open.copy()]
        return [span for span in known if span is not None and is_call(span)]
