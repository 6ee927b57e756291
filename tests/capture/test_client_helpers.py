"""The ways beside a plain call in which the clients of openai and anthropic make one."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.capture.stored import stored
from tests.vendors import clients
from tests.vendors.replies import Fault, Reply, ToolCall, Usage
from tests.vendors.server import vendor_server
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = pytest.mark.usefixtures("recorder")

MESSAGES = [{"role": "user", "content": "what is it?"}]
CHAT = {"model": "gpt-4o", "messages": MESSAGES}
WITH_USAGE = {**CHAT, "stream_options": {"include_usage": True}}
CLAUDE = {"model": "claude-opus-4-8", "messages": MESSAGES, "max_tokens": 50}
ADD = ToolCall("add", {"a": 1, "b": 2})


@pytest.fixture(autouse=True)
def captured() -> Iterator[None]:
    assert instrument(["openai", "anthropic"]) == {"openai": True, "anthropic": True}
    yield
    uninstrument()


def _added(**options: Any) -> Callable[[Any], None]:
    """Return what lets the client itself call a tool, and go on with its result."""

    def run(client: Any) -> None:
        from anthropic import beta_tool

        def add(a: int, b: int) -> str:
            """Add a and b."""
            return str(a + b)

        tools = [beta_tool(add)]
        for step in client.beta.messages.tool_runner(**CLAUDE, tools=tools, **options):
            if options:
                list(step)

    return run


def _beta_stream(client: Any) -> None:
    with client.beta.messages.stream(**CLAUDE) as stream:
        stream.get_final_message()


def _claude_response(client: Any) -> None:
    with client.messages.with_streaming_response.create(**CLAUDE) as response:
        response.parse()


def _chat_stream(client: Any) -> None:
    with client.chat.completions.stream(**WITH_USAGE) as stream:
        stream.get_final_completion()


def _chat_response(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        response.parse()


def _response_of_responses(client: Any) -> None:
    given = {"model": "gpt-4o", "input": "what is it?"}
    with client.responses.with_streaming_response.create(**given) as response:
        response.parse()


async def _async_response(url: str) -> None:
    async with (
        clients.async_openai_client(url) as client,
        client.chat.completions.with_streaming_response.create(**CHAT) as response,
    ):
        await response.parse()


def _responses_stream(client: Any) -> None:
    with client.responses.stream(model="gpt-4o", input="what is it?") as stream:
        stream.get_final_response()


def _raw_responses(client: Any) -> None:
    client.responses.with_raw_response.create(model="gpt-4o", input="what is it?").parse()


def _azure(url: str) -> Any:
    from openai import AzureOpenAI

    return AzureOpenAI(azure_endpoint=url, api_key="none", api_version="2024-06-01", max_retries=0)


WAYS = {
    "anthropic, tool runner": (clients.anthropic_client, _added(), 2),
    "anthropic, tool runner, streams": (clients.anthropic_client, _added(stream=True), 2),
    "anthropic, beta": (clients.anthropic_client, lambda it: it.beta.messages.create(**CLAUDE), 1),
    "anthropic, stream of beta": (clients.anthropic_client, _beta_stream, 1),
    "anthropic, response": (clients.anthropic_client, _claude_response, 1),
    "openai, stream helper": (clients.openai_client, _chat_stream, 1),
    "openai, response": (clients.openai_client, _chat_response, 1),
    "openai, response of responses": (clients.openai_client, _response_of_responses, 1),
    "openai, async response": (
        clients.openai_client,
        lambda it: asyncio.run(_async_response(str(it.base_url).removesuffix("/v1/"))),
        1,
    ),
    "openai, stream of responses": (clients.openai_client, _responses_stream, 1),
    "openai, raw responses": (clients.openai_client, _raw_responses, 1),
    "openai, other options": (
        clients.openai_client,
        lambda it: it.with_options(timeout=30).chat.completions.create(**CHAT),
        1,
    ),
    "azure": (_azure, lambda it: it.chat.completions.create(**CHAT), 1),
}


@pytest.mark.parametrize(("client_of", "way", "calls"), WAYS.values(), ids=WAYS)
def test_each_way_of_a_client_is_a_row_a_call(
    client_of: Callable[[str], Any], way: Callable[[Any], object], calls: int, db_path: Path
) -> None:
    """With the counts of the vendor, in the run around it."""
    usages = [Usage(100 + turn, 10 + turn) for turn in range(calls)]
    asked = [Reply(tool_calls=(ADD,), usage=usage) for usage in usages[:-1]]
    with vendor_server() as server:
        server.answer(*asked, Reply(text="It is.", usage=usages[-1]))
        with client_of(server.url) as client, WaxellContext("bot") as run:
            way(client)
    found = stored(db_path).calls
    assert [(call["tokens_in"], call["tokens_out"]) for call in found] == [
        (usage.tokens_in, usage.tokens_out) for usage in usages
    ]
    assert {(call["run_id"], call["usage_known"], call["status"]) for call in found} == {
        (run.run_id, 1, "ok")
    }


def _left_stream(client: Any) -> None:
    client.chat.completions.create(**CHAT, stream=True).close()


def _left_chat(client: Any) -> None:
    with client.chat.completions.stream(**WITH_USAGE):
        pass


def _left_response(client: Any) -> None:
    client.chat.completions.create(**CHAT, stream=True).response.close()


def _left_responses(client: Any) -> None:
    with client.responses.stream(model="gpt-4o", input="what is it?") as stream:
        next(iter(stream))


def _left_raw(client: Any) -> None:
    assert client.chat.completions.with_raw_response.create(**CHAT, stream=True).headers
    gc.collect()


def _left_raw_claude(client: Any) -> None:
    assert client.messages.with_raw_response.create(**CLAUDE, stream=True).headers
    gc.collect()


def _left_generator(client: Any) -> None:
    def chunks() -> Iterator[Any]:
        with client.chat.completions.create(**CHAT, stream=True) as stream:
            yield from stream

    next(chunks())


def _left_generator_claude(client: Any) -> None:
    def words() -> Iterator[str]:
        with client.messages.stream(**CLAUDE) as stream:
            yield from stream.text_stream

    next(words())


LEFT = {
    "a stream": (clients.openai_client, _left_stream),
    "a helper": (clients.openai_client, _left_chat),
    "its response": (clients.openai_client, _left_response),
    "a helper of responses": (clients.openai_client, _left_responses),
    "a raw response": (clients.openai_client, _left_raw),
    "a raw response of anthropic": (clients.anthropic_client, _left_raw_claude),
    "a generator around it": (clients.openai_client, _left_generator),
    "a generator around a helper of anthropic": (clients.anthropic_client, _left_generator_claude),
}


@pytest.mark.parametrize(("client_of", "leave"), LEFT.values(), ids=LEFT)
def test_a_stream_that_is_left_is_abandoned(
    client_of: Callable[[str], Any], leave: Callable[[Any], None], db_path: Path
) -> None:
    """Whichever way it was closed, or let go of."""
    with vendor_server() as server, client_of(server.url) as client:
        leave(client)
    (call,) = stored(db_path).calls
    assert json.loads(call["details"])["finish_reason"] == "abandoned"
    assert (call["usage_known"], call["status"]) == (0, "ok")


def _until_it_is(stream: Any) -> None:
    for event in stream:
        if event.type == "response.output_text.delta" and "said" in event.delta:
            break


def _read_some_responses(client: Any) -> None:
    _until_it_is(client.responses.create(model="gpt-4o", input="what is it?", stream=True))


def _read_some_of_helper(client: Any) -> None:
    with client.responses.stream(model="gpt-4o", input="what is it?") as stream:
        _until_it_is(stream)


def _close_response_of_some(client: Any) -> None:
    stream = client.responses.create(model="gpt-4o", input="what is it?", stream=True)
    _until_it_is(stream)
    stream.response.close()


READ_SOME = {
    "let go of": _read_some_responses,
    "of a helper": _read_some_of_helper,
    "its response closed": _close_response_of_some,
}


@pytest.mark.parametrize("read", READ_SOME.values(), ids=READ_SOME)
def test_what_was_read_of_a_stream_of_responses_is_kept(
    read: Callable[[Any], None], db_path: Path
) -> None:
    """The whole answer comes only with its last event."""
    with vendor_server() as server, clients.openai_client(server.url) as client:
        read(client)
        gc.collect()
    (call,) = stored(db_path).calls
    assert call["response"] == "You said:"
    assert json.loads(call["details"])["finish_reason"] == "abandoned"


REFUSED = {
    "openai": (clients.openai_client, lambda it: it.chat.completions.create(**CHAT, stream=True)),
    "openai, helper": (clients.openai_client, _chat_stream),
    "openai, helper of responses": (clients.openai_client, _responses_stream),
    "anthropic": (clients.anthropic_client, lambda it: it.messages.create(**CLAUDE, stream=True)),
    "anthropic, helper of beta": (clients.anthropic_client, _beta_stream),
}


@pytest.mark.parametrize(("client_of", "way"), REFUSED.values(), ids=REFUSED)
def test_a_stream_that_the_vendor_refuses_is_a_stream(
    client_of: Callable[[str], Any], way: Callable[[Any], object], db_path: Path
) -> None:
    """Though none came."""
    with vendor_server() as server:
        server.answer(Reply(fault=Fault(400)))
        with client_of(server.url) as client, pytest.raises(Exception, match="400"):
            way(client)
    (call,) = stored(db_path).calls
    assert (call["is_streaming"], call["status"], call["usage_known"]) == (1, "error", 0)


def test_a_stream_whose_lines_the_program_reads_has_no_counts(db_path: Path) -> None:
    """No client read them; the call is a row all the same."""
    with (
        vendor_server() as server,
        clients.openai_client(server.url) as client,
        client.chat.completions.with_streaming_response.create(
            **WITH_USAGE, stream=True
        ) as response,
    ):
        assert any("usage" in line for line in response.iter_lines())
    (call,) = stored(db_path).calls
    assert (call["usage_known"], call["status"]) == (0, "ok")


class _Pieces(httpx.SyncByteStream):
    """A body that breaks before its end."""

    def __iter__(self) -> Iterator[bytes]:
        yield b'{"id": "chatcmpl-1", '
        yield b'"model": "gpt-4o", '
        raise httpx.ReadError("broke")


def test_an_answer_that_the_program_reads_itself_comes_as_it_is_sent(db_path: Path) -> None:
    """Piece by piece, and with the exception of its client; the call is a row without counts."""
    pieces: list[bytes] = []
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=_Pieces()))

    def read(client: Any) -> None:
        with client.chat.completions.with_streaming_response.create(**CHAT) as response:
            assert not response.http_response.is_stream_consumed
            pieces.extend(response.iter_bytes())

    with (
        httpx.Client(transport=transport) as http,
        clients.openai_client("http://vendor", http_client=http) as client,
        pytest.raises(httpx.ReadError),
    ):
        read(client)
    assert len(pieces) == 2
    (call,) = stored(db_path).calls
    assert (call["model"], call["usage_known"], call["response"]) == ("gpt-4o", 0, None)


def test_an_answer_that_the_program_reads_itself_may_be_refused(db_path: Path) -> None:
    """As any other call."""
    with vendor_server() as server:
        server.answer(Reply(fault=Fault(400)))
        with clients.openai_client(server.url) as client, pytest.raises(Exception, match="400"):
            _chat_response(client)
    (call,) = stored(db_path).calls
    assert (call["status"], call["error_type"]) == ("error", "openai.BadRequestError")


def test_an_answer_that_the_program_reads_itself_is_not_kept_alive() -> None:
    """Once it is closed."""
    with vendor_server() as server, clients.openai_client(server.url) as client:
        gc.collect()
        gc.disable()
        try:
            with client.chat.completions.with_streaming_response.create(**CHAT) as response:
                kept = weakref.ref(response)
                response.parse()
            response.close()
            del response
            assert kept() is None
        finally:
            gc.enable()
