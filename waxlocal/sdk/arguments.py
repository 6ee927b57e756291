"""What record methods take: a wrong type is a `TypeError`, and nothing else reaches the program."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from waxlocal.encode import as_text
from waxlocal.errors import ObserveError
from waxlocal.known_types import is_a, name_of_type
from waxlocal.sdk.sound_counts import sound_counts
from waxlocal.signal_handlers import raised_by_handler

__all__ = [
    "ReadUsage",
    "checked",
    "checked_function",
    "is_given",
    "need",
    "need_count",
    "need_dict",
    "need_items",
    "need_number",
    "need_numbers",
    "need_plain_texts",
    "number_of",
    "plain_llm_call",
    "plain_text",
    "truth",
    "with_usage",
    "yes_or_no",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# Methods that take what is to be recorded; `input` and the like may raise for other reasons.
_RECORDING = (
    *("record_", "remember_", "set_", "update_", "mark_", "enter_", "exit_", "human_", "check_"),
    *("start_", "complete_", "write_", "publish_"),
)
# Called most of all, and careful themselves: a wrapper would cost a quarter of a microsecond.
_CAREFUL = ("record_tool_call",)
_CO_COROUTINE = 0x80


def checked(public: str) -> Callable[[type[T]], type[T]]:
    """Let nothing but `TypeError`, and errors of our own, leave the record methods of a class.

    An argument of a wrong type may raise anything where it is compared, added or asked for its
    truth: an array does, and so does a proxy whose server is gone.

    `public` is the class that programs know, and that Python's own errors then name: it says
    "WaxellContext.record_tool_call() missing 1 required argument", not "SpanRecords.…".
    """

    def decorate(kind: type[T]) -> type[T]:
        for name, method in list(vars(kind).items()):
            if isinstance(method, FunctionType):
                method.__qualname__ = f"{public}.{name}"
                if name.startswith(_RECORDING) and name not in _CAREFUL:
                    coroutine = method.__code__.co_flags & _CO_COROUTINE
                    wrap = _checked_coroutine if coroutine else _checked
                    setattr(kind, name, wrap(method))
        return kind

    return decorate


def checked_function(function: F) -> F:
    """Let nothing but `TypeError` leave a function that acts on the open run."""
    return _checked(function)  # type: ignore[return-value]


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except (TypeError, ObserveError):
            raise
        except Exception as error:
            if raised_by_handler(error):
                raise
            raise _refused(method, error) from error

    return call


def _checked_coroutine(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await method(*args, **kwargs)
        except (TypeError, ObserveError):
            raise
        except Exception as error:
            if raised_by_handler(error):
                raise
            raise _refused(method, error) from error

    return call


def _refused(method: Callable[..., Any], error: Exception) -> TypeError:
    return TypeError(
        f"{method.__name__}() was given an argument of a wrong type ({name_of_type(type(error))})"
    )


def need(name: str, value: object, kind: type, *, optional: bool = False) -> None:
    """Raise `TypeError` unless the argument is of that type, as the original SDK does."""
    if type(value) is kind or (optional and value is None):
        return
    if not is_a(value, kind):
        raise TypeError(
            f"Argument '{name}' has incorrect type "
            f"(expected {kind.__name__}, got {name_of_type(type(value))})"
        )


def need_plain_texts(**texts: Any) -> list[str]:
    """Return texts without methods of their own; anything else raises `TypeError`."""
    for name, value in texts.items():
        need(name, value, str)
    return [str.__str__(value) for value in texts.values()]


_TEXTS_OF_CALL = (
    *("model", "task", "provider", "status", "prompt_preview", "response_preview"),
    *("error_type", "error_message"),
)
_TOKENS = ("tokens_in", "tokens_out")
# Not in the original, and None in the usage objects of providers that have counted none.
_CACHED = ("cached_tokens", "cache_write_tokens")
_COUNTS_OF_CALL = (*_TOKENS, *_CACHED)


class ReadUsage(NamedTuple):
    """What is left of a usage object when its counts stand among the arguments of the call.

    `finer` has the counts without a column, by name: see `TokenCounts.details`.
    """

    is_known: bool
    note: str
    finer: dict[str, int] | None


_NO_USAGE = ReadUsage(is_known=True, note="", finer=None)


def plain_llm_call(**call: Any) -> dict[str, Any]:
    """Return the arguments of `record_llm_call` without methods of their own, or raise `TypeError`.

    The rest of them is made plain by the method itself.
    """
    if call["usage"] is not ...:
        call = with_usage(call)
    elif missing := [f"'{name}'" for name in _TOKENS if call[name] is None]:
        raise TypeError(
            f"WaxellContext.record_llm_call() missing {len(missing)} required keyword-only "
            f"argument{'s' * (len(missing) > 1)}: {' and '.join(missing)}; or usage="
        )
    texts = {name: call[name] for name in _TEXTS_OF_CALL}
    call.update(zip(texts, need_plain_texts(**texts), strict=True))
    for name in _CACHED:
        if call[name] is None:
            call[name] = 0
    for name in _COUNTS_OF_CALL:
        call[name] = need_count(name, call[name])
    if call["reasoning_tokens"] is not None:
        call["reasoning_tokens"] = need_count("reasoning_tokens", call["reasoning_tokens"])
    read = call["usage"] if type(call["usage"]) is ReadUsage else _NO_USAGE
    counts, note = sound_counts(call, is_known=read.is_known)
    call.update(counts)
    call["usage"] = read._replace(note="; ".join(filter(None, (read.note, note))))
    call["is_streaming"] = truth("is_streaming", call["is_streaming"])
    need("full_response", call["full_response"], str, optional=True)
    if call["full_response"] is not None:
        call["full_response"] = plain_text(call["full_response"])
    return call


def with_usage(call: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call with the counts of its `usage` where none are given.

    Its `usage` is then a `ReadUsage`. Raises `UnknownUsage` for an object of unknown shape.
    """
    # Here, because a program that counts by hand should not wait for its import.
    from waxlocal.token_usage import read_usage

    read = read_usage(call["usage"])
    is_known = read.is_known or any(call.get(name) is not None for name in _TOKENS)
    found = zip(_COUNTS_OF_CALL, read, strict=False)  # the fields of `TokenCounts` begin so, too
    counts: dict[str, Any] = {
        name: count or 0 for name, count in found if _is_left_open(name, call.get(name))
    }
    if call.get("reasoning_tokens") is None:
        counts["reasoning_tokens"] = read.reasoning
    return {**call, **counts, "usage": ReadUsage(is_known, read.note, read.details)}


def _is_left_open(name: str, value: Any) -> bool:
    # 0 is the default of the cached counts: it cannot be told from one that is given.
    return value is None or (name not in _TOKENS and type(value) is int and value == 0)


def need_dict(name: str, value: Any) -> dict[str, Any] | None:
    """Return a dict as one without methods of its own; anything but None raises `TypeError`."""
    need(name, value, dict, optional=True)
    return None if value is None else dict(dict.items(value))


def need_count(name: str, value: Any) -> int:
    """Return a count as an int; a float is cut, text and None raise `TypeError`."""
    if is_a(value, int):
        return int.__int__(value)
    if is_a(value, float):
        number = float.__float__(value)
        return int(number) if math.isfinite(number) else 0
    try:
        return int(type(value).__index__(value))
    except Exception as error:
        if not raised_by_handler(error):
            need(name, value, int)
        raise


def need_number(name: str, value: Any) -> float:
    """Return a number as a float; text and None raise `TypeError`, too large a one is infinite."""
    if is_a(value, int):
        exact = int.__int__(value)
        try:
            return float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf
    if is_a(value, float):
        return float.__float__(value)
    try:
        return float(type(value).__float__(value))
    except Exception as error:
        if not raised_by_handler(error):
            need(name, value, float)
        raise


def number_of(name: str, value: Any) -> float:
    """Return a number as a float, also one that is given as text; all else raises `TypeError`."""
    if is_a(value, str):
        try:
            return float(str.__str__(value))
        except ValueError:
            raise TypeError(f"Argument '{name}' is not a number: {str.__str__(value)!r}") from None
    return need_number(name, value)


def need_numbers(name: str, values: Any) -> list[float]:
    """Return a list of numbers as floats, an empty one for None; all else raises `TypeError`."""
    return [need_number(name, value) for value in need_items(name, values)]


def need_items(name: str, values: Any) -> list[Any]:
    """Return what a list or a tuple holds, nothing for None; all else raises `TypeError`.

    A text is none of these: each of its characters would become a record.
    """
    if values is None:
        return []
    if is_a(values, tuple):
        return list(tuple.__iter__(values))
    need(name, values, list)
    return list(list.__iter__(values))


def truth(name: str, value: Any) -> bool:
    """Return whether a value counts as true; one that does not say raises `TypeError`."""
    try:
        return bool(value)
    except Exception as error:
        if raised_by_handler(error):
            raise
        raise TypeError(f"Argument '{name}' is neither true nor false") from error


_YES, _NO = frozenset(("true", "yes", "1")), frozenset(("false", "no", "0"))


def yes_or_no(name: str, value: Any) -> bool:
    """Return a yes or no, which may be in words; a text that is neither raises `TypeError`."""
    if not is_a(value, str):
        return truth(name, value)
    word = str.__str__(value).strip().lower()
    if word not in _YES | _NO:
        raise TypeError(f"Argument '{name}' is neither true nor false")
    return word in _YES


def plain_text(value: Any, default: str = "") -> str:
    """Return what stands where a text belongs as one; None stands for the default."""
    if value is None:
        return default
    return str.__str__(value) if is_a(value, str) else as_text(value)


def is_given(value: Any) -> bool:
    """Return whether there is something to record: not None, and no empty text or container."""
    return value is not None and (type(value) not in (str, dict, list, tuple) or len(value) > 0)
