"""A wrong argument is a `TypeError` or is recorded; nothing else reaches the program."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CoroutineType
from typing import Any
from unittest import mock

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import waxlocal
from tests.crash.corpus import VALUES
from tests.tools.examples import examples
from tests.tools.sdk_rows import only, rows
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.recording.recorder import Recorder

LARGE = ("10 MB", "many bytes", "many surrogates", "many keys", "deep", "shared")


class Failing:
    """Raises whatever is asked of it."""

    def _fail(self, *_args: Any) -> Any:
        raise ValueError("asked")

    __bool__ = __len__ = __iter__ = __float__ = __int__ = __index__ = __add__ = __mul__ = _fail
    __eq__ = __lt__ = __gt__ = __contains__ = __getitem__ = __str__ = __repr__ = _fail
    __format__ = _fail
    __hash__ = None  # type: ignore[assignment]


class FailingList(list[Any]):
    """A list that cannot be read."""

    def __iter__(self) -> Any:
        raise ValueError("read")

    __len__ = __bool__ = __getitem__ = __iter__


class FailingText(str):
    """A text that can only be read by the methods of `str`."""

    def _fail(self, *_args: Any) -> Any:
        raise ValueError("read")

    __bool__ = __len__ = __iter__ = __eq__ = __contains__ = __getitem__ = __str__ = _fail
    __format__ = encode = _fail
    __hash__ = None  # type: ignore[assignment]


class FailingInt(int):
    """A number that can only be read by the methods of `int`."""

    def _fail(self, *_args: Any) -> Any:
        raise ValueError("read")

    __bool__ = __eq__ = __lt__ = __gt__ = __add__ = __mul__ = __index__ = __int__ = _fail
    __hash__ = None  # type: ignore[assignment]


HOSTILE: dict[str, Callable[[], Any]] = {
    **{name: make for name, make in VALUES.items() if not any(part in name for part in LARGE)},
    "n/a": lambda: "n/a",
    "empty": lambda: "",
    "none": lambda: None,
    "minus": lambda: -1,
    "beyond float": lambda: 10**400,
    "minus beyond float": lambda: -(10**400),
    "beyond text": lambda: 10**5000,
    "nan": lambda: math.nan,
    "true": lambda: True,
    "failing": Failing,
    "failing list": lambda: FailingList([1]),
    "failing text": lambda: FailingText("text"),
    "failing number": lambda: FailingInt(7),
    "list of failing": lambda: [Failing()],
    "dict of failing": lambda: {"a": Failing(), Failing: 1},
    "texts": lambda: ["a", "b"],
    "array": lambda: numpy.array([1.0, 2.0]),
    "number of numpy": lambda: numpy.float64(0.5),
    "mock": mock.MagicMock,
    "mock of a dict": lambda: mock.MagicMock(spec=dict),
}
FIT: dict[str, Any] = {
    "options": ["a"],
    "documents": [{"id": 1}],
    "tokens_in": 1,
    "tokens_out": 1,
    "value": 0.5,
    "attempt": 1,
    "user_turns": 1,
    "message_count": 1,
    "handle": None,
    "data": {"a": 1},
    "result": {"a": 1},
    "calls": [{"model": "m"}],
    "steps": [{"step_name": "s"}],
    "spans": [{"name": "s"}],
    "scores": [{"name": "s", "numeric_value": 1}],
    "events": [{"event": "e"}],
    "decisions": [{"d": 1}],
    "content_embedding": [0.5],
}
PREFIXES = ("record_", "remember_", "set_", "update_", "mark_", "enter_", "exit_", "request_")


def _taking(owner: Any, prefixes: tuple[str, ...]) -> list[str]:
    return [name for name in dir(owner) if name.startswith(prefixes)]


CONTEXT = _taking(WaxellContext, (*PREFIXES, "human_turn", "check_tool"))
CLIENT = [
    name
    for name in _taking(
        WaxellObserveClient, ("record_", "start_", "complete_", "write_", "publish_")
    )
    if not name.endswith("_sync")
]
FUNCTIONS = [
    "agent_response",
    "approval_request",
    "approval_response",
    "communication",
    "decide",
    "gate_memory_delete",
    "gate_tool",
    "human_interaction",
    "mark_resumed",
    "metadata",
    "phase",
    "prompt_use",
    "reason",
    "recall",
    "redact",
    "remember_episodic",
    "remember_semantic",
    "retrieve",
    "retry",
    "score",
    "session",
    "step",
    "tag",
    "user_message",
]


def parameters(function: Any) -> list[inspect.Parameter]:
    found = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p for p in found if p.name != "self" and p.kind not in kinds]


def arguments(function: Any, **chosen: Any) -> dict[str, Any]:
    """Return what fits each parameter that has no default, and what was chosen."""
    fitting = {
        p.name: FIT.get(p.name, "text") for p in parameters(function) if p.default is p.empty
    }
    return {**fitting, **chosen}


def call(function: Any, **chosen: Any) -> None:
    """Call a function, plain or async or a block; suppress what it may raise: `TypeError`."""
    with suppress(TypeError):
        done = function(**arguments(function, **chosen))
        if type(done) is CoroutineType:
            asyncio.run(done)
        elif type(done).__name__ in ("_GeneratorContextManager", "HumanTurn"):
            with done:
                pass


@pytest.mark.parametrize("name", CONTEXT)
def test_each_argument_of_a_record_method(recorder: Recorder, db_path: Path, name: str) -> None:
    """Each hostile value in the place of each argument: a `TypeError`, or a record."""
    with WaxellContext("agent", session_id="s") as ctx:
        method = getattr(ctx, name)
        for parameter in parameters(method):
            for make in HOSTILE.values():
                call(method, **{parameter.name: make()})
    assert recorder.store.backlog.lost == 0
    assert only(db_path, "runs")["status"] == "success"


@pytest.mark.parametrize("name", CLIENT)
def test_each_argument_of_the_client(recorder: Recorder, db_path: Path, name: str) -> None:
    """The same, and for each field of the dicts that it takes."""
    client = WaxellObserveClient()
    method = getattr(client, name)
    run_id = client.start_run_sync(agent_name="agent").run_id
    own = {"run_id": run_id} if "run_id" in [p.name for p in parameters(method)] else {}
    for parameter in parameters(method):
        for make in HOSTILE.values():
            call(method, **{**own, parameter.name: make()})
            if parameter.name in ("calls", "steps", "spans", "scores", "events"):
                call(method, **own, **{parameter.name: [make()]})
                for field in ("name", "model", "cost", "tokens_in", "numeric_value", "attributes"):
                    call(method, **own, **{parameter.name: [{field: make()}]})
    assert recorder.store.backlog.lost == 0


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("recorder")
def test_each_argument_of_a_module_function(name: str) -> None:
    """The same for the functions that act on the open run."""
    function = getattr(waxlocal, name)
    with WaxellContext("agent"):
        for parameter in parameters(function):
            for make in HOSTILE.values():
                call(function, **{parameter.name: make()})


@pytest.mark.usefixtures("recorder")
def test_each_argument_of_the_constructor(db_path: Path) -> None:
    """A run is begun, or refused; never anything else."""
    for parameter in parameters(WaxellContext):
        for make in HOSTILE.values():
            with suppress(TypeError), WaxellContext(**{"agent_name": "a", parameter.name: make()}):
                pass
    assert {run["status"] for run in rows(db_path, "runs")} == {"success"}


@given(st.data())
@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_arguments_of_any_method(recorder: Recorder, data: st.DataObject) -> None:
    """All arguments hostile at once."""
    with WaxellContext("agent") as ctx:
        method = getattr(ctx, data.draw(st.sampled_from(CONTEXT)))
        # By name: Hypothesis asks each value that it draws for its class.
        names = st.sampled_from(sorted(HOSTILE))
        chosen = {p.name: HOSTILE[data.draw(names)]() for p in parameters(method)}
        call(method, **chosen)
    assert recorder.store.backlog.lost == 0


VALUES_RETURNED = {name: make for name, make in HOSTILE.items() if name != "raising class"}


@pytest.mark.parametrize("name", VALUES_RETURNED)
@pytest.mark.usefixtures("recorder")
def test_what_a_decorated_function_takes_and_gives(name: str) -> None:
    """Whatever it is, the function gets it and its caller gets it."""
    value = VALUES_RETURNED[name]()
    small = (
        waxlocal.tool(),
        waxlocal.decision(),
        waxlocal.retrieval(),
        waxlocal.reasoning_dec(),
        waxlocal.step_dec(),
        waxlocal.observe(),
    )
    with WaxellContext("agent"):
        for decorate in small:
            assert decorate(lambda query: query)(value) is value
            given = {"chosen": value, "options": value, "confidence": value, "score": value}
            assert decorate(lambda query: query)(given) is given
            assert decorate(lambda query: [query])(given)[0] is given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cost": "n/a"}, "cost"),
        ({"cost": ""}, "cost"),
        ({"cached_tokens": "1"}, "cached_tokens"),
        ({"cache_write_tokens": [1]}, "cache_write_tokens"),
        ({"is_streaming": Failing()}, "is_streaming"),
    ],
)
@pytest.mark.usefixtures("recorder")
def test_wrong_types_are_named(db_path: Path, arguments: dict[str, Any], message: str) -> None:
    """The error says which argument it is, and nothing is stored."""
    with WaxellContext("agent") as ctx, pytest.raises(TypeError, match=message):
        ctx.record_llm_call(model="m", tokens_in=1, tokens_out=1, **arguments)
    assert rows(db_path, "llm_calls") == []


@pytest.mark.usefixtures("recorder")
def test_numbers_out_of_range_are_recorded(db_path: Path) -> None:
    """Of the right type, they are no error: cut to what the file can hold."""
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model="m", tokens_in=1, tokens_out=1, cached_tokens=math.nan)  # type: ignore[arg-type]
        ctx.record_llm_call(model="m", tokens_in=10**400, tokens_out=1, cost=10**400)
        ctx.record_score("large", 10**400)
        ctx.record_score("small", -(10**400))
        ctx.record_score("text", "0.5")
    assert [c["cached_tokens"] for c in rows(db_path, "llm_calls")] == [0, 0]
    assert [s["numeric_value"] for s in rows(db_path, "scores")] == [math.inf, -math.inf, 0.5]


class Nameless(type):
    """Metaclass of classes that do not say their name."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


class OfNameless(metaclass=Nameless):
    """A class that cannot be asked."""


@pytest.mark.parametrize(
    "name",
    [
        *("agent_name", "workflow_name", "session_id", "user_id", "user_group", "end_user_id"),
        "interaction_mode",
    ],
)
def test_a_derived_text_is_recorded_as_text(recorder: Recorder, db_path: Path, name: str) -> None:
    """Nothing of the text's own code is called where a run begins or ends."""
    given: Any = {"agent_name": "agent", name: FailingText("text")}
    with WaxellContext(**given):
        pass
    assert "text" in str(only(db_path, "runs"))


def test_a_class_that_hides_its_name_is_of_a_wrong_type(recorder: Recorder) -> None:
    """The message of the `TypeError` names it all the same."""
    value: Any = OfNameless()
    with pytest.raises(TypeError, match="OfNameless"):
        WaxellContext(value)
    with WaxellContext("agent") as run, pytest.raises(TypeError, match="OfNameless"):
        run.set_tag(value, "x")
