"""`record_llm_call(usage=…)`: the provider's object as it came with the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tools.sdk_rows import only, rows
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.errors import UnknownUsage
from waxlocal.prices.table import set_price
from waxlocal.storage.connection import open_writer

pytestmark = pytest.mark.usefixtures("recorder")

COUNTS = ("tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
OPENAI = SimpleNamespace(
    prompt_tokens=1200,
    completion_tokens=40,
    total_tokens=1240,
    prompt_tokens_details=SimpleNamespace(cached_tokens=900),
    completion_tokens_details=SimpleNamespace(reasoning_tokens=10),
)
# 8,100 of input in all: 5,000 new, 3,000 from the cache, 100 into it.
ANTHROPIC = {
    "input_tokens": 5000,
    "output_tokens": 40,
    "cache_read_input_tokens": 3000,
    "cache_creation_input_tokens": 100,
}
GEMINI = {"prompt_token_count": 9, "candidates_token_count": 5, "thoughts_token_count": 7}


def by_block(**call: Any) -> None:
    """Record a call in a block."""
    with WaxellContext(agent_name="a") as run:
        run.record_llm_call(model="gpt-4o", **call)


def by_id(**call: Any) -> None:
    """Record a call of a run that is named by its id."""
    client = WaxellObserveClient()
    started = client.start_run_sync(agent_name="a")
    client.record_llm_calls_sync(run_id=started.run_id, calls=[{"model": "gpt-4o", **call}])


WAYS = pytest.mark.parametrize("record", [by_block, by_id])
Record = Callable[..., None]


@WAYS
@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (OPENAI, (1200, 40, 900, 0, 10)),
        (ANTHROPIC, (8100, 40, 3000, 100, None)),
        (GEMINI, (9, 12, 0, 0, 7)),
        ({"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, (3, 2, 0, 0, None)),
        ({"input_tokens": 0, "output_tokens": 0}, (0, 0, 0, 0, None)),
        ({"prompt_tokens": 8}, (8, 0, 0, 0, None)),  # of an embedding
    ],
)
def test_counts_are_those_of_the_object(
    db_path: Path, record: Record, usage: object, counts: tuple[int | None, ...]
) -> None:
    """All input and all output, whatever the provider counts beside them."""
    record(usage=usage)
    call = only(db_path, "llm_calls")
    assert tuple(call[name] for name in COUNTS) == counts
    assert call["usage_known"] == 1
    assert call["details"] is None


def test_cached_tokens_have_their_price(db_path: Path) -> None:
    """An Anthropic call with a cached prompt costs what the bill says."""
    open_writer(db_path).close()
    set_price(db_path, "gpt-4o", input_per_mtok=1, output_per_mtok=5, cache_read_per_mtok=0.1)
    by_block(usage={**ANTHROPIC, "cache_creation_input_tokens": 0})
    assert only(db_path, "llm_calls")["cost"] == pytest.approx(0.005 + 0.0003 + 0.0002)


@WAYS
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}])
def test_an_answer_without_usage_has_unknown_tokens(
    db_path: Path, record: Record, usage: object
) -> None:
    """Not 0, and no cost is computed; one that is given counts."""
    record(usage=usage)
    record(usage=usage, cost=0.5)
    plain, with_cost = rows(db_path, "llm_calls")
    assert (plain["usage_known"], plain["tokens_in"], plain["cost"]) == (0, 0, None)
    assert (with_cost["usage_known"], with_cost["cost"]) == (0, 0.5)


@WAYS
def test_counts_that_are_given_win(db_path: Path, record: Record) -> None:
    """Also over an object that knows nothing, and a 0 of the input is a count."""
    record(usage=OPENAI, tokens_in=901, reasoning_tokens=0)
    record(usage=OPENAI, tokens_in=1000, tokens_out=10, cached_tokens=5, cache_write_tokens=6)
    record(usage=None, tokens_in=0)
    first, second, third = rows(db_path, "llm_calls")
    assert tuple(first[name] for name in COUNTS) == (901, 40, 900, 0, 0)
    assert tuple(second[name] for name in COUNTS) == (1000, 10, 5, 6, 10)
    assert (third["usage_known"], third["tokens_in"]) == (1, 0)


@WAYS
def test_a_sum_that_the_numbers_alone_tell_is_noted(db_path: Path, record: Record) -> None:
    """More cached tokens than input: they were counted beside it."""
    usage = {"prompt_tokens": 50, "prompt_tokens_details": {"cached_tokens": 300}}
    record(usage=usage, framework="own")
    call = only(db_path, "llm_calls")
    assert call["tokens_in"] == 350
    note = "300 cached tokens were counted beside the input: more than the 50 of input"
    assert call["details"] == {"framework": "own", "usage_note": note}


@WAYS
def test_finer_counts_are_details(db_path: Path, record: Record) -> None:
    """Of sound, images, predictions; those that are 0 say nothing."""
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 20,
        "prompt_tokens_details": {"audio_tokens": 30, "image_tokens": 0},
        "completion_tokens_details": {"audio_tokens": 15, "accepted_prediction_tokens": 2},
    }
    record(usage=usage)
    finer = {"audio_in": 30, "audio_out": 15, "accepted_prediction": 2}
    assert only(db_path, "llm_calls")["details"] == {"token_details": finer}


@WAYS
@pytest.mark.parametrize("usage", ["120", 7, ["a"], {"words": 3}, {"prompt_tokens": "many"}])
def test_an_object_of_unknown_shape_is_refused(
    db_path: Path, record: Record, usage: object
) -> None:
    """With a hint; it is a `TypeError`, as for any argument of a wrong type. Nothing is kept."""
    with pytest.raises(UnknownUsage) as refused:
        record(usage=usage)
    assert isinstance(refused.value, TypeError)
    assert refused.value.hint
    assert rows(db_path, "llm_calls") == []


def test_the_whole_answer_is_refused_with_the_name_of_its_usage() -> None:
    """Programs pass `response` for `response.usage`."""
    with pytest.raises(UnknownUsage) as refused:
        by_block(usage=SimpleNamespace(usage=OPENAI, id="r"))
    assert refused.value.hint == "this looks like the whole answer: pass its .usage"


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "missing 2 required keyword-only arguments: 'tokens_in' and 'tokens_out'"),
        ({"tokens_in": 1}, "missing 1 required keyword-only argument: 'tokens_out'"),
    ],
)
def test_without_usage_the_tokens_are_required(
    db_path: Path, given: dict[str, int], missing: str
) -> None:
    """As in the original."""
    with pytest.raises(TypeError, match=missing):
        by_block(**given)
    assert rows(db_path, "llm_calls") == []


def test_other_arguments_are_as_without_usage(db_path: Path) -> None:
    """Details, messages and numbers of other types."""
    messages = [{"role": "user", "content": "hi"}]
    by_block(
        usage=OPENAI,
        framework="own",
        full_messages=messages,
        duration_ms=7.9,
        task="answer",
        provider="openai",
    )
    call = only(db_path, "llm_calls")
    assert (call["task"], call["provider"], call["duration_ms"]) == ("answer", "openai", 7)
    assert call["details"] == {"framework": "own"}
    assert call["messages"] == messages
