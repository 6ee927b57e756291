"""Prices of models over HTTP: what holds, what was set by hand, and back to the list."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waxlocal.encode import text
from waxlocal.prices.catalogue import Price
from waxlocal.prices.table import list_prices, set_price, unset_price
from waxlocal.web.api.bodies import read_object
from waxlocal.web.api.parameters import read_parameters
from waxlocal.web.api.problems import Problem
from waxlocal.web.api.responses import json_answer, raw_tail
from waxlocal.web.db import ask, database_of
from waxlocal.wire.paths import MODEL_COSTS

__all__ = ["ECHOED", "MAX_RATE", "REQUIRED", "ROUTES"]


# The API's names for the rates, and ours.
_RATES = {
    "input_cost_per_million": "input_per_mtok",
    "output_cost_per_million": "output_per_mtok",
    "cache_read_cost_per_million": "cache_read_per_mtok",
    "cache_write_cost_per_million": "cache_write_per_mtok",
}
REQUIRED = ("input_cost_per_million", "output_cost_per_million")
# What a client may send back of what it got; none of it sets anything.
ECHOED = ("model_id", "is_override", "source", "matched", "tiers", "updated_at")
# Beyond any price; what lies above is a slip of a factor.
MAX_RATE = 1e9
MAX_NAME = 1_000


async def costs(request: Request) -> Response:
    """List the prices of all models seen."""
    read_parameters(request, ())
    found = await ask(request, list_prices)
    return json_answer([_shown(price) for price in found])


def _shown(price: Price) -> dict[str, Any]:
    return {
        "model_id": price.model,
        "provider": price.provider,
        **{name: getattr(price, own) for name, own in _RATES.items()},
        "tiers": json.loads(price.tiers) if price.tiers else None,
        "currency": "USD",
        "is_override": price.source == "override",
        "source": price.source,
        "matched": price.matched,
        "updated_at": price.updated_at,
    }


async def one_cost(request: Request) -> Response:
    """Set the price of a model, or forget what was set."""
    return await (_set if request.method == "PUT" else _unset)(request)


async def _set(request: Request) -> Response:
    """Set the price of a model, and recompute the cost of its calls."""
    read_parameters(request, ())
    body = await read_object(request)
    _check_names(body)
    model, provider = await _meant(request, body.get("provider"))
    rates = {own: _rate(body, name) for name, own in _RATES.items()}
    path = database_of(request).path
    await run_in_threadpool(set_price, path, model, provider=provider, **rates)  # type: ignore[arg-type]
    return json_answer(_shown(await ask(request, lambda conn: _price(conn, model, provider))))


def _price(connection: sqlite3.Connection, model: str, provider: str) -> Price:
    return next(
        one for one in list_prices(connection) if (one.model, one.provider) == (model, provider)
    )


def _check_names(body: dict[str, Any]) -> None:
    known = (*_RATES, *ECHOED, "provider", "currency")
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise _invalid(unknown[0][:100], "is not known", f"known are {', '.join(known)}")
    if body.get("currency", "USD") != "USD":
        raise _invalid("currency", "is not USD", "give dollars per million tokens")


def _rate(body: dict[str, Any], name: str) -> float | None:
    rate = body.get(name)
    if rate is None and name not in REQUIRED:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= MAX_RATE:
        hint = f"give dollars per million tokens, 0 to {MAX_RATE:,.0f}, for example 2.5"
        raise _invalid(name, "is missing" if rate is None else "is not a valid price", hint)
    return float(rate)


def _invalid(field: str, what: str, hint: str) -> Problem:
    return Problem(400, f"{field} {what}", kind="invalid-body", hint=hint, field=field)


async def _unset(request: Request) -> Response:
    """Return to the price list for a model whose price was set."""
    given = read_parameters(request, ("provider",))
    model, provider = await _meant(request, given.text("provider"))
    await run_in_threadpool(unset_price, database_of(request).path, model, provider)
    return Response(status_code=204)


async def _meant(request: Request, provider: object) -> tuple[str, str]:
    """Return the model and the provider that an address means, as they were recorded.

    `openai/gpt-4o` is a model of that name if there were calls of one, else the model of that
    provider; a provider that is given decides.
    """
    model = raw_tail(request, MODEL_COSTS)
    if provider is not None and not isinstance(provider, str):
        raise _invalid("provider", "is not text", "give the provider as recorded")
    if max(len(model), len(provider or "")) > MAX_NAME:
        hint = f"the longest that can be set has {MAX_NAME:,} characters"
        raise _invalid("model_id", "is too long a name", hint)
    provider = None if provider is None else text(provider)
    before, slash, behind = model.partition("/")
    if provider is not None or not slash:
        return model, provider or ""
    prices = await ask(request, list_prices)
    seen = {(price.model, price.provider) for price in prices}
    literally = any(name == model for name, _ in seen)
    return (behind, before) if not literally and (behind, before) in seen else (model, "")


ROUTES = [
    Route(MODEL_COSTS, costs),
    # One route: what is not allowed is answered with all that is.
    Route(MODEL_COSTS + "{model_id:anything}/", one_cost, methods=["PUT", "DELETE"]),
]
