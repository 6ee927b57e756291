"""Programs with the real OpenAI Agents SDK, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import agents
import pytest
from agents import Agent, RunConfig, Runner, function_tool
from agents.tracing import get_trace_provider, set_trace_processors

from tests.capture.stored import said, stored
from tests.vendors.clients import async_openai_client
from tests.vendors.replies import Reply, ToolCall
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = [
    pytest.mark.usefixtures("recorder", "uncaptured", "captured"),
    pytest.mark.filterwarnings("ignore"),
]


class Listener(agents.tracing.TracingProcessor):
    """A processor of the program's own: it counts what it is told."""

    def __init__(self) -> None:
        self.traces = self.spans = 0

    def on_trace_start(self, trace: Any) -> None:
        self.traces += 1

    def on_trace_end(self, trace: Any) -> None:
        pass

    def on_span_start(self, span: Any) -> None:
        self.spans += 1

    def on_span_end(self, span: Any) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self) -> None:
        pass


def _processors() -> tuple[Any, ...]:
    return tuple(get_trace_provider()._multi_processor._processors)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Let the program have one processor, in place of the one that posts to the vendor."""
    before, listener = _processors(), Listener()
    set_trace_processors([listener])
    yield listener
    uninstrument()
    assert _processors() == (listener,)
    set_trace_processors(list(before))


@pytest.fixture
def captured(listener: Listener, uncaptured: None) -> None:
    names = ["openai", "openai_agents"]
    assert instrument(names) == dict.fromkeys(names, True)


@function_tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: sunny"


@pytest.fixture(params=[agents.OpenAIResponsesModel, agents.OpenAIChatCompletionsModel])
def kind(request: pytest.FixtureRequest) -> Any:
    """Over the responses, and over the chat completions."""
    return request.param


def _agent(server: VendorServer, kind: Any, name: str = "guide", **options: Any) -> Any:
    given: dict[str, Any] = {"instructions": "be brief", **options}
    model = kind(model=given.pop("model", "gpt-4o"), openai_client=async_openai_client(server.url))
    return Agent(name=name, model=model, **given)


def test_an_invocation_outside_any_run_is_a_run_and_its_agent_a_child(
    db_path: Path, stand_in: VendorServer, kind: Any, listener: Listener
) -> None:
    """In the session of its group; the program's own processor goes on."""
    config = RunConfig(group_id="g-1", workflow_name="support")
    agent = _agent(stand_in, kind, tools=[weather])
    asyncio.run(Runner.run(agent, "Bern", run_config=config))
    found = stored(db_path)
    assert found.parents() == {"support": None, "guide": "support"}
    for run in found.runs:
        assert (run["workflow_name"], run["session_id"]) == ("openai_agents", "g-1")
        assert (run["status"], said(run)) == ("success", ("Bern", "You said: Bern"))
    guide = found.run("guide")
    assert found.spans_of(guide) == [("tool", "weather", None)]
    (span,) = found.spans
    assert json.loads(span["input"]) == {"city": "Bern"}
    assert json.loads(span["output"]) == "Bern: sunny"
    first, second = found.calls_of(guide)
    assert len(found.calls) == 2
    assert json.loads(first["tools"])[0]["name"] == "weather"
    assert json.loads(first["details"])["tool_calls"][0]["arguments"] == {"city": "Bern"}
    assert [one["role"] for one in json.loads(second["messages"])] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert found.tokens() == [(3, 2), (5, 3)]
    assert listener.traces == 1
    assert listener.spans > 2


def test_an_agent_that_is_handed_over_to_is_a_run_beside(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """Both inside the run of the invocation."""
    other = _agent(stand_in, kind, "other")
    stand_in.answer(Reply(tool_calls=(ToolCall("transfer_to_other"),)))
    asyncio.run(Runner.run(_agent(stand_in, kind, "triage", handoffs=[other]), "who?"))
    found = stored(db_path)
    assert found.parents() == {
        "Agent workflow": None,
        "triage": "Agent workflow",
        "other": "Agent workflow",
    }
    assert [len(found.calls_of(run)) for run in found.runs] == [0, 1, 1]
    assert said(found.run("Agent workflow")) == ("who?", "You said: who?")


def test_an_agent_that_is_a_tool_is_a_run_inside(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """Inside that of the agent that called it."""
    tool = _agent(stand_in, kind, "other").as_tool("ask", "asks")
    stand_in.answer(Reply(tool_calls=(ToolCall("ask", {"input": "help"}),)))
    asyncio.run(Runner.run(_agent(stand_in, kind, "boss", tools=[tool]), "do it"))
    found = stored(db_path)
    assert found.parents() == {"Agent workflow": None, "boss": "Agent workflow", "other": "boss"}
    assert said(found.run("other")) == ("help", "You said: help")
    assert found.spans_of(found.run("boss")) == [("tool", "ask", None)]


def test_an_invocation_inside_a_run_is_a_span_of_it(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """The agent is a run inside it, in its session."""
    with WaxellContext("mine", session_id="s-1"):
        asyncio.run(Runner.run(_agent(stand_in, kind), "hello"))
    found = stored(db_path)
    assert found.parents() == {"mine": None, "guide": "mine"}
    assert found.spans_of(found.run("mine")) == [("agent", "Agent workflow", None)]
    assert {run["session_id"] for run in found.runs} == {"s-1"}
    assert len(found.calls_of(found.run("guide"))) == len(found.calls) == 1


def test_a_streamed_invocation_is_recorded_at_its_end(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """With the time to the first token."""

    async def read() -> None:
        result = Runner.run_streamed(_agent(stand_in, kind), "hello")
        async for _ in result.stream_events():
            pass

    asyncio.run(read())
    found = stored(db_path)
    (call,) = found.calls
    assert (call["is_streaming"], call["response"]) == (1, "You said: hello")
    assert call["ttft_ms"] is not None
    assert {run["status"] for run in found.runs} == {"success"}


def test_an_invocation_that_fails_is_a_failed_run(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """So is the agent in it, and the call."""
    with pytest.raises(Exception, match="Rate limit"):
        asyncio.run(Runner.run(_agent(stand_in, kind, model="fail-429"), "hello"))
    found = stored(db_path)
    assert [run["status"] for run in found.runs] == ["error", "error"]
    assert all("Rate limit" in run["error"] for run in found.runs)
    (call,) = found.calls
    assert (call["status"], call["error_type"]) == ("error", "openai.RateLimitError")


def test_a_failure_of_an_agent_that_its_caller_survives_is_its_own(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """The tool says the error to the model, which goes on."""
    tool = _agent(stand_in, kind, "other", model="fail-429").as_tool("ask", "asks")
    stand_in.answer(Reply(tool_calls=(ToolCall("ask", {"input": "help"}),)))
    asyncio.run(Runner.run(_agent(stand_in, kind, "boss", tools=[tool]), "do it"))
    found = stored(db_path)
    statuses = {run["agent_name"]: run["status"] for run in found.runs}
    assert statuses == {"Agent workflow": "success", "boss": "success", "other": "error"}


def test_without_the_library_s_tracing_its_calls_are_captured(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """Whoever switches that off loses the agents, and no call."""
    config = RunConfig(tracing_disabled=True)
    asyncio.run(Runner.run(_agent(stand_in, kind), "hello", run_config=config))
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (run["agent_name"], call["response"]) == ("auto:gpt-4o", "You said: hello")


def test_fifty_invocations_at_once_keep_their_records_apart(
    db_path: Path, stand_in: VendorServer, kind: Any
) -> None:
    """Each in its group."""

    async def all_of_them() -> None:
        agent = _agent(stand_in, kind, tools=[weather])
        await asyncio.gather(
            *(
                Runner.run(agent, f"q{number}", run_config=RunConfig(group_id=f"q{number}"))
                for number in range(50)
            )
        )

    asyncio.run(all_of_them())
    found = stored(db_path)
    guides = [run for run in found.runs if run["agent_name"] == "guide"]
    assert sorted(run["session_id"] for run in guides) == sorted(f"q{n}" for n in range(50))
    for run in guides:
        asked = run["session_id"]
        assert said(run) == (asked, f"You said: {asked}")
        assert {call["prompt_preview"] for call in found.calls_of(run)} == {asked}
        assert found.spans_of(run) == [("tool", "weather", None)]
    assert len(found.calls) == 100
