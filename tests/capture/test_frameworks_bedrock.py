"""The calls of the real boto3 client of Bedrock, as they stand in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.capture.stored import stored
from tests.vendors.clients import bedrock_client
from tests.vendors.server import VendorServer
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument

pytestmark = [pytest.mark.usefixtures("recorder"), pytest.mark.filterwarnings("ignore")]

MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"


@pytest.fixture(autouse=True)
def captured(uncaptured: None) -> None:
    assert instrument(["bedrock"]) == {"bedrock": True}


def _asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def test_a_call_has_its_messages_and_counts(db_path: Path, stand_in: VendorServer) -> None:
    """What stands apart for the system is a message of it."""
    with WaxellContext("bot"):
        answer = bedrock_client(stand_in.url).converse(
            modelId=MODEL,
            messages=_asked("what is it?"),
            system=[{"text": "be brief"}],
            inferenceConfig={"temperature": 0.5, "maxTokens": 100},
        )
    (call,) = stored(db_path).calls
    assert (call["model"], call["provider"], call["status"]) == (MODEL, "aws", "ok")
    assert call["response"] == answer["output"]["message"]["content"][0]["text"]
    counts = (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"])
    assert (call["tokens_in"], call["tokens_out"]) == counts
    assert json.loads(call["messages"]) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what is it?"},
    ]
    details = json.loads(call["details"])
    assert details["config"] == {"temperature": 0.5, "max_tokens": 100}


def test_a_stream_and_a_body_of_the_vendor(db_path: Path, stand_in: VendorServer) -> None:
    """Each is there when it was read to its end; the program reads what it reads without us."""
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "second"}],
    }
    client = bedrock_client(stand_in.url)
    with WaxellContext("bot"):
        streamed = client.converse_stream(modelId=MODEL, messages=_asked("first"))
        events = list(streamed["stream"])
        assert len(stored(db_path).calls) == 1
        read = json.loads(client.invoke_model(modelId=MODEL, body=json.dumps(body))["body"].read())
    assert any("contentBlockDelta" in event for event in events)
    assert read["content"][0]["text"] == "You said: second"
    first, second = stored(db_path).calls
    assert (first["response"], first["is_streaming"]) == ("You said: first", 1)
    assert (second["response"], second["is_streaming"]) == ("You said: second", 0)
    assert second["tokens_in"] == read["usage"]["input_tokens"]


def test_a_failed_call_outside_any_run(db_path: Path, stand_in: VendorServer) -> None:
    """It is a run that failed, and nobody counted its tokens."""
    with pytest.raises(ClientError):
        bedrock_client(stand_in.url).converse(modelId="fail-429", messages=_asked("x"))
    found = stored(db_path)
    (call,), (run,) = found.calls, found.runs
    assert (call["status"], call["usage_known"]) == ("error", 0)
    assert "ThrottlingException" in call["error_message"]
    assert (run["agent_name"], run["status"]) == ("auto:fail-429", "error")
