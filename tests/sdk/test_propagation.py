"""Carrying a run into threads, executors and streams; and what is said where none is found."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

import waxlocal
from tests.tools.sdk_rows import only, rows, run_named
from waxlocal import WaxellContext, get_context, propagate
from waxlocal.sdk import scope

pytestmark = pytest.mark.usefixtures("recorder")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "_told", False)


@waxlocal.tool()
def look_up(number: int) -> int:
    waxlocal.score("found", number)
    return number


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def assert_recorded(path: Path, run_id: str, number: int) -> None:
    for table in ("spans", "scores"):
        assert [row["run_id"] for row in rows(path, table)] == [run_id] * number
    assert {span["status"] for span in rows(path, "spans")} <= {"ok"}


@pytest.mark.parametrize("form", ["submit", "map", "run_in_executor"])
def test_tools_in_a_thread_pool(db_path: Path, pool: ThreadPoolExecutor, form: str) -> None:
    """Each call belongs to the run that is open where it is submitted, and lies in its span."""
    carrying = propagate(pool)

    async def gathered() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(carrying, look_up, n) for n in range(8)))

    with WaxellContext("agent") as ctx:
        outer = ctx.enter_span("outer")
        if form == "submit":
            assert [f.result() for f in [carrying.submit(look_up, n) for n in range(8)]][7] == 7
        elif form == "map":
            assert list(carrying.map(look_up, range(8))) == list(range(8))
        else:
            asyncio.run(gathered())
        ctx.exit_span(outer)
    first, *tools = rows(db_path, "spans")
    assert {tool["parent_position"] for tool in tools} == {first["position"]}
    assert {s["run_id"] for s in rows(db_path, "scores")} == {ctx.run_id}
    assert len(tools) == 8


def test_executor_carries_the_run_of_each_caller(db_path: Path, pool: ThreadPoolExecutor) -> None:
    """And its session, its user, and the program's own context variables."""
    own: contextvars.ContextVar[str] = contextvars.ContextVar("own")
    carrying = propagate(pool)

    def work() -> str:
        with WaxellContext("child"):
            return own.get()

    for name in ("alice", "bob"):
        own.set(name)
        with WaxellContext("parent", session_id=name, user_id=name):
            assert carrying.submit(work).result() == name
    parents = {run["workflow_id"]: run for run in rows(db_path, "runs", agent_name="parent")}
    for child in rows(db_path, "runs", agent_name="child"):
        parent = parents[child["parent_workflow_id"]]
        assert (child["session_id"], child["user_id"]) == (parent["session_id"], parent["user_id"])


@pytest.mark.parametrize("end", ["in time", "late"])
def test_function_in_a_thread(db_path: Path, end: str) -> None:
    """What a carried function records is its run's, also after the run has ended."""
    go = threading.Event()

    def work() -> None:
        go.wait()
        look_up(1)
        context = get_context()
        assert context is not None
        context.set_tag("from", "thread")
        with WaxellContext("child"):
            pass

    with WaxellContext("agent", session_id="s") as ctx:
        thread = threading.Thread(target=propagate(work))
        thread.start()
        if end == "in time":
            go.set()
            thread.join()
    go.set()
    thread.join()
    assert_recorded(db_path, ctx.run_id, 1)
    assert run_named(db_path, "agent")["tags"] == {"from": "thread"}
    child = run_named(db_path, "child")
    inside = (child["parent_workflow_id"], child["session_id"])
    assert inside == ((f"wf_{ctx.run_id}", "s") if end == "in time" else (None, None))


def test_methods_of_a_run_work_in_any_thread(db_path: Path, pool: ThreadPoolExecutor) -> None:
    """`ctx` is its own address: nothing has to be carried for it, in time or late."""

    def work(ctx: WaxellContext) -> None:
        ctx.record_tool_call(name="t")
        ctx.record_score("s", 1.0)
        ctx.set_tag("t", "v")

    with WaxellContext("agent") as ctx:
        pool.submit(work, ctx).result()
    pool.submit(work, ctx).result()
    assert_recorded(db_path, ctx.run_id, 2)
    assert run_named(db_path, "agent")["tags"] == {"t": "v"}


# Kinds of functions and iterators.


async def agather(items: AsyncIterator[int]) -> list[int]:
    return [item async for item in items]


def plain() -> int:
    return look_up(1)


async def coroutine() -> int:
    await asyncio.sleep(0)
    return look_up(1)


def generator() -> Iterator[int]:
    yield look_up(1)


async def async_generator() -> AsyncIterator[int]:
    await asyncio.sleep(0)
    yield look_up(1)


KINDS: list[tuple[Callable[..., Any], Callable[[Any], Any]]] = [
    (plain, lambda made: made()),
    (coroutine, lambda made: asyncio.run(made())),
    (generator, lambda made: list(made())),
    (async_generator, lambda made: asyncio.run(agather(made()))),
]


@pytest.mark.parametrize(("function", "call"), KINDS)
def test_each_kind_of_function_is_carried(
    db_path: Path, function: Callable[..., Any], call: Callable[[Any], Any]
) -> None:
    """It keeps its name, may be called twice, and leaves nothing current behind."""
    with WaxellContext("agent") as ctx:
        made = propagate(function)
    assert made.__name__ == function.__name__
    assert call(made) in (1, [1])
    assert call(made) in (1, [1])
    assert get_context() is None
    assert_recorded(db_path, ctx.run_id, 2)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_iterator_that_is_broken_off_is_closed_inside(db_path: Path, kind: str) -> None:
    """The `finally` of the stream still records into the run; between the steps nothing does."""

    def steps() -> Iterator[int]:
        try:
            yield look_up(1)
            yield look_up(2)
        finally:
            look_up(3)

    async def async_steps() -> AsyncIterator[int]:
        for step in steps():
            yield step

    with WaxellContext("agent") as ctx:
        stream: Any = propagate(steps() if kind == "plain" else async_steps())

    async def consume() -> None:
        assert await anext(stream) == 1
        assert get_context() is None
        await stream.aclose()

    if kind == "plain":
        assert next(stream) == 1
        assert get_context() is None
        stream.close()
    else:
        asyncio.run(consume())
    assert_recorded(db_path, ctx.run_id, 2)


async def body() -> AsyncIterator[str]:
    for number in range(3):
        look_up(number)
        await asyncio.sleep(0)
        yield f"{number}\n"


def sync_body() -> Iterator[str]:
    for number in range(3):
        look_up(number)
        yield f"{number}\n"


@pytest.mark.parametrize("stream", [body, sync_body])
@pytest.mark.parametrize("carried", [True, False])
def test_streaming_response(
    db_path: Path, caplog: pytest.LogCaptureFixture, stream: Callable[[], Any], carried: bool
) -> None:
    """Its tools and scores run after the handler has returned: kept with the run, or said once."""

    async def handler(_request: Request) -> StreamingResponse:
        async with WaxellContext("agent"):
            content = stream()
            return StreamingResponse(propagate(content) if carried else content)

    async def ask() -> str:
        transport = httpx.ASGITransport(app=Starlette(routes=[Route("/", handler)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/")).text

    with caplog.at_level(logging.WARNING, "waxlocal"):
        assert asyncio.run(ask()) == "0\n1\n2\n"
    run = run_named(db_path, "agent")
    assert run["status"] == "success"
    assert_recorded(db_path, run["run_id"], 3 if carried else 0)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (0 if carried else 1)
    assert carried or ("look_up()" in said[0] and "waxlocal.propagate()" in said[0])


def test_what_cannot_be_placed_is_said_once(
    pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture, db_path: Path
) -> None:
    """Not once for each record, and not before the process has recorded any run."""
    with caplog.at_level(logging.WARNING, "waxlocal"):
        waxlocal.score("before", 1)
        assert caplog.records == []
        with WaxellContext("agent"):
            list(pool.map(look_up, range(8)))
        waxlocal.score("after", 1)
        waxlocal.tag("after", "end")
    assert len(caplog.records) == 1
    assert rows(db_path, "spans") == rows(db_path, "scores") == []


def test_processes_are_refused() -> None:
    """A context cannot be sent to another process; said at once, not by a broken future."""
    with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError, match="run_id"):
        propagate(pool)
    for wrong in (3, "text", None):
        with pytest.raises(TypeError, match="cannot carry"):
            propagate(wrong)  # type: ignore[call-overload]


def test_carrying_executor_is_an_executor() -> None:
    """It shuts the real one down, and passes on what a call raises."""
    inner = ThreadPoolExecutor(1)
    with propagate(inner) as carrying:
        assert isinstance(carrying, Executor)
        with pytest.raises(ZeroDivisionError):
            carrying.submit(lambda: 1 // 0).result()
    with pytest.raises(RuntimeError):
        inner.submit(print)


@pytest.mark.usefixtures("nothing_there")
def test_nothing_is_carried_where_no_run_is_open(db_path: Path, pool: ThreadPoolExecutor) -> None:
    """Then the function just runs."""
    assert propagate(pool).submit(propagate(plain)).result() == 1
    assert not db_path.exists()


def test_client_by_id_still_reaches_its_run(db_path: Path) -> None:
    """In a carried thread the client shares the positions of the run's own context."""

    def work(run_id: str) -> None:
        client = waxlocal.WaxellObserveClient()
        client.record_steps_sync(run_id=run_id, steps=[{"step_name": "by id"}])

    with WaxellContext("agent") as ctx:
        ctx.record_step("own")
        thread = threading.Thread(target=propagate(work), args=(ctx.run_id,))
        thread.start()
        thread.join()
        ctx.record_score("s", 1)
    assert [step["position"] for step in rows(db_path, "steps")] == [1, 2]
    assert only(db_path, "scores")["position"] == 3
