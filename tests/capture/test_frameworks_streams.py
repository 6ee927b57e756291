"""Calls that a program makes while a stream of another library is open: rows of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.vendors import clients
from tests.vendors.server import VendorServer
from waxlocal.capture.engines import instrument

pytestmark = [pytest.mark.usefixtures("recorder"), pytest.mark.filterwarnings("ignore")]

HI: list[Any] = [{"role": "user", "content": "hi there"}]


@pytest.fixture(autouse=True)
def captured(uncaptured: None) -> None:
    names = ["openai", "gemini", "bedrock", "litellm", "langchain", "llamaindex"]
    assert instrument(names) == dict.fromkeys(names, True)


def _of_google(client: Any, _url: str) -> Iterable[Any]:
    return client.models.generate_content_stream(model="asked", contents="hi")


def _of_bedrock(client: Any, _url: str) -> Iterable[Any]:
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    return client.converse_stream(modelId="asked", messages=messages)["stream"]


def _of_litellm(library: Any, url: str) -> Iterable[Any]:
    options = clients.litellm_options(url)
    return library.completion(model="openai/asked", messages=HI, stream=True, **options)


def _of_langchain(model: Any, _url: str) -> Iterable[Any]:
    return model.stream("hi")


def _of_llama_index(model: Any, _url: str) -> Iterable[Any]:
    return model.stream_complete("hi")


@pytest.mark.parametrize(
    ("made", "stream"),
    [
        (clients.google_client, _of_google),
        (clients.bedrock_client, _of_bedrock),
        (lambda _url: clients.litellm_library(), _of_litellm),
        (clients.langchain_model, _of_langchain),
        (clients.llama_index_model, _of_llama_index),
    ],
    ids=["google", "bedrock", "litellm", "langchain", "llama_index"],
)
def test_a_call_beside_an_open_stream_is_no_part_of_it(
    db_path: Path,
    stand_in: VendorServer,
    made: Callable[[str], Any],
    stream: Callable[[Any, str], Iterable[Any]],
) -> None:
    """Nor is one that comes afterwards."""
    library = made(stand_in.url)  # kept: one that is let go of closes its connections
    with clients.openai_client(stand_in.url) as beside:
        for number, _ in enumerate(stream(library, stand_in.url)):
            beside.chat.completions.create(model=f"beside-{number}", messages=HI)
        beside.chat.completions.create(model="after", messages=HI)
    rows = stored(db_path).calls
    assert len(rows) == len(stand_in.requests) > 3
    assert {"beside-0", "after"} < {row["model"] for row in rows}
