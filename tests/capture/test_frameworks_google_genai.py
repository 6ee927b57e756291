"""The calls of the real google-genai client, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from google.genai import errors, types
from google.genai.models import AsyncModels, Models

from tests.capture.stored import stored
from tests.vendors.clients import google_client
from tests.vendors.replies import Reply, ToolCall, Usage
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = [pytest.mark.usefixtures("recorder"), pytest.mark.filterwarnings("ignore")]

MODEL = "gemini-2.5-flash"


@pytest.fixture(autouse=True)
def captured(uncaptured: None) -> None:
    assert instrument(["gemini"]) == {"gemini": True}


def test_a_call_has_its_messages_settings_and_counts(db_path: Path, stand_in: VendorServer) -> None:
    """What is called an instruction there is a message of the system."""
    settings = {"system_instruction": "be brief", "temperature": 0.5}
    client = google_client(stand_in.url)
    with WaxellContext("bot"):
        answer = client.models.generate_content(
            model=MODEL, contents="what is it?", config=settings
        )
    (call,) = stored(db_path).calls
    assert (call["model"], call["provider"], call["status"]) == (MODEL, "google", "ok")
    assert call["response"] == answer.text == "You said: what is it?"
    usage = answer.usage_metadata
    counts = (usage.prompt_token_count, usage.candidates_token_count)
    assert (call["tokens_in"], call["tokens_out"]) == counts
    assert json.loads(call["messages"]) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what is it?"},
    ]
    details = json.loads(call["details"])
    assert (details["config"], details["finish_reason"]) == ({"temperature": 0.5}, "stop")


@pytest.mark.parametrize("given", [None, "false"])
def test_the_environment_stays_as_the_program_has_it(
    uncaptured: None, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """The instrumentation sets a variable, which the program's own tracing would obey."""
    uninstrument()
    name = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"
    monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)
    instrument(["gemini"])
    assert os.environ.get(name) == given


def test_streams_and_async_calls(db_path: Path, stand_in: VendorServer) -> None:
    """A stream is there when it was read to its end."""
    client = google_client(stand_in.url)

    async def both() -> None:
        await client.aio.models.generate_content(model=MODEL, contents="first")
        stream = await client.aio.models.generate_content_stream(model=MODEL, contents="second")
        async for _ in stream:
            assert len(stored(db_path).calls) == 1

    with WaxellContext("bot"):
        asyncio.run(both())
        list(client.models.generate_content_stream(model=MODEL, contents="third"))
    calls = stored(db_path).calls
    assert [call["response"] for call in calls] == [
        f"You said: {said}" for said in ("first", "second", "third")
    ]
    assert [call["is_streaming"] for call in calls] == [0, 1, 1]
    assert all(call["usage_known"] for call in calls)


def test_a_tool_that_is_asked_for_and_one_that_the_client_calls(
    db_path: Path, stand_in: VendorServer
) -> None:
    """The client calls a Python function by itself, and asks the model again with its answer."""

    def weather(city: str) -> str:
        """Return the weather of a city."""
        return f"{city}: sunny"

    client, tools = google_client(stand_in.url), {"tools": [weather]}
    with WaxellContext("bot"):
        answer = client.models.generate_content(model=MODEL, contents="Bern", config=tools)
    found = stored(db_path)
    assert answer.text
    assert [call["status"] for call in found.calls] == ["ok"] * len(found.calls)
    assert sum(call["tokens_out"] for call in found.calls) > 0
    assert len({call["response_id"] for call in found.calls}) == len(found.calls)


def test_a_failed_call_outside_any_run(db_path: Path, stand_in: VendorServer) -> None:
    """It is a run that failed, and nobody counted its tokens."""
    client = google_client(stand_in.url)
    with pytest.raises(errors.ClientError):
        client.models.generate_content(model="fail-429", contents="x")
    found = stored(db_path)
    (call,), (run,) = found.calls, found.runs
    assert (call["status"], call["usage_known"]) == ("error", 0)
    assert "429" in call["error_message"]
    assert (run["agent_name"], run["status"]) == ("auto:fail-429", "error")


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


async def weather_later(city: str) -> str:
    """Tell the weather of a city."""
    return weather(city)


weather_later.__name__ = "weather"


def _ask(client: Any, tool: Any) -> None:
    client.models.generate_content(model=MODEL, contents="Bern?", config={"tools": [tool]})


def _stream(client: Any, tool: Any) -> None:
    config = types.GenerateContentConfig(tools=[tool])
    list(client.models.generate_content_stream(model=MODEL, contents="Bern?", config=config))


def _ask_later(client: Any, tool: Any) -> None:
    config = types.GenerateContentConfig(tools=[tool])
    asyncio.run(client.aio.models.generate_content(model=MODEL, contents="Bern?", config=config))


def _stream_later(client: Any, tool: Any) -> None:
    async def main() -> None:
        models, config = client.aio.models, types.GenerateContentConfig(tools=[tool])
        async for _ in await models.generate_content_stream(
            model=MODEL, contents="Bern?", config=config
        ):
            pass

    asyncio.run(main())


def _tool_that_asks(client: Any, name: str) -> Any:
    def call(city: str) -> str:
        """Ask a model."""
        return str(client.models.generate_content(model="gemini-2.5-pro", contents=city).text)

    async def later(city: str) -> str:
        """Ask a model."""
        answer = await client.aio.models.generate_content(model="gemini-2.5-pro", contents=city)
        return str(answer.text)

    tool = later if name.endswith("later") else call
    tool.__name__ = "weather"
    return tool


@pytest.mark.parametrize("asks", [False, True], ids=["plain tool", "tool that asks a model"])
@pytest.mark.parametrize("act", [_ask, _stream, _ask_later, _stream_later])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a run"])
def test_each_request_of_a_call_with_functions_is_a_call(
    db_path: Path,
    stand_in: VendorServer,
    act: Callable[[Any, Any], None],
    asks: bool,
    inside: bool,
) -> None:
    """The library itself answers the model; what it returns has the counts of the last one alone.

    So is what a function asks another model.
    """
    wanted = Reply(usage=Usage(100, 10), tool_calls=(ToolCall("weather", {"city": "Bern"}),))
    stand_in.answer(wanted, Reply(usage=Usage(150, 7), text="it is fine"), model=MODEL)
    client = google_client(stand_in.url)
    plain = weather_later if act.__name__.endswith("later") else weather
    with WaxellContext("bot") if inside else nullcontext():
        act(client, _tool_that_asks(client, act.__name__) if asks else plain)
    calls = [call for call in stored(db_path).calls if call["model"] == MODEL]
    assert [(call["tokens_in"], call["tokens_out"]) for call in calls] == [(100, 10), (150, 7)]
    assert [call["response"] or "" for call in calls] == ["", "it is fine"]
    assert json.loads(calls[0]["details"])["tool_calls"][0]["name"] == "weather"
    assert len({call["run_id"] for call in calls}) == 1
    assert [span["name"] for span in stored(db_path).spans if span["kind"] == "tool"] == ["weather"]
    others = [call["model"] for call in stored(db_path).calls if call["model"] != MODEL]
    assert others == ["gemini-2.5-pro"] * asks


def test_the_library_is_as_it_was_when_it_is_captured_no_longer() -> None:
    """Its requests, too."""
    names = [
        f"{before}generate_content{after}" for before in ("", "_") for after in ("", "_stream")
    ]
    uninstrument()
    before = [vars(kind)[name] for kind in (Models, AsyncModels) for name in names]
    assert instrument(["gemini"]) == {"gemini": True}
    during = [vars(kind)[name] for kind in (Models, AsyncModels) for name in names]
    uninstrument()
    after = [vars(kind)[name] for kind in (Models, AsyncModels) for name in names]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert not any(one is other for one, other in zip(before, during, strict=True))


def test_a_config_that_is_made_once_stays_the_programs(
    db_path: Path, stand_in: VendorServer
) -> None:
    """Else each call would put one more wrapper around its tools."""
    config = types.GenerateContentConfig(tools=[weather])
    client = google_client(stand_in.url)
    for _ in range(3):
        client.models.generate_content(model=MODEL, contents="Bern", config=config)
    assert config.tools == [weather]
    assert [span["name"] for span in stored(db_path).spans] == ["weather"] * 3
