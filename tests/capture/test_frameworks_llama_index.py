"""Programs with the real LlamaIndex, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent

from tests.capture.stored import said, stored
from tests.vendors.clients import llama_index_model
from tests.vendors.replies import Fault, Reply
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument

pytestmark = [
    pytest.mark.usefixtures("recorder", "uncaptured", "captured"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def captured(uncaptured: None) -> None:
    names = ["openai", "llamaindex"]
    assert instrument(names) == dict.fromkeys(names, True)


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: sunny"


def _index() -> Any:
    document = Document(text="the sun is hot")
    return VectorStoreIndex.from_documents([document], embed_model=MockEmbedding(8))


def test_a_call_outside_any_run_is_a_run(db_path: Path, stand_in: VendorServer) -> None:
    """Whole, streamed and asynchronous, each once."""
    model = llama_index_model(stand_in.url)
    model.complete("one")
    list(model.stream_complete("two"))
    asyncio.run(llama_index_model(stand_in.url).acomplete("three"))
    found = stored(db_path)
    assert [said(run) for run in found.runs] == [
        ("one", "You said: one"),
        ("two", "You said: two"),
        ("three", "You said: three"),
    ]
    calls = [(call["is_streaming"], call["usage_known"]) for call in found.calls]
    assert calls == [(0, 1), (1, 0), (0, 1)]


def test_a_query_inside_a_run_is_a_retrieval_and_a_call(
    db_path: Path, stand_in: VendorServer
) -> None:
    """With the question, and what was found."""
    engine = _index().as_query_engine(llm=llama_index_model(stand_in.url))
    with WaxellContext("mine"):
        engine.query("how is it?")
    found = stored(db_path)
    (run,), (call,), (span,) = found.runs, found.calls, found.spans
    assert run["agent_name"] == "mine"
    assert (span["kind"], json.loads(span["input"])) == ("retriever", "how is it?")
    (document,) = json.loads(span["output"])
    assert document["score"] == pytest.approx(1.0)
    assert "the sun is hot" in call["prompt_preview"]


def test_a_retrieval_outside_any_run_is_a_run(db_path: Path) -> None:
    """With the span of it."""
    _index().as_retriever().retrieve("how is it?")
    found = stored(db_path)
    (run,) = found.runs
    assert (run["workflow_name"], run["status"]) == ("llamaindex", "success")
    assert found.spans_of(run) == [("retriever", "retrieval", None)]
    assert json.loads(found.spans[0]["input"]) == "how is it?"


def test_an_agent_is_a_run_with_its_tools(db_path: Path, stand_in: VendorServer) -> None:
    """Inside a run of the program a span of it."""

    async def ask() -> None:
        model = llama_index_model(stand_in.url)
        agent = FunctionAgent(name="guide", tools=[weather], llm=model, system_prompt="be brief")
        await agent.run("Bern")

    asyncio.run(ask())
    with WaxellContext("mine"):
        asyncio.run(ask())
    found = stored(db_path)
    assert found.parents() == {"guide": None, "mine": None}
    guide, mine = found.run("guide"), found.run("mine")
    assert (guide["workflow_name"], guide["status"]) == ("llamaindex", "success")
    assert said(guide) == ("Bern", "You said: Bern")
    assert found.spans_of(guide) == [("tool", "weather", None)]
    assert found.spans_of(mine) == [("agent", "guide", None), ("tool", "weather", "guide")]
    assert [len(found.calls_of(run)) for run in (guide, mine)] == [2, 2]
    assert json.loads(found.spans[0]["input"]) == {"city": "Bern"}


def test_a_call_that_fails_is_one_failed_call(db_path: Path, stand_in: VendorServer) -> None:
    """With the client's error."""
    stand_in.answer(Reply(fault=Fault(429)))
    with pytest.raises(Exception, match="Rate limit"):
        llama_index_model(stand_in.url).complete("x")
    (call,) = stored(db_path).calls
    assert (call["status"], call["error_type"]) == ("error", "openai.RateLimitError")


def test_fifty_calls_at_once_keep_their_records_apart(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Each lies in the run around it."""

    async def ask(model: Any, number: int) -> None:
        async with WaxellContext("mine", session_id=f"q{number}"):
            await model.acomplete(f"q{number}")

    async def all_of_them() -> None:
        model = llama_index_model(stand_in.url)
        await asyncio.gather(*(ask(model, number) for number in range(50)))

    asyncio.run(all_of_them())
    found = stored(db_path)
    assert len(found.calls) == 50
    for run in found.runs:
        (call,) = found.calls_of(run)
        assert call["prompt_preview"] == run["session_id"]
