"""Programs with the real LangChain and LangGraph, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.capture.stored import said, stored
from tests.vendors.clients import langchain_model
from tests.vendors.replies import Reply, Usage
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument

pytestmark = [
    pytest.mark.usefixtures("recorder", "uncaptured", "captured"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def captured(uncaptured: None) -> None:
    assert instrument(["openai", "langchain"]) == {"openai": True, "langchain": True}


@tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: sunny"


class Shelf(BaseRetriever):
    """Finds one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(page_content=f"of {query}", id="d-1", metadata={"score": 0.5})]


def _chain(url: str, model: str = "gpt-4o") -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", "be brief"), ("user", "{question}")])
    return prompt | langchain_model(url, model) | StrOutputParser()


def _graph(url: str, name: str = "helper") -> Any:
    model = langchain_model(url).bind_tools([weather])
    graph = StateGraph(MessagesState)
    graph.add_node("bot", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "bot")
    graph.add_conditional_edges("bot", tools_condition)
    graph.add_edge("tools", "bot")
    return graph.compile(checkpointer=MemorySaver(), name=name)


def _thread(thread_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread_id}}


def _asks(text: str) -> dict[str, Any]:
    return {"messages": [("user", text)]}


def test_a_chain_outside_any_run_is_a_run_with_one_call(
    db_path: Path, stand_in: VendorServer
) -> None:
    """The client below is not a second call."""
    stand_in.answer(Reply(text="It is.", usage=Usage(1200, 40, cached=900)))
    _chain(stand_in.url).invoke({"question": "what?"}, config={"metadata": {"thread_id": "t-1"}})
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (run["agent_name"], run["workflow_name"]) == ("RunnableSequence", "langchain")
    assert (run["session_id"], run["status"]) == ("t-1", "success")
    assert json.loads(run["result"]) == {"response": "It is."}
    assert (call["model"], call["provider"], call["task"]) == ("gpt-4o", "openai", "langchain.llm")
    assert (call["tokens_in"], call["tokens_out"], call["cached_tokens"]) == (1200, 40, 900)
    assert json.loads(call["messages"]) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what?"},
    ]


def test_a_chain_inside_a_run_is_a_span_of_it(db_path: Path, stand_in: VendorServer) -> None:
    """And so are its tools and its retrievals, with what went in and what came out."""
    with WaxellContext("mine", session_id="s-1"):
        _chain(stand_in.url).invoke({"question": "what?"})
        weather.invoke({"city": "Bern"})
        Shelf().invoke("cats")
    found = stored(db_path)
    (run,) = found.runs
    assert found.spans_of(run) == [
        ("agent", "RunnableSequence", None),
        ("tool", "weather", None),
        ("retriever", "retrieval", None),
    ]
    assert len(found.calls_of(run)) == 1
    _, of_tool, of_shelf = found.spans
    assert json.loads(of_tool["input"]) == {"city": "Bern"}
    assert json.loads(of_tool["output"]) == "Bern: sunny"
    assert json.loads(of_shelf["input"]) == "cats"
    assert json.loads(of_shelf["output"])[0]["id"] == "d-1"


def test_a_stream_of_a_chain_is_recorded_at_its_end(db_path: Path, stand_in: VendorServer) -> None:
    """With the time to the first token."""
    for _ in _chain(stand_in.url).stream({"question": "what?"}):
        assert stored(db_path).calls == []
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (call["is_streaming"], call["usage_known"]) == (1, 0)
    assert call["ttft_ms"] is not None
    assert (run["status"], said(run)[1]) == ("success", "You said: what?")


def test_a_chain_that_fails_is_a_failed_run(db_path: Path, stand_in: VendorServer) -> None:
    """Its call has failed, with unknown tokens."""
    with pytest.raises(Exception, match="Rate limit"):
        _chain(stand_in.url, "fail-429").invoke({"question": "what?"})
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (run["status"], call["status"], call["usage_known"]) == ("error", "error", 0)
    assert "RateLimitError" in run["error_type"]
    assert "RateLimitError" in call["error_type"]


def test_a_fallback_is_a_call_of_its_own(db_path: Path, stand_in: VendorServer) -> None:
    """The one that failed is kept."""
    first, second = langchain_model(stand_in.url, "fail-500"), langchain_model(stand_in.url)
    first.with_fallbacks([second]).invoke("hello")
    calls = stored(db_path).calls
    assert [(call["model"], call["status"]) for call in calls] == [
        ("fail-500", "error"),
        ("gpt-4o", "ok"),
    ]


def test_a_graph_outside_any_run_is_a_run_in_the_session_of_its_thread(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Each invocation one, with its tool and the two calls around it."""
    graph = _graph(stand_in.url)
    for question in ("Bern", "Rome"):
        graph.invoke(_asks(question), config=_thread("t-7"))
    found = stored(db_path)
    assert [said(run) for run in found.runs] == [
        ("Bern", "You said: Bern"),
        ("Rome", "You said: Rome"),
    ]
    for run in found.runs:
        assert (run["agent_name"], run["workflow_name"]) == ("helper", "langgraph")
        assert (run["session_id"], run["status"]) == ("t-7", "success")
        assert found.spans_of(run) == [("tool", "weather", None)]
        first, second = found.calls_of(run)
        assert json.loads(first["tools"])[0]["name"] == "weather"
        (asked,) = json.loads(first["details"])["tool_calls"]
        assert (asked["name"], asked["arguments"]) == ("weather", {"city": said(run)[0]})
        assert json.loads(second["messages"])[-1] == {
            "role": "tool",
            "content": f"{said(run)[0]}: sunny",
            "tool_call_id": asked["id"],
        }
    assert found.tokens() == [(1, 2), (3, 3), (7, 2), (9, 3)]


def test_a_graph_inside_a_run_is_a_span_of_it(db_path: Path, stand_in: VendorServer) -> None:
    """The session stays that of the run."""
    with WaxellContext("mine", session_id="s-1"):
        _graph(stand_in.url).invoke(_asks("Bern"), config=_thread("t-8"))
    found = stored(db_path)
    (run,) = found.runs
    assert run["session_id"] == "s-1"
    assert found.spans_of(run) == [("agent", "helper", None), ("tool", "weather", "helper")]
    assert len(found.calls) == 2


def test_an_agent_inside_a_graph_is_a_child_run(db_path: Path, stand_in: VendorServer) -> None:
    """Its calls and tools lie in it."""
    model = langchain_model(stand_in.url)
    graph = StateGraph(MessagesState)
    graph.add_node("sub", create_agent(model, tools=[weather], name="guide", system_prompt="hi"))
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    graph.compile(name="outer").invoke(_asks("Bern"))
    found = stored(db_path)
    assert found.parents() == {"outer": None, "guide": "outer"}
    guide = found.run("guide")
    assert len(found.calls_of(guide)) == len(found.calls) == 2
    assert found.spans_of(guide) == [("tool", "weather", None)]
    assert said(guide) == ("Bern", "You said: Bern")


def test_a_graph_whose_node_fails_is_a_failed_run(db_path: Path) -> None:
    """With the type and the text of the error."""

    def bad(_: MessagesState) -> Any:
        raise ValueError("no such word")

    graph = StateGraph(MessagesState)
    graph.add_node("bad", bad)
    graph.add_edge(START, "bad")
    with pytest.raises(ValueError, match="no such word"):
        graph.compile().invoke(_asks("Bern"))
    (run,) = stored(db_path).runs
    assert (run["status"], run["error_type"], run["error"]) == (
        "error",
        "ValueError",
        "no such word",
    )


def test_fifty_invocations_at_once_keep_their_records_apart(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Half of them inside runs of the program."""
    model = langchain_model(stand_in.url).bind_tools([weather])

    async def bot(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("bot", bot)
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "bot")
    graph.add_conditional_edges("bot", tools_condition)
    graph.add_edge("tools", "bot")
    app = graph.compile(checkpointer=MemorySaver(), name="helper")

    async def ask(number: int) -> None:
        if number % 2:
            await app.ainvoke(_asks(f"q{number}"), config=_thread(f"q{number}"))
        else:
            async with WaxellContext("mine", session_id=f"q{number}"):
                await app.ainvoke(_asks(f"q{number}"), config=_thread("other"))

    async def all_of_them() -> None:
        await asyncio.gather(*map(ask, range(50)))

    asyncio.run(all_of_them())
    found = stored(db_path)
    assert sorted(run["session_id"] for run in found.runs) == sorted(f"q{n}" for n in range(50))
    assert {run["status"] for run in found.runs} == {"success"}
    for run in found.runs:
        first, second = found.calls_of(run)
        assert run["session_id"] in first["prompt_preview"]
        assert second["response"] == f"You said: {run['session_id']}"
        tools = [name for kind, name, _ in found.spans_of(run) if kind == "tool"]
        assert tools == ["weather"]


def test_without_content_no_text_of_a_graph_is_kept(
    db_path: Path, stand_in: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and structure are."""
    from waxlocal.recording.recorder import current_recorder

    monkeypatch.setattr(current_recorder(), "capture_content", False)
    _graph(stand_in.url).invoke(_asks("zebra"), config=_thread("t-1"))
    found = stored(db_path)
    assert "zebra" not in repr((found.runs, found.spans, found.calls))
    assert found.tokens() == [(1, 2), (3, 3)]
    assert [span["name"] for span in found.spans] == ["weather"]
