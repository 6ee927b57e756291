"""`waxlocal show RUN --explain`: where the numbers of each call come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import moment, run_id
from tests.tools.cli import answer, invoke, recorded
from waxlocal import WaxellContext
from waxlocal.capture.call_rows import row_of_call
from waxlocal.capture.calls import CapturedCalls
from waxlocal.capture.facts import CallFacts
from waxlocal.capture.pairing import Report
from waxlocal.prices.table import reprice, set_price
from waxlocal.recording.recorder import current_recorder
from waxlocal.token_counts import TokenCounts

pytestmark = pytest.mark.usefixtures("recorder")

SCOPE = "opentelemetry.instrumentation.genai.openai"
USER = [{"role": "user", "content": "hi"}]


def report(scope: str, **facts: Any) -> Report:
    """Return a report of a call by an instrumentation or a handler."""
    counts = TokenCounts(120, 40)
    call = CallFacts(**{"model": "mine", "provider": "openai", "tokens": counts, **facts})
    return Report(scope, 0, 1, row_of_call(call, 7, scope))


def record(path: Path) -> str:
    """Record a call with three reports, two by hand, a free one; return the run's id."""
    with WaxellContext("bot") as run:
        calls, client = CapturedCalls.of(run), report(SCOPE)
        calls.record(client, [])
        calls.record_around(report("waxlocal.langchain", messages=USER), [client])
        run.record_llm_call(model="mine", tokens_in=120, tokens_out=40, task="answer", cost=0.5)
        run.record_llm_call(model="mine", provider="openai", tokens_in=1, tokens_out=1)
        run.record_llm_call(model="mine", usage=None)
        run.record_llm_call(model="nobody's", tokens_in=1, tokens_out=1)
        run.record_llm_call(model="llama", provider="ollama", tokens_in=1, tokens_out=1)
    set_price(path, "mine", input_per_mtok=2.5, output_per_mtok=10.0)
    reprice(path)
    return run.run_id


def test_each_number_has_its_source(db_path: Path) -> None:
    """In words: who recorded the call, what was merged, which price."""
    text = " ".join(invoke("show", record(db_path), "--explain", db=db_path).stdout.split())
    for line in (
        f"recorded by automatic capture ({SCOPE})",
        "also reported by the callback handler for langchain: same call, merged; "
        "from there: duration, messages",
        "also reported by the program (record_llm_call): same call, merged; from there: task, cost",
        "cost: given by the program (record_llm_call)",
        "cost: from prices per million tokens: 1 in at $2.50, 1 out at $10.00 "
        "(set with waxlocal prices set)",
        "tokens: unknown; neither the provider nor the program told them",
        "cost: unknown, as the tokens are",
        "cost: unknown; the file has no price for this model",
        "(a local model is free)",
    ):
        assert line in text
    plain = invoke("show", record(db_path), db=db_path).stdout
    assert "recorded by" not in plain


STREAM = {"task": "chat.stream (openai)", "is_streaming": True, "tokens": TokenCounts()}


@pytest.mark.parametrize(
    ("reason", "shown", "why"),
    [
        ("stop", "", 'of a stream they are told with stream_options={"include_usage": True}'),
        ("abandoned", "left before its end", "the program left the stream before its end"),
    ],
)
def test_a_stream_without_tokens_says_why(db_path: Path, reason: str, shown: str, why: str) -> None:
    """What to ask openai for, unless the program did not wait for the end."""
    with WaxellContext("bot") as run:
        CapturedCalls.of(run).record(report(SCOPE, finish_reason=reason, **STREAM), [])
    text = " ".join(invoke("show", run.run_id, "--explain", db=db_path).stdout.split())
    assert f"tokens: unknown; {why}" in text
    assert ("before its end" in text) is bool(shown)
    assert shown in text


def test_an_answer_that_was_cut_off_says_so(db_path: Path) -> None:
    """The limit of tokens was too small, or a filter stopped it."""
    usual = ("stop", "STOP", "end_turn", "tool-calls", "ToolCalls", "stop,tool_calls", None)
    with WaxellContext("bot") as run:
        for reason in ("length", "stop,content_filter", *usual):
            CapturedCalls.of(run).record(report(SCOPE, finish_reason=reason), [])
    text = " ".join(invoke("show", run.run_id, db=db_path).stdout.split())
    assert text.count("ended with") == 2
    assert "ended with length" in text
    assert "ended with stop,content_filter" in text


def test_as_json_each_call_is_explained(db_path: Path) -> None:
    """With the names that the file has."""
    first, second, *_ = answer("show", record(db_path), "--explain", db=db_path)["llm_calls"]
    explained = first["explained"]
    assert explained["merged"] == ["waxlocal.langchain", "record_llm_call"]
    assert explained["sources"]["call"] == SCOPE
    assert explained["sources"]["messages"] == "waxlocal.langchain"
    assert (explained["cost_source"], explained["price"]) == ("call", None)
    assert second["explained"]["sources"] == {"call": "record_llm_call"}
    assert second["explained"]["price"]["input_per_mtok"] == 2.5


def test_a_cost_says_which_of_its_tokens_may_have_a_price_of_their_own(db_path: Path) -> None:
    """The file has one price for all input, and one for all output."""
    heard: dict[str, Any] = {"prompt_tokens": 300, "completion_tokens": 9}
    heard["prompt_tokens_details"] = {"audio_tokens": 200, "cached_tokens": 0}
    kept: dict[str, Any] = {"input_tokens": 5, "output_tokens": 9}
    kept["cache_creation_input_tokens"] = 1000
    kept["cache_creation"] = {"ephemeral_1h_input_tokens": 1000}
    with WaxellContext("bot") as run:
        run.record_llm_call(model="mine", usage=heard)
        run.record_llm_call(model="mine", usage=kept)
        run.record_llm_call(model="mine", usage=heard, cost=0.5)
        run.record_llm_call(model="llama", provider="ollama", usage=heard)
        run.record_llm_call(model="mine", tokens_in=1, tokens_out=1)
    set_price(db_path, "mine", input_per_mtok=2.5, output_per_mtok=10.0)
    calls = answer("show", run.run_id, "--explain", db=db_path)["llm_calls"]
    found = [
        [line for line in call["explained"]["lines"] if "a price of their own" in line]
        for call in calls
    ]
    assert found == [
        ["cost: at the vendor's, these may have a price of their own: 200 input tokens of sound"],
        [
            "cost: at the vendor's, these may have a price of their own: "
            "1,000 tokens kept in the cache for an hour"
        ],
        [],
        [],
        [],
    ]


def test_a_cost_says_at_which_price_such_tokens_are_in_it(db_path: Path) -> None:
    """Where the list has one, also for calls that were recorded before it was looked up."""
    kept: dict[str, Any] = {"input_tokens": 5, "output_tokens": 9}
    kept["cache_creation_input_tokens"] = 1000
    kept["cache_creation"] = {"ephemeral_1h_input_tokens": 600, "ephemeral_5m_input_tokens": 400}
    with WaxellContext("bot") as run:
        run.record_llm_call(model="claude-sonnet-4-5", usage=kept)
    (call,) = answer("show", run.run_id, "--explain", db=db_path)["llm_calls"]
    assert call["cost"] == pytest.approx((5 * 3 + 9 * 15 + 400 * 3.75 + 600 * 6) / 1e6)
    current_recorder().store.close()  # the next record opens the file, and reads its prices
    with WaxellContext("bot") as again:
        again.record_llm_call(model="claude-sonnet-4-5", usage=kept)
    (other,) = answer("show", again.run_id, "--explain", db=db_path)["llm_calls"]
    assert other["cost"] == call["cost"]
    for one in (call, other):
        lines = one["explained"]["lines"]
        assert "cost: 600 tokens kept in the cache for an hour at $6.00" in lines, lines
        assert not any("a price of their own" in line for line in lines)


def test_the_prices_that_are_named_are_those_that_applied(db_path: Path) -> None:
    """Long prompts have others, also where the cache alone made them long."""
    with WaxellContext("bot") as run:
        for tokens_in, cached in ((1_000, 0), (250_000, 0), (100_000, 150_000)):
            run.record_llm_call(
                model="claude-sonnet-4-5", tokens_in=tokens_in, tokens_out=1, cached_tokens=cached
            )
    calls = answer("show", run.run_id, "--explain", db=db_path)["llm_calls"]
    short, long, read = (call["explained"]["lines"][-1] for call in calls)
    assert "million tokens: 100,000 in at $6.00, 1 out at $22.50, 150,000 cached at $0.60," in read
    assert "million tokens: 1,000 in at $3.00, 1 out at $15.00, more for long prompts (" in short
    assert "million tokens: 250,000 in at $6.00, 1 out at $22.50, for a long prompt (" in long


def test_finer_counts_are_named_as_far_as_they_were_charged(db_path: Path) -> None:
    """The cache gave three quarters of the input, and nobody told how much of that was sound."""
    heard = {"input_tokens": 2_000, "output_tokens": 1, "input_token_details": {
        "audio_tokens": 2_000, "cached_tokens": 1_500}}  # fmt: skip
    looked = {"input_tokens": 2_000, "output_tokens": 1,
              "server_tool_use": {"web_search_requests": 3}}  # fmt: skip
    with WaxellContext("bot") as run:
        run.record_llm_call(model="gpt-realtime", usage=heard)
        run.record_llm_call(model="claude-sonnet-4-5", usage=looked)
    sound, searches = answer("show", run.run_id, "--explain", db=db_path)["llm_calls"]
    assert "cost: 500 input tokens of sound at $32.00" in sound["explained"]["lines"]
    said = "cost: 3 searches in the web at $10.00 a thousand"
    assert said in searches["explained"]["lines"]
    assert searches["cost"] == pytest.approx((2_000 * 3 + 15) / 1e6 + 0.03)


@pytest.mark.parametrize("rates", [None, 2.5])
def test_a_price_that_is_not_behind_a_cost_is_not_named(db_path: Path, rates: float | None) -> None:
    """Another waxlocal had one, and sent the call: here there is none, or another one."""
    with recorded(db_path) as to:
        to.llm(to.run("s"), cost=0.5, model="m", provider="p", cost_source="price")
        to.insert("model_prices", model="m", provider="p", input_per_mtok=rates,
                  output_per_mtok=rates, source="a list", updated_at=moment(0))  # fmt: skip
    said = invoke("show", run_id(1), "--explain", db=db_path).stdout
    told = "cost: computed when it was recorded, from a price that the file does not have now"
    assert told in said
