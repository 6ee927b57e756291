"""Values that are hard to write down, each made fresh when asked for."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

__all__ = ["VALUES"]


class Raising:
    """An object of which nothing can be asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


class RaisingClass:
    """An object that does not even tell its class."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class RaisingItems(dict[str, Any]):
    """A dict that will not be read."""

    def items(self) -> Any:
        """Raise."""
        raise RuntimeError("no items")


class WrongStr:
    """An object whose text is not text."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class EvilText(str):
    """Text with methods of its own."""

    def encode(self, *_args: Any) -> bytes:
        """Raise."""
        raise RuntimeError("no bytes")

    def __str__(self) -> str:
        raise RuntimeError("not text")

    def isascii(self) -> bool:
        """Raise."""
        raise RuntimeError("no answer")


class EvilInt(int):
    """A number with methods of its own."""

    def __repr__(self) -> str:
        raise RuntimeError("not a number")

    def __int__(self) -> int:
        raise RuntimeError("not a number")


class EndlessModel:
    """An object that always answers with another of its kind."""

    def model_dump(self) -> EndlessModel:
        """Return one more."""
        return EndlessModel()


class Unequal:
    """An object that cannot be compared."""

    def __eq__(self, _other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]


@dataclasses.dataclass
class Point:
    """A dataclass with something odd in it."""

    x: float
    y: Any


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    LOW = 1


Pair = namedtuple("Pair", "left right")


def _circle() -> Any:
    circle: dict[str, Any] = {"list": []}
    circle["list"].append(circle)
    return circle


def _deep(depth: int) -> Any:
    deep: Any = []
    for _ in range(depth):
        deep = [deep]
    return deep


def _deep_dict(depth: int) -> Any:
    deep: Any = {}
    for _ in range(depth):
        deep = {"a": deep, "é": 1}
    return deep


def _released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def _generator() -> Iterator[int]:
    yield 1


VALUES: dict[str, Callable[[], Any]] = {
    "nan": lambda: float("nan"),
    "infinity": lambda: [float("inf"), -float("inf")],
    "surrogate": lambda: "a\ud800b",
    "surrogate key": lambda: {"\udfff": "\ud800"},
    "nul": lambda: "a\0b",
    "controls": lambda: "\x01\x1f\x7f\u2028</script>",
    "emoji": lambda: "\N{GRINNING FACE}" * 3,
    "huge int": lambda: 1 << 70,
    "enormous int": lambda: 1 << 20_000,
    "bytes": lambda: b"\x00\xff",
    "many bytes": lambda: b"x" * 3_000_000,
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(b"abcdef")[::2],
    "released memoryview": _released,
    "circle": _circle,
    "deep list": lambda: _deep(2_000),
    "very deep list": lambda: _deep(50_000),
    "deep dict": lambda: _deep_dict(2_000),
    "set": lambda: {1, 2},
    "frozenset": lambda: frozenset(("a",)),
    "tuple": lambda: (1, (2, 3)),
    "named tuple": lambda: Pair(1, Pair(2, float("nan"))),
    "dataclass": lambda: Point(1.0, Point(2.0, {3})),
    "dataclass class": lambda: Point,
    "datetime": lambda: datetime.datetime(2026, 1, 31, tzinfo=datetime.timezone.utc),
    "date": lambda: datetime.date(2026, 1, 31),
    "timedelta": lambda: datetime.timedelta(days=1),
    "decimal": lambda: decimal.Decimal("1.10"),
    "signalling nan": lambda: decimal.Decimal("sNaN"),
    "fraction": lambda: fractions.Fraction(1, 3),
    "complex": lambda: 1 + 2j,
    "uuid": lambda: uuid.UUID(int=7),
    "path": lambda: pathlib.PurePosixPath("/a\udcffb"),
    "enum": lambda: [Colour.RED, Level.LOW, Colour],
    "raising": Raising,
    "raising in a list": lambda: [1, Raising(), 2],
    "raising class": RaisingClass,
    "raising class in a dict": lambda: {"a": RaisingClass(), "b": 1},
    "raising items": lambda: RaisingItems(a=1),
    "wrong str": WrongStr,
    "evil text": lambda: EvilText("abc"),
    "evil text as key": lambda: {EvilText("abc"): EvilText("é")},
    "evil int": lambda: [EvilInt(3)],
    "endless model": EndlessModel,
    "unequal": Unequal,
    "non-text keys": lambda: {1: "a", (2, 3): "b", None: "c", 1.5: "d", b"e": "f", False: "g"},
    "same keys": lambda: {1: "a", "1": "b", (1,): "c", "(1,)": "d"},
    "nan key": lambda: {float("nan"): 1},
    "ordered": lambda: OrderedDict(a=1),
    "default dict": lambda: defaultdict(list, a=[1]),
    "proxy": lambda: MappingProxyType({"a": {1}}),
    "deque": lambda: deque([1, 2]),
    "range": lambda: range(3),
    "generator": _generator,
    "function": lambda: _generator,
    "class": lambda: int,
    "object": object,
    "exception": lambda: ValueError("\ud800"),
    "10 MB": lambda: "x" * 10_000_000,
    "many surrogates": lambda: "\ud800" * 100_000,
    "many keys": lambda: {f"k{number}": number for number in range(50_000)},
    "shared": lambda: [[shared := [1], shared], shared],
}
