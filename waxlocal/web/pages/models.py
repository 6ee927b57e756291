"""The models page: usage, cost, latency and errors per model."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.errors import InvalidQuery
from waxlocal.prices.catalogue import Price
from waxlocal.prices.table import price_for, prices_by_model, source_for
from waxlocal.queries import ModelUse
from waxlocal.queries.analysis_rows import needs_price
from waxlocal.web.db import ask
from waxlocal.web.pages.analytics import take_usage
from waxlocal.web.pages.list_request import ListRequest
from waxlocal.web.pages.rendering import show

__all__ = ["models_page"]

_KEYS: dict[str, Callable[[ModelUse], float]] = {
    "calls": lambda one: one.calls,
    "tokens": lambda one: one.total_tokens,
    "cost": lambda one: one.total_cost or 0.0,
    "p50": lambda one: one.p50_ms or 0,
    "p95": lambda one: one.p95_ms or 0,
    "errors": lambda one: one.error_share or 0.0,
}
COLUMNS = (
    ("calls", "Calls"),
    ("tokens", "Tokens"),
    ("cost", "Cost"),
    ("p50", "p50"),
    ("p95", "p95"),
    ("errors", "Errors"),
)


@dataclass(frozen=True)
class Used:
    """The usage of a model, and its price if it has one."""

    use: ModelUse
    price: Price | None

    @property
    def unpriced(self) -> bool:
        """Whether somebody should set a price."""
        return needs_price(self.use)

    @property
    def command(self) -> str:
        """The command that sets a price; empty for a name that cannot be typed."""
        words = [self.use.model, self.use.provider]
        if not all(word.isprintable() for word in words) or not self.use.model:
            return ""
        provider = f" --provider {shlex.quote(words[1])}" if words[1] else ""
        return f"waxlocal prices set {shlex.quote(words[0])}{provider} --input X --output Y"


async def models_page(request: Request) -> Response:
    """Show the models that were called, unpriced ones first."""
    asked = ListRequest.of(request, "/models")
    ordering = request.query_params.get("ordering", "")
    if ordering and ordering.removeprefix("-") not in _KEYS:
        raise InvalidQuery(f"unknown ordering {ordering!r}", hint=f"use one of: {', '.join(_KEYS)}")
    taken, prices = await asyncio.gather(
        take_usage(request, asked.value("since"), asked.value("until")),
        ask(request, prices_by_model),
    )
    used = [
        # What was counted may be older than the price that somebody has just set.
        Used(
            replace(one, price_source=source_for(prices, one.model, one.provider)),
            price_for(prices, one.model, one.provider),
        )
        for one in (taken.value.models if taken.value else ())
    ]
    if ordering:
        key = _KEYS[ordering.removeprefix("-")]
        used.sort(key=lambda one: key(one.use), reverse=ordering.startswith("-"))
    return await show(
        request,
        "models.html",
        title="Models",
        section="models",
        refresh="waiting" if taken.pending else "still",
        asked=asked,
        ordering=ordering,
        taken=taken,
        used=used,
        unpriced=[one for one in used if one.unpriced],
        columns=COLUMNS,
        largest=max((one.use.total_cost or 0.0 for one in used), default=0.0),
    )
