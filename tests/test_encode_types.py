"""Values of well-known types are read; of all others nothing is asked but their text."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import json
import multiprocessing
import pathlib
import typing
import uuid
import xmlrpc.client
from types import MappingProxyType
from typing import Any
from unittest import mock

import attrs
import numpy
import pandas
import pydantic
import pydantic.v1
import pytest

import waxlocal
from tests.crash.files import run_program
from tests.test_encode import _in_every_place
from tests.tools.alarms import handling, raising, strike
from waxlocal import WaxellContext
from waxlocal.encode import MAX_CHARS, MAX_PLAIN_PARTS, as_text, dumps, shown
from waxlocal.recording.recorder import Recorder


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):
    HIGH = "high"


@dataclasses.dataclass
class Point:
    x: float
    inside: Any = None


@dataclasses.dataclass(slots=True)
class Slotted(Point):
    more: int = 3


@attrs.define
class Defined:
    x: int
    _hidden: Any = None


class Named(typing.NamedTuple):
    left: Any
    right: Any = 2


Pair = collections.namedtuple("Pair", "a b")


class Model(pydantic.BaseModel):
    name: str
    secret: str = pydantic.Field("s", exclude=True)
    inside: Any = None


class OldModel(pydantic.v1.BaseModel):
    name: str
    inside: Any = None


class Items(pydantic.RootModel[list[int]]):
    pass


class OwnDict(dict[str, Any]):
    def items(self) -> Any:
        raise AssertionError("called")

    keys = values = __iter__ = __len__ = items


class OwnList(list[Any]):
    def __iter__(self) -> Any:
        raise AssertionError("called")


FRAME = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
UTC = datetime.timezone.utc
KNOWN: dict[str, tuple[Any, Any]] = {
    "datetime": (datetime.datetime(2026, 1, 31, 9, tzinfo=UTC), "2026-01-31T09:00:00+00:00"),
    "date": (datetime.date(2026, 1, 31), "2026-01-31"),
    "time": (datetime.time(9, 30), "09:30:00"),
    "timedelta": (datetime.timedelta(hours=1), "1:00:00"),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "uuid": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "path": (pathlib.PurePosixPath("/a/b"), "/a/b"),
    "enum": ([Colour.RED, Word.HIGH], ["red", "high"]),
    "set": ({1}, [1]),
    "deque": (collections.deque([1, 2]), [1, 2]),
    "keys": ({"a": 1}.keys(), ["a"]),
    "proxy": (MappingProxyType({"a": {1}}), {"a": [1]}),
    "bytes": (b"ab", {"$bytes": "YWI=", "length": 2}),
    "named tuple": (Pair(1, Named(2)), {"a": 1, "b": {"left": 2, "right": 2}}),
    "dataclass": (
        Point(1.5, Slotted(2.0)),
        {"x": 1.5, "inside": {"x": 2.0, "inside": None, "more": 3}},
    ),
    "attrs": (Defined(1, Defined(2)), {"x": 1, "_hidden": {"x": 2, "_hidden": None}}),
    "pydantic": (
        Model(name="m", inside=Model(name="i")),
        {"name": "m", "inside": {"name": "i", "inside": None}},
    ),
    "pydantic root": (Items([1, 2]), [1, 2]),
    "pydantic v1": (OldModel(name="m", inside={1}), {"name": "m", "inside": [1]}),
    "numpy array": (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "numpy scalars": ([numpy.float32(0.5), numpy.int64(3), numpy.bool_(True)], [0.5, 3, True]),
    "numpy times": (numpy.array(["2026-01-31"], "datetime64[D]"), ["2026-01-31"]),
    "large array": (numpy.zeros((1000, 1000)), {"$array": "ndarray", "shape": [1000, 1000]}),
    "frame": (FRAME, {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}),
    "series": (FRAME["a"], [1, 2]),
    "index": (FRAME.columns, ["a", "b"]),
    "timestamp": (pandas.Timestamp("2026-01-31T09:00:00Z"), "2026-01-31T09:00:00+00:00"),
    "own dict": (OwnDict(a=1), {"a": 1}),
    "own list": (OwnList([1, (2,)]), [1, [2]]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_types_are_read(name: str) -> None:
    """Alone, and inside another value; no method of the program is called."""
    value, expected = KNOWN[name]
    assert json.loads(dumps(value)) == expected
    assert json.loads(dumps({"a": [value]})) == {"a": [expected]}


MOCKS = {
    "mock": lambda: mock.Mock(),
    "magic": lambda: mock.MagicMock(),
    "async": lambda: mock.AsyncMock(),
    "spec": lambda: mock.MagicMock(spec=dict),
    "spec of a dataclass": lambda: mock.MagicMock(spec=Point(1.0)),
    "not callable": lambda: mock.NonCallableMagicMock(),
}


@pytest.mark.parametrize("kind", MOCKS)
@pytest.mark.usefixtures("recorder")
def test_a_mock_does_not_notice_that_it_was_recorded(kind: str) -> None:
    """Through every method and decorator: the calls that a test asserts are the program's own."""
    made = MOCKS[kind]()

    @waxlocal.observe()
    @waxlocal.tool()
    @waxlocal.step_dec()
    @waxlocal.decision()
    @waxlocal.reasoning_dec()
    @waxlocal.retrieval()
    def plain(value: Any, **_more: Any) -> Any:
        return value

    @waxlocal.observe()
    @waxlocal.tool()
    async def asynchronous(value: Any) -> Any:
        return value

    _in_every_place(made)
    with WaxellContext("agent"):
        assert plain(made, more=made) is made
        assert asyncio.run(asynchronous([made]))[0] is made
    assert made.mock_calls == made.method_calls == []
    assert not made.called


def test_a_mock_is_named_by_its_type() -> None:
    """More than its type cannot be known without asking it."""
    assert json.loads(dumps({"m": mock.MagicMock()})) == {"m": "<unittest.mock.MagicMock>"}


class Asked:
    """Answers every attribute, and counts."""

    def __init__(self) -> None:
        object.__setattr__(self, "asked", [])

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return lambda *args, **kwargs: Asked()


class AskedForAll(Asked):
    """Sees even the look-ups of its own attributes."""

    def __getattribute__(self, name: str) -> Any:
        if name != "asked":
            object.__getattribute__(self, "asked").append(name)
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("kind", [Asked, AskedForAll])
def test_nothing_is_asked_of_a_proxy(kind: type[Asked]) -> None:
    """An object that answers to any name is a text, and was asked for nothing."""
    made = kind()
    for written in (dumps(made), dumps({"a": [made, {1}]}), as_text(made), str(shown([made]))):
        assert kind.__name__ in written
    assert made.asked == []


def test_remote_proxies_are_not_called() -> None:
    """Neither over HTTP nor over a pipe to a manager's process."""
    server = xmlrpc.client.ServerProxy("http://127.0.0.1:1/nothing-listens-here")
    assert "ServerProxy" in dumps({"server": server})
    with multiprocessing.get_context("spawn").Manager() as manager:
        shared = manager.dict(a=1)
        assert json.loads(dumps([shared])) == ["<multiprocessing.managers.DictProxy>"]


def _doubled(levels: int, leaf: Any) -> Any:
    for _ in range(levels):
        leaf = [leaf, leaf]
    return leaf


BOMBS: dict[str, Any] = {
    "lists": lambda: _doubled(60, 1),
    "lists and sets": lambda: _doubled(60, {1}),
    "dicts": lambda: {"a": _doubled(60, {"b": 1})},
    "in a dataclass": lambda: Point(0.0, _doubled(60, 1)),
    "tuples": lambda: ((_doubled(60, ()),),),
    "wide": lambda: [[[[1] * 1000] * 1000] * 1000] * 1000,
    "texts": lambda: ["x" * 1_000_000] * 100_000,
    "texts and sets": lambda: [{1}, *["x" * 1_000_000] * 100_000],
    "many": lambda: list(range(3_000_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_size_and_time_of_a_value_are_bounded(name: str) -> None:
    """Shared parts count each time they would be written; beyond the bound they are left out."""
    value = BOMBS[name]()
    written = [dumps(value)]
    if not isinstance(value, Point):  # an argument is shown as its own text, whose size is its own
        written.append(dumps(shown({"argument": value})))
    for one in written:
        json.loads(one)
        assert len(one) <= MAX_CHARS


def test_what_is_left_out_is_counted() -> None:
    """A list that is too long says how many items more it had."""
    read = json.loads(dumps([{1}, *range(MAX_PLAIN_PARTS + 10)]))
    assert read[1:4] == [0, 1, 2]
    assert read[-1]["$more"] + len(read) - 1 == MAX_PLAIN_PARTS + 11


class Leaving:
    """An object whose text ends the program."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
def test_a_text_that_ends_the_program_does_not(recorder: Recorder, error: BaseException) -> None:
    """What `__str__` or `__repr__` raises stays with the value, whatever kind it is."""
    value = Leaving(error)
    for written in (dumps(value), dumps({"a": {"b": value}}), as_text(value)):
        assert "unprintable Leaving" in written
    _in_every_place(value)
    assert recorder.store.backlog.lost == 0


def test_an_exception_whose_text_ends_the_program_is_recorded(recorder: Recorder) -> None:
    """It leaves the block as itself."""

    class Last(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    with pytest.raises(Last), WaxellContext("agent"):
        raise Last


# In a process of its own: an exception at any moment leaves the locks of coverage.py locked. And
# without the garbage collector, in whose callbacks what a handler raises is lost.
INTERRUPTED = """
    import dataclasses
    import gc
    import signal
    import sys
    from waxlocal.encode import dumps

    @dataclasses.dataclass
    class Point:
        x: float

    def handler(_number, _frame):
        raise {"KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit}[sys.argv[1]]

    gc.disable()
    signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        while True:
            dumps([{1}, object(), Point(1.0)])
    except BaseException as error:
        print(type(error).__name__)
    """


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
def test_a_signal_handler_may_end_the_program(db_path: pathlib.Path, error: str) -> None:
    """Ctrl-C, or `sys.exit()` on SIGTERM, is not mistaken for the value's own."""
    done = run_program(db_path, INTERRUPTED, error)
    assert (done.stdout, done.stderr) == (f"{error}\n", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_signal_handler_may_end_the_program_while_a_value_is_printed(
    error: type[BaseException],
) -> None:
    """What the handler raises comes out of the `__repr__`, and is still not the value's own."""

    class Interrupted:
        def __repr__(self) -> str:
            strike()
            return "Interrupted"

    with handling(raising(error)), pytest.raises(error):
        dumps([Interrupted()])
