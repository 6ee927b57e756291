"""What calls cost and how much a model can read, by the prices of the file and the bundled list."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from waxlocal.prices.catalogue import context_window, listed_models
from waxlocal.prices.estimate import estimate
from waxlocal.recording.recorder import current_recorder
from waxlocal.records import NO_COST
from waxlocal.sdk.arguments import need, need_count

__all__ = [
    "EMBEDDING_COSTS",  # noqa: F822 (made when it is asked for, as those below)
    "MODEL_CONTEXT_LIMITS",  # noqa: F822
    "MODEL_COSTS",  # noqa: F822
    "MULTIMODAL_COSTS",
    "estimate_cost",
    "estimate_embedding_cost",
    "get_context_limit",
]

# Pictures, speech and the like are not paid by the token, and the list has no prices for them.
MULTIMODAL_COSTS: dict[str, float] = {}

_MAKERS = ("openai", "anthropic", "google", "mistral", "cohere", "deepseek", "x-ai", "groq")
_log = logging.getLogger("waxell_observe.cost")


def estimate_cost(model: str, tokens_in: int, tokens_out: int, provider: str = "") -> float:
    """Return what a call costs in dollars; 0.0 for a model without a price, with one log line.

    A recorded call of such a model has an unknown cost, which is not 0: also where this 0.0 is
    handed over as its cost.
    """
    need("model", model, str)
    cost = estimate(
        current_recorder().settings.db,
        model,
        provider,
        need_count("tokens_in", tokens_in),
        need_count("tokens_out", tokens_out),
    )
    if cost is None:
        _note_unknown(model, provider)
        return NO_COST
    return cost


def estimate_embedding_cost(model: str, tokens: int, provider: str = "") -> float:
    """Return what an embedding of that many tokens costs in dollars; 0.0 without a price."""
    return estimate_cost(model, tokens, 0, provider)


def get_context_limit(model: str) -> int | None:
    """Return how many tokens the context of a model holds; None if the list does not say."""
    need("model", model, str)
    return context_window(model)


@cache
def _note_unknown(model: str, provider: str) -> None:
    _log.warning(
        "estimate_cost: no price for model %r (provider %r), so 0.0 is returned. "
        "Try: waxlocal prices set",
        model,
        provider,
    )


def __getattr__(name: str) -> dict[str, Any]:
    """Make a table of the bundled list, in dollars per token."""
    if name == "MODEL_CONTEXT_LIMITS":
        return _limits()
    if name in ("MODEL_COSTS", "EMBEDDING_COSTS"):
        return _costs(embeddings=name == "EMBEDDING_COSTS")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _limits() -> dict[str, int]:
    models = (model for maker in reversed(_MAKERS) for model in listed_models(maker))
    return {model.id: int(model.context_window) for model in models if model.context_window}


@cache
def _costs(embeddings: bool) -> dict[str, Any]:
    """Return the costs by model; of two that go by one name, that of the earlier maker."""
    table: dict[str, Any] = {}
    path = current_recorder().settings.db
    for maker in reversed(_MAKERS):
        for model in listed_models(maker):
            if ("embed" in model.id) is not embeddings:
                continue
            per_token = [
                (estimate(path, model.id, maker, *tokens) or 0.0) / 1_000_000
                for tokens in ((1_000_000, 0), (0, 1_000_000))
            ]
            both = {"input": per_token[0], "output": per_token[1]}
            table[model.id] = per_token[0] if embeddings else both
    return table
