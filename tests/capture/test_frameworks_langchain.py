"""Programs with the real LangChain and LangGraph, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
import operator
import threading
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, Send, interrupt

from tests.capture.langchain_parts import Shelf, helper, weather
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


def _chain(url: str, model: str = "gpt-4o") -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", "be brief"), ("user", "{question}")])
    return prompt | langchain_model(url, model) | StrOutputParser()


def _graph(url: str) -> Any:
    return helper(url).compile(checkpointer=MemorySaver(), name="helper")


# The spans of one question to it.
OF_GRAPH = [
    ("chain", "bot", None),
    ("chain", "tools", None),
    ("tool", "weather", "tools"),
    ("chain", "bot", None),
]


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
        assert found.spans_of(run) == OF_GRAPH
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


def test_the_span_of_a_tool_has_the_id_by_which_it_was_asked_for(
    db_path: Path, stand_in: VendorServer
) -> None:
    """The instrumentation says it, and the description of the tool, at the end."""
    _graph(stand_in.url).invoke(_asks("Bern"), config=_thread("t-1"))
    found = stored(db_path)
    (of_tool,) = (span for span in found.spans if span["kind"] == "tool")
    (asked,) = json.loads(found.calls[0]["details"])["tool_calls"]
    said = json.loads(of_tool["attributes"])
    assert said["tool_call_id"] == asked["id"]
    assert said["gen_ai.tool.description"] == "Return the weather of a city."


def test_a_graph_inside_a_run_is_a_span_of_it(db_path: Path, stand_in: VendorServer) -> None:
    """The session stays that of the run."""
    with WaxellContext("mine", session_id="s-1"):
        _graph(stand_in.url).invoke(_asks("Bern"), config=_thread("t-8"))
    found = stored(db_path)
    (run,) = found.runs
    assert run["session_id"] == "s-1"
    assert found.spans_of(run) == [
        ("agent", "helper", None),
        *((kind, name, outer or "helper") for kind, name, outer in OF_GRAPH),
    ]
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
    assert found.spans_of(found.run("outer")) == [("chain", "sub", None)]
    assert found.spans_of(guide) == [
        ("chain", "model", None),
        ("chain", "tools", None),
        ("tool", "weather", "tools"),
        ("chain", "model", None),
    ]
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


class Log(TypedDict):
    """The state of graphs without a model."""

    log: Annotated[list[str], operator.add]


def _says(text: str) -> Any:
    return lambda _: {"log": [text]}


def _nodes(*nodes: tuple[str, Any], **settings: Any) -> Any:
    """Return a graph of nodes, one after the other."""
    graph = StateGraph(Log)
    for name, act in nodes:
        graph.add_node(name, act)
    for (before, _), (name, _) in zip((("__start__", None), *nodes), nodes, strict=False):
        graph.add_edge(before, name)
    return graph.compile(**settings)


def test_the_nodes_of_a_graph_are_spans_in_order(db_path: Path) -> None:
    """With what each returned, its step and its time; a node that was not chosen is none."""
    graph = StateGraph(Log)
    graph.add_node("plan", _says("p"))
    graph.add_node("act", lambda _: {"log": [weather.invoke({"city": "Bern"})]})
    graph.add_node("rest", _says("r"))
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda _: "act", ["act", "rest"])
    graph.compile(name="helper").invoke({"log": []})
    found = stored(db_path)
    assert found.spans_of() == [
        ("chain", "plan", None),
        ("chain", "act", None),
        ("tool", "weather", "act"),
    ]
    plan, act, _ = found.spans
    assert json.loads(plan["output"]) == {"log": ["p"]}
    assert json.loads(act["output"]) == {"log": ["Bern: sunny"]}
    assert [span["status"] for span in found.spans] == ["ok"] * 3
    assert 0 < plan["duration_ms"] < 10_000
    assert json.loads(act["attributes"]) == {"framework": "langgraph", "node": "act", "step": 2}


def test_the_messages_that_a_node_returns_are_as_those_of_calls(
    db_path: Path, stand_in: VendorServer
) -> None:
    """What it was given is not kept again: it is in the calls."""
    _graph(stand_in.url).invoke(_asks("Bern"), config=_thread("t-1"))
    bot, tools, *_ = stored(db_path).spans
    assert bot["input"] is tools["input"] is None
    (asked,) = json.loads(bot["output"])["messages"]
    (call,) = asked.pop("tool_calls")
    assert asked == {"role": "assistant", "content": ""}
    assert (call["name"], call["arguments"]) == ("weather", {"city": "Bern"})
    (answer,) = json.loads(tools["output"])["messages"]
    assert answer == {
        "role": "tool",
        "content": "Bern: sunny",
        "tool_call_id": call["id"],
        "name": "weather",
    }


def test_the_nodes_of_a_graph_inside_a_node_lie_in_it(db_path: Path) -> None:
    """Whether the graph is the node or is called by it, and whatever its name."""
    inner = _nodes(("deep", _says("d")), ("same", _says("s")), name="same")
    outer = _nodes(("same", inner), ("calls", lambda state: inner.invoke(state)), name="outer")
    outer.invoke({"log": []})
    assert stored(db_path).spans_of() == [
        ("chain", "same", None),
        ("chain", "deep", "same"),
        ("chain", "same", "same"),
        ("chain", "calls", None),
        ("chain", "deep", "calls"),
        ("chain", "same", "calls"),
    ]


def test_nodes_at_the_same_time_are_beside_each_other(db_path: Path) -> None:
    """In threads and in tasks, and one node that is sent to three times."""
    meet = threading.Barrier(2, timeout=60)

    def left(_: Log) -> Any:
        meet.wait()
        return {"log": [weather.invoke({"city": "left"})]}

    def right(_: Log) -> Any:
        meet.wait()
        return {"log": [weather.invoke({"city": "right"})]}

    graph = StateGraph(Log)
    for name, act in (("left", left), ("right", right), ("many", _says("m"))):
        graph.add_node(name, act)
    graph.add_edge(START, "left")
    graph.add_edge(START, "right")
    graph.add_conditional_edges("left", lambda state: [Send("many", state)] * 3, ["many"])
    graph.compile().invoke({"log": []})
    asyncio.run(graph.compile().ainvoke({"log": []}))
    found = stored(db_path)
    assert len(found.runs) == 2
    for run in found.runs:
        spans = found.spans_of(run)
        tools = [
            (span["name"], json.loads(span["input"])["city"])
            for span in found.spans
            if span["run_id"] == run["run_id"] and span["kind"] == "tool"
        ]
        assert sorted(tools) == [("weather", "left"), ("weather", "right")]
        assert sorted(spans) == [
            *[("chain", "left", None), *[("chain", "many", None)] * 3, ("chain", "right", None)],
            *[("tool", "weather", "left"), ("tool", "weather", "right")],
        ]


def test_a_node_that_fails_is_a_failed_span(db_path: Path) -> None:
    """And so is the node around it; the one before it is not."""

    def bad(_: Log) -> Any:
        raise ValueError("no such word")

    inner = _nodes(("good", _says("g")), ("bad", bad))
    with pytest.raises(ValueError, match="no such word"):
        _nodes(("outer", inner)).invoke({"log": []})
    found = {span["name"]: (span["status"], span["error"]) for span in stored(db_path).spans}
    failed = ("error", "ValueError: no such word")
    assert found == {"outer": failed, "good": ("ok", None), "bad": failed}


def test_a_node_that_waits_for_a_person_has_not_failed(db_path: Path) -> None:
    """The graph goes on with the answer, in a run of its own."""

    def ask(_: Log) -> Any:
        return {"log": [interrupt("sure?")]}

    app = _nodes(("ask", ask), checkpointer=MemorySaver())
    app.invoke({"log": []}, config=_thread("t-1"))
    app.invoke(Command(resume="yes"), config=_thread("t-1"))
    waiting, answered = stored(db_path).spans
    assert (waiting["status"], waiting["error"]) == ("ok", None)
    (((asked,),),) = json.loads(waiting["output"]).values()
    assert asked["value"] == "sure?"
    assert (answered["status"], json.loads(answered["output"])) == ("ok", {"log": ["yes"]})


def test_a_tool_that_waits_for_a_person_has_not_failed(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Nor has the agent around it, which is a run; the next one has the answer."""

    @tool
    def pay(amount: int) -> str:
        """Pay an amount."""
        return f"paid {interrupt('sure?')}"

    graph = StateGraph(MessagesState)
    graph.add_node("sub", create_agent(langchain_model(stand_in.url), tools=[pay], name="guide"))
    graph.add_edge(START, "sub")
    app = graph.compile(name="outer", checkpointer=MemorySaver())
    app.invoke(_asks("7"), config=_thread("t-1"))
    app.invoke(Command(resume="yes"), config=_thread("t-1"))
    found = stored(db_path)
    assert [run["status"] for run in found.runs] == ["success"] * 4
    assert {span["status"] for span in found.spans} == {"ok"}
    waits, paid = (span for span in found.spans if span["kind"] == "tool")
    assert "sure?" in json.loads(waits["output"])["GraphInterrupt"]
    assert json.loads(paid["output"]) == "paid yes"


def test_a_node_that_gives_a_command_says_where_it_goes(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Messages in its update are as those of calls; so are those in a list of commands."""
    model = langchain_model(stand_in.url)
    graph = StateGraph(MessagesState)
    graph.add_node(
        "plan",
        lambda state: Command(update={"messages": model.invoke(state["messages"])}, goto="agent"),
        destinations=("agent",),
    )
    graph.add_node("agent", create_agent(model, tools=[], name="guide"))
    graph.add_edge(START, "plan")
    graph.compile(name="outer").invoke(_asks("Bern"))
    plan, _, of_agent = stored(db_path).spans
    said = {"role": "assistant", "content": "You said: Bern"}
    assert json.loads(plan["output"]) == {"update": {"messages": [said]}, "goto": "agent"}
    assert "additional_kwargs" not in of_agent["output"]


def test_the_tasks_of_a_workflow_are_spans_as_nodes_are(db_path: Path) -> None:
    """LangGraph's functions instead of a graph."""

    @task
    def twice(number: int) -> int:
        return 2 * number

    @entrypoint()
    def work(number: int) -> int:
        return twice(number).result() + twice(3).result()

    assert work.invoke(1) == 8
    found = stored(db_path)
    assert found.spans_of() == [
        ("chain", "work", None),
        ("chain", "twice", "work"),
        ("chain", "twice", "work"),
    ]
    assert [json.loads(span["output"]) for span in found.spans] == [8, 2, 6]


def test_without_a_run_for_graphs_their_nodes_are_none_either(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`WAXELL_LANGGRAPH_AUTOCONTEXT=false`; inside a run of the program they are spans of it."""
    monkeypatch.setenv("WAXELL_LANGGRAPH_AUTOCONTEXT", "false")
    app = _nodes(("plan", _says("p")), name="helper")
    app.invoke({"log": []})
    with WaxellContext("mine"):
        app.invoke({"log": []})
    assert stored(db_path).spans_of() == [("agent", "helper", None), ("chain", "plan", "helper")]


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
    assert [span["name"] for span in found.spans] == [name for _, name, _ in OF_GRAPH]
    (of_tool,) = (span for span in found.spans if span["kind"] == "tool")
    (asked,) = json.loads(found.calls[0]["details"])["tool_calls"]
    assert json.loads(of_tool["attributes"]) == {"tool_call_id": asked["id"]}
