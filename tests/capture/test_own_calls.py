"""Whatever an instrumentation makes of a call, the program gets what it gets without us."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.capture.stored import stored
from tests.vendors.clients import anthropic_client, async_openai_client, openai_client
from tests.vendors.server import VendorServer
from waxlocal.capture import own_calls
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = pytest.mark.usefixtures("recorder", "uncaptured")

ASKED: Any = [{"role": "user", "content": "what is it?"}]


class Imitation:
    """A server that imitates a vendor's API, and answers whatever the test says."""

    def __init__(self) -> None:
        self.body = b""
        imitation = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                streamed = imitation.body.startswith((b"data:", b"event:"))
                self.send_response(200)
                kind = "text/event-stream" if streamed else "application/json"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(imitation.body)))
                self.end_headers()
                self.wfile.write(imitation.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def imitation() -> Iterator[Imitation]:
    server = Imitation()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_calls, "_said", set())


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
MESSAGE = {"role": "assistant", "content": "It is."}
CHOICE = {"index": 0, "finish_reason": "stop", "message": MESSAGE}


def completion(**given: Any) -> dict[str, Any]:
    return {"id": "c-1", "model": "gpt-4o", "choices": [CHOICE], "usage": USAGE, **given}


def called(**function: Any) -> dict[str, Any]:
    call = {"id": "t-1", "type": "function", "function": function}
    return completion(choices=[{"index": 0, "message": {**MESSAGE, "tool_calls": [call]}}])


ANSWERS = {
    "a usage that is a word": completion(usage="many"),
    "a usage that is a list": completion(usage=[3, 2]),
    "choices that are not there": completion(choices=[None, 5]),
    "a message that is a text": completion(choices=[{"index": 0, "message": "It is."}]),
    "arguments that are an object": called(name="book", arguments={"room": 3}),
    "arguments that are too deep": called(name="book", arguments="[" * 100_000 + "]" * 100_000),
    "arguments with a number too long": called(name="book", arguments="9" * 5000),
}


def asks(imitation: Imitation) -> Any:
    with openai_client(imitation.url) as client:
        return client.chat.completions.create(model="gpt-4o", messages=ASKED)


def asks_async(imitation: Imitation) -> Any:
    async def ask() -> Any:
        async with async_openai_client(imitation.url) as client:
            return await client.chat.completions.create(model="gpt-4o", messages=ASKED)

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [asks, asks_async])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_cannot_be_read_reaches_the_program(
    db_path: Path,
    imitation: Imitation,
    caplog: pytest.LogCaptureFixture,
    name: str,
    ask: Callable[[Imitation], Any],
) -> None:
    """Its row is of a call that went well, with the counts that are there; one line says so."""
    imitation.body = json.dumps(ANSWERS[name]).encode()
    plain = ask(imitation)
    instrument(["openai"])
    assert ask(imitation) == ask(imitation) == plain
    counts = (3, 2, 1) if ANSWERS[name]["usage"] is USAGE else (0, 0, 0)
    said = "It is." if ANSWERS[name]["choices"][0] == CHOICE else None
    for call in stored(db_path).calls:
        assert said in (None, call["response"])
        assert (call["status"], call["error_type"]) == ("ok", None)
        assert (call["tokens_in"], call["tokens_out"], call["usage_known"]) == counts
        assert (call["model"], call["prompt_preview"]) == ("gpt-4o", "what is it?")
    assert {run["status"] for run in stored(db_path).runs} == {"success"}
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("a call is recorded in part: opentelemetry.instrumentation.genai.openai")


def chunks(*deltas: dict[str, Any]) -> bytes:
    events: list[dict[str, Any]] = [{"id": "c-1", "model": "gpt-4o", **delta} for delta in deltas]
    end = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    events.append({"id": "c-1", "model": "gpt-4o", "choices": end, "usage": USAGE})
    lines = [*map(json.dumps, events), "[DONE]"]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def delta(**given: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": given}]}


STREAMS = {
    "a choice without an index": {"choices": [{"delta": {"content": "It"}}]},
    "choices that are not there": {"choices": [None]},
    "a tool without an index": delta(tool_calls=[{"id": "t", "function": {"name": "book"}}]),
    "a tool that is a text": delta(tool_calls="book"),
    "content that is a list": delta(content=["It"]),
    "a choice of a number beyond sense": {
        "choices": [{"index": 10**9, "delta": {"content": "It"}}]
    },
    "a tool of a number beyond sense": delta(
        tool_calls=[{"index": 10**9, "id": "t", "function": {"name": "book"}}]
    ),
    "arguments that are too deep": delta(
        tool_calls=[
            {"index": 0, "id": "t", "function": {"arguments": "[" * 100_000 + "]" * 100_000}}
        ]
    ),
}


def reads(imitation: Imitation) -> list[Any]:
    with openai_client(imitation.url) as client:
        return list(client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True))


def reads_async(imitation: Imitation) -> list[Any]:
    async def read() -> list[Any]:
        async with async_openai_client(imitation.url) as client:
            asked = client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
            return [chunk async for chunk in await asked]

    return asyncio.run(read())


@pytest.mark.parametrize("read", [reads, reads_async])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_cannot_be_read_reaches_the_program(
    db_path: Path, imitation: Imitation, name: str, read: Callable[[Imitation], list[Any]]
) -> None:
    """All of it; what came after that is in its row, too."""
    imitation.body = chunks(STREAMS[name], delta(content=" is."))
    plain = read(imitation)
    instrument(["openai"])
    assert read(imitation) == plain
    (call,) = stored(db_path).calls
    assert call["status"] == "ok"
    assert (call["tokens_in"], call["tokens_out"]) == (3, 2)


def test_a_message_of_anthropic_that_cannot_be_read_reaches_the_program(
    db_path: Path, imitation: Imitation
) -> None:
    answer = {"id": "m-1", "type": "message", "role": "assistant", "model": "claude-x"}
    said = [{"type": "text", "text": "It is."}]
    imitation.body = json.dumps({**answer, "content": said, "usage": "many"}).encode()
    instrument(["anthropic"])
    with anthropic_client(imitation.url) as client:
        told = client.messages.create(model="claude-x", max_tokens=9, messages=ASKED)
    assert isinstance(told, anthropic.types.Message)
    (call,) = stored(db_path).calls
    assert (call["status"], call["model"], call["usage_known"]) == ("ok", "claude-x", 0)
    assert call["response"] == "It is."


def test_a_stream_of_anthropic_that_ends_without_its_last_counts_has_none(
    db_path: Path, imitation: Imitation
) -> None:
    """It begins with the count of the input and an output of 1; the end has the others."""
    start = {"id": "m-1", "type": "message", "role": "assistant", "model": "claude-x"}
    usage = {"input_tokens": 9, "output_tokens": 1}
    event = {"type": "message_start", "message": {**start, "content": [], "usage": usage}}
    imitation.body = f"event: message_start\ndata: {json.dumps(event)}\n\n".encode()
    instrument(["anthropic"])
    with anthropic_client(imitation.url) as client:
        list(client.messages.create(model="claude-x", max_tokens=9, messages=ASKED, stream=True))
    (call,) = stored(db_path).calls
    assert (call["status"], call["tokens_out"], call["usage_known"]) == ("ok", 0, 0)
    details = json.loads(call["details"])
    assert details["usage_note"].endswith("9 of input and 1 of output were told")


@pytest.mark.parametrize(
    ("usage", "known"),
    [({"prompt_tokens": 9}, False), ({"completion_tokens": 9}, False), (USAGE, True)],
)
def test_half_of_the_counts_is_not_known(
    db_path: Path, imitation: Imitation, usage: dict[str, int], known: bool
) -> None:
    """The other half is not 0: a call that was answered took tokens both ways."""
    imitation.body = json.dumps(completion(usage=usage)).encode()
    instrument(["openai"])
    asks(imitation)
    (call,) = stored(db_path).calls
    assert (call["usage_known"], call["response"]) == (known, "It is.")


def test_a_stream_that_was_read_to_its_end_without_a_reason_has_none(
    db_path: Path, imitation: Imitation
) -> None:
    """Some servers leave it out; the call has not failed."""
    event = {"id": "c-1", "model": "gpt-4o", **delta(content="It is."), "usage": USAGE}
    imitation.body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()
    instrument(["openai"])
    reads(imitation)
    (call,) = stored(db_path).calls
    assert (call["status"], call["usage_known"], call["response"]) == ("ok", 1, "It is.")
    assert "finish_reason" not in json.loads(call["details"])


def test_messages_that_can_be_read_once_reach_the_vendor(
    db_path: Path, stand_in: VendorServer
) -> None:
    """The client takes any iterable; what reads it first would leave nothing."""
    instrument(["openai", "anthropic"])
    tools: Any = [{"type": "function", "function": {"name": "book", "parameters": {}}}]
    with openai_client(stand_in.url) as client:
        client.chat.completions.create(model="gpt-4o", messages=iter(ASKED), tools=iter(tools))
        client.responses.create(model="gpt-4o", input=iter(ASKED))  # type: ignore[arg-type]
    with anthropic_client(stand_in.url) as other:
        other.messages.create(model="claude-x", max_tokens=9, messages=(one for one in ASKED))
    asked = [body.get("messages") or body.get("input") for body in stand_in.bodies]
    assert asked == [ASKED, ASKED, ASKED]
    assert stand_in.bodies[0]["tools"] == tools
    assert [call["prompt_preview"] for call in stored(db_path).calls] == ["what is it?"] * 3


def test_a_request_that_cannot_be_read_is_made(db_path: Path, stand_in: VendorServer) -> None:
    """It is recorded, and what follows is not taken for a part of it."""

    class Stops:
        def __iter__(self) -> Any:
            raise LookupError("not for you")

    instrument(["openai"])
    with openai_client(stand_in.url) as client:
        with pytest.raises(TypeError, match="not JSON serializable"):
            client.chat.completions.create(model="gpt-4o", messages=ASKED, stop=Stops())  # type: ignore[call-overload]
        client.chat.completions.create(model="gpt-4o", messages=ASKED)
    failed, fine = stored(db_path).calls
    assert (failed["status"], failed["error_type"]) == ("error", "TypeError")
    assert (fine["status"], fine["prompt_preview"]) == ("ok", "what is it?")
    assert failed["run_id"] != fine["run_id"]


def test_the_error_of_a_call_is_the_one_that_it_raised(stand_in: VendorServer) -> None:
    """With no other as its context, and the client's own frame as the last of its traceback."""

    def error_of() -> openai.APIStatusError:
        with openai_client(stand_in.url) as client, pytest.raises(openai.APIStatusError) as raised:
            client.chat.completions.create(model="fail-429", messages=ASKED)
        return raised.value

    plain = error_of()
    instrument(["openai"])
    caught = error_of()
    assert (type(caught), caught.args) == (type(plain), plain.args)
    assert type(caught.__context__) is type(plain.__context__)
    frames = [list(walk(error)) for error in (plain, caught)]
    assert frames[0][-1] == frames[1][-1]


def walk(error: BaseException) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        yield (
            trace.tb_frame.f_code.co_qualname
            if hasattr(trace.tb_frame.f_code, "co_qualname")
            else trace.tb_frame.f_code.co_name
        )
        trace = trace.tb_next


def test_a_call_that_is_never_awaited_can_be_closed(
    db_path: Path, stand_in: VendorServer, recwarn: pytest.WarningsRecorder
) -> None:
    """As any coroutine; one that is let go of is warned of under the name of the client's."""
    instrument(["openai"])

    async def close() -> None:
        async with async_openai_client(stand_in.url) as client:
            client.chat.completions.create(model="gpt-4o", messages=ASKED).close()
            client.chat.completions.create(model="gpt-4o", messages=ASKED)
            gc.collect()

    asyncio.run(close())
    (told,) = (str(one.message) for one in recwarn.list)
    assert told.startswith("coroutine 'AsyncCompletions.create' was never awaited")
    assert stand_in.requests == []
    assert not db_path.exists() or stored(db_path).calls == []


def test_nothing_of_a_call_is_kept(stand_in: VendorServer) -> None:
    """Not its answer, nor its stream or its error, and nobody has to look for cycles."""
    instrument(["openai"])
    with openai_client(stand_in.url) as client:
        create = client.chat.completions.create
        kept = [
            weakref.ref(create(model="gpt-4o", messages=ASKED)),
            weakref.ref(create(model="gpt-4o", messages=ASKED, stream=True)),
        ]
        gc.collect()
        assert [ref() for ref in kept] == [None, None]
    uninstrument()
