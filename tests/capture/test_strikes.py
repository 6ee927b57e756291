"""What stops a program in the middle: a signal handler that raises, a cancelled task."""

from __future__ import annotations

import asyncio
import importlib
import signal
from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import attach, get_current, get_value, set_value
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

from tests.capture.stored import stored
from tests.tools.alarms import handling, raising, strike_in
from tests.tools.strikes import each_step
from tests.vendors import clients
from tests.vendors.server import vendor_server
from waxlocal import WaxellContext
from waxlocal.capture import captured_span, pairing
from waxlocal.capture.engines import instrument, uninstrument
from waxlocal.capture.google_requests import _awaited_outside
from waxlocal.capture.own_calls import guarded
from waxlocal.capture.process_lock import ProcessLock
from waxlocal.capture.provider import provider
from waxlocal.capture.streams import _leaving_none_current

pytestmark = [
    pytest.mark.usefixtures("recorder"),
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarms on this system"),
]

MESSAGES: list[Any] = [{"role": "user", "content": "what is it?"}]


class TimeLimit(Exception):
    """What a job queue raises in a task that takes too long."""


class Program:
    """A program with a client of each vendor."""

    def __init__(self, url: str) -> None:
        self.gpt = clients.openai_client(url)
        self.claude = clients.anthropic_client(url)

    def ask(self, model: str = "gpt-4o") -> Any:
        """Ask once, without a stream."""
        if model.startswith("gpt"):
            return self.gpt.chat.completions.create(model=model, messages=MESSAGES)
        return self.claude.messages.create(model=model, messages=MESSAGES, max_tokens=9)

    def read(self) -> Any:
        """Ask once, and read a stream to its end."""
        usage = {"include_usage": True}
        return list(
            self.gpt.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, stream=True, stream_options=usage
            )
        )


@pytest.fixture
def program() -> Iterator[Program]:
    assert instrument(["openai", "anthropic"]) == {"openai": True, "anthropic": True}
    with vendor_server() as server:
        made = Program(server.url)
        yield made
        made.gpt.close()
        made.claude.close()
    uninstrument()


TOLD = {"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.token_count.prompt": 5}


def _span() -> Any:
    tracer = provider().get_tracer("openinference.instrumentation.some_framework")
    return tracer.start_as_current_span("chat", attributes=TOLD)


def _start() -> Any:
    tracer = provider().get_tracer("openinference.instrumentation.some_framework")
    return tracer.start_span("chat", attributes=TOLD)


@pytest.mark.parametrize("stop", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_a_call_that_is_stopped_has_failed(db_path: Path, stop: type[BaseException]) -> None:
    """OpenTelemetry's own blocks note no exception but an `Exception`."""
    with pytest.raises(stop), _span():
        raise stop
    (call,), (run,) = stored(db_path).calls, stored(db_path).runs
    assert call["status"] == "error"
    assert call["error_type"].endswith(stop.__name__)
    assert run["status"] == ("error" if stop is SystemExit else "cancelled")


def test_a_call_while_a_cancellation_is_handled_has_not_failed(db_path: Path) -> None:
    """A program may ask a model for a last word."""
    try:
        raise asyncio.CancelledError
    except asyncio.CancelledError:
        with _span():
            pass
    (call,) = stored(db_path).calls
    assert (call["status"], call["error_type"]) == ("ok", None)


def test_a_call_that_is_stopped_by_another_exception_than_before_has_failed(db_path: Path) -> None:
    """One of the same class, perhaps at the same address."""
    for _ in range(20):
        try:
            raise asyncio.CancelledError
        except asyncio.CancelledError:
            block = _span()
            block.__enter__()
        try:
            raise asyncio.CancelledError
        except asyncio.CancelledError as error:
            block.__exit__(type(error), error, error.__traceback__)
    assert [call["status"] for call in stored(db_path).calls] == ["error"] * 20


def test_a_call_that_was_stopped_and_is_struck_at_its_end_has_failed(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strike is none of the call; what stopped it is."""
    strike_in(monkeypatch, captured_span.CapturedSpan, "_write_end")
    with handling(raising(TimeLimit)), pytest.raises(TimeLimit), _span():
        raise KeyboardInterrupt
    (call,) = stored(db_path).calls
    assert (call["status"], call["error_type"]) == ("error", "KeyboardInterrupt")


def test_a_span_that_ends_in_a_signal_handler_costs_no_other_call(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler runs in the middle of another report."""
    spans = []

    def end_other(_number: int, _frame: object) -> None:
        spans.pop().end()

    with WaxellContext("bot"), handling(end_other):
        for _ in range(3):
            with _span():
                pass
        spans.append(_start())
        strike_in(monkeypatch, pairing, "_say_the_same")
        other = (
            provider()
            .get_tracer("another")
            .start_span("chat", attributes=TOLD | {"llm.token_count.prompt": 6})
        )
        other.end()
    assert not spans
    assert len(stored(db_path).calls) == 5


def test_a_strike_leaves_the_lock_of_the_reports_free() -> None:
    """Else no other thread could record a captured call any more."""
    guard = ProcessLock()
    held: list[int] = []

    def act(steps: int) -> Callable[[], object]:
        if guard._is_mine():
            held.append(steps)
        return guard.alone(lambda: "done")

    assert each_step(act) > 5
    assert held == []


class _Hanging:
    """What hangs when it is awaited."""

    def __await__(self) -> Any:
        yield


async def _wait(*_given: object) -> None:
    await _Hanging()


def _call() -> Any:
    return guarded(lambda own, *_given: own())(_wait, None, (), {})


def _read() -> Any:
    return _leaving_none_current(_wait)(object(), None)


def _tool() -> Any:
    return _awaited_outside(_wait())


@pytest.mark.parametrize("begin", [_call, _read, _tool])
def test_a_coroutine_that_is_let_go_of_leaves_the_context_of_others(
    begin: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is closed wherever its last reference goes: in another task, in another request."""

    def start() -> Any:
        attach(set_value("request", "of another"))
        coroutine = begin()
        coroutine.send(None)
        return coroutine

    coroutine = copy_context().run(start)
    around = get_current()
    coroutine.close()
    assert get_current() == around
    assert get_value("request") is None
    assert caplog.records == []


def _ask_claude(program: Program) -> Any:
    return program.ask("claude-opus-4-8")


GENAI = "opentelemetry.instrumentation.genai"
CONTEXT = "opentelemetry.util.genai._invocation"
MOMENTS: dict[str, tuple[str, str, Callable[[Program], Any]]] = {
    "before the request": (f"{GENAI}.openai.utils", "get_value", Program.ask),
    "before the answer is read": (
        f"{GENAI}.anthropic.patch",
        "MessageWrapper.extract_into",
        _ask_claude,
    ),
    "as the call ends": (CONTEXT, "detach", Program.ask),
    "as a chunk has been read": (CONTEXT, "detach", Program.read),
}


@pytest.mark.parametrize(("module", "name", "act"), MOMENTS.values(), ids=MOMENTS)
def test_calls_after_a_strike_are_no_part_of_the_call_that_was_struck(
    db_path: Path,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    name: str,
    act: Callable[[Program], Any],
) -> None:
    """It reaches the program; the struck call has its row, and so has each later one."""
    *owner, function = name.split(".")
    with handling(raising(TimeLimit)):
        strike_in(monkeypatch, reduce(getattr, owner, importlib.import_module(module)), function)
        with pytest.raises(TimeLimit):
            act(program)
    with WaxellContext("bot") as run:
        program.ask()
        _ask_claude(program)
        program.read()
    struck, *later = stored(db_path).calls
    assert [call["run_id"] for call in later] == [run.run_id] * 3
    assert [(call["status"], call["usage_known"]) for call in later] == [("ok", 1)] * 3
    assert struck["run_id"] != run.run_id


@pytest.mark.parametrize("act", [Program.ask, _ask_claude, Program.read])
def test_a_strike_that_nobody_hears_of_costs_no_later_call(
    db_path: Path,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    act: Callable[[Program], Any],
) -> None:
    """OpenTelemetry logs what is raised as it puts a context back, and goes on."""
    with handling(raising(TimeLimit)):
        strike_in(monkeypatch, ContextVarsRuntimeContext, "detach")
        act(program)
    assert "Failed to detach context" in caplog.text
    with WaxellContext("bot") as run:
        program.ask()
        program.read()
    assert [call["run_id"] for call in stored(db_path).calls[1:]] == [run.run_id] * 2


def test_one_struck_event_costs_later_streams_nothing(
    db_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instrumentation of anthropic would add no event of any stream any more."""
    wrappers = importlib.import_module(f"{GENAI}.anthropic.wrappers")

    def read() -> None:
        given: Any = {"model": "claude-opus-4-8", "messages": MESSAGES, "max_tokens": 9}
        list(program.claude.messages.create(**given, stream=True))

    monkeypatch.setattr(wrappers, "_accumulation_disabled", True)
    read()
    (call,) = stored(db_path).calls
    assert (call["usage_known"], call["status"]) == (1, "ok")
    assert call["response"]
