"""Calls that a program makes while a stream of another call is open, or has ended elsewhere."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.vendors import clients
from tests.vendors.replies import Reply
from tests.vendors.server import VendorServer, vendor_server
from waxlocal.capture import own_calls
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = pytest.mark.usefixtures("recorder")

HI: list[Any] = [{"role": "user", "content": "hi there"}]


class Program:
    """A program with a client of each vendor; every call of it has a model of its own."""

    def __init__(self, server: VendorServer) -> None:
        self.server = server
        self.claude = clients.anthropic_client(server.url)
        self.gpt = clients.openai_client(server.url)
        self.calls = 0

    def asked(self, vendor: str) -> dict[str, Any]:
        """Return the arguments of the next call."""
        self.calls += 1
        limit = {"max_tokens": 9} if vendor == "claude" else {}
        return {"model": f"{vendor}-{self.calls}", "messages": HI, **limit}

    def call_both(self) -> None:
        """Call each vendor once, without a stream."""
        self.claude.messages.create(**self.asked("claude"))
        self.gpt.chat.completions.create(**self.asked("gpt"))

    def stream(self, vendor: str = "claude") -> Any:
        """Return an open stream."""
        kind = self.claude.messages if vendor == "claude" else self.gpt.chat.completions
        return kind.create(**self.asked(vendor), stream=True)


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_calls, "_said", set())


@pytest.fixture
def strikes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[signal.Signals]]:
    """What a test adds to it is sent while the next event of a stream of anthropic is read.

    To be named before `program`, which puts the capture around it.
    """
    module = importlib.import_module("opentelemetry.instrumentation.genai.anthropic.wrappers")
    real = inspect.unwrap(module.accumulate_event)
    sent: list[signal.Signals] = []

    def add(**given: Any) -> Any:
        if sent:
            signal.raise_signal(sent.pop())
        return real(**given)

    def stop(number: int, frame: object) -> None:
        raise TimeoutError("time limit")

    monkeypatch.setattr(module, "accumulate_event", add)
    before = signal.signal(signal.SIGALRM, stop)
    yield sent
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def program() -> Iterator[Program]:
    assert instrument(["openai", "anthropic"]) == {"openai": True, "anthropic": True}
    with vendor_server() as server:
        made = Program(server)
        yield made
        made.claude.close()
        made.gpt.close()
    uninstrument()


def assert_each_has_a_row(program: Program, db_path: Path) -> None:
    asked = sorted(str(body["model"]) for body in program.server.bodies)
    assert len(asked) == program.calls
    assert sorted(call["model"] for call in stored(db_path).calls) == asked


def _within_a_helper(program: Program) -> None:
    with program.claude.messages.stream(**program.asked("claude")) as stream:
        for _ in stream.text_stream:
            program.call_both()


def _within_a_stream(program: Program) -> None:
    for _ in program.stream():
        program.call_both()


def _within_a_stream_of_openai(program: Program) -> None:
    for _ in program.stream("gpt"):
        program.call_both()


def _one_after_another(program: Program) -> None:
    streams = [program.stream(), program.stream("gpt"), program.stream()]
    for stream in streams:
        list(stream)


def _two_helpers_at_once(program: Program) -> None:
    messages = program.claude.messages
    first = messages.stream(**program.asked("claude"))
    with first as one, messages.stream(**program.asked("claude")) as other:
        list(zip(one.text_stream, other.text_stream, strict=True))


def _beside_one_that_is_left_open(program: Program) -> None:
    left = program.stream()
    next(left)
    program.call_both()
    left.close()


def _between_the_steps_of_a_generator(program: Program) -> None:
    def texts() -> Iterator[str]:
        with program.claude.messages.stream(**program.asked("claude")) as stream:
            yield from stream.text_stream

    steps = texts()
    next(steps)
    program.call_both()
    steps.close()


def _before_a_raw_response_is_read(program: Program) -> None:
    messages = program.claude.messages
    completions = program.gpt.chat.completions
    for create, vendor in ((messages, "claude"), (completions, "gpt")):
        raw = create.with_raw_response.create(**program.asked(vendor))
        program.call_both()
        raw.parse()
    asked = program.asked("claude")
    with messages.with_streaming_response.create(**asked, stream=True) as response:
        program.call_both()
        list(response.parse())


def _after_a_thread_has_read_it(program: Program) -> None:
    for end in (list, lambda stream: (next(stream), stream.close())):
        stream = program.stream()
        reading = threading.Thread(target=end, args=(stream,))
        reading.start()
        reading.join()
        program.call_both()


def _after_a_task_has_read_it(program: Program) -> None:
    async def read(stream: Any) -> list[Any]:
        return [event async for event in stream]

    async def main() -> None:
        async with clients.async_anthropic_client(program.server.url) as client:
            stream = await client.messages.create(**program.asked("claude"), stream=True)
            await asyncio.create_task(read(stream))
            await client.messages.create(**program.asked("claude"))

    asyncio.run(main())
    program.call_both()


@pytest.mark.parametrize(
    "act",
    [
        *(_within_a_helper, _within_a_stream, _within_a_stream_of_openai, _one_after_another),
        *(_two_helpers_at_once, _beside_one_that_is_left_open, _between_the_steps_of_a_generator),
        *(_before_a_raw_response_is_read, _after_a_thread_has_read_it, _after_a_task_has_read_it),
    ],
)
def test_each_call_has_a_row(
    db_path: Path,
    program: Program,
    capfd: pytest.CaptureFixture[str],
    act: Callable[[Program], None],
) -> None:
    """None is taken for a part of the one whose stream is open; and nothing is printed."""
    act(program)
    program.call_both()
    assert_each_has_a_row(program, db_path)
    assert capfd.readouterr().err == ""


def test_a_helper_that_was_read_is_in_the_file_within_its_block(
    db_path: Path, program: Program
) -> None:
    """As a stream without one: a program that is killed there has lost nothing."""
    with program.claude.messages.stream(**program.asked("claude")) as stream:
        stream.get_final_text()
        assert len(stored(db_path).calls) == 1
    assert_each_has_a_row(program, db_path)


def test_a_helper_of_openai_that_is_left_early_is_recorded_as_its_block_ends(
    db_path: Path, program: Program
) -> None:
    """It closes the response below its stream, and refers to itself: nothing else ends it soon."""
    with program.gpt.chat.completions.stream(**program.asked("gpt")) as stream:
        next(iter(stream))
    (call,) = stored(db_path).calls
    assert (call["status"], call["usage_known"]) == ("ok", 0)


def test_a_helper_that_is_let_go_of_is_recorded_when_it_is_collected(
    db_path: Path, program: Program
) -> None:
    """Of what refers to itself, weak references are gone before it is told."""
    program.gpt.chat.completions.stream(**program.asked("gpt")).__enter__()
    gc.collect()
    assert_each_has_a_row(program, db_path)


def test_a_stream_that_cannot_be_read_costs_no_other_one_its_counts(
    db_path: Path, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that imitates the API left the usage out; one line says so."""
    program.server.answer(Reply(raw_usage={}))
    for _ in range(3):
        list(program.stream())
    odd, *others = stored(db_path).calls
    assert odd["usage_known"] == 0
    assert [call["usage_known"] for call in others] == [1, 1]
    assert [record.getMessage()[:26] for record in caplog.records] == ["a call is recorded in part"]


# The collector may take the socket of the struck stream before the stream, which would close it.
@pytest.mark.filterwarnings("ignore:.*unclosed <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGALRM, TimeoutError)],
    ids=["Ctrl-C", "a time limit"],
)
def test_what_strikes_while_a_stream_is_read_costs_no_other_one_its_counts(
    db_path: Path,
    strikes: list[signal.Signals],
    program: Program,
    number: signal.Signals,
    error: type[BaseException],
) -> None:
    """It reaches the program, and the next streams are as ever."""
    stream = program.stream()
    next(stream)
    strikes.append(number)
    with pytest.raises(error):
        list(stream)
    del stream
    for _ in range(2):
        list(program.stream())
    gc.collect()  # until then, Python 3.10 keeps the struck one in the traceback
    assert sorted(call["usage_known"] for call in stored(db_path).calls) == [0, 1, 1]


def test_an_async_helper_of_openai_that_is_left_early_is_recorded_as_its_block_ends(
    db_path: Path, program: Program
) -> None:
    """It closes the response below its stream, too."""

    async def leave() -> None:
        async with clients.async_openai_client(program.server.url) as client:
            async with client.chat.completions.stream(**program.asked("gpt")) as stream:
                await anext(aiter(stream))
            assert len(stored(db_path).calls) == 1

    asyncio.run(leave())
    assert_each_has_a_row(program, db_path)
