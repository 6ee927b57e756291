"""Answers that the program reads itself: those of openai's `with_streaming_response`.

The body comes while the program reads it. OpenTelemetry's instrumentation parses it at once: then
all of it has to come before the block begins, and the program finds nothing to read. So the call is
made without it, and reported when the program closes the answer: with its counts if it was read at
one go.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from inspect import iscoroutine
from typing import Any
from weakref import WeakSet

from waxlocal.capture.own_calls import Wrapper, with_lists
from waxlocal.capture.tracer import began_at
from waxlocal.signal_handlers import Suppress

__all__ = ["after_reading"]

# How the clients of openai tell their own methods so.
_HEADER = "X-Stainless-Raw-Response"


def after_reading(wrapper: Wrapper) -> Wrapper:
    """Return a wrapper that reports a call when its answer was read, if the program does that."""

    def call(function: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _is_read_by_program(kwargs):
            return wrapper(function, instance, args, kwargs)
        kwargs = with_lists(kwargs)
        report = _Report(wrapper, instance, args, kwargs)
        try:
            answer = function(*args, **kwargs)
        except BaseException as error:
            report.failed(error)
            raise
        if iscoroutine(answer):
            return report.awaited(answer)
        _on_close(answer, report)
        return answer

    return call


def _is_read_by_program(kwargs: dict[str, Any]) -> bool:
    """Return whether the answer is neither parsed by the client nor a stream of events."""
    headers = kwargs.get("extra_headers")
    if kwargs.get("stream") is True or not isinstance(headers, Mapping):
        return False
    return bool(headers.get(_HEADER) == "stream")


class _Report:
    """A call that is over, or will be; reported once.

    At the latest when nobody has it any more, or when the process ends.
    """

    def __init__(self, wrapper: Wrapper, *given: Any) -> None:
        self._wrapper, self._given = wrapper, given
        self._context = copy_context()
        self._context.run(began_at.set, time.time_ns())
        self._is_async = False
        self._is_told = False
        # A forked child has a copy; the call is its parent's.
        self._process = os.getpid()
        _open.add(self)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.returned(None)

    async def awaited(self, coroutine: Any) -> Any:
        """Await the call; what it returns reports itself."""
        self._is_async = True
        try:
            answer = await coroutine
        except BaseException as error:
            self.failed(error)
            raise
        _on_close(answer, self)
        return answer

    def returned(self, parsed: object) -> None:
        """Report an answer, None if nobody knows what it said."""

        def function(*_args: Any, **_kwargs: Any) -> object:
            return parsed

        self._tell(function)

    def failed(self, error: BaseException) -> None:
        """Report a call that was refused."""

        def function(*_args: Any, **_kwargs: Any) -> object:
            raise error

        self._tell(function)

    def _tell(self, function: Callable[..., object]) -> None:
        if self._is_told or self._process != os.getpid():
            return
        self._is_told = True
        if not self._is_async:
            with Suppress(Exception):  # what the call has raised reaches the program anyway
                self._context.run(self._wrapper, function, *self._given)
            return

        async def later(*args: Any, **kwargs: Any) -> object:
            return function(*args, **kwargs)

        coroutine = self._context.run(self._wrapper, later, *self._given)
        with Suppress(Exception):
            self._context.run(coroutine.send, None)  # it waits for nothing


# Those that nobody has closed: while the interpreter goes down, nothing can be recorded any more.
_open: WeakSet[_Report] = WeakSet()


@atexit.register
def _end_open() -> None:
    for report in list(_open):
        report.returned(None)


def _on_close(answer: Any, report: _Report) -> None:
    """Have an answer report itself when it is closed; the client's block does that at its end."""
    close = answer.close

    def closed() -> Any:
        vars(answer).pop("close", None)  # which keeps the answer alive
        closing = close()
        if iscoroutine(closing):
            return _closed_later(closing, answer, report)
        report.returned(_parsed(answer))
        return closing

    answer.close = closed


async def _closed_later(closing: Any, answer: Any, report: _Report) -> None:
    await closing
    parsed = _parsed(answer)
    if iscoroutine(parsed):
        with Suppress(Exception):
            parsed = await parsed
    report.returned(None if iscoroutine(parsed) else parsed)


def _parsed(answer: Any) -> Any:
    """Return what was read at one go; of what is read in pieces the client keeps nothing: None."""
    with Suppress(Exception):
        if isinstance(answer.http_response.content, bytes):
            return answer.parse()
    return None
