"""What a function gives that does its work later: generators, async generators, coroutines."""

from __future__ import annotations

import sys
from types import CoroutineType, GeneratorType
from typing import Any

__all__ = ["has_begun", "is_argument", "is_to_come"]

# Of a generator that is awaited: one of `types.coroutine`.
_CO_ITERABLE_COROUTINE = 0x100


def is_argument(value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call gave what its caller gave it; that is not the work of the call."""
    return any(value is given for given in (*args, *kwargs.values()))


def is_to_come(value: Any) -> bool:
    """Return whether a call gave what will do its work, as a plain wrapper of a generator does."""
    if type(value) is GeneratorType and value.gi_code.co_flags & _CO_ITERABLE_COROUTINE:
        return False
    return not has_begun(value)


def has_begun(value: Any) -> bool:
    """Return whether a generator, async generator or coroutine has begun, or has ended."""
    import inspect

    if type(value) is CoroutineType:
        return inspect.getcoroutinestate(value) != inspect.CORO_CREATED
    if type(value) is GeneratorType:
        return inspect.getgeneratorstate(value) != inspect.GEN_CREATED
    if sys.version_info >= (3, 12):
        return inspect.getasyncgenstate(value) != inspect.AGEN_CREATED
    frame = value.ag_frame
    if frame is None or sys.version_info < (3, 11):
        return frame is None or frame.f_lasti >= 0
    import opcode

    # Python 3.11 stops a new one at this instruction, and does not tell its state.
    made = opcode.opmap["RETURN_GENERATOR"]
    return bool(frame.f_code.co_code[frame.f_lasti] != made)
