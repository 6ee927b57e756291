"""A signal handler that raises at the n-th step within a block, for programs that try each n."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.tools.alarms import handling, strike

__all__ = ["TimeLimit", "each_step"]


class TimeLimit(Exception):
    """What a job queue raises in a task that takes too long."""


def each_step(
    act: Callable[[int], Callable[[], object]],
    *,
    first: int = 1,
    every: int = 1,
    handle: Callable[[int], object] = bool,
) -> int:
    """Strike at the n-th call or return within what `act(n)` returns, for each n; return the last.

    Python looks for signals there, among other places. It ends with the first n that is not
    reached. The handler does `handle(n)` before it raises.
    """
    steps = first

    def handler(_number: int, _frame: FrameType | None) -> None:
        handle(steps)
        raise TimeLimit

    with handling(handler):
        while _is_struck(act(steps), steps):
            steps += every
    return steps


def _is_struck(block: Callable[[], object], steps: int) -> bool:
    left = steps

    def look(frame: FrameType, _event: str, called: Any) -> None:
        nonlocal left
        # Nothing looks for signals between a block and the function of C that ends it.
        if frame.f_code is _is_struck.__code__ or getattr(called, "__name__", "") == "__exit__":
            return
        left -= 1
        if left == 0:
            sys.setprofile(None)
            strike()

    try:
        sys.setprofile(look)
        block()
    except TimeLimit:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0
