"""What a recorded call costs: the program's word, the file's prices, or nobody knows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.tools.sdk_rows import only, rows
from waxlocal import LlmCallInfo, WaxellContext, WaxellObserveClient
from waxlocal.prices.table import price_pending, set_price
from waxlocal.recording.recorder import Recorder
from waxlocal.shim.cost import estimate_cost

pytestmark = pytest.mark.usefixtures("recorder")


def test_known_model_is_priced_by_the_next_command(db_path: Path) -> None:
    """A model seen for the first time waits as pending, and then costs what the list says."""
    with WaxellContext("agent", session_id="s") as ctx:
        ctx.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=500)
    assert only(db_path, "llm_calls")["cost"] is None
    price_pending(db_path)
    call = only(db_path, "llm_calls")
    assert (call["cost"], call["cost_source"]) == (0.0075, "price")


@pytest.mark.parametrize("more", [{}, {"usage": {"prompt_tokens": 1000, "completion_tokens": 0}}])
def test_cached_tokens_that_the_provider_left_out_are_none(
    db_path: Path, more: dict[str, Any]
) -> None:
    """`usage.prompt_tokens_details.cached_tokens` is None where nothing was counted."""
    arguments = more | {"cached_tokens": None, "cache_write_tokens": None}
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=0, **arguments)
    price_pending(db_path)
    call = only(db_path, "llm_calls")
    assert (call["cached_tokens"], call["cache_write_tokens"], call["cost"]) == (0, 0, 0.0025)


def test_cached_tokens_are_cheaper(db_path: Path) -> None:
    """Tokens read from the provider's cache are charged at their own price."""
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=0, cached_tokens=800)
    price_pending(db_path)
    assert only(db_path, "llm_calls")["cost"] == pytest.approx(200 * 2.5e-6 + 800 * 1.25e-6)


def test_price_in_the_file_is_used_at_once(db_path: Path, recorder: Recorder) -> None:
    """A recorder that opens a file with prices gives its calls their cost as it writes them."""
    with WaxellContext("first") as ctx:
        ctx.record_llm_call(model="mine", tokens_in=1, tokens_out=1)
    recorder.close()
    set_price(db_path, "mine", input_per_mtok=1.0, output_per_mtok=2.0)
    with WaxellContext("second") as ctx:
        ctx.record_llm_call(model="mine", tokens_in=1_000_000, tokens_out=500_000)
    assert only(db_path, "llm_calls", run_id=ctx.run_id)["cost"] == 2.0


def test_cost_given_by_the_program_wins(db_path: Path) -> None:
    """`cost=` stays as it is, and its model needs no price."""
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=500, cost=1.25)
    price_pending(db_path)
    call = only(db_path, "llm_calls")
    assert (call["cost"], call["cost_source"]) == (1.25, "call")


@pytest.mark.parametrize("model", ["gpt-4o", "no-such-model"])
@pytest.mark.parametrize("free", [0, 0.0, False])
def test_a_call_may_be_free(db_path: Path, model: str, free: float) -> None:
    """Whatever the price list says, now and later, and in whichever way it is handed over."""
    client = WaxellObserveClient()
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model=model, tokens_in=1000, tokens_out=500, cost=free)
        call = {"model": model, "tokens_in": 1000, "tokens_out": 500, "cost": free}
        calls = [call, asdict(LlmCallInfo(model, 1000, 500, free))]
        client.record_llm_calls_sync(run_id=ctx.run_id, calls=calls)
    price_pending(db_path)
    stored = [(call["cost"], call["cost_source"]) for call in rows(db_path, "llm_calls")]
    assert stored == [(0.0, "call")] * 3


@pytest.mark.parametrize("unknown", [None, float("nan"), float("inf")])
def test_what_the_program_does_not_know_the_price_list_says(db_path: Path, unknown: Any) -> None:
    """None is what a call without a cost has."""
    client = WaxellObserveClient()
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=500, cost=unknown)
        call = {"model": "gpt-4o", "tokens_in": 1000, "tokens_out": 500, "cost": unknown}
        calls = [call, asdict(LlmCallInfo("gpt-4o", 1000, 500))]
        client.record_llm_calls_sync(run_id=ctx.run_id, calls=calls)
    price_pending(db_path)
    stored = [(call["cost"], call["cost_source"]) for call in rows(db_path, "llm_calls")]
    assert stored == [(0.0075, "price")] * 3


def test_an_estimate_of_nothing_known_is_no_cost(db_path: Path) -> None:
    """It is the original's 0.0, and says that there is no price."""
    unknown = estimate_cost("no-such-model", 1000, 500)
    assert unknown == 0.0
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model="no-such-model", tokens_in=1000, tokens_out=500, cost=unknown)
    assert only(db_path, "llm_calls")["cost"] is None


def test_unknown_model_costs_an_unknown_amount(db_path: Path) -> None:
    """No price is NULL, not 0; the model is noted, once, to be looked up."""
    with WaxellContext("agent") as ctx:
        for _ in range(3):
            ctx.record_llm_call(model="no-such-model", tokens_in=10, tokens_out=10)
    assert [call["cost"] for call in rows(db_path, "llm_calls")] == [None] * 3
    assert noted(db_path) == [("no-such-model", "pending")]
    price_pending(db_path)
    assert [call["cost"] for call in rows(db_path, "llm_calls")] == [None] * 3
    assert noted(db_path) == [("no-such-model", "unknown")]


def noted(path: Path) -> list[tuple[str, str]]:
    """Return the models of the price table."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT model, source FROM model_prices").fetchall()


def test_model_on_this_machine_is_free(db_path: Path) -> None:
    """A call of a local provider costs 0, which is known."""
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(model="llama3", tokens_in=10, tokens_out=10, provider="Ollama")
    assert only(db_path, "llm_calls")["cost"] == 0.0
