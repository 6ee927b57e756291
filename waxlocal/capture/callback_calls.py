"""Calls of models that a framework's callbacks have begun, and what is captured inside them."""

from __future__ import annotations

from contextvars import ContextVar

from waxlocal.capture.pairing import Report

__all__ = ["CallbackCall", "open_here"]


class CallbackCall:
    """A call of a model whose beginning a framework's callback has told: what is captured inside.

    It is known by the context, also to the tasks and threads that begin inside it. The end may be
    told in another context; then that of the beginning forgets it with its next call.
    """

    def __init__(self) -> None:
        self.captured: list[Report] = []
        self.ended = False
        _around.set((*open_here(), self))

    def end(self) -> None:
        """Take no more calls."""
        self.ended = True
        _around.set(open_here())


_around: ContextVar[tuple[CallbackCall, ...]] = ContextVar("waxlocal_callback_calls", default=())


def open_here() -> tuple[CallbackCall, ...]:
    """Return the calls that have begun around this place, and have not ended."""
    return tuple(one for one in _around.get() if not one.ended)
