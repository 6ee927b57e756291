"""The search page, and the endpoint beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.tools.builders import Builder
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, Element, dashboard
from tests.tools.patience import PATIENCE_S
from waxlocal.search.index_file import index_path
from waxlocal.wire.paths import SEARCH


def some_turns(to: Builder) -> None:
    """Record a conversation about a refund, and a run outside of any."""
    to.run("s/1", at=1, user="zoe", inputs={"message": "May I send it back?"})
    turn = to.run("s/1", at=9, inputs={"message": "And then?"}, status="error")
    to.run(
        "s/1", at=10, agent="law", parent=turn, result={"answer": "A refund within <b>14</b> days"}
    )
    to.span(to.run(None, at=30, inputs={"message": "nightly"}), output={"note": "refund all"})
    for number in range(25):
        to.run(f"many{number}", at=100 + number, inputs={"message": f"number {number}"})


@pytest.fixture
def pages(db_path: Path) -> Iterator[Dashboard]:
    with recorded(db_path) as to:
        some_turns(to)
    with dashboard(db_path) as opened:
        yield opened


def asked(pages: Dashboard, **query: object) -> Element:
    """Return the page once all runs are in the index."""
    return pages.page(f"/search?{urlencode(query)}")


def answer(pages: Dashboard, **query: object) -> dict[str, Any]:
    """Return what the endpoint says once all runs are in the index."""
    asked(pages, q="x")
    found: dict[str, Any] = pages.client.get(SEARCH, params=query).json()
    return found


def test_hits_stand_below_their_conversation_and_lead_to_their_turn(pages: Dashboard) -> None:
    """With the words marked; a sub-agent and a run without a session to themselves."""
    page = asked(pages, q="refund")
    alone, conversation = page.all("section", "hits")
    assert conversation.one("h2").one("a").attributes["href"] == "/session?id=s%2F1"
    assert conversation.one("h2").text == "May I send it back?"
    inside = conversation.one("a", "open")
    assert (inside.text, inside["href"]) == ("turn 2", "/session?id=s%2F1&turn=2#turn-2")
    assert conversation.one("a", "quiet").text == "sub-agent law"
    assert conversation.one("p", "snippet").text == "A refund within <b>14</b> days"
    assert [mark.text for mark in conversation.all("mark")] == ["refund"]
    assert "in a tool or step: tool" in alone.text
    assert alone.one("h2").text == "nightly"
    (hit,) = asked(pages, q="send").all("section", "hits")
    link = hit.one("a", "open")
    assert (link.text, link["href"]) == ("turn 1", "/session?id=s%2F1&turn=1#turn-1")


def test_the_next_page_goes_on(pages: Dashboard) -> None:
    """Each hit once."""
    first = asked(pages, q="number")
    onwards = first.one("a", rel="next")
    second = pages.page(onwards["href"])
    titles = [one.text for page in (first, second) for one in page.one("main").all("h2")]
    assert titles == [f"number {number}" for number in reversed(range(25))]
    assert second.all("a", rel="next") == []
    assert second.one("nav", "pager").one("a")["href"] == "/search?q=number"


def test_the_page_says_what_can_be_asked_and_what_is_wrong(pages: Dashboard) -> None:
    """And what to leave out where nothing is found."""
    assert "user:42" in asked(pages).text
    assert "cost:x is no comparison" in pages.page("/search?q=cost:x", status=400).text
    assert "no word to search for" in pages.page("/search?q=-", status=400).text
    assert "Nothing found" in asked(pages, q="nowhere").text
    assert "words that begin so" in asked(pages, q="refun").text
    assert "'x' is not a number" in pages.page("/search?q=a&below=x", status=400).text


def test_an_id_leads_to_what_has_it(pages: Dashboard) -> None:
    """As it does in the lists."""
    run = answer(pages, q="nightly")["results"][0]["run_id"]
    assert asked(pages, q=run).one("p", "found").one("a")["href"] == f"/runs/{run}"


def test_the_endpoint_gives_pages_of_hits(pages: Dashboard) -> None:
    """Until there are no more."""
    first = answer(pages, q="number", limit=20)
    second = answer(pages, q="number", limit=20, below=first["below"])
    assert [len(page["results"]) for page in (first, second)] == [20, 5]
    assert (first["behind"], first["is_cut"], second["below"]) == (0, False, None)
    assert first["results"][0]["session_title"] == "number 24"
    assert pages.client.get(SEARCH).status_code == 400
    refused = pages.client.get(SEARCH, params={"q": "cost:x"}).json()
    assert (refused["detail"], refused["parameter"]) == ("cost:x is no comparison", "q")


def test_what_comes_while_the_server_runs_is_found(pages: Dashboard, db_path: Path) -> None:
    """Soon."""
    asked(pages, q="x")
    with recorded(db_path) as to:
        to._runs = 100
        to.run(inputs={"message": "brandnew"})
    until = time.monotonic() + PATIENCE_S
    while "brandnew" not in [mark.text for mark in asked(pages, q="brandnew").all("mark")]:
        assert time.monotonic() < until


def test_an_index_that_cannot_be_made_is_said(db_path: Path) -> None:
    """On the page, and by the endpoint."""
    index_path(db_path).mkdir(parents=True)
    with recorded(db_path) as to:
        to.run(inputs={"message": "x"})
    with dashboard(db_path) as pages:
        until = time.monotonic() + PATIENCE_S
        while (found := pages.client.get("/search?q=x")).status_code != 503:
            assert time.monotonic() < until
        assert "is no search index of waxlocal" in found.text
        assert f"give {index_path(db_path).name} another name, or remove it" in found.text
