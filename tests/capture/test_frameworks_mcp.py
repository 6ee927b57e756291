"""Tools of a real MCP server, called by the real client, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.capture.stored import stored
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument
from waxlocal.capture.provider import provider

pytestmark = pytest.mark.usefixtures("recorder")

_SERVER = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")

@server.tool()
def weather(city: str) -> str:
    return f"{city}: sunny"

@server.tool()
def broken(city: str) -> str:
    raise ValueError(city)

server.run()
"""


@pytest.fixture(autouse=True)
def captured(uncaptured: None) -> None:
    assert instrument(["mcp"]) == {"mcp": True}


@asynccontextmanager
async def _session() -> AsyncIterator[Any]:
    """A client of a server in a process of its own."""
    server = StdioServerParameters(command=sys.executable, args=["-c", _SERVER])
    async with stdio_client(server) as (reads, writes), ClientSession(reads, writes) as session:
        await session.initialize()
        yield session


def test_a_tool_inside_a_run_is_a_span_of_it(db_path: Path) -> None:
    """With what it was asked and what it answered, however the arguments are given."""

    async def program() -> list[Any]:
        async with _session() as session:
            with WaxellContext("bot"):
                return [
                    await session.call_tool("weather", {"city": "Bern"}),
                    await session.call_tool(name="weather", arguments={"city": "Oslo"}),
                ]

    answers = asyncio.run(program())
    found = stored(db_path)
    assert found.spans_of() == [("tool", "weather", None), ("tool", "weather", None)]
    assert [json.loads(span["input"]) for span in found.spans] == [
        {"city": "Bern"},
        {"city": "Oslo"},
    ]
    for span, answer, city in zip(found.spans, answers, ("Bern", "Oslo"), strict=True):
        assert answer.content[0].text == f"{city}: sunny"
        assert json.loads(span["output"])["content"] == [{"type": "text", "text": f"{city}: sunny"}]
        assert span["duration_ms"] > 0


def test_a_tool_that_fails_has_the_error_that_the_server_tells(db_path: Path) -> None:
    """The program gets the answer as it is."""

    async def program() -> Any:
        async with _session() as session:
            with WaxellContext("bot"):
                return await session.call_tool("broken", {"city": "Rome"})

    answer = asyncio.run(program())
    assert answer.model_dump(by_alias=True)["isError"]
    (span,) = stored(db_path).spans
    assert (span["status"], span["error"]) == ("error", answer.content[0].text)


def test_a_tool_outside_any_run_is_a_run(db_path: Path) -> None:
    """As a call of a model is."""

    async def program() -> None:
        async with _session() as session:
            await session.call_tool("weather", {"city": "Bern"})

    asyncio.run(program())
    (run,) = stored(db_path).runs
    assert (run["agent_name"], run["workflow_name"], run["status"]) == ("weather", "mcp", "success")


def test_a_tool_that_a_framework_reports_is_one_span(db_path: Path) -> None:
    """The framework's, of the same name; another tool inside it is its own."""
    tool = {"openinference.span.kind": "TOOL", "tool.name": "weather"}

    async def program() -> None:
        tracer = provider().get_tracer("some framework")
        async with _session() as session:
            with WaxellContext("bot"), tracer.start_as_current_span("call", attributes=tool):
                await session.call_tool("weather", {"city": "Bern"})
                await session.call_tool("broken", {"city": "Bern"})

    asyncio.run(program())
    found = stored(db_path)
    assert [span["name"] for span in found.spans] == ["weather", "broken"]
    assert found.spans[1]["parent_position"] == found.spans[0]["position"]


def test_nothing_is_captured_any_more_once_it_was_switched_off(db_path: Path) -> None:
    """The library's method is the one that it was."""
    wrapped = ClientSession.call_tool
    uninstrument()
    assert ClientSession.call_tool is wrapped.__wrapped__  # type: ignore[attr-defined]
