"""Any Python value as strict JSON text, and any string as text that SQLite takes.

`dumps` never raises and never changes the value. Plain values (what JSON knows, with text keys)
go through the C encoder; everything else is first turned into plain values, with labelled
stand-ins where JSON has no word: `{"$float": "nan"}`, `{"$bytes": "<base64>", "length": 3}`,
`{"$int": "0x1f"}` (thousands of digits), `{"$cycle": "dict"}`, `{"$deep": "list"}`,
`{"$cut": "<start>", "length": 99}`, `{"$more": 7}` (items left out),
`{"$array": "ndarray", "shape": [1000, 1000]}`.

What a value is, its type decides (`known_types`); nothing is looked up on a value of unknown type.
Of those only `str(value)` is taken, and of mocks and remote proxies only the name of the type. Size
and time are bounded by the number of parts: a list that shares its sub-lists can have 2^30 leaves.
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Callable, Iterable
from gc import get_referents
from itertools import compress
from typing import Any, ClassVar

from waxlocal.known_types import is_message, is_opaque, mro, name_of_type, reader_of
from waxlocal.signal_handlers import Suppress, raised_by_handler

__all__ = [
    "CUT",
    "as_text",
    "cut",
    "dumps",
    "own_text",
    "read_back",
    "shown",
    "snapshot",
    "text",
]

# Where the start of a cut text stands, in what stands for it.
CUT = "$cut"

# SQLite's JSON functions stop at 1,000 levels (2,000 before 3.45); people stop long before.
MAX_DEPTH = 100
# Text beyond this is cut: SQLite's own limit is 1 GB a value, and a row is bound in memory twice.
MAX_CHARS = 64 * 1024 * 1024
MAX_BYTES = 1024 * 1024
# How many parts a value may have: a million take the C encoder some 0.2 s; where some of them must
# first be made plain, 100,000 take as long.
MAX_PARTS = 1_000_000
MAX_PLAIN_PARTS = 100_000
# Fewer texts than this cannot be much larger together than the program itself holds.
FEW = 256
# Python reads and writes integers of at most 4,300 digits in decimal, which is a little more.
MAX_INT_BITS = 14_000
# An object's `repr` is a label, not content.
MAX_REPR = 10_000


def _refuse(value: object) -> Any:
    raise TypeError(type(value))


# The C encoder without the wrapper that `JSONEncoder.encode` puts around it at each call, and
# without the module `json`, whose patterns take a millisecond of every import to compile. No circle
# check: a circle ends in RecursionError, and the slow path labels it.
_c_encode: Callable[[Any, int], Iterable[str]]
_c_scan: Callable[[str, int], tuple[Any, int]]


class _AsWritten:
    """How `json.loads` reads; the C scanner takes its settings from such a class."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int
    memo: ClassVar[dict[str, str]] = {}


try:
    import _json

    _c_scan = _json.make_scanner(_AsWritten)  # type: ignore[arg-type]  # it takes any object
    _c_encode = _json.make_encoder(
        None, _refuse, _json.encode_basestring, None, ":", ",", False, False, False
    )
except (ImportError, AttributeError):  # another Python than CPython
    import json

    _plain_encoder = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse
    )

    def _c_encode(value: Any, _level: int) -> Iterable[str]:
        return (_plain_encoder.encode(value),)

    _c_scan = json.JSONDecoder().raw_decode


_join = "".join

# What the C encoder writes without calling any code of the value: these types and none derived.
_ATOMS = frozenset((str, int, float, bool, type(None)))
_CONTAINERS = frozenset((dict, list, tuple))
_all_atoms = _ATOMS.issuperset
_KNOWN = _ATOMS | _CONTAINERS
_all_known = _KNOWN.issuperset
_is_text = frozenset((str,)).__contains__
_IS_CPYTHON = sys.implementation.name == "cpython"


def dumps(value: Any) -> str:
    """Return `value` as compact JSON text, valid by RFC 8259 and storable as UTF-8."""
    try:
        # A dict of texts and numbers is what most values are: not one more step for it.
        if (
            type(value) is dict and len(value) <= FEW and _all_atoms(map(type, value.values()))
        ) or _is_known(value):
            json = _join(_c_encode(value, 0))
            if len(json) <= MAX_CHARS:
                if not json.isascii():
                    json.encode()  # a lone surrogate is not text: SQLite would refuse it
                return json
    except Exception as error:  # nan, a surrogate, a dict that another thread changes, ...
        if raised_by_handler(error):
            raise
    return _dumps_anything(value)


def _is_known(value: Any) -> bool:
    """Return whether the C encoder knows the value and all that is in it; see `_is_plain`."""
    kind = type(value)
    if kind is dict:
        return _is_plain(value.values())
    return kind in _ATOMS or (kind in _CONTAINERS and _is_plain(value))


def _is_plain(level: Any) -> bool:
    """Return whether the C encoder knows all these items, and theirs, and there are not too many.

    Level by level, and each level in C: a walk in Python would cost a quarter of the encoding.
    """
    parts, chars = len(level), 0
    for _ in range(MAX_DEPTH):
        if len(level) > FEW:
            chars += sum(map(len, compress(level, map(_is_text, map(type, level)))))
        if parts > MAX_PARTS or chars > MAX_CHARS:
            return False
        if _all_atoms(map(type, level)):
            return True
        # On other implementations an object may refer to more than its items.
        if not _all_known(map(type, level)) or not _IS_CPYTHON:
            return False
        containers = [item for item in level if type(item) in _CONTAINERS]
        parts += sum(map(len, containers))
        level = get_referents(*containers) if parts <= MAX_PARTS else ()
    return False


def shown(value: Any) -> Any:
    """Return plain values, containers and messages as they are, and everything else as text.

    The arguments of a call are often clients, sockets and models, of which a name is all that
    anybody wants to read. A message of LangChain, say, is what was asked.
    """
    with Suppress(Exception):  # as in `dumps`
        if _is_known(value):
            return value
    return _Reading(objects_as_text=True).plain(value, frozenset())


def snapshot(value: object) -> Any:
    """Return a copy of the value as it is now, of plain values alone."""
    if type(value) is str:
        return value
    return read_back(dumps(value))


def read_back(written: str) -> Any:
    """Return the value of JSON that `dumps` wrote.

    Without the module `json`, which can be loaded only as long as files can be opened.
    """
    return _c_scan(written, 0)[0]


def cut(value: str) -> dict[str, Any]:
    """Return what stands for a text that is too long."""
    return {CUT: text(value[:MAX_REPR]), "length": len(value)}


def text(value: str) -> str:
    """Return `value` as text that can be stored: lone surrogates become U+FFFD."""
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _dumps_anything(value: object) -> str:
    try:
        json = _join(_c_encode(_Reading().plain(value, frozenset()), 0))
    except Exception as error:
        json = _join(_c_encode({"$repr": _unreadable(value, error)}, 0))
    if len(json) > MAX_CHARS:
        json = _join(_c_encode(cut(json), 0))
    return json


class _Reading:
    """One value on its way to plain values, and what may still be added."""

    def __init__(self, *, objects_as_text: bool = False) -> None:
        self._objects_as_text = objects_as_text
        self._parts = MAX_PLAIN_PARTS
        # `dumps` cuts at MAX_CHARS; much beyond that there is no use in reading on.
        self._chars = MAX_CHARS + MAX_REPR

    def plain(self, value: Any, above: frozenset[int]) -> Any:
        """Turn any value into what the C encoder takes; `above`: the ids of its containers."""
        self._parts -= 1
        try:
            return self._plain(value, above)
        except Exception as error:  # this value's own; those beside it are not to suffer
            return _unreadable(value, error)

    def _plain(self, value: Any, above: frozenset[int]) -> Any:
        if value is None or value is True or value is False:
            return value
        bases = mro(type(value))
        if str in bases:
            return self._text(str.__str__(value))
        if enum.Enum in bases:
            return self.plain(object.__getattribute__(value, "_value_"), above)
        if int in bases:
            return _plain_int(int.__int__(value))
        if float in bases:
            number = float.__float__(value)
            return number if math.isfinite(number) else {"$float": float.__repr__(number)}
        if bytes in bases or bytearray in bases or memoryview in bases:
            return _plain_bytes(memoryview(value))
        if id(value) in above:
            return {"$cycle": name_of_type(type(value))}
        if len(above) >= MAX_DEPTH:
            return {"$deep": name_of_type(type(value))}
        return self._object(value, above | {id(value)})

    def _object(self, value: Any, above: frozenset[int]) -> Any:
        found = reader_of(type(value))
        if found is None or (self._objects_as_text and not _is_read(found[1], type(value))):
            return self._text(as_text(value))
        reader, known = found
        read = reader(known, value)
        if type(read) is dict:
            return self._mapping(read, above)
        if type(read) is list:
            return self._items(read, above)
        return self.plain(read, above)

    def _items(self, items: list[Any], above: frozenset[int]) -> list[Any]:
        plain: list[Any] = []
        for item in items:
            if self._parts <= 0:
                plain.append({"$more": len(items) - len(plain)})
                break
            plain.append(self.plain(item, above))
        return plain

    def _mapping(self, members: dict[Any, Any], above: frozenset[int]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in members.items():
            if self._parts <= 0:
                plain["$more"] = len(members) - len(plain)
                break
            name = text(str.__str__(key)) if str in mro(type(key)) else as_text(key)
            while name in plain:  # 1 and "1" are two keys here and one in JSON
                name += "'"
            plain[name] = self.plain(item, above)
        return plain

    def _text(self, value: str) -> Any:
        self._chars -= len(value)
        if self._chars < 0:
            self._parts = 0
            return cut(value)
        return text(value)


_BUILT_IN = (dict, list, tuple, set, frozenset)


def _is_read(known: type, kind: type) -> bool:
    """Return whether an argument of a type is read; of objects, only a message is."""
    return known in _BUILT_IN or is_message(kind)


def _plain_int(value: int) -> Any:
    return value if value.bit_length() <= MAX_INT_BITS else {"$int": hex(value)}


def _plain_bytes(value: memoryview) -> dict[str, Any]:
    import binascii

    content = value.tobytes()
    return {
        "$bytes": binascii.b2a_base64(content[:MAX_BYTES], newline=False).decode(),
        "length": len(content),
    }


def as_text(value: object) -> str:
    """Return `str(value)`, or what can be said of an object that will not be printed."""
    kind = type(value)
    try:
        if is_opaque(kind):
            return text(f"<{kind.__module__}.{kind.__qualname__}>")
        return text(own_text(value)[:MAX_REPR])
    except Exception as error:
        return _unreadable(value, error)


def own_text(value: object) -> str:
    """Return `str(value)`; whatever its own code raises comes out as an `Exception`.

    A `SystemExit` out of a `__str__` must not end the program. One that a signal handler raises
    meanwhile, and Ctrl-C, must: they go on to the caller.
    """
    try:
        return str(value)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        inner = error.__traceback__ and error.__traceback__.tb_next
        of_value = inner is not None and inner.tb_frame.f_code in _texts_of(type(value))
        if not of_value or raised_by_handler(error):
            raise
        raise RuntimeError(f"{name_of_type(type(error))} out of a __str__") from None


def _texts_of(kind: type) -> set[object]:
    """Return the code of the methods that print values of this type."""
    methods = (
        type.__getattribute__(base, "__dict__").get(name)
        for base in mro(kind)
        for name in ("__str__", "__repr__")
    )
    return {getattr(method, "__code__", None) for method in methods}


def _unreadable(value: object, error: BaseException) -> str:
    """Return what can be said of a value that raised; raises what is not the value's own."""
    if raised_by_handler(error):
        raise error
    kinds = name_of_type(type(value)), name_of_type(type(error))
    return text(f"<unprintable {kinds[0]}: {kinds[1]}>")
