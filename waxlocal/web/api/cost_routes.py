"""The model-costs endpoints: list, set and unset model prices."""

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
from waxlocal.prices.lookup import PriceSource
from waxlocal.prices.rates import MAX_RATE
from waxlocal.prices.table import list_prices, set_price, unset_price
from waxlocal.web.api.bodies import read_object
from waxlocal.web.api.parameters import read_parameters
from waxlocal.web.api.problems import Problem
from waxlocal.web.api.responses import json_answer, raw_tail
from waxlocal.web.db import ask, database_of
from waxlocal.wire.paths import MODEL_COSTS

__all__ = ["ECHOED", "REQUIRED", "ROUTES"]


# The API's names of the rates, and the names of our columns.
_RATES = {
    "input_cost_per_million": "input_per_mtok",
    "output_cost_per_million": "output_per_mtok",
    "cache_read_cost_per_million": "cache_read_per_mtok",
    "cache_write_cost_per_million": "cache_write_per_mtok",
}
REQUIRED = ("input_cost_per_million", "output_cost_per_million")
# Read-only fields that a client may send back from a response; they are ignored.
ECHOED = ("model_id", "is_override", "source", "matched", "tiers", "updated_at")
MAX_NAME = 1_000


async def costs(request: Request) -> Response:
    """List the prices of all models that were called."""
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
        "is_override": price.source == PriceSource.OVERRIDE,
        "source": price.source,
        "matched": price.matched,
        "updated_at": price.updated_at,
    }


async def one_cost(request: Request) -> Response:
    """Set or unset the price of a model."""
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
        raise _invalid(unknown[0][:100], "is not a known field", f"use {', '.join(known)}")
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
    """Remove the price that was set for a model."""
    given = read_parameters(request, ("provider",))
    model, provider = await _meant(request, given.text("provider"))
    await run_in_threadpool(unset_price, database_of(request).path, model, provider)
    return Response(status_code=204)


async def _meant(request: Request, provider: object) -> tuple[str, str]:
    """Return the recorded names of the model and provider in a path.

    `openai/gpt-4o` is a model of that name if one was called, else the model `gpt-4o` of `openai`.
    An explicit `provider` takes precedence.
    """
    model = raw_tail(request, MODEL_COSTS)
    if provider is not None and not isinstance(provider, str):
        raise _invalid("provider", "is not text", "give the provider as recorded")
    if max(len(model), len(provider or "")) > MAX_NAME:
        hint = f"use at most {MAX_NAME:,} characters"
        raise _invalid("model_id", "is too long", hint)
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
    # One route for all methods, so that a 405 lists every allowed method.
    Route(MODEL_COSTS + "{model_id:anything}/", one_cost, methods=["PUT", "DELETE"]),
]
