"""Prices over HTTP: listed, set with the costs that follow, and forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.cli import recorded
from tests.tools.web import OBSERVE, get, serving

COSTS = f"{OBSERVE}/model-costs/"
RATES = {"input_cost_per_million": 1.0, "output_cost_per_million": 2.0}


@pytest.fixture
def client(db_path: Path) -> Iterator[httpx.Client]:
    """Serve a file with calls of three models, one of them under two providers."""
    with recorded(db_path) as builder:
        for session, model, provider in (
            ("s1", "gpt-4o", "openai"),
            ("s2", "gpt-4o", "azure"),
            ("s3", "in-house", ""),
            ("s4", "openrouter/auto", ""),
        ):
            builder.llm(builder.run(session), 1000, 500, model=model, provider=provider)
            builder.insert("model_prices", model=model, provider=provider, source="unknown",
                           updated_at="2099-01-01T00:00:00.000000Z")  # fmt: skip
    with serving(db_path) as client:
        yield client


def _costs(client: httpx.Client) -> list[float | None]:
    sessions = get(client, "sessions/", ordering="first_run_at")["results"]
    return [one["total_cost"] for one in sorted(sessions, key=lambda one: one["session_id"])]


def _set(client: httpx.Client, model: str, /, **body: Any) -> dict[str, Any]:
    answer = client.put(f"{COSTS}{model}/", json=RATES | body)
    assert answer.status_code == 200, answer.text
    price: dict[str, Any] = answer.json()
    return price


def test_prices_are_listed(client: httpx.Client) -> None:
    """One entry for each model and provider, with the rates that hold, null where none does."""
    prices = get(client, COSTS)
    assert [(one["model_id"], one["provider"]) for one in prices] == [
        ("gpt-4o", "azure"),
        ("gpt-4o", "openai"),
        ("in-house", ""),
        ("openrouter/auto", ""),
    ]
    assert {one["input_cost_per_million"] for one in prices} == {None}
    assert not any(one["is_override"] for one in prices)


def test_a_price_that_is_set_prices_the_calls(client: httpx.Client) -> None:
    """The answer is the price; costs of the model's calls follow at once, those of others stay."""
    price = _set(client, "in-house")
    assert price["is_override"]
    assert (price["model_id"], price["output_cost_per_million"]) == ("in-house", 2.0)
    assert _costs(client) == [None, None, 0.002, None]
    _set(client, "in-house", input_cost_per_million=0)
    assert _costs(client) == [None, None, 0.001, None]


def test_a_model_means_all_its_providers_unless_one_is_named(client: httpx.Client) -> None:
    """In the body, or in front of the name; a name that was recorded with a slash is that name."""
    assert _set(client, "gpt-4o", provider="azure")["provider"] == "azure"
    assert _costs(client)[:2] == [None, 0.002]
    assert _set(client, "openai/gpt-4o", input_cost_per_million=3)["provider"] == "openai"
    assert _costs(client)[:2] == [0.004, 0.002]
    assert _set(client, "openrouter%2Fauto")["model_id"] == "openrouter/auto"
    assert _costs(client)[3] == 0.002


def test_a_price_is_forgotten(client: httpx.Client) -> None:
    """Back to the list, which knows gpt-4o and not the house's own; a second time is an error."""
    _set(client, "gpt-4o")
    _set(client, "in-house")
    assert client.delete(f"{COSTS}in-house/").status_code == 204
    assert client.delete(f"{COSTS}gpt-4o").status_code == 204
    assert _costs(client)[0] == 0.0075
    assert _costs(client)[2] is None
    again = client.delete(f"{COSTS}gpt-4o/")
    assert again.status_code == 404
    assert again.json()["detail"] == "no price was set for gpt-4o"


def test_what_was_read_may_be_sent_back(client: httpx.Client) -> None:
    """A client that changes a rate in what it got need not take the rest out."""
    (price,) = (one for one in get(client, COSTS) if one["model_id"] == "in-house")
    assert _set(client, "in-house", **{**price, **RATES})["is_override"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input_cost_per_million": 1},
        {**RATES, "input_cost_per_million": -1},
        {**RATES, "input_cost_per_million": True},
        {**RATES, "input_cost_per_million": "1"},
        {**RATES, "output_cost_per_million": 1e10},
        {**RATES, "output_cost_per_million": float("nan")},
        {**RATES, "output_cost_per_million": float("inf")},
        {**RATES, "currency": "EUR"},
        {**RATES, "provider": 1},
        {**RATES, "input_cost_per_milion": 1},
        [],
        "text",
        None,
    ],
)
def test_what_is_no_price_is_refused(client: httpx.Client, body: Any) -> None:
    """A price that is none, and a field with a slip in its name, change nothing."""
    answer = client.put(
        f"{COSTS}in-house/",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:waxlocal:problem:invalid-body"
    assert _costs(client) == [None] * 4


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [("PUT", COSTS, {"GET", "HEAD"}), ("GET", f"{COSTS}x/", {"PUT", "DELETE"})],
)
def test_other_methods_are_not_allowed(
    client: httpx.Client, method: str, address: str, allowed: set[str]
) -> None:
    """What a method is not for says what it is for."""
    answer = client.request(method, address)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
