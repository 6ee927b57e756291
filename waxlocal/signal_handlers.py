"""Whose an exception is: what a signal handler raises belongs to the program, wherever it strikes.

Python calls a handler between two steps of whatever the main thread does, ours too. A handler that
raises (a time limit, `sys.exit()` on SIGTERM) means to end what the program does: code that
catches every exception of a value, of SQLite or of its own must let this one pass.

Python 3.12 and 3.13 look for signals where some loops jump back, and take that place for outside
the `with` or `try` around the loop: what a handler raises there leaves a lock held
(https://github.com/python/cpython/issues/108214). So within such a block a loop is a function of
its own; where that looks needless, `# loop apart` says that this is why.
"""

from __future__ import annotations

# Not `signal`, whose `getsignal` makes an enum of each answer: 0.2 ms of every try to write while
# another process has the file locked, and half a millisecond for the import. This one is built in.
import _signal  # type: ignore[import-not-found]  # of the standard library, without types
from collections.abc import Iterator
from functools import partial
from types import CodeType, FrameType, TracebackType

__all__ = ["Suppress", "raise_signal", "raised_by_handler", "signal_of"]

# Of POSIX; `signal` has it as an enum, which takes half a millisecond to import.
_SIGINT = 2


def raised_by_handler(error: BaseException) -> bool:
    """Return whether an exception came through a signal handler written in Python.

    Costs next to nothing for one that was raised by the very call that the caller made.
    """
    frames = _frames_of(error)
    return bool(frames) and (
        any(map(_looks_like_a_handler, frames))
        or not _installed().isdisjoint(frame.f_code for frame in frames)
    )


def signal_of(error: BaseException) -> int:
    """Return the number of the signal whose handler raised this, 0 if none did or it is unknown.

    Ctrl-C is handled by Python itself, without a frame of its own.
    """
    for frame in _frames_of(error):
        number, interrupted = map(frame.f_locals.get, _last_two_arguments(frame) or ("", ""))
        if isinstance(number, int) and isinstance(interrupted, FrameType):
            return int(number)
    return _SIGINT if isinstance(error, KeyboardInterrupt) else 0


def raise_signal(number: int) -> None:
    """Send a signal to this process; its handler runs in the main thread."""
    _signal.raise_signal(number)


class Suppress:
    """Suppress these exceptions in a block, but not one that came through a signal handler.

    As `contextlib.suppress` otherwise: what follows the block is what happens after an exception.
    """

    __slots__ = ("_kinds",)

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        return isinstance(error, self._kinds) and not raised_by_handler(error)


def _frames_of(error: BaseException) -> list[FrameType]:
    """Return the frames that an exception came through, but the first, of whoever caught it."""
    trace = error.__traceback__
    frames: list[FrameType] = []
    while trace is not None and (trace := trace.tb_next) is not None:
        frames.append(trace.tb_frame)
    return frames


def _last_two_arguments(frame: FrameType) -> tuple[str, ...]:
    """Return the names of a function's last two arguments; nothing if it has fewer."""
    code = frame.f_code
    given = code.co_varnames[: code.co_argcount][-2:]
    return given if len(given) == 2 else ()


def _looks_like_a_handler(frame: FrameType) -> bool:
    """Return whether its last two arguments are a number and the frame that was interrupted.

    So also one is known that has removed itself before it raises.
    """
    given = _last_two_arguments(frame)
    if not given or frame.f_back is None:
        return False
    values = frame.f_locals
    number, interrupted = (values.get(name) for name in given)
    return interrupted is frame.f_back and isinstance(number, int)


def _installed() -> set[CodeType]:
    return {
        code for number in range(1, _signal.NSIG) for code in _codes_of(_signal.getsignal(number))
    }


def _codes_of(handler: object) -> Iterator[CodeType]:
    """Return the code of a function, of a method, of what a partial or a callable object calls."""
    while isinstance(handler, partial):
        handler = handler.func
    if callable(handler):
        for called in (handler, type(handler).__call__):
            code = getattr(called, "__code__", None)
            if isinstance(code, CodeType):
                yield code
