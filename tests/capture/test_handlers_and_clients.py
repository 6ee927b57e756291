"""A framework's handler and automatic capture together: each call of a model is one row."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from tests.tools.sdk_rows import only, rows
from tests.vendors import clients
from tests.vendors.replies import Reply, Usage
from tests.vendors.server import VendorServer, vendor_server
from waxlocal import WaxellContext, init
from waxlocal.capture.engines import instrument, uninstrument
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings
from waxlocal.shim.collector import _collector
from waxlocal.shim.langchain import WaxellLangChainHandler
from waxlocal.shim.llamaindex import WaxellLlamaIndexHandler

pytestmark = pytest.mark.usefixtures("recorder")

MODEL = "gpt-4o"
CLIENT = "opentelemetry.instrumentation.genai.openai"


class OverOpenAI(BaseChatModel):
    """A chat model that asks openai's client, `times` times, and may tell the usage."""

    url: str
    model: str = MODEL
    times: int = 1
    tells_usage: bool = True

    @property
    def _llm_type(self) -> str:
        return "over-openai"

    def _generate(self, messages: list[BaseMessage], *_: Any, **_more: Any) -> ChatResult:
        with clients.openai_client(self.url) as client:
            for _ in range(self.times):
                answer = client.chat.completions.create(model=self.model, messages=asked(messages))
        return self._result(answer)

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **_more: Any) -> ChatResult:
        async with clients.async_openai_client(self.url) as client:
            answer = await client.chat.completions.create(model=MODEL, messages=asked(messages))
        return self._result(answer)

    def _result(self, answer: Any) -> ChatResult:
        usage = answer.usage.model_dump() if self.tells_usage else None
        message = AIMessage(
            content=answer.choices[0].message.content,
            response_metadata={"model_name": answer.model, "token_usage": usage},
        )
        generation = ChatGeneration(message=message)
        return ChatResult(generations=[generation], llm_output={"token_usage": usage})


def asked(messages: list[BaseMessage]) -> list[Any]:
    """Return messages as the client takes them."""
    return [{"role": "user", "content": str(message.content)} for message in messages]


@pytest.fixture
def vendors() -> Iterator[VendorServer]:
    with vendor_server() as server:
        assert instrument(["openai"]) == {"openai": True}
        yield server
        uninstrument()


@pytest.fixture
def handler() -> Any:
    """A handler for LangChain."""
    return WaxellLangChainHandler("guide", session_id="s-1")


def test_a_call_in_a_chain_is_one_row(db_path: Path, vendors: VendorServer, handler: Any) -> None:
    """With the client's counts, the handler's messages, and both named as sources."""
    vendors.answer(Reply(usage=Usage(1200, 40, cached=900), model="gpt-4o-2024-08-06"))
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | OverOpenAI(url=vendors.url)
    chain.invoke({"q": "what is it?"}, config={"callbacks": [handler]})
    handler.flush_sync()
    call, run = only(db_path, "llm_calls"), only(db_path, "runs")
    assert (run["agent_name"], call["run_id"]) == ("guide", run["run_id"])
    assert (call["model"], call["provider"]) == ("gpt-4o-2024-08-06", "openai")
    counts = ("tokens_in", "tokens_out", "cached_tokens", "usage_known")
    assert tuple(call[name] for name in counts) == (1200, 40, 900, 1)
    assert call["messages"] == [{"role": "user", "content": "what is it?"}]
    assert call["details"]["sources"]["call"] == CLIENT
    assert call["details"]["sources"]["messages"] == "waxlocal.langchain"
    assert call["details"]["merged"] == ["waxlocal.langchain"]


@pytest.mark.parametrize("tells_usage", [True, False])
def test_a_call_outside_any_chain_is_one_row_of_the_handler(
    db_path: Path, vendors: VendorServer, handler: Any, tells_usage: bool
) -> None:
    """Not of the program's run around it, and no run of its own; what follows is in that run."""
    model = OverOpenAI(url=vendors.url, tells_usage=tells_usage)
    with WaxellContext("around") as around:
        model.invoke("what is it?", config={"callbacks": [handler]})
        with clients.openai_client(vendors.url) as client:
            by_hand: Any = [{"role": "user", "content": "by hand"}]
            client.chat.completions.create(model=MODEL, messages=by_hand)
    handler.flush_sync()
    inside, after = sorted(rows(db_path, "llm_calls"), key=lambda call: call["recorded_at"])
    assert (inside["run_id"], inside["tokens_in"]) == (handler.run_id, 3)
    assert (after["run_id"], after["prompt_preview"]) == (around.run_id, "by hand")
    assert len(rows(db_path, "runs")) == 2


def test_many_at_once_keep_each_its_own_messages(
    db_path: Path, vendors: VendorServer, handler: Any
) -> None:
    """In threads, in tasks, and two prompts in one call of the framework; equal ones stay two."""
    model = OverOpenAI(url=vendors.url, tells_usage=False)
    config: Any = {"callbacks": [handler]}
    questions = [" ".join(["word"] * number) for number in (1, 2, 3, 3)]
    model.batch(list(questions), config=config)

    async def ask_all() -> None:
        await asyncio.gather(*(model.ainvoke(one, config=config) for one in questions))

    asyncio.run(ask_all())
    model.generate([[HumanMessage(one)] for one in questions[:2]], callbacks=[handler])
    handler.flush_sync()
    found = rows(db_path, "llm_calls")
    assert len(found) == 10
    for call in found:
        (message,) = call["messages"]
        assert len(message["content"].split()) == call["tokens_in"]
        assert call["details"]["merged"] == ["waxlocal.langchain"]


@pytest.mark.parametrize("keep", [False, True])
def test_of_an_image_the_handler_keeps_what_capture_keeps(
    db_path: Path, vendors: VendorServer, handler: Any, keep: bool
) -> None:
    """Its type, size and hash, or its data: in calls and spans; in the run never its data."""
    init(keep_blobs=keep, instrument=["openai"])
    data = base64.b64encode(bytes(range(120))).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    vendors.answer(Reply(text="a cat"), Reply(text="a dog"))
    model = OverOpenAI(url=vendors.url)
    chain = RunnableLambda(lambda messages: model.invoke(messages))
    chain.invoke([HumanMessage([image])], config={"callbacks": [handler]})
    model.invoke([HumanMessage([image])], config={"callbacks": [handler]})
    handler.flush_sync()
    first, second = rows(db_path, "llm_calls")
    for found in (only(db_path, "spans"), first, second):
        assert (data in repr(found)) is keep
        assert ("sha256" in repr(found)) is not keep
        assert found.get("prompt_preview", "[image]") == "[image]"
    inputs = repr(only(db_path, "runs")["inputs"])
    assert data not in inputs
    assert "sha256" in inputs


def test_retries_inside_one_call_of_the_framework_are_the_calls(
    db_path: Path, vendors: VendorServer, handler: Any
) -> None:
    """The framework's report is the last one of them."""
    OverOpenAI(url=vendors.url, times=3).invoke("ask", config={"callbacks": [handler]})
    handler.flush_sync()
    found = rows(db_path, "llm_calls")
    assert [call["details"].get("merged") for call in found] == [None, None, ["waxlocal.langchain"]]


def test_a_failed_call_is_one_row(db_path: Path, vendors: VendorServer, handler: Any) -> None:
    """With the client's error; its tokens are unknown."""
    import openai

    with pytest.raises(openai.RateLimitError):
        OverOpenAI(url=vendors.url, model="fail-429").invoke("ask", config={"callbacks": [handler]})
    handler.flush_sync(status="error")
    call = only(db_path, "llm_calls")
    assert (call["status"], call["usage_known"]) == ("error", 0)
    assert call["error_type"] == "openai.RateLimitError"


def test_without_capture_the_handler_records_alone(db_path: Path, handler: Any) -> None:
    """One row per call, and equal ones stay two."""
    with vendor_server() as server:
        for _ in range(2):
            OverOpenAI(url=server.url).invoke("ask", config={"callbacks": [handler]})
    handler.flush_sync()
    for call in rows(db_path, "llm_calls"):
        assert (call["tokens_in"], call["usage_known"]) == (1, 1)
        assert call["details"]["sources"] == {"call": "waxlocal.langchain"}
    assert len(rows(db_path, "llm_calls")) == 2


def test_a_call_that_the_collector_is_told_is_one_row(db_path: Path, vendors: VendorServer) -> None:
    """Inside a run and outside any; each captured call is taken once."""
    told = {"model": MODEL, "tokens_in": 1, "tokens_out": 3, "task": "t", "cost": 0.5}
    by_hand: Any = [{"role": "user", "content": "ask"}]
    with clients.openai_client(vendors.url) as client:
        client.chat.completions.create(model=MODEL, messages=by_hand)
        _collector.record_call(told)
        with WaxellContext("own"):
            client.chat.completions.create(model=MODEL, messages=by_hand)
            _collector.record_call(told)
    outside, inside = rows(db_path, "llm_calls")
    assert outside["run_id"] != inside["run_id"]
    for call in (outside, inside):
        assert (call["task"], call["cost"], call["messages"]) == ("t", 0.5, by_hand)
        assert call["details"]["merged"] == ["record_llm_call"]
    _collector.record_call(told)
    _collector.record_call({**told, "tokens_in": 2})
    assert len(rows(db_path, "llm_calls")) == 4
    assert len(rows(db_path, "runs")) == 4


def test_a_call_in_another_file_is_not_the_one_that_the_collector_is_told(
    tmp_path: Path, db_path: Path, vendors: VendorServer
) -> None:
    """Of a program that has gone on to another file since."""
    by_hand: Any = [{"role": "user", "content": "ask"}]
    with clients.openai_client(vendors.url) as client:
        client.chat.completions.create(model=MODEL, messages=by_hand)
    other = Recorder(Settings(db=tmp_path / "other.db"))
    before = use_recorder(other)
    try:
        _collector.record_call({"model": MODEL, "tokens_in": 1, "tokens_out": 3, "task": "t"})
    finally:
        use_recorder(before)
        other.close()
    assert only(tmp_path / "other.db", "llm_calls")["task"] == "t"
    assert only(db_path, "llm_calls")["task"] == "chat.completions"


def test_a_call_of_llama_index_is_one_row(db_path: Path, vendors: VendorServer) -> None:
    """`chat` of a model that completes text is told twice by the framework, once by the client."""
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.llms import ChatMessage, CompletionResponse, CustomLLM, LLMMetadata
    from llama_index.core.llms.callbacks import llm_completion_callback

    class Completes(CustomLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata(model_name=MODEL)

        @llm_completion_callback()
        def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:
            by_hand: Any = [{"role": "user", "content": prompt}]
            with clients.openai_client(vendors.url) as client:
                answer = client.chat.completions.create(model=MODEL, messages=by_hand)
            return CompletionResponse(text=str(answer.choices[0].message.content), raw=answer)

        @llm_completion_callback()
        def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
            raise NotImplementedError

    told = WaxellLlamaIndexHandler("reader")
    model = Completes(callback_manager=CallbackManager([told]))
    model.chat([ChatMessage(role="user", content="what is it?")])
    model.complete("and this?")
    told.flush_sync()
    for call in rows(db_path, "llm_calls"):
        assert (call["run_id"], call["usage_known"]) == (told.run_id, 1)
        assert call["details"]["merged"] == ["waxlocal.llamaindex"]
    assert len(rows(db_path, "llm_calls")) == 2
