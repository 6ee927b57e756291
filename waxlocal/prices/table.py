"""The file's `model_prices` table: price pending models, set and unset prices, recompute costs.

For commands, not for recorders: this may take seconds, in transactions of about 0.1 s each.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.encode import text
from waxlocal.errors import InvalidQuery, NotFound, StorageError
from waxlocal.prices.catalogue import Price, look_up
from waxlocal.prices.lookup import LOCAL_PROVIDERS, PRICED_BY, Prices, PriceSource
from waxlocal.prices.rates import MAX_RATE
from waxlocal.records import CostSource
from waxlocal.storage.connection import reader, writer
from waxlocal.storage.paths import may_write

__all__ = [
    "PricesByModel",
    "Repriced",
    "can_price",
    "list_prices",
    "price_for",
    "price_pending",
    "prices_by_model",
    "prices_wait",
    "reprice",
    "set_price",
    "source_for",
    "unset_price",
]

PricesByModel = Mapping[tuple[str, str], Price]

# Look up every model again after a day, whether it was found or not: prices change on fixed dates,
# and the library may have been upgraded.
LOOK_UP_AGAIN_NS = 24 * 3600 * 1_000_000_000
_SEE_NAMES = "see the names: waxlocal models"
# Calls priced per transaction: about 0.1 s, a tenth of how long a recorder waits for the file.
CALLS_AT_ONCE = 5_000

_DUE = """
SELECT model, provider, source IN ('pending', 'unknown') AS unpriced FROM model_prices
WHERE source = 'pending' OR (source <> 'override' AND updated_at < ?)
"""
_UNPRICED = "SELECT model, provider FROM model_prices WHERE source IN ('pending', 'unknown')"
_STORE = """
INSERT INTO model_prices (model, provider, input_per_mtok, output_per_mtok, cache_read_per_mtok,
  cache_write_per_mtok, tiers, source, matched, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (model, provider) DO UPDATE SET
  input_per_mtok = excluded.input_per_mtok, output_per_mtok = excluded.output_per_mtok,
  cache_read_per_mtok = excluded.cache_read_per_mtok,
  cache_write_per_mtok = excluded.cache_write_per_mtok, tiers = excluded.tiers,
  source = excluded.source, matched = excluded.matched, updated_at = excluded.updated_at
WHERE model_prices.source <> 'override' OR excluded.source = 'override'
"""
# If a recorder noted the model again meanwhile, `updated_at` differs, and it stays pending.
_SETTLE = """
UPDATE model_prices SET source = ?
WHERE model = ? AND provider = ? AND source = 'pending' AND updated_at = ?
"""


# A question can be answered without a lock: the next one finds the costs.
QUESTION_WAIT_S = 1.0


def price_pending(
    path: Path, clock: Clock = SYSTEM_CLOCK, *, wait: float | None = QUESTION_WAIT_S
) -> int:
    """Look up the pending models, and return how many calls got a cost.

    Commands call it before they read; it is cheap if no model is pending. Also looks up prices that
    are a day old again; known costs do not change. Returns 0 for a file that is missing or
    read-only, or locked for longer than `wait` seconds (None: as long as a command waits).
    """
    try:
        due = _due(path, clock)
        return _price(path, due, clock, wait) if due else 0
    except StorageError:
        return 0


def prices_wait(path: Path, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Return whether `price_pending` has work to do; False if the file cannot be read."""
    try:
        return bool(_due(path, clock))
    except StorageError:
        return False


def can_price(connection: sqlite3.Connection, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Return whether the price list has a model whose calls wait for a price."""
    unpriced = connection.execute(_UNPRICED).fetchall()
    return any(
        _listed(model, provider, clock).source != PriceSource.UNKNOWN
        for model, provider in unpriced
    )


def _due(path: Path, clock: Clock) -> list[tuple[str, str, int]]:
    if not may_write(path):
        return []
    with reader(path) as connection:
        day_ago = utc_text(clock.time_ns() - LOOK_UP_AGAIN_NS)
        return [(row[0], row[1], row[2]) for row in connection.execute(_DUE, (day_ago,)).fetchall()]


def _price(
    path: Path, due: Iterable[tuple[str, str, int]], clock: Clock, wait: float | None = None
) -> int:
    """Look up each (model, provider, whether its calls need a cost); return the calls priced."""
    rows, waiting = [], []
    for model, provider, unpriced in due:
        price = _listed(model, provider, clock)
        if unpriced and price.source != PriceSource.UNKNOWN:
            # The model stays pending until its calls have a cost: if this command dies
            # half-way, the next one does the rest.
            waiting.append(price)
            rows.append((*_row(price)[:7], PriceSource.PENDING, price.matched, price.updated_at))
        else:
            rows.append(_row(price))
    with writer(path, create=False, wait=wait) as connection:
        connection.executemany(_STORE, rows)
    if not waiting:
        return 0
    pairs = json.dumps([(price.model, price.provider) for price in waiting])
    priced = _recompute(path, _UNPRICED_CALLS, pairs).changed
    with writer(path, create=False) as connection:
        connection.executemany(
            _SETTLE, [(p.source, p.model, p.provider, p.updated_at) for p in waiting]
        )
    return priced


def _listed(model: str, provider: str, clock: Clock) -> Price:
    at = utc_text(clock.time_ns())
    unknown = Price(model, provider, None, None, None, None, None, PriceSource.UNKNOWN, None, at)
    return look_up(model, provider, clock) or unknown


def _row(price: Price) -> tuple[object, ...]:
    # The fields of `Price` are the columns of `_STORE`, in its order.
    return tuple(vars(price).values())


# -- prices by hand -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repriced:
    """The result of a recomputation: calls checked, calls changed, dollars before and after.

    Calls whose cost the program recorded itself are never included. A sum is None if no call has a
    known cost.
    """

    calls: int
    changed: int
    before: float | None
    after: float | None


_LIST = "SELECT * FROM model_prices ORDER BY model, provider"
_DELETE_OVERRIDE = (
    "DELETE FROM model_prices WHERE model = ? AND provider = ? AND source = 'override'"
)


def list_prices(connection: sqlite3.Connection) -> list[Price]:
    """Return all rows of `model_prices`, by model, then provider."""
    return [Price(*row) for row in connection.execute(_LIST).fetchall()]


def prices_by_model(connection: sqlite3.Connection) -> PricesByModel:
    """Return all rows of `model_prices` by model and provider, for `price_for`."""
    return {(price.model, price.provider): price for price in list_prices(connection)}


def price_for(prices: PricesByModel, model: str, provider: str) -> Price | None:
    """Return the row for the calls of a model, as `Prices` finds it: one that was set wins.

    None for a model that was never looked up. A local model needs no row.
    """
    own, anywhere = prices.get((model, provider)), prices.get((model, ""))
    if own is not None and own.source == PriceSource.OVERRIDE:
        return own
    if anywhere is not None and anywhere.source == PriceSource.OVERRIDE:
        return anywhere
    unknown = own is None or own.source in (PriceSource.PENDING, PriceSource.UNKNOWN)
    if unknown and provider.lower() in LOCAL_PROVIDERS:
        return Price(model, provider, 0.0, 0.0, None, None, None, PriceSource.LOCAL, None, "")
    return own


def source_for(prices: PricesByModel, model: str, provider: str) -> str | None:
    """Return where the price of a model comes from, as `price_for` finds it."""
    price = price_for(prices, model, provider)
    return None if price is None else price.source


def set_price(
    path: Path,
    model: str,
    *,
    provider: str = "",
    input_per_mtok: float,
    output_per_mtok: float,
    cache_read_per_mtok: float | None = None,
    cache_write_per_mtok: float | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Repriced:
    """Set a model's price in dollars per million tokens, and recompute the calls of that model.

    Without a provider, the price applies to the model at every provider that has no price of its
    own. Model and provider are the recorded names. Raises `InvalidQuery` for a price that is
    negative, not a number or beyond `MAX_RATE`, and `StorageError`.
    """
    model, provider = _name(model), text(provider)
    dollars = [
        None if value is None else _dollars(kind, value)
        for kind, value in zip(
            ("input", "output", "cache read", "cache write"),
            (input_per_mtok, output_per_mtok, cache_read_per_mtok, cache_write_per_mtok),
            strict=True,
        )
    ]
    at = utc_text(clock.time_ns())
    with writer(path) as connection:
        connection.execute(
            _STORE, (model, provider, *dollars, None, PriceSource.OVERRIDE, None, at)
        )
    return _recompute_model(path, model, provider)


def _name(model: str) -> str:
    """Return the name as it is recorded: bytes of a command line may be no UTF-8."""
    if model == "":
        raise InvalidQuery("the name of the model is empty", hint=_SEE_NAMES)
    return text(model)


def _dollars(kind: str, value: float) -> float:
    try:
        dollars = float(value)
    except (TypeError, ValueError, OverflowError):
        dollars = math.nan
    if not 0 <= dollars <= MAX_RATE:  # also false for nan
        raise InvalidQuery(
            f"{kind} price is {value!r}; it must be from 0 to {MAX_RATE:,.0f}",
            hint="give dollars per million tokens, for example 2.50",
        )
    return dollars


def unset_price(
    path: Path, model: str, provider: str = "", clock: Clock = SYSTEM_CLOCK
) -> Repriced:
    """Remove the price set for a model, so that the price list applies, and recompute its calls.

    Raises `InvalidQuery` for an empty name, `NotFound` if no price was set for this model and
    provider, and `StorageError`.
    """
    model, provider = _name(model), text(provider)
    with writer(path, create=False) as connection:
        if not connection.execute(_DELETE_OVERRIDE, (model, provider)).rowcount:
            of = f" of {provider}" if provider else ""
            raise NotFound(
                f"no price was set for {model}{of}",
                hint="list those that were set with: waxlocal prices list",
            )
    return _reprice(path, model, provider, clock)


# -- recomputing ----------------------------------------------------------------------------------

# One page of calls after a key. Read the whole page before writing: an open cursor would keep the
# WAL from being reset.
_CALLS = f"""
SELECT run_id, position, cost, {", ".join(PRICED_BY)}
FROM llm_calls
WHERE (run_id, position) > (:run_id, :position) AND cost_source IS NOT 'call' AND usage_known
  AND {{which}}
ORDER BY run_id, position LIMIT :limit
"""  # noqa: S608
_UNPRICED_CALLS = _CALLS.format(
    which="cost IS NULL AND (model, provider) IN"
    " (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:which))"
)
_CALLS_OF_MODEL = _CALLS.format(which="model = :which")
_CALLS_OF_PAIR = _CALLS.format(which="(model, provider) = (:which, :provider)")
_ALL_CALLS = _CALLS.format(which="true")
# Update only rows that nobody has changed meanwhile.
_SET_COST = """
UPDATE llm_calls SET cost = ?, cost_source = ?
WHERE run_id = ? AND position = ? AND cost IS ? AND cost_source IS NOT 'call'
"""
# Rows whose price comes from the list, and called models that have no row.
_LISTED = """
SELECT model, provider, 0 FROM model_prices WHERE source <> 'override'
UNION
SELECT DISTINCT model, provider, 0 FROM llm_calls c WHERE cost_source IS NOT 'call'
  AND NOT EXISTS (SELECT 1 FROM model_prices p WHERE (p.model, p.provider) = (c.model, c.provider))
"""

_KNOWN = """
SELECT EXISTS (SELECT 1 FROM model_prices WHERE model = :model),
  EXISTS (SELECT 1 FROM llm_calls WHERE model = :model)
"""


def reprice(path: Path, model: str | None = None, clock: Clock = SYSTEM_CLOCK) -> Repriced:
    """Recompute the cost of all calls, or of one model's, from today's list and the prices set.

    Costs that the program recorded itself stay; calls of a model without a price get NULL. Raises
    `InvalidQuery` for an empty name, `NotFound` for a model that has neither a call nor a price in
    the file, and `StorageError`; calls recomputed before that one stay recomputed, and a retry does
    the rest.
    """
    if model is not None:
        model = _name(model)
        with reader(path) as connection:
            if not any(connection.execute(_KNOWN, {"model": model}).fetchone()):
                raise NotFound(f"no call of the model {model!r} is recorded", hint=_SEE_NAMES)
    return _reprice(path, model, "", clock)


def _reprice(path: Path, model: str | None, provider: str, clock: Clock) -> Repriced:
    with reader(path) as connection:
        listed = [tuple(row) for row in connection.execute(_LISTED).fetchall()]
    wanted = [row for row in listed if model in (None, row[0]) and provider in ("", row[1])]
    _price(path, wanted, clock)
    return _recompute_model(path, model, provider)


def _recompute_model(path: Path, model: str | None, provider: str) -> Repriced:
    if model is None:
        return _recompute(path, _ALL_CALLS)
    if not provider:
        return _recompute(path, _CALLS_OF_MODEL, model)
    return _recompute(path, _CALLS_OF_PAIR, model, provider)


def _recompute(path: Path, query: str, which: str = "", provider: str = "") -> Repriced:
    """Recompute the calls that `query` selects, some thousands per transaction."""
    prices, calls, changed = Prices(), 0, 0
    before: list[float] = []
    after: list[float] = []
    key = {"run_id": "", "position": -1}
    with reader(path) as connection:
        prices.load(connection)
        while True:
            named = {**key, "which": which, "provider": provider, "limit": CALLS_AT_ONCE}
            rows = connection.execute(query, named).fetchall()
            if not rows:
                return Repriced(calls, changed, _sum(before), _sum(after))
            costs = [prices.cost(*row[3:]) for row in rows]
            updates = [
                (
                    cost,
                    None if cost is None else CostSource.PRICE,
                    row["run_id"],
                    row["position"],
                    old,
                )
                for row, cost in zip(rows, costs, strict=True)
                if (old := row["cost"]) != cost
            ]
            changed += _update(path, updates)
            calls += len(rows)
            before += [row["cost"] for row in rows if row["cost"] is not None]
            after += [cost for cost in costs if cost is not None]
            key = {name: rows[-1][name] for name in key}


def _update(path: Path, updates: Sequence[Sequence[object]]) -> int:
    if not updates:
        return 0
    with writer(path, create=False) as connection:
        # Count rows; `total_changes` would also count those that triggers changed.
        return connection.executemany(_SET_COST, updates).rowcount


def _sum(costs: list[float]) -> float | None:
    try:
        return math.fsum(costs) if costs else None
    except (OverflowError, ValueError):  # infinite costs, or nearly: any program may write a row
        return sum(costs)
