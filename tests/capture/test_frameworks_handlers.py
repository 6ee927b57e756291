"""A handler of the program beside the capture of its framework: each thing done is one span."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from llama_index.core import Document as LlamaDocument
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager

from tests.capture.langchain_parts import Shelf, helper, weather
from tests.capture.stored import stored
from tests.vendors.clients import langchain_model, llama_index_model
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument
from waxlocal.shim.langchain import WaxellLangChainHandler
from waxlocal.shim.langgraph import WaxellLangGraphHandler
from waxlocal.shim.llamaindex import WaxellLlamaIndexHandler

pytestmark = [
    pytest.mark.usefixtures("recorder", "uncaptured"),
    pytest.mark.filterwarnings("ignore"),
]

NAMES = ["openai", "langchain", "llamaindex"]


@pytest.fixture(autouse=True)
def captured(uncaptured: None) -> None:
    assert instrument(NAMES) == dict.fromkeys(NAMES, True)


OF_GRAPH = [
    ("chain", "helper", None),
    ("chain", "bot", "helper"),
    ("chain", "tools_condition", "bot"),
    ("chain", "tools", "helper"),
    ("tool", "weather", "tools"),
    ("chain", "bot", "helper"),
    ("chain", "tools_condition", "bot"),
]
ASKED: Any = {"messages": [("user", "Bern")]}
HANDLERS = [WaxellLangGraphHandler, WaxellLangChainHandler]


def _ask(graph: Any, handler: Any, way: str) -> None:
    config = {"callbacks": [handler]}
    if way == "invoke":
        graph.invoke(ASKED, config=config)
    elif way == "stream":
        list(graph.stream(ASKED, config=config))
    else:
        asyncio.run(graph.ainvoke(ASKED, config=config))


@pytest.mark.parametrize("make", HANDLERS)
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
def test_each_node_and_tool_of_a_graph_is_one_span(
    db_path: Path, stand_in: VendorServer, make: Any, way: str
) -> None:
    """In the run of the handler, as without capture; the calls are one row each, too."""
    handler = make("guide")
    _ask(helper(stand_in.url).compile(name="helper"), handler, way)
    handler.flush_sync()
    found = stored(db_path)
    (run,) = found.runs
    assert (run["agent_name"], run["run_id"]) == ("guide", handler.run_id)
    assert found.spans_of(run) == OF_GRAPH
    assert {span["status"] for span in found.spans} == {"ok"}
    assert len(found.calls_of(run)) == len(found.calls) == 2
    (asked,) = json.loads(found.calls[0]["details"])["tool_calls"]
    (of_tool,) = (span for span in found.spans if span["kind"] == "tool")
    assert json.loads(of_tool["attributes"])["tool_call_id"] == asked["id"]


@pytest.mark.parametrize("starts_run", [True, False])
def test_chains_tools_and_retrievals_inside_a_run_are_one_span_each(
    db_path: Path, stand_in: VendorServer, starts_run: bool
) -> None:
    """In a run of the handler inside that of the program, or in that itself."""
    prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
    chain: Any = prompt | langchain_model(stand_in.url) | StrOutputParser()
    handler = WaxellLangChainHandler("guide", auto_start_run=starts_run)
    config: Any = {"callbacks": [handler]}
    with WaxellContext("mine"):
        chain.invoke({"question": "what?"}, config=config)
        weather.invoke({"city": "Bern"}, config=config)
        Shelf().invoke("cats", config=config)
        handler.flush_sync()
    found = stored(db_path)
    assert found.parents() == ({"mine": None, "guide": "mine"} if starts_run else {"mine": None})
    run = found.run("guide" if starts_run else "mine")
    assert found.spans_of(run) == [
        ("chain", "RunnableSequence", None),
        ("chain", "ChatPromptTemplate", "RunnableSequence"),
        ("chain", "StrOutputParser", "RunnableSequence"),
        ("tool", "weather", None),
        ("retriever", "retrieve:Shelf", None),
    ]
    assert len(found.spans) == 5
    assert len(found.calls_of(run)) == len(found.calls) == 1
    (document,) = json.loads(found.spans[-1]["output"])["documents"]
    assert document == {"id": "d-1", "content": "of cats", "metadata": {"score": 0.5}}


@pytest.mark.parametrize("starts_run", [True, False])
def test_a_handler_that_a_tool_has_itself(db_path: Path, starts_run: bool) -> None:
    """Given to its constructor, it would be told after those of the process."""
    handler: Any = WaxellLangChainHandler("guide", auto_start_run=starts_run)
    mine = weather.model_copy(update={"callbacks": [handler]})
    with WaxellContext("mine"):
        mine.invoke({"city": "Bern"})
        asyncio.run(mine.ainvoke({"city": "Rome"}))
        handler.flush_sync()
    found = stored(db_path)
    run = found.run("guide" if starts_run else "mine")
    assert found.spans_of(run) == [("tool", "weather", None)] * 2
    assert len(found.spans) == 2


def test_a_tool_that_fails_is_one_failed_span(db_path: Path) -> None:
    """With the error as the handler was told it."""
    handler = WaxellLangChainHandler("guide")
    with pytest.raises(ValueError, match="no such city"):
        weather.invoke({"city": "nowhere"}, config={"callbacks": [handler]})
    handler.flush_sync(status="error")
    (span,) = stored(db_path).spans
    assert (span["status"], span["error"]) == ("error", "ValueError: no such city")


def test_many_at_once_are_one_span_each(db_path: Path) -> None:
    """In threads and in tasks."""
    handler = WaxellLangChainHandler("guide")
    config: Any = {"callbacks": [handler]}
    weather.batch([{"city": f"a{number}"} for number in range(20)], config=config)

    async def ask_all() -> None:
        await asyncio.gather(
            *(weather.ainvoke({"city": f"b{number}"}, config=config) for number in range(20))
        )

    asyncio.run(ask_all())
    handler.flush_sync()
    found = stored(db_path)
    assert len(found.runs) == 1
    assert found.spans_of() == [("tool", "weather", None)] * 40
    assert len({span["input"] for span in found.spans}) == 40


def test_what_no_handler_is_told_is_captured(db_path: Path) -> None:
    """A tool of another call, and one whose handler has no run to record into."""
    told, idle = WaxellLangChainHandler("guide"), WaxellLangChainHandler("g", auto_start_run=False)
    weather.invoke({"city": "one"}, config={"callbacks": [told]})
    weather.invoke({"city": "two"})
    weather.invoke({"city": "three"}, config={"callbacks": [idle]})
    told.flush_sync()
    found = stored(db_path)
    alone = "execute_tool weather"
    assert [run["agent_name"] for run in found.runs] == ["guide", alone, alone]
    assert [json.loads(span["input"])["city"] for span in found.spans] == ["one", "two", "three"]


def _index(manager: CallbackManager | None) -> Any:
    return VectorStoreIndex.from_documents(
        [LlamaDocument(text="the sun is hot")],
        embed_model=MockEmbedding(8),
        callback_manager=manager,
    )


def _retriever(manager: CallbackManager | None) -> Any:
    return _index(manager).as_retriever()


def _query(url: str, handler: Any, *, awaited: bool) -> None:
    manager = CallbackManager([handler])
    index = _index(manager)
    handler.flush_sync()
    model = llama_index_model(url)
    model.callback_manager = manager
    engine = index.as_query_engine(llm=model)
    if awaited:
        asyncio.run(engine.aquery("how is it?"))
    else:
        engine.query("how is it?")
    handler.flush_sync()


@pytest.mark.parametrize("awaited", [False, True])
def test_a_retrieval_of_llama_index_is_one_span(
    db_path: Path, stand_in: VendorServer, awaited: bool
) -> None:
    """In the run of the handler, and no run of its own."""
    handler = WaxellLlamaIndexHandler("reader")
    _query(stand_in.url, handler, awaited=awaited)
    found = stored(db_path)
    assert "retrieval" not in [run["agent_name"] for run in found.runs]
    (span,) = (span for span in found.spans if span["kind"] == "retriever")
    assert (span["run_id"], json.loads(span["input"])) == (handler.run_id, {"query": "how is it?"})
    (document,) = json.loads(span["output"])["documents"]
    assert document["score"] == pytest.approx(1.0)


def test_a_retrieval_that_no_handler_records_is_captured(db_path: Path) -> None:
    """With a handler that has no run, without any, and after capture was switched off and on."""
    idle = WaxellLlamaIndexHandler("reader", auto_start_run=False)
    retrievers = [_retriever(CallbackManager([idle])), _retriever(None)]
    for retriever in retrievers:
        retriever.retrieve("one")
    uninstrument()
    retrievers[1].retrieve("nobody asks")
    instrument(NAMES)
    retrievers[1].retrieve("two")
    found = stored(db_path)
    assert [json.loads(span["input"]) for span in found.spans] == ["one", "one", "two"]
