"""When the first event of a stream came, whichever way the program reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.vendors import clients
from tests.vendors.replies import Reply
from tests.vendors.server import VendorServer, vendor_server
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = pytest.mark.usefixtures("recorder")

ASKED: dict[str, Any] = {
    "model": "claude-opus-4-8",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "what is it?"}],
}
# The stand-in rests between the events.
BETWEEN_S = 0.02


@pytest.fixture
def vendors() -> Iterator[VendorServer]:
    assert instrument(["anthropic"]) == {"anthropic": True}
    with vendor_server() as server:
        yield server
    uninstrument()


def _by_events(url: str) -> str:
    with clients.anthropic_client(url) as client, client.messages.stream(**ASKED) as stream:
        list(stream)
        return str(stream.get_final_text())


def _by_text(url: str) -> str:
    with clients.anthropic_client(url) as client, client.messages.stream(**ASKED) as stream:
        return "".join(stream.text_stream)


def _by_final_text(url: str) -> str:
    with clients.anthropic_client(url) as client, client.messages.stream(**ASKED) as stream:
        return str(stream.get_final_text())


def _by_text_of_beta(url: str) -> str:
    with clients.anthropic_client(url) as client, client.beta.messages.stream(**ASKED) as stream:
        return "".join(stream.text_stream)


def _by_async_text(url: str) -> str:
    async def read() -> str:
        client = clients.async_anthropic_client(url)
        async with client, client.messages.stream(**ASKED) as stream:
            return "".join([text async for text in stream.text_stream])

    return asyncio.run(read())


def _by_async_final_text(url: str) -> str:
    async def read() -> str:
        client = clients.async_anthropic_client(url)
        async with client, client.messages.stream(**ASKED) as stream:
            return str(await stream.get_final_text())

    return asyncio.run(read())


@pytest.mark.parametrize(
    "read",
    [
        *(_by_events, _by_text, _by_final_text, _by_text_of_beta),
        *(_by_async_text, _by_async_final_text),
    ],
)
def test_the_time_to_the_first_event_of_a_helper_is_known(
    db_path: Path, vendors: VendorServer, read: Callable[[str], str]
) -> None:
    """By events, by text, or by the whole message alone; the program reads what was sent."""
    vendors.answer(Reply(text="It is a quay.", between_s=BETWEEN_S))
    assert read(vendors.url) == "It is a quay."
    (call,) = stored(db_path).calls
    assert call["response"] == "It is a quay."
    # At least the end of the text and that of the message come after it.
    assert call["duration_ms"] - call["ttft_ms"] >= 2 * BETWEEN_S * 1000


def test_a_helper_that_is_never_read_has_no_first_event(
    db_path: Path, vendors: VendorServer
) -> None:
    """Its call is recorded all the same."""
    with clients.anthropic_client(vendors.url) as client, client.messages.stream(**ASKED):
        pass
    (call,) = stored(db_path).calls
    assert (call["is_streaming"], call["ttft_ms"]) == (1, None)
