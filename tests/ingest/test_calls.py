"""LLM calls and the spans that say the rest about them, in whatever order they come."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import moment
from tests.tools.ingest import Hub, llm_span, span
from waxlocal.prices.table import price_pending


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def call(model: str = "gpt-4o", **fields: Any) -> dict[str, Any]:
    """Return a call as the original SDK sends it."""
    given = {"tokens_in": 100, "tokens_out": 50, "cost": 0.00075, "task": "", "status": "ok"}
    empty = {"prompt_preview": "", "response_preview": "", "error_type": "", "error_message": ""}
    return {"model": model, **given, **empty, **fields}


WHOLE = llm_span(
    1,
    duration_ms=12,
    start_offset_ms=47,
    **{
        "gen_ai.is_streaming": True,
        "gen_ai.server.time_to_first_token_ms": 3,
        "gen_ai.stream.chunk_count": 4,
        "waxell.framework": "fw",
        "waxell.prompt.hash": "ph",
        "waxell.llm.config": {"temperature": 0},
        "waxell.prompt.variables": {"a": 1},
        "waxell.context.message_count": 1,
    },
    input_data={"prompt_preview": "pp", "full_messages": [{"role": "user", "content": "x"}]},
    output_data={"response_preview": "rr", "full_response": "fr"},
)


@pytest.mark.parametrize("span_first", [False, True])
def test_a_call_and_its_span_are_one_row(hub: Hub, span_first: bool) -> None:
    """What the span alone says is folded into the call, whichever comes first."""
    run = hub.start()
    posts = [
        lambda: hub.calls(run, call(task="chat", prompt_preview="pp")),
        lambda: hub.spans(run, WHOLE),
    ]
    for post in reversed(posts) if span_first else posts:
        post()
    hub.complete(run)
    (row,) = hub.rows("llm_calls", run)
    expected = {
        "position": 1,
        "recorded_at": moment(0.047),
        "provider": "openai",
        "task": "chat",
        "duration_ms": 12,
        "ttft_ms": 3,
        "is_streaming": 1,
        "prompt_preview": "pp",
        "response_preview": "rr",
        "messages": [{"role": "user", "content": "x"}],
        "response": "fr",
        "details": {
            "framework": "fw",
            "prompt_hash": "ph",
            "config": {"temperature": 0},
            "prompt_variables": {"a": 1},
            "chunk_count": 4,
        },
    }
    assert {name: row[name] for name in expected} == expected
    assert hub.rows("spans", run) == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_parallel_posts_does_not_matter(hub: Hub, order: tuple[int, ...]) -> None:
    """Calls, steps and spans of a run may come in any order: the rows are the same."""
    run = hub.start()
    posts = [
        lambda: hub.calls(run, call(), call("gpt-4o-mini"), call()),
        lambda: hub.steps(run, {"step_name": "s", "output": {"n": 1}, "position": 2}),
        lambda: hub.spans(
            run,
            llm_span(1, duration_ms=1),
            span("s", "chain", 2, output_data={"n": 1}, attributes={"z": 1}),
            llm_span(4, "gpt-4o-mini", duration_ms=2),
            llm_span(5, duration_ms=3),
        ),
    ]
    for which in order:
        posts[which]()
    hub.complete(run)
    calls = hub.rows("llm_calls", run)
    assert [(row["position"], row["model"], row["duration_ms"]) for row in calls] == [
        (1, "gpt-4o", 1),
        (3, "gpt-4o-mini", 2),
        (4, "gpt-4o", 3),
    ]
    (step,) = hub.rows("steps", run)
    assert (step["position"], step["attributes"], step["kind"]) == (2, {"z": 1}, "chain")
    assert hub.rows("spans", run) == []


def test_calls_are_counted_once(hub: Hub) -> None:
    """Neither spans nor the sums of child runs add to the totals of a session."""
    run = hub.start(session_id="s")
    hub.calls(run, call())
    hub.spans(run, llm_span(1), llm_span(1))
    hub.complete(run)
    query = "SELECT llm_calls, tokens_in, tokens_out, round(total_cost, 6) FROM sessions"
    assert hub.select(query) == [(1, 100, 50, 0.00075)]


def test_what_completes_a_call_makes_it_a_newer_one(hub: Hub) -> None:
    """The row gets a revision with its span, and a greater one with its final number."""
    run = hub.start()
    hub.calls(run, call())
    (alone,) = hub.rows("llm_calls", run)
    hub.spans(run, WHOLE)
    (joined,) = hub.rows("llm_calls", run)
    hub.complete(run)
    (numbered,) = hub.rows("llm_calls", run)
    assert alone["revision"] is None
    assert 0 < joined["revision"] < numbered["revision"]


def test_calls_wait_for_their_spans_in_order(hub: Hub) -> None:
    """A call whose span has not come yet lies behind what came before it."""
    run = hub.start()
    hub.steps(run, {"step_name": "first", "position": 1})
    hub.calls(run, call())
    hub.steps(run, {"step_name": "last", "position": 4})
    places = {row["position"]: "llm" for row in hub.rows("llm_calls", run)}
    places |= {row["position"]: row["step_name"] for row in hub.rows("steps", run)}
    assert [places[place] for place in sorted(places)] == ["first", "llm", "last"]


def test_the_call_of_a_span_that_stands_alone_is_made_of_it(hub: Hub) -> None:
    """A call whose own post was lost is still known from its span when the run ends."""
    run = hub.start(session_id="s")
    hub.spans(run, llm_span(1, duration_ms=5))
    hub.complete(run)
    (row,) = hub.rows("llm_calls", run)
    assert (row["model"], row["tokens_in"], row["duration_ms"]) == ("gpt-4o", 100, 5)
    assert hub.rows("spans", run) == []


def test_a_span_of_the_programs_own_of_that_kind_stays_one(hub: Hub) -> None:
    """Only a span that names model and tokens is the other half of a call."""
    run = hub.start()
    hub.spans(run, span("mine", "llm", attributes={"a": 1}))
    hub.complete(run)
    assert [row["name"] for row in hub.rows("spans", run)] == ["mine"]
    assert hub.rows("llm_calls", run) == []


def test_calls_that_were_sent_on_stay_where_they_are(hub: Hub) -> None:
    """Another server knows a record by its position, which may not change any more."""
    run = hub.start()
    hub.calls(run, call())
    (before,) = hub.rows("llm_calls", run)
    hub.select("INSERT INTO targets (target_id, url) VALUES (1, 'https://x')")
    hub.select(f"INSERT INTO deliveries (run_id, target_id, state) VALUES ('{run}', 1, 'pending')")
    hub.spans(run, llm_span(7, duration_ms=5))
    hub.complete(run)
    (after,) = hub.rows("llm_calls", run)
    assert (after["position"], after["duration_ms"]) == (before["position"], 5)


def test_many_calls_of_one_run_settle(hub: Hub) -> None:
    """Three thousand calls and their spans find each other."""
    run = hub.start()
    hub.calls(run, *(call(tokens_in=n % 7) for n in range(3000)))
    hub.spans(run, *(llm_span(n + 1, tokens_in=n % 7, duration_ms=n) for n in range(3000)))
    hub.complete(run)
    rows = hub.rows("llm_calls", run)
    assert [row["duration_ms"] for row in rows] == list(range(3000))
    assert [row["position"] for row in rows] == list(range(1, 3001))


# -- cost ---------------------------------------------------------------------------------------


def test_an_estimate_of_the_sdk_is_not_the_programs_word(hub: Hub) -> None:
    """A cost that our price list gives, too, can be computed anew; any other one is kept."""
    run = hub.start()
    hub.calls(run, call(cost=0.0007500000000000001), call(cost=0.5))
    assert [(row["cost"], row["cost_source"]) for row in hub.rows("llm_calls", run)] == [
        (0.00075, "price"),
        (0.5, "call"),
    ]


def test_the_price_behind_an_estimate_is_noted(hub: Hub) -> None:
    """The next command reads it from the list; people look for it among the file's prices."""
    run = hub.start()
    hub.calls(run, call(cost=0.0007500000000000001))
    assert hub.select("SELECT model, source FROM model_prices") == [("gpt-4o", "pending")]
    assert price_pending(hub.path) == 0
    ((source, price),) = hub.select("SELECT source, input_per_mtok FROM model_prices")
    assert source.startswith("genai-prices")
    assert price == 2.5


def test_a_cost_of_nothing_is_an_unknown_one(hub: Hub) -> None:
    """The SDK sends 0 for models that it does not know; they are noted for a price."""
    run = hub.start()
    hub.calls(run, call("nope-1", cost=0.0), call("nope-2", cost=float("nan")), {"model": "nope-3"})
    rows = hub.rows("llm_calls", run)
    assert [(row["cost"], row["cost_source"]) for row in rows] == [(None, None)] * 3
    pending = hub.select("SELECT model FROM model_prices WHERE source = 'pending' ORDER BY model")
    assert pending == [("nope-1",), ("nope-2",), ("nope-3",)]


def test_a_price_of_this_file_is_the_one_that_holds(hub: Hub) -> None:
    """A price set by hand prices a call that came with none."""
    run = hub.start()
    hub.select(
        "INSERT INTO model_prices (model, provider, input_per_mtok, output_per_mtok, source,"
        " updated_at) VALUES ('mine', '', 1.0, 2.0, 'override', '')"
    )
    hub.calls(run, call("mine", cost=0.0))
    (row,) = hub.rows("llm_calls", run)
    assert (row["cost"], row["cost_source"]) == (0.0002, "price")


def test_the_provider_that_a_span_names_gives_the_price(hub: Hub) -> None:
    """A call is priced anew when its provider becomes known."""
    run = hub.start(session_id="s")
    hub.select(
        "INSERT INTO model_prices (model, provider, input_per_mtok, output_per_mtok, source,"
        " updated_at) VALUES ('mine', 'me', 1.0, 2.0, 'override', '')"
    )
    hub.calls(run, call("mine", cost=0.0))
    hub.spans(run, llm_span(1, "mine", cost=0.0, **{"gen_ai.provider.name": "me"}))
    (row,) = hub.rows("llm_calls", run)
    assert (row["cost"], row["provider"]) == (0.0002, "me")
    assert hub.select("SELECT priced_calls, total_cost FROM sessions") == [(1, 0.0002)]


def test_numbers_may_come_as_text_and_text_as_numbers(hub: Hub) -> None:
    """Types that are almost right are taken; what is not a number counts as 0."""
    run = hub.start()
    hub.calls(run, call(7, tokens_in="12", tokens_out=3.9), call(tokens_in="many", tokens_out=-1))
    first, second = hub.rows("llm_calls", run)
    assert (first["model"], first["tokens_in"], first["tokens_out"]) == ("7", 12, 3)
    assert (second["tokens_in"], second["tokens_out"]) == (0, -1)
