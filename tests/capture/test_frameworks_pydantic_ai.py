"""Programs with the real pydantic-ai, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, InstrumentationSettings

from tests.capture.stored import said, stored
from tests.vendors.clients import pydantic_ai_model
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = [
    pytest.mark.usefixtures("recorder", "uncaptured", "captured"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def captured(uncaptured: None) -> None:
    names = ["openai", "pydanticai"]
    assert instrument(names) == dict.fromkeys(names, True)


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: sunny"


def _agent(server: VendorServer, name: str = "guide", model: str = "gpt-4o", **options: Any) -> Any:
    return Agent(pydantic_ai_model(server.url, model), name=name, **options)


def test_an_agent_outside_any_run_is_a_run(db_path: Path, stand_in: VendorServer) -> None:
    """In the session of its conversation; the client's call is not a second one."""
    agent = _agent(stand_in, instructions="be brief", tools=[weather])
    asyncio.run(agent.run("Bern", conversation_id="c-1"))
    found = stored(db_path)
    (run,) = found.runs
    assert (run["agent_name"], run["workflow_name"]) == ("guide", "pydantic_ai")
    assert (run["session_id"], run["status"]) == ("c-1", "success")
    assert said(run) == ("Bern", "You said: Bern")
    assert found.spans_of(run) == [("tool", "weather", None)]
    (span,) = found.spans
    assert json.loads(span["input"]) == {"city": "Bern"}
    assert json.loads(span["output"]) == "Bern: sunny"
    assert found.tokens() == [(3, 2), (5, 3)]
    first, second = found.calls
    assert json.loads(first["details"])["merged"] == ["pydantic-ai"]
    assert json.loads(first["tools"])[0]["name"] == "weather"
    assert json.loads(second["messages"])[0] == {"role": "system", "content": "be brief"}


def test_an_agent_inside_a_run_is_a_span_of_it(db_path: Path, stand_in: VendorServer) -> None:
    """With its tool inside."""
    with WaxellContext("mine", session_id="s-1"):
        asyncio.run(_agent(stand_in, tools=[weather]).run("Bern"))
    found = stored(db_path)
    (run,) = found.runs
    assert found.spans_of(run) == [("agent", "guide", None), ("tool", "weather", "guide")]
    assert run["session_id"] == "s-1"
    assert len(found.calls) == 2


def test_an_agent_that_a_tool_asks_is_a_child_run(db_path: Path, stand_in: VendorServer) -> None:
    """Inside that of the agent whose tool it is."""
    inner, outer = _agent(stand_in, "inner"), _agent(stand_in, "outer")

    @outer.tool_plain  # type: ignore[untyped-decorator]
    async def ask() -> str:
        return str((await inner.run("help")).output)

    asyncio.run(outer.run("go"))
    found = stored(db_path)
    assert found.parents() == {"outer": None, "inner": "outer"}
    assert [len(found.calls_of(run)) for run in found.runs] == [2, 1]
    assert said(found.run("inner")) == ("help", "You said: help")


def test_a_stream_is_recorded_at_its_end(db_path: Path, stand_in: VendorServer) -> None:
    """One call, with its tokens: the library asks for them."""

    async def read() -> None:
        async with _agent(stand_in).run_stream("hello") as result:
            async for _ in result.stream_text():
                pass

    asyncio.run(read())
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (call["is_streaming"], call["tokens_in"], call["tokens_out"]) == (1, 1, 3)
    assert call["ttft_ms"] is not None
    assert (run["status"], said(run)[1]) == ("success", "You said: hello")


def test_an_agent_that_fails_is_a_failed_run(db_path: Path, stand_in: VendorServer) -> None:
    """With one failed call."""
    with pytest.raises(Exception, match="429"):
        asyncio.run(_agent(stand_in, model="fail-429").run("hello"))
    found = stored(db_path)
    (run,), (call,) = found.runs, found.calls
    assert (run["status"], call["status"], call["usage_known"]) == ("error", "error", 0)
    assert "RateLimitError" in run["error_type"]


def test_fifty_agents_at_once_keep_their_records_apart(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Each in its conversation."""

    async def all_of_them() -> None:
        agent = _agent(stand_in, tools=[weather])
        numbers = range(50)
        await asyncio.gather(*(agent.run(f"q{n}", conversation_id=f"q{n}") for n in numbers))

    asyncio.run(all_of_them())
    found = stored(db_path)
    assert sorted(run["session_id"] for run in found.runs) == sorted(f"q{n}" for n in range(50))
    for run in found.runs:
        asked = run["session_id"]
        assert said(run) == (asked, f"You said: {asked}")
        assert {call["prompt_preview"] for call in found.calls_of(run)} == {asked}
    assert len(found.calls) == 100


def test_an_instrumentation_of_the_program_stays_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There is one for all agents: set before the capture begins, or while it lasts."""
    own = InstrumentationSettings()
    try:
        Agent.instrument_all(own)
        uninstrument(["pydanticai"])
        assert Agent._instrument_default is own
        assert instrument(["pydanticai"]) == {"pydanticai": False}
        assert Agent._instrument_default is own
        assert "switched this instrumentation on itself" in caplog.text
    finally:
        Agent.instrument_all(False)
