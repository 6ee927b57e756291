"""The arithmetic of a call's cost, and what a recorder knows of the file's prices."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.prices.lookup import NOTE_MODEL, Prices
from waxlocal.prices.table import list_prices
from waxlocal.storage.connection import open_writer

AT = "2026-01-31T09:30:00.000000Z"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_writer(tmp_path / "waxlocal.db")
    yield opened
    opened.close()


def put(
    connection: sqlite3.Connection,
    model: str,
    *rates: float | None,
    provider: str = "openai",
    tiers: object = None,
    source: str = "genai-prices 0",
) -> None:
    row = (*rates, *(None,) * (4 - len(rates)))
    connection.execute(
        "INSERT OR REPLACE INTO model_prices VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
        (model, provider, *row, tiers, source, AT),
    )


def loaded(connection: sqlite3.Connection) -> Prices:
    prices = Prices()
    prices.load(connection)
    return prices


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        ((1000, 500, 0, 0), 0.0075),
        ((0, 0, 0, 0), 0.0),
        ((1, 0, 0, 0), 0.0000025),
        ((3, 0, 0, 0), 0.0000075),
        ((1000, 500, 800, 0), 0.0065),  # 200 at 2.50, 800 at 1.25, 500 at 10
        ((1000, 500, 0, 400), 0.0095),  # 600 at 2.50, 400 at 7.50, 500 at 10
        ((1000, 500, 800, 200), 0.0075),  # 800 at 1.25, 200 at 7.50, 500 at 10
        ((123_456_789, 0, 0, 0), 308.6419725),
    ],
)
def test_cost_is_exact_to_the_last_digit(
    connection: sqlite3.Connection, tokens: tuple[int, int, int, int], cost: float
) -> None:
    """Costs have no float noise: 1000 and 500 tokens of gpt-4o are 0.0075 dollars."""
    put(connection, "gpt-4o", 2.5, 10.0, 1.25, 7.5)
    assert loaded(connection).cost("gpt-4o", "openai", *tokens) == cost


def test_cached_tokens_without_a_price_of_their_own_cost_what_input_costs(
    connection: sqlite3.Connection,
) -> None:
    """A price list without cache prices charges cached tokens as input."""
    put(connection, "m", 2.0, 8.0)
    assert loaded(connection).cost("m", "openai", 1000, 0, 600, 300) == 0.002


def test_more_cached_tokens_than_input_are_charged_on_top(connection: sqlite3.Connection) -> None:
    """Cached tokens beyond `tokens_in` mean that it was counted without them."""
    put(connection, "m", 3.0, 15.0, 0.3, 3.75)
    # 100 at 3.00, 10,000 at 0.30, 20 at 15
    assert loaded(connection).cost("m", "openai", 100, 20, 10_000) == 0.0036


@pytest.mark.parametrize(
    ("tokens_in", "cached", "cost"),
    [
        (200_000, 0, 0.25),  # 1.25: the tier begins above its mark
        (200_001, 0, 0.5000025),  # 2.50, for all of them
        (200_001, 200_001, 0.05000025),  # cached tokens count for the length
        (1_000_001, 0, 5.000005),  # the highest tier that applies
    ],
)
def test_a_long_prompt_is_charged_at_the_price_of_its_tier(
    connection: sqlite3.Connection, tokens_in: int, cached: int, cost: float
) -> None:
    """Above a tier's mark its prices hold for all tokens of the call."""
    tiers = [
        {"above": 200_000, "input": 2.5, "output": 15.0, "cache_read": 0.25, "cache_write": None},
        {"above": 1_000_000, "input": 5.0, "output": 30.0},
    ]
    put(connection, "m", 1.25, 10.0, 0.125, tiers=json.dumps(tiers))
    assert loaded(connection).cost("m", "openai", tokens_in, 0, cached) == cost


@pytest.mark.parametrize(
    ("finer", "cost"),
    [
        ({}, 0.0105),  # 1,000 at 2.50, 500 at 10, 400 written at 7.50
        ({"cache_write_1h": 400}, 0.0125),  # at 12.50
        ({"cache_write_1h": 10_000}, 0.0125),  # no more than were written
        ({"audio_in": 1000, "audio_out": 100}, 0.0505),  # 1,000 at 40, 100 at 35
        ({"audio_in": 10_000, "image_in": 1}, 0.048),  # no input is left to be images
        ({"image_in": 1}, 0.0105),  # no price of its own
        ({"audio_in": 100, "audio_cached": 60}, 0.012),  # the cache gave nothing; 40 at 40
        ({"audio_in": "1", "audio_out": -5, "cache_write_1h": None}, 0.0105),
        ("none", 0.0105),
        (None, 0.0105),
    ],
)
def test_finer_counts_are_charged_at_their_own_price(
    connection: sqlite3.Connection, finer: object, cost: float
) -> None:
    """As parts of the input, the output or what was written to the cache, and never beyond."""
    step = {"above": 0, "input": 2.5, "output": 10, "cache_write": 7.5, "cache_write_1h": 12.5}
    step |= {"audio_in": 40, "audio_out": 35}
    put(connection, "m", 2.5, 10.0, 1.25, 7.5, tiers=json.dumps([step]))
    details = json.dumps({"config": {"n": 1}, "token_details": finer})
    prices = loaded(connection)
    assert prices.cost("m", "openai", 1400, 500, 0, 400, details) == pytest.approx(cost)
    odd: tuple[Any, ...] = ('"token_details" {', '{"token_details":' + "[" * 200_000)
    for broken in (*odd, b'"token_details"', 7):
        assert prices.cost("m", "openai", 1400, 500, 0, 400, broken) == 0.0105


def test_a_price_that_lacks_a_needed_part_gives_no_cost(connection: sqlite3.Connection) -> None:
    """A model with an input price alone costs something for input, unknown with output."""
    put(connection, "text-embedding-3-small", 0.02)
    prices = loaded(connection)
    assert prices.cost("text-embedding-3-small", "openai", 1_000_000, 0) == 0.02
    assert prices.cost("text-embedding-3-small", "openai", 1_000_000, 1) is None


def test_a_model_without_price_costs_unknown_not_nothing(connection: sqlite3.Connection) -> None:
    """Unknown is None, also for a model whose pending row is in the file."""
    connection.execute(NOTE_MODEL, ("m", "openai", AT))
    prices = loaded(connection)
    assert prices.cost("m", "openai", 1, 1) is None
    assert prices.cost("other", "", 0, 0) is None


@pytest.mark.parametrize("provider", ["ollama", "Ollama", "local", "lmstudio", "llama.cpp"])
def test_models_on_the_users_own_machine_cost_nothing(provider: str) -> None:
    """A local provider costs 0, whatever the model."""
    assert Prices().cost("llama3", provider, 1000, 500) == 0.0


@pytest.mark.parametrize(
    "tiers",
    [
        *("{", "[1]", '[{"above": "x"}]', '[{"input": 1}]', "7", "[" * 200_000),
        *(f'[{{"above": 0, "audio_in": {odd}}}]' for odd in ('"much"', "-5", "true", "1e400")),
        '[{"above": 0, "audio_in": ' + "9" * 400 + "}]",
    ],
    ids=range(11),
)
def test_a_row_edited_into_nonsense_counts_as_no_price(
    connection: sqlite3.Connection, tiers: str
) -> None:
    """Broken tiers make the price unknown, and no other model's."""
    put(connection, "broken", 1.0, 1.0, tiers=tiers)
    put(connection, "sound", 1.0, 1.0)
    prices = loaded(connection)
    (row,) = [one for one in list_prices(connection) if one.model == "broken"]
    assert (row.is_tiered, row.finer) == (False, {})
    assert prices.cost("broken", "openai", 1, 1) is None
    assert prices.cost("sound", "openai", 1, 1) == 0.000002


def test_a_price_set_without_provider_holds_for_all_but_those_set_apart(
    connection: sqlite3.Connection,
) -> None:
    """An override of a model goes before listed prices, not before overrides of a provider."""
    put(connection, "m", 2.5, 10.0, provider="openai")
    put(connection, "m", 7.0, 7.0, provider="azure", source="override")
    put(connection, "m", 1.0, 1.0, provider="", source="override")
    prices = loaded(connection)
    costs = {p: prices.cost("m", p, 1_000_000, 0) for p in ("", "openai", "azure", "never-seen")}
    assert costs == {"": 1.0, "openai": 1.0, "azure": 7.0, "never-seen": 1.0}


def test_an_unpriced_model_is_to_be_noted_but_not_for_every_call() -> None:
    """The first call of a model asks for a note, the next one a moment later does not."""
    prices = Prices()
    assert prices.unseen("m", "openai")
    assert not prices.unseen("m", "openai")
    assert prices.unseen("m", "azure")


def test_what_the_list_does_not_have_is_not_noted_again(connection: sqlite3.Connection) -> None:
    """A model looked up in vain, or with a price, needs no note; one still pending does."""
    put(connection, "unknown", source="unknown")
    put(connection, "known", 0.02)
    put(connection, "pending", source="pending")
    prices = loaded(connection)
    assert not prices.unseen("unknown", "openai")
    assert not prices.unseen("known", "openai")
    assert prices.unseen("pending", "openai")


def test_a_note_leaves_prices_and_overrides_alone(connection: sqlite3.Connection) -> None:
    """A note marks a listed model as pending, keeps its price, and touches no override."""
    put(connection, "listed", 1.0, 2.0)
    put(connection, "set", 3.0, 4.0, source="override")
    put(connection, "missing", source="unknown")
    for model in ("listed", "set", "missing", "new"):
        connection.execute(NOTE_MODEL, (model, "openai", AT))
    rows = connection.execute(
        "SELECT model, source, input_per_mtok FROM model_prices ORDER BY model"
    ).fetchall()
    assert rows == [
        ("listed", "pending", 1.0),
        ("missing", "unknown", None),
        ("new", "pending", None),
        ("set", "override", 3.0),
    ]
    assert loaded(connection).cost("listed", "openai", 1_000_000, 0) == 1.0


COUNTS = st.integers(0, 10**400)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_no_token_count_makes_a_cost_raise(a: int, b: int, c: int, d: int) -> None:
    """Any counts give a cost or None: recording never fails for the arithmetic."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute(
            "CREATE TABLE model_prices (model, provider, source, input_per_mtok, output_per_mtok,"
            " cache_read_per_mtok, cache_write_per_mtok, tiers)"
        )
        connection.execute(
            "INSERT INTO model_prices VALUES ('m', '', 'x', 1, 0.08333333, 1, 2, NULL)"
        )
        prices = loaded(connection)
    connection.close()
    cost = prices.cost("m", "", a, b, c, d)
    assert cost is None or 0.0 <= cost <= sys.float_info.max
