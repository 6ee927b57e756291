"""The decorators: what they record, and that the decorated function does not notice."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.tools.sdk_rows import only, rows, run_named
from waxlocal import WaxellContext, get_context
from waxlocal.recording.recorder import Recorder

pytestmark = pytest.mark.usefixtures("recorder")


class Thing:
    """An object whose text and representation differ."""

    def __str__(self) -> str:
        return "a thing"

    def __repr__(self) -> str:
        return "Thing()"


class Unprintable:
    """An object that refuses to be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@waxlocal.observe(agent_name="kinds")
def plain(n: int) -> int:
    return n + 1


@waxlocal.observe(agent_name="kinds")
async def coroutine(n: int) -> int:
    await asyncio.sleep(0)
    return n + 1


@waxlocal.observe(agent_name="kinds")
def generator(n: int) -> Iterator[int]:
    yield from range(n)


@waxlocal.observe(agent_name="kinds")
async def async_generator(n: int) -> AsyncIterator[int]:
    for item in range(n):
        yield item


async def gathered(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (lambda: plain(2), 3),
        (lambda: asyncio.run(coroutine(2)), 3),
        (lambda: list(generator(2)), [0, 1]),
        (lambda: asyncio.run(gathered(async_generator(2))), [0, 1]),
    ],
    ids=["plain", "coroutine", "generator", "async_generator"],
)
def test_call_of_each_kind_of_function_is_one_run(
    db_path: Path, call: Callable[[], Any], result: Any
) -> None:
    """A decorated function gives what it gave, and leaves one run with inputs and result."""
    assert call() == result
    run = run_named(db_path, "kinds")
    assert run["status"] == "success"
    assert run["inputs"] == {"n": 2}
    assert run["result"] == {"output": result}


def test_decorated_function_keeps_its_kind_and_its_name() -> None:
    """Frameworks look at these before they call a function."""
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isasyncgenfunction(async_generator)
    assert inspect.isgeneratorfunction(generator)
    assert not inspect.iscoroutinefunction(plain)
    assert plain.__name__ == "plain"
    assert str(inspect.signature(plain)) == "(n: 'int') -> 'int'"


def test_run_is_named_after_the_function_unless_told(db_path: Path) -> None:
    """Without `agent_name`, and also without parentheses, the function's name is the agent's."""

    @waxlocal.observe()
    def first() -> None: ...

    @waxlocal.waxell_agent
    def second() -> None: ...

    first()
    second()
    assert [run["agent_name"] for run in rows(db_path, "runs")] == ["first", "second"]


def test_inputs_are_the_arguments_by_name(db_path: Path) -> None:
    """`self` is left out, defaults are there, objects are text, `**kwargs` are spread out."""

    class Agent:
        @waxlocal.observe(agent_name="inputs")
        def go(self, a: int, *rest: int, b: str = "B", o: object = None, **more: object) -> None:
            """Do nothing."""

    Agent().go(1, 2, 3, o=Thing(), deep={"o": [Thing()]}, pair=(1, 2))
    assert run_named(db_path, "inputs")["inputs"] == {
        "a": 1,
        "rest": [2, 3],
        "b": "B",
        "o": "a thing",
        "deep": {"o": ["a thing"]},
        "pair": [1, 2],
    }


def test_result_is_the_returned_dict_or_wraps_the_value(db_path: Path) -> None:
    """A dict is the result as it is, another value is its `output`, None is not a result."""

    @waxlocal.observe(agent_name="results")
    def give(value: Any) -> Any:
        return value

    for value in ({"a": 1}, "text", [1], None, Thing()):
        assert give(value) is value
    found = [run["result"] for run in rows(db_path, "runs")]
    assert found == [{"a": 1}, {"output": "text"}, {"output": [1]}, None, {"output": "a thing"}]


def test_result_that_the_function_set_itself_stays(db_path: Path) -> None:
    """`waxell_ctx.set_result` beats the returned value."""

    @waxlocal.observe(agent_name="own")
    def give(waxell_ctx: WaxellContext | None = None) -> str:
        assert waxell_ctx is not None
        waxell_ctx.set_result({"mine": 1})
        return "other"

    assert give() == "other"
    assert run_named(db_path, "own")["result"] == {"mine": 1}


def test_capture_io_off_keeps_arguments_and_result_out(db_path: Path) -> None:
    """`capture_io=False` records the run without what went in and came out."""

    @waxlocal.observe(agent_name="quiet", capture_io=False)
    def give(secret: str) -> str:
        return secret

    give("s")
    run = run_named(db_path, "quiet")
    assert (run["inputs"], run["result"]) == (None, None)


def test_call_may_override_what_the_decorator_said(db_path: Path) -> None:
    """Keywords that the function does not declare go to the run, for this call only."""

    @waxlocal.observe(agent_name="override", session_id="fixed", user_id="u")
    def go(message: str) -> str:
        return message

    go("one")
    go(  # type: ignore[call-arg]
        "two",
        session_id="S",
        user_id="U",
        user_group="G",
        end_user_id="E",
        workflow_name="W",
        inputs={"i": 1},
        metadata={"m": 2},
        enforce_policy=False,
        mid_execution_governance=True,
        auto_grounding=True,
        client=None,
        on_policy_block=None,
    )
    one, two = rows(db_path, "runs")
    assert (one["session_id"], one["user_id"], one["workflow_name"]) == ("fixed", "u", "default")
    assert one["inputs"] == {"message": "one"}
    assert (two["session_id"], two["user_id"], two["user_group"]) == ("S", "U", "G")
    assert (two["workflow_name"], two["inputs"]) == ("W", {"i": 1})
    assert two["metadata"] == {"m": 2, "tenant_sub_user_id": "E"}


def test_declared_session_id_is_an_argument_and_nothing_else(db_path: Path) -> None:
    """A function that has a parameter `session_id` gets it; the run's session stays its own."""

    @waxlocal.observe(agent_name="declared")
    def go(message: str, session_id: str = "", user_id: str | None = None) -> str:
        return session_id

    assert go("m", session_id="S1", user_id="U1") == "S1"
    run = run_named(db_path, "declared")
    assert (run["session_id"], run["user_id"]) == (None, None)
    assert run["inputs"] == {"message": "m", "session_id": "S1", "user_id": "U1"}


def test_declared_keyword_arguments_do_not_swallow_the_overrides(db_path: Path) -> None:
    """`**kwargs` declares no name: overrides go to the run, the rest to the function."""

    @waxlocal.observe(agent_name="spread")
    def go(**given: Any) -> dict[str, Any]:
        return given

    assert go(session_id="S", z=1) == {"z": 1}
    assert run_named(db_path, "spread")["session_id"] == "S"


def test_context_is_injected_where_it_is_declared(db_path: Path) -> None:
    """A parameter `waxell_ctx` receives the open run, and is not an input."""

    @waxlocal.observe(agent_name="injected")
    def go(message: str, waxell_ctx: WaxellContext | None = None) -> bool:
        assert waxell_ctx is get_context()
        assert waxell_ctx is not None
        waxell_ctx.record_step("inside")
        return True

    assert go("m")
    assert go("m", waxell_ctx=None)
    runs = rows(db_path, "runs")
    assert [run["inputs"] for run in runs] == [{"message": "m"}] * 2
    assert [s["run_id"] for s in rows(db_path, "steps")] == [run["run_id"] for run in runs]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("bad"), "error"), (KeyboardInterrupt(), "cancelled"), (SystemExit(3), "error")],
)
def test_exception_goes_on_and_is_recorded(
    db_path: Path, error: BaseException, status: str
) -> None:
    """Whatever leaves the function reaches the caller itself, and stands in the run."""

    @waxlocal.observe(agent_name="fails")
    def go() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        go()
    assert caught.value is error
    run = run_named(db_path, "fails")
    assert (run["status"], run["error_type"]) == (status, type(error).__name__)
    assert run["error"] == (str(error) or None)
    assert "in go" in run["traceback"]
    assert run["result"] is None


def test_policy_violation_ends_the_run_as_blocked(db_path: Path) -> None:
    """A program that refuses itself is told apart from one that failed."""

    @waxlocal.observe(agent_name="refuses")
    def go() -> None:
        raise waxlocal.PolicyViolationError("too expensive")

    with pytest.raises(waxlocal.PolicyViolationError):
        go()
    run = run_named(db_path, "refuses")
    assert (run["status"], run["error"]) == ("blocked", "too expensive")


def call_generator(*args: Any) -> Any:
    return list(generator(*args))


def call_async_generator(*args: Any) -> Any:
    return asyncio.run(gathered(async_generator(*args)))


def call_coroutine(*args: Any) -> Any:
    return asyncio.run(coroutine(*args))


@pytest.mark.parametrize("call", [plain, call_coroutine, call_generator, call_async_generator])
def test_call_with_wrong_arguments_ends_its_run(
    recorder: Recorder, db_path: Path, call: Callable[..., Any]
) -> None:
    """A call that Python refuses is a failed run, not one that stays open."""
    with pytest.raises(TypeError):
        call(1, 2, 3)
    assert run_named(db_path, "kinds")["status"] == "error"
    assert not recorder.open_runs
    assert get_context() is None


def test_lineage_goes_through_decorated_functions(db_path: Path) -> None:
    """A decorated function called inside another is its child, in its session and trace."""

    @waxlocal.observe(agent_name="leaf")
    def leaf() -> None: ...

    @waxlocal.observe(agent_name="middle")
    async def middle() -> None:
        leaf()

    @waxlocal.observe(agent_name="root", session_id="s", user_id="u")
    async def root() -> None:
        await asyncio.gather(middle(), middle())

    asyncio.run(root())
    top = run_named(db_path, "root")
    middles = rows(db_path, "runs", agent_name="middle")
    leaves = rows(db_path, "runs", agent_name="leaf")
    assert top["parent_workflow_id"] is None
    assert {m["parent_workflow_id"] for m in middles} == {top["workflow_id"]}
    assert {x["parent_workflow_id"] for x in leaves} == {m["workflow_id"] for m in middles}
    for run in middles + leaves:
        assert run["root_workflow_id"] == top["workflow_id"]
        assert (run["session_id"], run["user_id"]) == ("s", "u")
        assert run["trace_id"] == top["trace_id"]


def test_consumer_of_a_generator_is_not_inside_its_run(db_path: Path) -> None:
    """Between two steps nothing of the generator is current, and a run begun there is no child."""

    @waxlocal.observe(agent_name="source")
    def source() -> Iterator[str]:
        assert get_context() is not None
        yield "a"
        waxlocal.step("between")
        yield "b"

    seen = []
    for item in source():
        seen.append(item)
        assert get_context() is None
        with WaxellContext("consumer"):
            pass
    assert seen == ["a", "b"]
    assert {r["parent_workflow_id"] for r in rows(db_path, "runs", agent_name="consumer")} == {None}
    run = run_named(db_path, "source")
    assert only(db_path, "steps")["run_id"] == run["run_id"]
    assert run["result"] == {"output": "ab"}


def test_consumer_of_an_async_generator_is_not_inside_its_run(db_path: Path) -> None:
    """The same for `async for`, also with an awaiting body and a session block around the yield."""

    @waxlocal.observe(agent_name="source")
    async def source() -> AsyncIterator[str]:
        with waxlocal.session("inner"):
            yield "a"
            await asyncio.sleep(0)
            waxlocal.step("between")
            yield "b"

    async def consume() -> list[str]:
        seen = []
        async for item in source():
            seen.append(item)
            await asyncio.sleep(0)
            assert get_context() is None
            with WaxellContext("consumer"):
                pass
        return seen

    assert asyncio.run(consume()) == ["a", "b"]
    for run in rows(db_path, "runs", agent_name="consumer"):
        assert (run["parent_workflow_id"], run["session_id"]) == (None, None)
    assert only(db_path, "steps")["run_id"] == run_named(db_path, "source")["run_id"]


def test_generator_closed_early_ends_its_run(recorder: Recorder, db_path: Path) -> None:
    """Leaving a loop before the end is not an error: the run ends with what was given so far."""
    cleaned = []

    @waxlocal.observe(agent_name="early")
    def source() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            cleaned.append(get_context() is not None)

    steps = source()
    assert next(steps) == "a"
    steps.close()  # type: ignore[attr-defined]
    run = run_named(db_path, "early")
    assert (run["status"], run["error_type"]) == ("cancelled", None)
    assert run["result"] == {"output": "a"}
    assert cleaned == [True]
    assert not recorder.open_runs


def test_async_generator_closed_early_ends_its_run(db_path: Path) -> None:
    """The same for `aclose()`."""

    @waxlocal.observe(agent_name="early")
    async def source() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def consume() -> None:
        steps = source()
        assert await anext(steps) == "a"
        await steps.aclose()  # type: ignore[attr-defined]

    asyncio.run(consume())
    run = run_named(db_path, "early")
    assert (run["status"], run["result"]) == ("cancelled", {"output": "a"})


def talk() -> Generator[str, str, str]:
    """Answer what is sent and what is thrown."""
    heard = yield "hello"
    try:
        yield heard.upper()
    except ValueError as error:
        yield f"caught {error}"
    return "bye"


def test_generator_receives_what_is_sent_and_thrown(db_path: Path) -> None:
    """`send`, `throw` and the returned value work through the decorator."""

    steps = waxlocal.observe(agent_name="dialogue")(talk)()
    assert next(steps) == "hello"
    assert steps.send("loud") == "LOUD"
    assert steps.throw(ValueError("x")) == "caught x"
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == "bye"
    assert run_named(db_path, "dialogue")["result"] == {"output": "bye"}


def test_generator_that_raises_fails_its_run(db_path: Path) -> None:
    """An exception inside a step reaches the consumer and the run."""

    @waxlocal.observe(agent_name="breaks")
    async def source() -> AsyncIterator[int]:
        yield 1
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        asyncio.run(gathered(source()))
    run = run_named(db_path, "breaks")
    assert (run["status"], run["error"]) == ("error", "half-way")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_generator_yielded_before_it_raised_is_kept(
    db_path: Path, asynchronous: bool
) -> None:
    """As the result of the run and the output of the tool's span, beside the error."""

    @waxlocal.observe(agent_name="breaks")
    def source() -> Iterator[str]:
        yield from used()

    @waxlocal.tool()
    def used() -> Iterator[str]:
        yield "a"
        yield "b"
        raise ValueError("half-way")

    @waxlocal.observe(agent_name="breaks")
    async def async_source() -> AsyncIterator[str]:
        async for item in async_used():
            yield item

    @waxlocal.tool(name="used")
    async def async_used() -> AsyncIterator[str]:
        yield "a"
        yield "b"
        raise ValueError("half-way")

    def consume() -> object:
        return asyncio.run(gathered(async_source())) if asynchronous else list(source())

    with pytest.raises(ValueError, match="half-way"):
        consume()
    run, span = run_named(db_path, "breaks"), only(db_path, "spans")
    assert (run["status"], run["error"]) == ("error", "half-way")
    assert run["result"] == {"output": "ab"}
    assert span["status"] == "error"
    assert span["output"] == {"output": "ab"}


def test_what_a_generator_yielded_before_its_task_was_cancelled_is_kept(db_path: Path) -> None:
    """The run ends with the cancellation as its error, and with what it had given."""

    @waxlocal.observe(agent_name="cancelled")
    async def source() -> AsyncIterator[str]:
        yield "a"
        got.set()
        await asyncio.Event().wait()
        yield "never"

    async def consume() -> None:
        nonlocal got
        got = asyncio.Event()
        task = asyncio.ensure_future(gathered(source()))
        await got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    got: Any = None
    asyncio.run(consume())
    run = run_named(db_path, "cancelled")
    assert (run["status"], run["error_type"]) == ("cancelled", "CancelledError")
    assert run["result"] == {"output": "a"}


def test_a_decision_of_a_generator_that_raised_is_not_recorded(db_path: Path) -> None:
    """What it yielded before is not what it decided."""

    @waxlocal.decision()
    def choose() -> Iterator[str]:
        yield "a"
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"), WaxellContext("agent"):
        list(choose())
    assert rows(db_path, "spans") == []


def test_arguments_that_contain_themselves_do_not_stop_the_call(db_path: Path) -> None:
    """A circle in an argument is shown as far as it goes, without unrolling it."""

    @waxlocal.observe(agent_name="circle")
    def go(value: Any) -> int:
        return 1

    circle: dict[str, Any] = {}
    circle.update({str(n): circle for n in range(50)})
    assert go(circle) == 1
    assert set(run_named(db_path, "circle")["inputs"]["value"]) == set(circle)


# What the smaller decorators record.


def test_tool_is_a_span_around_the_call(db_path: Path) -> None:
    """Arguments, answer, type and time are kept; what is recorded meanwhile lies inside."""

    @waxlocal.tool(tool_type="search", name="lookup")
    def find(query: str) -> list[str]:
        assert only(db_path, "spans")["status"] == "running"
        context = get_context()
        assert context is not None
        context.record_tool_call(name="inner")
        return [query]

    with WaxellContext("agent"):
        assert find("q") == ["q"]
    outer, inner = rows(db_path, "spans")
    assert (outer["name"], outer["kind"], outer["status"]) == ("lookup", "tool", "ok")
    assert outer["attributes"] == {"tool_type": "search"}
    assert (outer["input"], outer["output"]) == ({"query": "q"}, {"output": ["q"]})
    assert outer["duration_ms"] >= 0
    assert inner["parent_position"] == outer["position"]


def test_tool_that_raises_is_a_failed_span(db_path: Path) -> None:
    """The exception goes on; the span says what it was."""

    @waxlocal.tool()
    async def find() -> None:
        raise LookupError("gone")

    async def agent() -> None:
        async with WaxellContext("agent"):
            with pytest.raises(LookupError):
                await find()

    asyncio.run(agent())
    span = only(db_path, "spans")
    assert (span["name"], span["status"], span["error"]) == ("find", "error", "LookupError: gone")


def test_decision_is_a_span_and_a_score(db_path: Path) -> None:
    """A dict gives choice, reasons and confidence, another value the choice alone."""

    @waxlocal.decision(name="route", options=["a", "b"])
    def choose() -> dict[str, Any]:
        return {"chosen": "a", "reasoning": "near", "confidence": 0.75}

    @waxlocal.decision()
    def pick() -> str:
        return "b"

    with WaxellContext("agent"):
        assert choose() == {"chosen": "a", "reasoning": "near", "confidence": 0.75}
        assert pick() == "b"
    first, second = rows(db_path, "spans", kind="decision")
    assert first["name"] == "route"
    assert first["input"] == {"options": ["a", "b"], "reasoning": "near"}
    assert first["output"] == {"chosen": "a", "confidence": 0.75}
    assert (second["name"], second["output"]["chosen"]) == ("pick", "b")
    score = only(db_path, "scores")
    assert (score["name"], score["numeric_value"]) == ("decision_confidence:route", 0.75)
    assert score["comment"] == "Chose 'a' from 2 options"


def test_retrieval_keeps_query_and_documents(db_path: Path) -> None:
    """The query is the argument of that name or the first one; documents bring their scores."""

    @waxlocal.retrieval(source="faiss")
    def search(query: str, top_k: int = 2) -> list[dict[str, Any]]:
        return [{"id": "1", "score": 0.5}, {"id": "2", "score": 0.25}]

    with WaxellContext("agent"):
        search("what")
    span = only(db_path, "spans")
    assert (span["name"], span["kind"]) == ("retrieve:faiss", "retriever")
    assert span["input"] == {"query": "what", "top_k": 2}
    assert [d["id"] for d in span["output"]["documents"]] == ["1", "2"]
    assert span["attributes"]["doc_count"] == 2
    assert (span["attributes"]["top_score"], span["attributes"]["avg_score"]) == (0.5, 0.375)


def test_reasoning_and_step_keep_what_was_returned(db_path: Path) -> None:
    """A thought becomes a reasoning span, a step a step."""

    @waxlocal.reasoning_dec("plan")
    def think() -> dict[str, Any]:
        return {"thought": "t", "evidence": ["e"], "conclusion": "c"}

    @waxlocal.step_dec("prepare")
    async def prepare() -> dict[str, int]:
        return {"n": 1}

    async def agent() -> None:
        async with WaxellContext("agent"):
            think()
            await prepare()

    asyncio.run(agent())
    span, step = only(db_path, "spans"), only(db_path, "steps")
    assert (span["name"], span["kind"]) == ("plan", "reasoning")
    assert span["input"] == {"thought": "t", "evidence": ["e"]}
    assert span["output"] == {"conclusion": "c"}
    assert (step["step_name"], step["output"]) == ("prepare", {"n": 1})


class Doubler:
    """An object that can be called, as frameworks make them of tools."""

    def __call__(self, x: int) -> int:
        return 2 * x


class AsyncDoubler:
    """The same, async."""

    async def __call__(self, x: int) -> int:
        await asyncio.sleep(0)
        waxlocal.step("inside")
        return 2 * x


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


@pytest.mark.parametrize(
    ("function", "name"),
    [(functools.partial(add, 2), "add"), (Doubler(), "Doubler"), (Doubler().__call__, "__call__")],
)
def test_what_can_be_called_can_be_decorated(
    db_path: Path, function: Callable[[int], int], name: str
) -> None:
    """A partial and an object have no name of their own: they are recorded under the next best."""
    with WaxellContext("outer"):
        assert waxlocal.tool()(function)(2) == 4
        assert waxlocal.step_dec()(function)(2) == 4
    assert waxlocal.observe()(function)(2) == 4
    assert only(db_path, "spans")["name"] == only(db_path, "steps")["step_name"] == name
    assert run_named(db_path, name)["result"] == {"output": 4}


@pytest.mark.parametrize("decorate", [waxlocal.observe(), waxlocal.tool(), waxlocal.propagate])
def test_an_object_with_an_async_call_is_awaited_inside(
    db_path: Path, decorate: Callable[[Any], Any]
) -> None:
    """The record ends when the call has been awaited, with what it returned."""

    async def agent() -> int:
        async with WaxellContext("outer"):
            called = decorate(AsyncDoubler())
            return int(await called(2))

    assert asyncio.run(agent()) == 4
    assert only(db_path, "steps")["step_name"] == "inside"
    for span in rows(db_path, "spans"):
        assert (span["name"], span["output"]) == ("AsyncDoubler", {"output": 4})
    for run in rows(db_path, "runs", agent_name="AsyncDoubler"):
        assert run["result"] == {"output": 4}


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function as programs do, plainly, whatever kind of function it is."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize("how", ["awaited", "in a task", "raises", "cancelled"])
def test_an_async_function_in_a_plain_wrapper_is_recorded_until_it_has_ended(
    db_path: Path, how: str
) -> None:
    """What it records lies in its run, its answer is the result, and the caller's run is back."""

    @waxlocal.observe(agent_name="inner")
    @timed
    async def inner(x: int) -> int:
        waxlocal.step("inside")
        await asyncio.sleep(60 if how == "cancelled" else 0)
        if how == "raises":
            raise ValueError("bad")
        return 2 * x

    async def agent() -> object:
        async with WaxellContext("outer") as outer:
            made = inner(2)
            assert get_context() is outer
            if how in ("awaited", "raises"):
                value = await made
            else:
                task = asyncio.create_task(made)
                await asyncio.sleep(0)
                if how == "cancelled":
                    task.cancel()
                value = await task
            assert get_context() is outer
            return value

    if how == "raises":
        with pytest.raises(ValueError, match="bad"):
            asyncio.run(agent())
    elif how == "cancelled":
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(agent())
    else:
        assert asyncio.run(agent()) == 4
    run = run_named(db_path, "inner")
    assert only(db_path, "steps")["run_id"] == run["run_id"]
    expected = {"raises": "ValueError", "cancelled": "CancelledError"}.get(how)
    status = {"raises": "error", "cancelled": "cancelled"}.get(how, "success")
    assert (run["status"], run["error_type"]) == (status, expected)
    assert run["result"] == (None if expected else {"output": 4})
    assert run["parent_workflow_id"] == f"wf_{run_named(db_path, 'outer')['run_id']}"


async def as_async(items: Iterator[str]) -> AsyncIterator[str]:
    """Give the same items, step by step, with the end that they have."""
    for item in items:
        yield item


def streams(asynchronous: bool, body: Callable[[], Iterator[str]]) -> Callable[[], Any]:
    """Return a function that gives an async or a plain generator, in a plain wrapper."""

    def stream() -> Iterator[str]:
        yield from body()

    async def async_stream() -> AsyncIterator[str]:
        for item in body():
            await asyncio.sleep(0)
            yield item

    return timed(async_stream if asynchronous else stream)


def consumed(stream: Any, items: int | None = None) -> list[str]:
    """Consume a generator of either kind, all of it or so many items; then close it."""

    async def consume() -> list[str]:
        steps = stream if isinstance(stream, AsyncIterator) else as_async(stream)
        seen: list[str] = []
        try:
            async for item in steps:
                seen.append(item)
                assert get_context() is None
                if len(seen) == items:
                    break
        finally:
            await steps.aclose()  # type: ignore[attr-defined]
        return seen

    seen = asyncio.run(consume())
    if not isinstance(stream, AsyncIterator):
        stream.close()
    return seen


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("items", [None, 1])
def test_a_generator_in_a_plain_wrapper_is_recorded_until_it_is_consumed_or_closed(
    db_path: Path, asynchronous: bool, items: int | None
) -> None:
    """What it records lies in its run, and what it gave is the result; its consumer is outside."""

    def body() -> Iterator[str]:
        waxlocal.step("before")
        yield "a"
        waxlocal.step("between")
        yield "b"

    stream = waxlocal.observe(agent_name="source")(streams(asynchronous, body))()
    assert get_context() is None
    assert run_named(db_path, "source")["status"] == "running"
    expected = ["a", "b"][:items]
    assert consumed(stream, items) == expected
    run = run_named(db_path, "source")
    assert run["status"] == ("success" if items is None else "cancelled")
    assert run["result"] == {"output": "".join(expected)}
    assert [step["step_name"] for step in rows(db_path, "steps", run_id=run["run_id"])] == [
        "before",
        "between",
    ][:items]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_generator_in_a_plain_wrapper_that_raises_fails_its_run(
    db_path: Path, asynchronous: bool
) -> None:
    """The exception reaches the consumer and the run, which keeps what was yielded before."""

    def body() -> Iterator[str]:
        yield "a"
        raise ValueError("half-way")

    stream = waxlocal.observe(agent_name="source")(streams(asynchronous, body))()
    with pytest.raises(ValueError, match="half-way"):
        consumed(stream)
    run = run_named(db_path, "source")
    assert (run["status"], run["error"], run["result"]) == ("error", "half-way", {"output": "a"})


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_generator_in_a_plain_wrapper_that_nobody_consumes_ends_its_run(
    recorder: Recorder, db_path: Path, asynchronous: bool
) -> None:
    """The run ends when the generator is dropped, and the run around it is open as before."""
    with WaxellContext("outer") as outer:
        stream = waxlocal.observe(agent_name="source")(streams(asynchronous, lambda: iter("a")))()
        assert get_context() is outer
        del stream
        gc.collect()
        assert run_named(db_path, "source")["status"] == "success"
        assert get_context() is outer
    assert not recorder.open_runs


def test_a_generator_in_a_plain_wrapper_takes_what_is_sent_and_thrown(db_path: Path) -> None:
    """`send`, `throw` and the returned value work as without the decorator; so do tools."""

    with WaxellContext("outer"):
        steps = waxlocal.tool(name="dialogue")(timed(talk))()
        assert [next(steps), steps.send("loud"), steps.throw(ValueError("x"))] == [
            *("hello", "LOUD", "caught x")
        ]
        with pytest.raises(StopIteration) as stop:
            next(steps)
        assert stop.value.value == "bye"
    span = only(db_path, "spans")
    assert (span["name"], span["status"], span["output"]) == ("dialogue", "ok", {"output": "bye"})


def test_a_generator_that_a_function_was_given_comes_back_as_the_same_object() -> None:
    """What the caller gave is not the work of the call."""
    given = (item for item in "ab")
    assert waxlocal.observe(lambda items: items)(given) is given


@pytest.mark.parametrize("decorate", [waxlocal.observe(agent_name="source"), waxlocal.tool()])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_generator_that_a_function_gives_at_each_call_goes_on(
    recorder: Recorder, db_path: Path, decorate: Any, asynchronous: bool
) -> None:
    """Its first call is watched until its generator is dropped, which does not close the shared."""

    def numbers() -> Iterator[str]:
        yield from "abc"

    shared = streams(asynchronous, numbers)()
    source = decorate(lambda: shared)

    async def first_of_each() -> list[object]:
        found = []
        for _ in range(4):
            found.append(await anext(source(), None))
            await asyncio.sleep(0)  # where the loop closes what was dropped
        return found

    with WaxellContext("outer"):
        if asynchronous:
            assert asyncio.run(first_of_each()) == [*"abc", None]
        else:
            assert [next(source(), None) for _ in range(4)] == [*"abc", None]
    assert not recorder.open_runs
    assert {span["status"] for span in rows(db_path, "spans")} <= {"ok"}
    outer, *calls = rows(db_path, "runs")
    assert outer["status"] == "success"
    assert [run["status"] for run in calls] == ["cancelled", *["success"] * 3][: len(calls)]


def test_what_a_function_gives_at_each_call_is_the_same_object_each_time() -> None:
    """Also where two functions give it, and where it has begun before or meanwhile."""
    shared = (item for item in "abc")
    source, other = waxlocal.observe(lambda: shared), waxlocal.tool()(lambda: shared)
    held = source()
    assert source() is held
    assert other() is held
    assert next(held) == "a"
    assert source() is held
    begun = (item for item in "abc")
    next(begun)
    assert waxlocal.observe(lambda: begun)() is begun


async def _shared_items() -> AsyncIterator[str]:
    yield "a"
    yield "b"


def test_an_async_generator_that_has_begun_comes_back_as_the_same_object() -> None:
    """Closing what a call gave closes it, as without the decorator."""

    async def use() -> None:
        shared = _shared_items()
        source = waxlocal.observe(lambda: shared)
        await anext(shared)
        assert source() is shared
        fresh = _shared_items()
        made = waxlocal.observe(lambda: fresh)()
        assert await anext(made) == "a"
        await made.aclose()  # type: ignore[attr-defined]
        assert await anext(fresh, None) is None

    asyncio.run(use())


def test_closing_a_shared_generator_closes_it() -> None:
    """Only where it is dropped does it go on for its other holders."""
    shared = (item for item in "abc")
    made = waxlocal.observe(lambda: shared)()
    assert next(made) == "a"
    made.close()
    assert next(shared, None) is None


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_dropped_generator_that_nobody_else_holds_is_closed_inside_its_run(
    recorder: Recorder, db_path: Path, asynchronous: bool
) -> None:
    """Its `finally` runs before the run ends."""

    def items() -> Iterator[str]:
        try:
            yield "a"
        finally:
            waxlocal.step("closed")

    source = waxlocal.observe(agent_name="source")(streams(asynchronous, items))

    async def consume() -> None:
        assert await anext(source()) == "a"
        await asyncio.sleep(0)  # here the loop begins to close it

    if asynchronous:
        asyncio.run(consume())
    else:
        assert next(source()) == "a"
    run = run_named(db_path, "source")
    assert (run["status"], run["result"]) == ("cancelled", {"output": "a"})
    assert only(db_path, "steps")["run_id"] == run["run_id"]
    assert not recorder.open_runs


def test_a_coroutine_that_a_function_gives_at_each_call_is_the_same_object(db_path: Path) -> None:
    """One that has begun is not watched."""

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    async def use() -> None:
        shared = work()
        source = waxlocal.observe(agent_name="source")(lambda: shared)
        made = source()
        assert source() is made
        assert await made == "done"
        assert source() is made

    asyncio.run(use())
    assert {run["status"] for run in rows(db_path, "runs")} == {"success"}


@pytest.mark.parametrize("kept", [False, True])
def test_a_coroutine_that_cannot_be_made_again_is_not_retried(kept: bool) -> None:
    """One that the caller gave, or that the function gives again: its error goes to the caller."""
    calls: list[int] = []

    async def work() -> None:
        calls.append(1)
        await asyncio.sleep(0)
        raise ValueError("true cause")

    async def use() -> None:
        shared = work()
        give = waxlocal.retry_dec(max_attempts=3)
        await (give(lambda: shared)() if kept else give(lambda given: given)(shared))

    with pytest.raises(ValueError, match="true cause"):
        asyncio.run(use())
    assert calls == [1]


@pytest.mark.parametrize("plain_failures", [0, 1, 2, 3])
def test_attempts_of_a_plain_wrapper_and_of_its_coroutine_are_counted_together(
    db_path: Path, plain_failures: int
) -> None:
    """`max_attempts` is how often the function is called, wherever it fails."""
    calls: list[int] = []

    @waxlocal.retry_dec(max_attempts=3)
    def mixed() -> Any:
        calls.append(1)
        if len(calls) <= plain_failures:
            raise OSError(f"plain {len(calls)}")

        async def inner() -> None:
            raise OSError(f"async {len(calls)}")

        return inner()

    async def agent() -> None:
        async with WaxellContext("agent"):
            await mixed()

    with pytest.raises(OSError, match="plain 3" if plain_failures == 3 else "async 3"):
        asyncio.run(agent())
    assert calls == [1] * 3
    assert [span["name"] for span in rows(db_path, "spans")] == ["retry:1", "retry:2"]


@pytest.mark.parametrize("attempts", [2, 3])
def test_an_async_function_in_a_plain_wrapper_is_retried(db_path: Path, attempts: int) -> None:
    """What it raises when it is awaited counts as a failed attempt; the last one goes on."""
    calls: list[int] = []

    @waxlocal.retry_dec(max_attempts=attempts)
    @timed
    async def flaky(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        if len(calls) <= 2:
            raise ValueError(f"failure {len(calls)}")
        return x

    async def agent() -> int:
        async with WaxellContext("agent"):
            return int(await flaky(7))

    if attempts == 2:
        with pytest.raises(ValueError, match="failure 2"):
            asyncio.run(agent())
    else:
        assert asyncio.run(agent()) == 7
    assert calls == [7] * attempts
    recorded = ["retry:1", "retry:2"][: attempts - 1]
    assert [span["name"] for span in rows(db_path, "spans")] == recorded


def test_retry_works_without_parentheses_and_on_async_objects(db_path: Path) -> None:
    """As the other decorators do."""
    calls: list[int] = []

    class Flaky:
        async def __call__(self, x: int) -> int:
            calls.append(x)
            if len(calls) == 1:
                raise ValueError("not yet")
            return x

    @waxlocal.retry_dec
    def plain(x: int) -> int:
        return x

    async def agent() -> int:
        async with WaxellContext("agent"):
            return int(await waxlocal.retry_dec(max_attempts=2)(Flaky())(7))

    assert plain(3) == 3
    assert (asyncio.run(agent()), calls) == (7, [7, 7])
    assert only(db_path, "spans")["name"] == "retry:1"


def test_step_wraps_a_plain_value_as_the_sdk_does(db_path: Path) -> None:
    """It is the step's `result`; None is not an output."""

    @waxlocal.step_dec()
    def give(value: object) -> object:
        return value

    with WaxellContext("agent"):
        give(7)
        give(None)
    assert [step["output"] for step in rows(db_path, "steps")] == [{"result": 7}, None]


def test_retry_calls_again_until_it_works(db_path: Path) -> None:
    """Failed attempts that are followed by another are recorded, and nothing is raised."""
    calls = []

    @waxlocal.retry_dec(max_attempts=3, strategy="backoff", fallback_to="cheap")
    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError(f"bad {len(calls)}")
        return "good"

    with WaxellContext("agent"):
        assert flaky() == "good"
    spans = rows(db_path, "spans", kind="retry")
    assert [(s["name"], s["input"]["reason"]) for s in spans] == [
        ("backoff:1", "bad 1"),
        ("backoff:2", "bad 2"),
    ]
    assert spans[0]["attributes"]["max_attempts"] == 3
    assert spans[0]["attributes"]["fallback_to"] == "cheap"


def test_retry_raises_the_last_error() -> None:
    """After `max_attempts` calls the exception reaches the caller, also without a run."""
    calls = []

    @waxlocal.retry_dec(max_attempts=2)
    async def broken() -> None:
        calls.append(1)
        raise ValueError(len(calls))

    with pytest.raises(ValueError, match="2"):
        asyncio.run(broken())
    assert len(calls) == 2


@pytest.mark.usefixtures("nothing_there")
def test_small_decorators_are_silent_outside_a_run(db_path: Path) -> None:
    """Without an open run the functions just run, and no file appears."""
    for decorate in (
        waxlocal.tool(),
        waxlocal.decision(),
        waxlocal.retrieval(),
        waxlocal.reasoning_dec(),
        waxlocal.step_dec(),
        waxlocal.retry_dec(),
    ):

        @decorate
        def give(value: int) -> int:
            return value

        assert give(3) == 3
    assert not db_path.exists()


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        {"chosen": Unprintable(), "options": 3, "reasoning": 1, "confidence": "high"},
        {"thought": Unprintable(), "evidence": 3, "conclusion": None},
        [{"score": "x"}, Unprintable()],
        Unprintable(),
        float("nan"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_returned_value_makes_a_decorator_raise(db_path: Path, value: Any) -> None:
    """Whatever a function gives, its caller gets, and each decorator leaves its row."""
    decorators = (
        waxlocal.tool(),
        waxlocal.decision(),
        waxlocal.retrieval(),
        waxlocal.reasoning_dec(),
        waxlocal.step_dec(),
        waxlocal.observe(),
    )
    with WaxellContext("agent"):
        for decorate in decorators:
            assert decorate(lambda query: value)(Unprintable()) is value
    assert len(rows(db_path, "spans")) == 4
    assert len(rows(db_path, "steps")) == 1
    assert [run["status"] for run in rows(db_path, "runs")] == ["success"] * 2
