"""The parts of a count are in it, however the program counts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.sdk_rows import only
from waxlocal import WaxellContext, WaxellObserveClient

pytestmark = pytest.mark.usefixtures("recorder")

COUNTS = ("tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens", "reasoning_tokens")


def by_context(**call: Any) -> None:
    with WaxellContext("bot", session_id="s") as run:
        run.record_llm_call(model="gpt-4o", **call)


def by_id(**call: Any) -> None:
    client = WaxellObserveClient()
    run = client.start_run_sync(agent_name="bot", workflow_name="w", session_id="s")
    client.record_llm_calls_sync(run_id=run.run_id, calls=[{"model": "gpt-4o", **call}])
    client.complete_run_sync(run_id=run.run_id)


WAYS = [by_context, by_id]


@pytest.mark.parametrize("record", WAYS)
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"tokens_in": 10, "cached_tokens": 100}, (110, 5, 100, 0, None)),
        ({"tokens_in": 10, "cached_tokens": 6, "cache_write_tokens": 7}, (23, 5, 6, 7, None)),
        ({"tokens_in": 10, "cached_tokens": 10}, (10, 5, 10, 0, None)),
        ({"tokens_in": 10, "reasoning_tokens": 7}, (10, 12, 0, 0, 7)),
        ({"tokens_in": 10, "reasoning_tokens": 5}, (10, 5, 0, 0, 5)),
    ],
)
def test_a_part_that_is_greater_than_its_whole_was_counted_beside_it(
    record: Callable[..., None],
    given: dict[str, int],
    stored: tuple[int | None, ...],
    db_path: Path,
) -> None:
    """As Anthropic counts its cache, and Gemini its thoughts."""
    record(tokens_out=5, **given)
    call = only(db_path, "llm_calls")
    assert tuple(call[count] for count in COUNTS) == stored
    assert call["usage_known"] == 1
    changed = (given["tokens_in"], 5) != stored[:2]
    assert ("beside" in str(call["details"])) is changed
