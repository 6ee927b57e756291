"""What a call would cost, asked by a program before or without recording it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from waxlocal.errors import StorageError
from waxlocal.prices.catalogue import look_up
from waxlocal.prices.lookup import Prices
from waxlocal.storage.connection import reader

__all__ = ["estimate"]

# How long the prices of a file are kept: a program may ask after each call.
KEEP_S = 1.0


def estimate(
    path: Path, model: str, provider: str, tokens_in: int, tokens_out: int
) -> float | None:
    """Return dollars by the prices of a file, else by the bundled list; None if unknown.

    The file is only read, and need not exist. The first model that the file has no price for takes
    0.2 s: the library with the list is imported.
    """
    prices = _prices_of(path)
    cost = prices.cost(model, provider, tokens_in, tokens_out)
    if cost is None and (found := look_up(model, provider)) is not None:
        prices.add(
            model,
            provider,
            found.input_per_mtok,
            found.output_per_mtok,
            found.cache_read_per_mtok,
            found.cache_write_per_mtok,
            found.tiers,
        )
        cost = prices.cost(model, provider, tokens_in, tokens_out)
    return cost


_kept: tuple[Path, float, Prices] | None = None


def _prices_of(path: Path) -> Prices:
    global _kept
    now = time.monotonic()
    if _kept is not None and _kept[0] == path and now - _kept[1] < KEEP_S:
        return _kept[2]
    prices = Prices()
    with suppress(StorageError, sqlite3.Error, OSError), reader(path) as connection:
        prices.load(connection)
    _kept = (path, now, prices)
    return prices
