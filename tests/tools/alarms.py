"""Signal handlers that raise, as those of programs do, and moments for them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

__all__ = ["handling", "raising", "strike", "strike_in"]


def raising(error: type[BaseException]) -> Callable[[int, FrameType | None], None]:
    """Return a handler that raises."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise error

    return handler


@contextmanager
def handling(handler: Any) -> Iterator[None]:
    """Install a handler of the alarm for the block."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def strike() -> None:
    """Let the alarm go off."""
    signal.raise_signal(signal.SIGALRM)


def strike_in(patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let the alarm go off at the next call of a function."""
    called = getattr(owner, name)

    def struck(*given: Any, **named: Any) -> Any:
        patch.setattr(owner, name, called)
        strike()
        return called(*given, **named)

    patch.setattr(owner, name, struck)
