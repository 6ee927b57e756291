"""Programs with the real litellm, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import said, stored
from tests.vendors.clients import litellm_library, litellm_options
from tests.vendors.replies import Reply, Usage
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument

litellm = litellm_library()

pytestmark = [
    pytest.mark.usefixtures("recorder", "uncaptured", "captured"),
    pytest.mark.filterwarnings("ignore"),
]

MODEL = "openai/gpt-4o"
HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def captured(uncaptured: None) -> None:
    names = ["openai", "anthropic", "litellm"]
    assert instrument(names) == dict.fromkeys(names, True)


def _ask(server: VendorServer, vendor: str = "openai", **options: Any) -> Any:
    given = {"model": MODEL, "messages": HELLO, **litellm_options(server.url, vendor), **options}
    return litellm.completion(**given)


def test_a_call_outside_any_run_is_a_run(db_path: Path, stand_in: VendorServer) -> None:
    """The call of the client below is the same one."""
    stand_in.answer(Reply(text="It is.", usage=Usage(1200, 40, cached=900)))
    _ask(stand_in)
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (run["agent_name"], run["workflow_name"]) == (f"auto:{call['model']}", "auto")
    assert said(run) == ("hello", "It is.")
    assert (call["provider"], call["task"]) == ("openai", "litellm.completion")
    assert (call["tokens_in"], call["tokens_out"], call["cached_tokens"]) == (1200, 40, 900)
    assert json.loads(call["messages"]) == HELLO
    assert call["cost"] == pytest.approx((300 * 2.5 + 900 * 1.25 + 40 * 10) / 1e6)
    assert "sk-" not in repr(found.calls)


def test_what_a_call_asks_and_offers_is_kept(db_path: Path, stand_in: VendorServer) -> None:
    """The tools, the call of one that was asked for, and another vendor's model."""
    with WaxellContext("mine"):
        _ask(stand_in, tools=[TOOL])
        _ask(stand_in, "anthropic", model="anthropic/claude-opus-4-8")
    found = stored(db_path)
    (run,) = found.runs
    first, second = found.calls_of(run)
    assert found.spans == []
    assert json.loads(first["tools"]) == [TOOL]
    assert json.loads(first["details"])["tool_calls"][0]["name"] == "weather"
    assert (second["provider"], second["response"]) == ("anthropic", "You said: hello")


def test_the_provider_of_a_call_is_that_of_its_model(db_path: Path, stand_in: VendorServer) -> None:
    """Of every vendor that litellm knows, and asked through whatever it is."""
    for model in ("groq/llama-3.3-70b-versatile", "mistral/mistral-large-latest"):
        _ask(stand_in, model=model)
    found = [(call["model"], call["provider"]) for call in stored(db_path).calls]
    assert found == [
        ("groq/llama-3.3-70b-versatile", "groq"),
        ("mistral/mistral-large-latest", "mistral"),
    ]


def test_arguments_may_be_given_by_position(db_path: Path, stand_in: VendorServer) -> None:
    """Sync and async; what the function itself would not take raises what it raises."""
    options = litellm_options(stand_in.url)
    uninstrument(["openai"])
    litellm.completion(MODEL, HELLO, **options)
    asyncio.run(litellm.acompletion(MODEL, HELLO, **options))
    assert litellm.embedding("openai/text-embedding-3-small", ["hello"], **options)
    with pytest.raises(TypeError, match=r"multiple values for .*model"):
        litellm.completion(MODEL, HELLO, model=MODEL, **options)
    *calls, embedded = stored(db_path).calls
    for call in calls:
        assert (call["model"], call["provider"]) == (MODEL, "openai")
        assert (call["prompt_preview"], call["response"]) == ("hello", "You said: hello")
    assert "text-embedding-3-small" in embedded["model"]


def test_a_stream_is_recorded_at_its_end(db_path: Path, stand_in: VendorServer) -> None:
    """Sync and async; tokens are unknown unless the program asked for them."""

    async def read() -> None:
        options = litellm_options(stand_in.url)
        async for _ in await litellm.acompletion(
            model=MODEL, messages=HELLO, stream=True, **options
        ):
            pass

    with WaxellContext("mine"):
        stream = _ask(stand_in, stream=True, stream_options={"include_usage": True})
        next(stream)
        assert stored(db_path).calls == []
        list(stream)
        asyncio.run(read())
    first, second = stored(db_path).calls
    assert (first["is_streaming"], second["is_streaming"]) == (1, 1)
    assert (first["usage_known"], first["tokens_in"], first["tokens_out"]) == (1, 1, 3)
    assert second["usage_known"] == 0
    assert first["response"] == second["response"] == "You said: hello"


def test_a_call_that_fails_is_one_failed_call(db_path: Path, stand_in: VendorServer) -> None:
    """With the library's own error."""
    with pytest.raises(litellm.RateLimitError):
        _ask(stand_in, model="openai/fail-429")
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (run["status"], call["status"], call["usage_known"]) == ("error", "error", 0)
    assert call["error_type"].endswith("RateLimitError")


def test_an_embedding_is_a_call(db_path: Path, stand_in: VendorServer) -> None:
    """With its tokens."""
    litellm.embedding(
        model="openai/text-embedding-3-small", input=["hello"], **litellm_options(stand_in.url)
    )
    (call,) = stored(db_path).calls
    assert (call["model"], call["task"]) == ("text-embedding-3-small", "embeddings")
    assert (call["tokens_in"], call["tokens_out"]) == (1, 0)


def test_fifty_calls_at_once_keep_their_records_apart(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Each lies in the run around it."""

    async def ask(number: int) -> None:
        async with WaxellContext("mine", session_id=f"q{number}"):
            await litellm.acompletion(
                model=MODEL,
                messages=[{"role": "user", "content": f"q{number}"}],
                **litellm_options(stand_in.url),
            )

    async def all_of_them() -> None:
        await asyncio.gather(*map(ask, range(50)))

    asyncio.run(all_of_them())
    found = stored(db_path)
    assert len(found.runs) == len(found.calls) == 50
    for run in found.runs:
        (call,) = found.calls_of(run)
        assert call["prompt_preview"] == run["session_id"]
