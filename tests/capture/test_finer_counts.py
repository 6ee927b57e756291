"""Finer counts of captured calls, which have prices of their own: of sound, of caches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.tools.cli import answer
from tests.vendors import clients
from tests.vendors.replies import Reply, Usage
from tests.vendors.server import VendorServer, vendor_server
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = pytest.mark.usefixtures("recorder")

ASKED: list[Any] = [{"role": "user", "content": "what is it?"}]
KEPT = Usage(9000, 40, cached=2000, cache_write=5000, cache_write_1h=3000, web_searches=2)
HEARD = Usage(1000, 500, audio_in=600, audio_out=499)


@pytest.fixture
def vendors() -> Iterator[VendorServer]:
    assert instrument(["openai", "anthropic"]) == {"openai": True, "anthropic": True}
    with vendor_server() as server:
        yield server
    uninstrument()


def _message(messages: Any, asked: dict[str, Any]) -> None:
    messages.create(**asked)


def _stream(messages: Any, asked: dict[str, Any]) -> None:
    list(messages.create(**asked, stream=True))


def _helper(messages: Any, asked: dict[str, Any]) -> None:
    with messages.stream(**asked) as stream:
        list(stream.text_stream)


def _raw(messages: Any, asked: dict[str, Any]) -> None:
    messages.with_raw_response.create(**asked).parse()


def _raw_stream(messages: Any, asked: dict[str, Any]) -> None:
    with messages.with_streaming_response.create(**asked) as response:
        response.parse()


@pytest.mark.parametrize("call", [_message, _stream, _helper, _raw, _raw_stream])
def test_searches_and_an_hour_in_the_cache_of_anthropic_are_in_the_cost(
    db_path: Path, vendors: VendorServer, call: Callable[[Any, dict[str, Any]], None]
) -> None:
    """To the cent of the bill, also of a stream and its helper, and of a raw response."""
    vendors.answer(Reply(text="It is so.", usage=KEPT))
    asked = {"model": "claude-opus-4-8", "max_tokens": 50, "messages": ASKED}
    with clients.anthropic_client(vendors.url) as client, WaxellContext("bot") as run:
        call(client.messages, asked)
    (row,) = answer("show", run.run_id, db=db_path)["llm_calls"]
    finer = row["details"]["token_details"]
    assert (finer["cache_write_5m"], finer["cache_write_1h"]) == (2000, 3000)
    assert finer["web_searches"] == 2
    told = 2000 * 5 + 2000 * 0.5 + 2000 * 6.25 + 3000 * 10 + row["tokens_out"] * 25
    assert row["cost"] == pytest.approx(told / 1e6 + 2 * 0.01)


@pytest.mark.parametrize("streaming", [False, True])
def test_sound_of_openai_is_in_the_cost(
    db_path: Path, vendors: VendorServer, streaming: bool
) -> None:
    """Of a stream where the program asked for its usage."""
    vendors.answer(Reply(text="It is so.", usage=HEARD))
    more = {"stream": True, "stream_options": {"include_usage": True}} if streaming else {}
    with clients.openai_client(vendors.url) as client, WaxellContext("bot") as run:
        answered = client.chat.completions.create(model="gpt-audio", messages=ASKED, **more)
        list(answered)
    (row,) = answer("show", run.run_id, db=db_path)["llm_calls"]
    assert row["details"]["token_details"] == {"audio_in": 600, "audio_out": 499}
    assert row["cost"] == pytest.approx((400 * 2.5 + 600 * 32 + 1 * 10 + 499 * 64) / 1e6)


def test_where_there_are_none_the_details_have_none(db_path: Path, vendors: VendorServer) -> None:
    """Most calls."""
    with clients.openai_client(vendors.url) as client, WaxellContext("bot"):
        client.chat.completions.create(model="gpt-4o", messages=ASKED)
    (call,) = stored(db_path).calls
    assert "token_details" not in json.loads(call["details"])
