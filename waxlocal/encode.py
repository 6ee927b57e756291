"""Any Python value as strict JSON text, and any string as text that SQLite takes.

`dumps` never raises and never changes the value. Plain values (what JSON knows, with text keys)
go through the C encoder; everything else is first turned into plain values, with labelled
stand-ins where JSON has no word: `{"$float": "nan"}`, `{"$bytes": "<base64>", "length": 3}`,
`{"$int": "0x1f"}` (thousands of digits), `{"$cycle": "dict"}`, `{"$deep": "list"}`,
`{"$cut": "<start>", "length": 99}`.
"""

from __future__ import annotations

import binascii
import enum
import math
from collections.abc import Callable, Iterable, Mapping
from json import JSONEncoder, encoder, loads
from typing import Any

__all__ = ["as_text", "dumps", "snapshot", "text"]

# SQLite's JSON functions stop at 1,000 levels (2,000 before 3.45); people stop long before.
MAX_DEPTH = 100
# Text beyond this is cut: SQLite's own limit is 1 GB a value, and a row is bound in memory twice.
MAX_CHARS = 64 * 1024 * 1024
MAX_BYTES = 1024 * 1024
# Python reads and writes integers of at most 4,300 digits in decimal, which is a little more.
MAX_INT_BITS = 14_000
# An object's `repr` is a label, not content.
MAX_REPR = 10_000


def _refuse(value: object) -> Any:
    raise TypeError(type(value))


# The C encoder without the wrapper that `JSONEncoder.encode` puts around it at each call. No
# circle check: a circle ends in RecursionError, and the slow path labels it.
_c_make: Any = getattr(encoder, "c_make_encoder", None)
_c_quote: Any = getattr(encoder, "c_encode_basestring", None)
_c_encode: Callable[[Any, int], Iterable[str]]
if _c_make is not None and _c_quote is not None:
    _c_encode = _c_make(None, _refuse, _c_quote, None, ":", ",", False, False, False)
else:  # another Python than CPython
    _plain_encoder = JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse
    )

    def _c_encode(value: Any, _level: int) -> Iterable[str]:
        return (_plain_encoder.encode(value),)


_join = "".join


def dumps(value: object) -> str:
    """Return `value` as compact JSON text, valid by RFC 8259 and storable as UTF-8."""
    try:
        json = _join(_c_encode(value, 0))
        if json.isascii() and len(json) < 2 * MAX_DEPTH:
            return json
        if len(json) <= MAX_CHARS and json.count("[") + json.count("{") < 10 * MAX_DEPTH:
            json.encode()  # a lone surrogate is not text: SQLite would refuse it
            return json
    except Exception:  # noqa: S110 (any failure of the value's own code leads to the slow path)
        pass
    return _dumps_anything(value)


def snapshot(value: object) -> Any:
    """Return a copy of the value as it is now, of plain values alone."""
    return value if type(value) is str else loads(dumps(value))


def text(value: str) -> str:
    """Return `value` as text that can be stored: lone surrogates become U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _dumps_anything(value: object) -> str:
    try:
        json = _join(_c_encode(_plain(value, frozenset()), 0))
    except Exception as error:
        json = _join(_c_encode({"$repr": as_text(value), "$error": type(error).__name__}, 0))
    if len(json) > MAX_CHARS:
        cut = {"$cut": json[:MAX_REPR], "length": len(json)}
        json = _join(_c_encode(cut, 0))
    return json


def _plain(value: Any, above: frozenset[int]) -> Any:
    """Turn any value into what the C encoder takes; `above` holds the ids of its containers."""
    try:
        return _plain_value(value, above)
    except Exception:  # this value's own; those beside it are not to suffer
        return as_text(value)


def _plain_value(value: Any, above: frozenset[int]) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _plain_text(str.__str__(value))
    if isinstance(value, enum.Enum):
        return _plain(value.value, above)
    if isinstance(value, int):
        return _plain_int(int.__int__(value))
    if isinstance(value, float):
        number = float.__float__(value)
        return number if math.isfinite(number) else {"$float": float.__repr__(number)}
    if isinstance(value, bytes | bytearray | memoryview):
        return _plain_bytes(bytes(value))
    if id(value) in above:
        return {"$cycle": type(value).__name__}
    if len(above) >= MAX_DEPTH:
        return {"$deep": type(value).__name__}
    return _plain_object(value, above | {id(value)})


def _plain_object(value: Any, above: frozenset[int]) -> Any:
    if isinstance(value, Mapping):
        return _plain_mapping(value, above)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, above) for item in list(value)]
    for name in ("isoformat", "model_dump", "_asdict", "tolist"):
        # Dates and times; pydantic models; named tuples; NumPy arrays and scalars.
        method = getattr(value, name, None)
        if callable(method) and not isinstance(value, type):
            return _plain(method(), above)
    fields = getattr(value, "__dataclass_fields__", None)
    if isinstance(fields, dict) and not isinstance(value, type):
        return {name: _plain(getattr(value, name, None), above) for name in fields}
    return as_text(value)


def _plain_mapping(value: Mapping[Any, Any], above: frozenset[int]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in list(value.items()):
        name = _plain_text(str.__str__(key)) if isinstance(key, str) else as_text(key)
        while name in plain:  # 1 and "1" are two keys here and one in JSON
            name += "'"
        plain[name] = _plain(item, above)
    return plain


def _plain_int(value: int) -> Any:
    return value if value.bit_length() <= MAX_INT_BITS else {"$int": hex(value)}


def _plain_text(value: str) -> str:
    return value if value.isascii() else text(value)


def _plain_bytes(value: bytes) -> dict[str, Any]:
    return {
        "$bytes": binascii.b2a_base64(value[:MAX_BYTES], newline=False).decode(),
        "length": len(value),
    }


def as_text(value: object) -> str:
    """Return `str(value)`, or what can be said of an object that will not be printed."""
    try:
        return text(str(value)[:MAX_REPR])
    except Exception as error:
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"
