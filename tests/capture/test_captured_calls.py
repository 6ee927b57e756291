"""The calls of the real openai and anthropic clients, as they stand in the file."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.tools.cli import answer, invoke
from tests.tools.sdk_rows import queried
from tests.vendors import clients
from tests.vendors.replies import Reply, ToolCall, Usage
from tests.vendors.server import VendorServer, vendor_server
from waxlocal import WaxellContext, init, session, shutdown
from waxlocal.capture.engines import instrument, states, uninstrument
from waxlocal.settings.config import Settings

pytestmark = pytest.mark.usefixtures("recorder")

MODEL, CLAUDE = "gpt-4o", "claude-opus-4-8"
ASKED = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "what is it?"}]


# The clients of a test, to be closed at its end.
_OPENED: list[Any] = []


@pytest.fixture
def vendors() -> Iterator[VendorServer]:
    with vendor_server() as server:
        yield server
        while _OPENED:
            _OPENED.pop().close()


def _opened(client: Any) -> Any:
    _OPENED.append(client)
    return client


@pytest.fixture(autouse=True)
def captured() -> Iterator[None]:
    assert instrument(["openai", "anthropic"]) == {"openai": True, "anthropic": True}
    yield
    uninstrument()
    assert states() == {}


def _ask(server: VendorServer, **options: Any) -> Any:
    client = _opened(clients.openai_client(server.url))
    return client.chat.completions.create(**{"model": MODEL, "messages": ASKED, **options})


def test_a_call_inside_a_run_is_a_row_of_it(db_path: Path, vendors: VendorServer) -> None:
    """With what was asked, what was answered, all counts, and who counted."""
    usage = Usage(1200, 40, cached=900, reasoning=10)
    vendors.answer(Reply(text="It is.", usage=usage, model="gpt-4o-2024-08-06", response_id="r-1"))
    with WaxellContext("bot") as run:
        _ask(vendors, temperature=0.5)
    (call,) = stored(db_path).calls
    assert call["run_id"] == run.run_id
    assert (call["model"], call["provider"]) == ("gpt-4o-2024-08-06", "openai")
    assert (call["task"], call["status"]) == ("chat.completions", "ok")
    counts = ("tokens_in", "tokens_out", "cached_tokens", "reasoning_tokens")
    assert tuple(call[name] for name in counts) == (1200, 40, 900, 10)
    assert json.loads(call["messages"]) == ASKED
    assert call["response_id"] == "r-1"
    assert (call["prompt_preview"], call["response"]) == ("what is it?", "It is.")
    details = json.loads(call["details"])
    assert details["config"] == {"temperature": 0.5}
    assert (details["requested_model"], details["finish_reason"]) == (MODEL, "stop")
    assert details["sources"] == {"call": "opentelemetry.instrumentation.genai.openai"}


def test_what_has_no_column_is_in_the_details(db_path: Path, vendors: VendorServer) -> None:
    """What the instrumentation says of the server and the system; a tool's description is not."""
    with WaxellContext("bot"):
        _ask(vendors)
    (call,) = stored(db_path).calls
    said = json.loads(call["details"])["attributes"]
    assert (said["server.address"], said["server.port"]) == ("127.0.0.1", vendors.port)
    assert said["openai.response.system_fingerprint"] == "fp_stand_in"


def test_what_is_sent_and_what_is_answered_does_not_change(vendors: VendorServer) -> None:
    """The program and the vendor see what they see without us."""
    with WaxellContext("bot"):
        answer = _ask(vendors)
    uninstrument()
    plain = _ask(vendors)
    assert type(answer) is type(plain)
    assert answer.choices == plain.choices
    first, second = vendors.requests
    assert first.body == second.body
    assert set(first.headers) == set(second.headers)


def test_a_stream_is_recorded_when_it_was_read_to_its_end(
    db_path: Path, vendors: VendorServer
) -> None:
    """With its counts if the program asked for them; else they are unknown, not 0."""
    with WaxellContext("bot"):
        with_usage = {"stream_options": {"include_usage": True}}
        for _ in _ask(vendors, stream=True, **with_usage):
            assert stored(db_path).calls == []
        assert len(stored(db_path).calls) == 1
        list(_ask(vendors, stream=True))
    counted, uncounted = stored(db_path).calls
    assert counted["is_streaming"] == uncounted["is_streaming"] == 1
    assert counted["ttft_ms"] is not None
    assert counted["ttft_ms"] <= counted["duration_ms"]
    assert (counted["tokens_in"], counted["tokens_out"]) == (5, 5)
    assert (counted["usage_known"], uncounted["usage_known"]) == (1, 0)
    assert uncounted["response"] == counted["response"]


def test_a_stream_that_is_left_early_is_recorded_when_it_is_closed(
    db_path: Path, vendors: VendorServer
) -> None:
    """It is no error, and its tokens are unknown."""
    with WaxellContext("bot"):
        stream = _ask(vendors, stream=True)
        next(iter(stream))
        stream.close()
        (call,) = stored(db_path).calls
    assert call["status"] == "ok"
    assert json.loads(call["details"])["finish_reason"] == "abandoned"
    assert call["usage_known"] == 0


def test_a_stream_that_the_program_lets_go_of_is_no_error_either(
    db_path: Path, vendors: VendorServer
) -> None:
    """As with `break` in a loop over it."""
    for _ in _ask(vendors, stream=True):
        break
    gc.collect()
    (call,) = stored(db_path).calls
    assert (call["status"], call["error_message"], call["usage_known"]) == ("ok", None, 0)
    assert json.loads(call["details"])["finish_reason"] == "abandoned"
    (run,) = stored(db_path).runs
    assert run["status"] == "success"


@pytest.mark.parametrize("how", ["helper-left", "closed", "dropped", "broken"])
def test_what_anthropic_counts_before_the_end_of_a_stream_is_not_its_usage(
    db_path: Path, vendors: VendorServer, how: str
) -> None:
    """The first event has the input, and an output of 1: what the answer costs is not known."""
    usage = Usage(3000, 700, cached=500)
    vendors.answer(Reply(usage=usage, breaks_after=4 if how == "broken" else None))
    messages = _opened(clients.anthropic_client(vendors.url)).messages
    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 9, "messages": ASKED[1:]}
    if how == "helper-left":
        with messages.stream(**asked) as helper:
            next(iter(helper.text_stream))
    else:
        stream = messages.create(**asked, stream=True)
        with suppress(Exception):  # of the connection, where it breaks
            for event in stream:
                if event.type == "content_block_delta" and how != "broken":
                    break
        if how == "closed":
            stream.close()
        del stream
        gc.collect()
    (call,) = stored(db_path).calls
    assert (call["usage_known"], call["tokens_in"], call["tokens_out"]) == (0, 0, 0)
    assert call["cost"] is None
    assert call["status"] == ("error" if how == "broken" else "ok")
    details = json.loads(call["details"])
    assert "3,000 of input and 1 of output were told" in details["usage_note"]
    if how != "broken":
        assert details["finish_reason"] == "abandoned"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("child_does", ["lets go of it", "exits in it", "closes it", "reads it"])
def test_a_stream_that_a_forked_child_has_is_its_parents(
    db_path: Path, vendors: VendorServer, child_does: str
) -> None:
    """The child has a copy of it; the call was made once."""
    vendors.answer(Reply(hangs_after=1))
    chunks = iter(_ask(vendors, stream=True))
    next(chunks)
    # Both have the same socket: what the child took out of it, the parent would wait for. So the
    # rest is there before the parent reads again, which takes all of it.
    vendors.wait_for(hanging=1)
    vendors.release()
    vendors.wait_for(answered=1)
    next(chunks)
    child = os.fork()
    if not child:
        try:
            if child_does == "exits in it":
                chunks.__exit__(SystemExit, SystemExit(0), None)
            elif child_does == "closes it":
                chunks.close()
            elif child_does == "reads it":
                list(chunks)
            del chunks
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    list(chunks)
    (call,) = stored(db_path).calls
    assert json.loads(call["details"])["finish_reason"] == "stop"


def test_a_call_that_a_mask_makes_is_not_captured(db_path: Path, vendors: VendorServer) -> None:
    """It would go through the mask, which would make a call."""

    def mask(text: str) -> str:
        return str(_ask(vendors).choices[0].message.content) if text == "it" else text

    init(mask=mask)
    with WaxellContext("bot"):
        _ask(vendors, messages=[{"role": "user", "content": "it"}])
    shutdown()
    (call,) = stored(db_path).calls
    assert call["prompt_preview"] == "You said: what is it?"


def test_a_failed_call_is_recorded_and_its_error_reaches_the_program(
    db_path: Path, vendors: VendorServer
) -> None:
    """Nobody counted its tokens."""
    import openai

    with WaxellContext("bot"), pytest.raises(openai.RateLimitError):
        _ask(vendors, model="fail-429")
    (call,) = stored(db_path).calls
    assert (call["status"], call["error_type"]) == ("error", "openai.RateLimitError")
    assert "429" in call["error_message"]
    assert call["usage_known"] == 0


def test_tools_that_were_asked_for(db_path: Path, vendors: VendorServer) -> None:
    """The answer's calls of tools stand with the call, and the tool's result in the next prompt."""
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    wanted = ToolCall("look_up", {"word": "it"}, id="call-1")
    vendors.answer(Reply(text="", tool_calls=(wanted,)))
    with WaxellContext("bot"):
        said = _ask(vendors, tools=[tool]).choices[0].message
        result = {"role": "tool", "tool_call_id": "call-1", "content": "found"}
        _ask(vendors, tools=[tool], messages=[*ASKED, said.model_dump(), result])
    first, second = stored(db_path).calls
    called = [{"id": "call-1", "name": "look_up", "arguments": {"word": "it"}}]
    assert json.loads(first["details"])["tool_calls"] == called
    asking, answering = json.loads(second["messages"])[-2:]
    assert (asking["role"], asking["tool_calls"]) == ("assistant", called)
    assert answering == {"role": "tool", "tool_call_id": "call-1", "content": "found"}


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_to_one_question(
    db_path: Path, vendors: VendorServer, stream: bool
) -> None:
    """They are one call; the first is its answer, and the others are kept beside it."""
    vendors.answer(Reply(text="it is a test"))
    with WaxellContext("bot"):
        said = _ask(vendors, n=3, stream=stream)
        if stream:
            assert list(said)
    (call,) = stored(db_path).calls
    assert call["response"] == "it is a test"
    others = json.loads(call["details"])["other_answers"]
    assert others == ["it is a test (2)", "it is a test (3)"]


def test_responses_and_embeddings(db_path: Path, vendors: VendorServer) -> None:
    """The other interfaces of openai's client."""
    client = _opened(clients.openai_client(vendors.url))
    with WaxellContext("bot"):
        client.responses.create(model=MODEL, input="hello there")
        client.embeddings.create(model="text-embedding-3-small", input="some words here")
    answered, embedded = stored(db_path).calls
    assert (answered["task"], answered["tokens_in"]) == ("responses.create", 2)
    assert answered["prompt_preview"] == "hello there"
    assert (embedded["task"], embedded["tokens_in"]) == ("embeddings", 3)


def test_anthropic_with_its_cache(db_path: Path, vendors: VendorServer) -> None:
    """All input counts, also what was read from the cache and written to it."""
    client = _opened(clients.anthropic_client(vendors.url))
    asked = {"model": CLAUDE, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    vendors.answer(Reply(usage=Usage(1200, 40, cached=900, cache_write=100)))
    with WaxellContext("bot"):
        client.messages.create(**asked, system="be kind")
        with client.messages.stream(**asked) as stream:
            list(stream.text_stream)
    plain, streamed = stored(db_path).calls
    assert (plain["tokens_in"], plain["tokens_out"]) == (1200, 40)
    assert (plain["cached_tokens"], plain["cache_write_tokens"]) == (900, 100)
    assert json.loads(plain["messages"])[0] == {"role": "system", "content": "be kind"}
    assert (streamed["is_streaming"], streamed["status"]) == (1, "ok")


PIXELS = bytes(range(120))
BASE64 = base64.b64encode(PIXELS).decode()
URL = f"data:image/png;base64,{BASE64}"
WHAT = {"type": "text", "text": "what is this?"}


def _show_openai(server: VendorServer) -> None:
    image = {"type": "image_url", "image_url": {"url": URL}}
    _ask(server, messages=[{"role": "user", "content": [WHAT, image]}])


def _show_responses(server: VendorServer) -> None:
    image = {"type": "input_image", "image_url": URL}
    content = [{"type": "input_text", "text": "what is this?"}, image]
    client = _opened(clients.openai_client(server.url))
    client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])


def _show_anthropic(server: VendorServer) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": BASE64}
    content = [WHAT, {"type": "image", "source": source}]
    _opened(clients.anthropic_client(server.url)).messages.create(
        model=CLAUDE, max_tokens=99, messages=[{"role": "user", "content": content}]
    )


SHOWN = [_show_openai, _show_responses, _show_anthropic]


@pytest.mark.parametrize("show", SHOWN)
def test_of_an_image_only_type_size_and_hash_are_kept(
    db_path: Path, vendors: VendorServer, show: Callable[[VendorServer], None]
) -> None:
    """Nowhere in the file is its data."""
    with WaxellContext("bot"):
        show(vendors)
    show(vendors)  # in a run of its own, which has it among its inputs
    found = stored(db_path)
    assert BASE64[:40] not in repr((found.runs, found.spans, found.calls))
    for call in found.calls:
        (message,) = json.loads(call["messages"])
        text, image = message["content"]
        assert text == WHAT
        kept = {"bytes": 120, "sha256": hashlib.sha256(PIXELS).hexdigest()}
        assert kept.items() <= _blob_in(image).items()


def _blob_in(part: Any) -> dict[str, Any]:
    """Return what stands for binary data, wherever the vendor puts it."""
    if "blob" in part:
        assert part["blob"] == "image/png"
        return dict(part)
    return next(_blob_in(inner) for inner in part.values() if isinstance(inner, dict))


@pytest.mark.parametrize("show", SHOWN)
def test_an_image_is_kept_whole_if_asked_for(
    db_path: Path, vendors: VendorServer, show: Callable[[VendorServer], None]
) -> None:
    """Once: previews and inputs are of the text beside it."""
    init(keep_blobs=True, instrument=["openai", "anthropic"])
    show(vendors)
    (run,), (call,) = stored(db_path).runs, stored(db_path).calls
    assert call["messages"].count(BASE64) == 1
    assert "sha256" not in call["messages"]
    assert call["prompt_preview"] == "what is this?"
    assert json.loads(run["inputs"]) == {"message": "what is this?"}


def _parts_of_openai(server: VendorServer, parts: list[Any]) -> None:
    _ask(server, messages=[{"role": "user", "content": parts}])


def _parts_of_anthropic(server: VendorServer, parts: list[Any]) -> None:
    _opened(clients.anthropic_client(server.url)).messages.create(
        model=CLAUDE, max_tokens=99, messages=[{"role": "user", "content": parts}]
    )


_PNG: Any = {"type": "base64", "media_type": "image/png", "data": BASE64}
_PDF: Any = {"type": "base64", "media_type": "application/pdf", "data": BASE64}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("send", "part", "words"),
    [
        (_parts_of_openai, {"type": "image_url", "image_url": {"url": URL}}, "[image]"),
        (
            _parts_of_openai,
            {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}},
            "[audio]",
        ),
        (_parts_of_anthropic, {"type": "image", "source": _PNG}, "[image]"),
        (_parts_of_anthropic, {"type": "document", "source": _PDF}, "[document]"),
    ],
)
def test_what_says_nothing_in_words_is_named(
    db_path: Path, vendors: VendorServer, send: Any, part: Any, words: str, keep: bool
) -> None:
    """In the input of the run and the preview; the data is in the message, if it is kept."""
    init(keep_blobs=keep, instrument=["openai", "anthropic"])
    send(vendors, [part, part])
    (run,), (call,) = stored(db_path).runs, stored(db_path).calls
    assert json.loads(run["inputs"]) == {"message": f"{words}\n{words}"}
    assert call["prompt_preview"] == f"{words}\n{words}"
    assert call["messages"].count(BASE64) == (2 if keep else 0)


def test_the_environment_asks_for_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`WAXLOCAL_KEEP_BLOBS`, by default not."""
    monkeypatch.delenv("WAXLOCAL_KEEP_BLOBS", raising=False)
    assert not Settings.from_environment().keep_blobs
    for word, kept in (("1", True), ("true", True), ("0", False), ("no", False), ("", False)):
        monkeypatch.setenv("WAXLOCAL_KEEP_BLOBS", word)
        assert Settings.from_environment().keep_blobs is kept


def test_a_call_outside_any_run_becomes_one(db_path: Path, vendors: VendorServer) -> None:
    """Named by its model, in the session of the block around it, with what was said."""
    with session("s-1", "u-1"):
        _ask(vendors)
    _ask(vendors)
    first, second = queried(db_path, "SELECT * FROM runs ORDER BY id")
    assert (first["agent_name"], first["workflow_name"]) == ("auto:gpt-4o", "auto")
    assert (first["session_id"], first["user_id"]) == ("s-1", "u-1")
    assert second["session_id"] is None
    assert first["status"] == second["status"] == "success"
    assert json.loads(first["inputs"]) == {"message": "what is it?"}
    assert json.loads(first["result"]) == {"response": "You said: what is it?"}
    assert json.loads(first["metadata"]) == {"auto_collected": True, "call_count": 1}
    assert first["started_at"] <= stored(db_path).calls[0]["recorded_at"]


def test_a_failed_call_outside_any_run(db_path: Path, vendors: VendorServer) -> None:
    """Its run failed, too."""
    import openai

    with pytest.raises(openai.InternalServerError):
        _ask(vendors, model="fail-500")
    (run,) = queried(db_path, "SELECT * FROM runs")
    assert (run["status"], run["error_type"]) == ("error", "openai.InternalServerError")


def test_the_run_of_a_call_that_asks_for_tools_says_which(
    db_path: Path, vendors: VendorServer
) -> None:
    """Else the rounds of a program with tools are turns in which nothing is said."""
    vendors.answer(Reply(text="", tool_calls=(ToolCall("book", {"room": 3}, "c1"),)))
    with session("s"):
        _ask(vendors)
    (run,) = stored(db_path).runs
    asked = {"id": "c1", "name": "book", "arguments": {"room": 3}}
    assert json.loads(run["result"]) == {"tool_calls": [asked]}
    (turn,) = answer("session", "s", db=db_path)["runs"]
    assert turn["answer"] == 'calls book({"room": 3})'
    shown = invoke("show", run["run_id"], db=db_path).stdout
    assert '  < calls book({"room": 3})' in shown


def test_a_call_that_is_handed_over_too_is_one_row(db_path: Path, vendors: VendorServer) -> None:
    """Task and cost of the program win; what was captured stays."""
    with WaxellContext("bot", session_id="s") as run:
        usage = _ask(vendors).usage
        run.record_llm_call(
            model=MODEL,
            tokens_in=usage.prompt_tokens,
            tokens_out=usage.completion_tokens,
            cost=0.5,
            task="answer",
        )
    (call,) = stored(db_path).calls
    assert (call["task"], call["cost"], call["cost_source"]) == ("answer", 0.5, "call")
    assert json.loads(call["messages"]) == ASKED
    assert call["duration_ms"] is not None
    details = json.loads(call["details"])
    assert details["merged"] == ["record_llm_call"]
    assert details["sources"]["cost"] == "record_llm_call"
    (totals,) = queried(db_path, "SELECT llm_calls, tokens_in, total_cost FROM sessions")
    assert totals == {"llm_calls": 1, "tokens_in": 5, "total_cost": 0.5}


def test_a_call_that_differs_is_another_one(db_path: Path, vendors: VendorServer) -> None:
    """By its model or its counts; and each captured call is taken once."""
    with WaxellContext("bot") as run:
        _ask(vendors)
        run.record_llm_call(model="other", tokens_in=5, tokens_out=5)
        run.record_llm_call(model=MODEL, tokens_in=6, tokens_out=5)
        run.record_llm_call(model=MODEL, tokens_in=5, tokens_out=5)
        run.record_llm_call(model=MODEL, tokens_in=5, tokens_out=5)
    assert len(stored(db_path).calls) == 4


def test_a_stream_without_usage_takes_the_counts_of_the_program(
    db_path: Path, vendors: VendorServer
) -> None:
    """Who streams often counts the tokens itself; and a known count stays where it has none."""
    with WaxellContext("bot") as run:
        list(_ask(vendors, stream=True))
        run.record_llm_call(model=MODEL, tokens_in=5, tokens_out=9)
        _ask(vendors)
        run.record_llm_call(model=MODEL, usage=None, task="answer")
    streamed, asked = stored(db_path).calls
    assert (streamed["tokens_in"], streamed["tokens_out"], streamed["usage_known"]) == (5, 9, 1)
    assert json.loads(streamed["details"])["sources"]["tokens"] == "record_llm_call"
    assert (asked["tokens_in"], asked["usage_known"], asked["task"]) == (5, 1, "answer")


def test_the_counts_that_anthropic_puts_beside_its_cache_are_handed_over_as_the_same_call(
    db_path: Path, vendors: VendorServer
) -> None:
    """So do the programs that know of `usage.input_tokens` alone; the bill has all."""
    vendors.answer(Reply(usage=Usage(3000, 40, cached=2000, cache_write=500)))
    client = _opened(clients.anthropic_client(vendors.url))
    with WaxellContext("bot") as run:
        used = client.messages.create(model=CLAUDE, max_tokens=9, messages=ASKED[1:]).usage
        run.record_llm_call(
            model=CLAUDE, tokens_in=used.input_tokens, tokens_out=used.output_tokens, task="answer"
        )
    (call,) = stored(db_path).calls
    counts = ("tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens", "task")
    assert [call[name] for name in counts] == [3000, 40, 2000, 500, "answer"]


def test_two_equal_calls_stay_two(db_path: Path, vendors: VendorServer) -> None:
    """A stream after a plain call with the same counts, too."""
    with WaxellContext("bot"):
        _ask(vendors)
        _ask(vendors)
        list(_ask(vendors, stream=True, stream_options={"include_usage": True}))
    assert len(stored(db_path).calls) == 3


def test_calls_of_many_tasks_at_once_go_each_into_its_own_run(
    db_path: Path, vendors: VendorServer
) -> None:
    """None twice, none lost, none in another's run."""

    async def ask(client: Any, number: int) -> tuple[str, str]:
        async with WaxellContext(f"bot-{number}") as run:
            words = " ".join(["word"] * (number + 1))
            asked = [{"role": "user", "content": words}]
            await client.chat.completions.create(model=MODEL, messages=asked)
            return run.run_id, words

    async def ask_all() -> list[tuple[str, str]]:
        async with clients.async_openai_client(vendors.url) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(40)))

    asked = asyncio.run(ask_all())
    found = queried(db_path, "SELECT run_id, prompt_preview, tokens_in FROM llm_calls")
    assert sorted((row["run_id"], row["prompt_preview"]) for row in found) == sorted(asked)
    assert sorted(row["tokens_in"] for row in found) == list(range(1, 41))


def test_without_content_no_text_is_kept(
    db_path: Path, vendors: VendorServer, recorder: Any
) -> None:
    """Numbers and structure stay; errors keep their type."""
    import openai

    recorder.capture_content = False
    with WaxellContext("bot"):
        vendors.answer(Reply(text="it is a test"))
        _ask(vendors, n=2)
        with pytest.raises(openai.RateLimitError):
            _ask(vendors, model="fail-429")
    _ask(vendors)
    everything = json.dumps([stored(db_path).calls, queried(db_path, "SELECT * FROM runs")])
    assert "what is it" not in everything
    assert "it is a test" not in everything
    assert "be brief" not in everything
    assert "Rate limit" not in everything
    assert "fp_stand_in" not in everything
    assert stored(db_path).calls[0]["tokens_in"] == 5
