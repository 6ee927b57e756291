"""The calls of the real google-genai client, as they stand in the file."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from google.genai import errors

from tests.capture.stored import stored
from tests.vendors.clients import google_client
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
