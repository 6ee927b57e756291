"""Statements that belong together, and what makes them fit to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from waxlocal import encode

__all__ = ["Statement", "Storable", "Unit", "has_position", "positions"]

Statement = tuple[str, Sequence[object]]
# Statements that belong in one transaction.
Unit = tuple[Statement, ...]

# SQLite's INTEGER; a larger count is nonsense, but must not lose the row it stands in.
INTEGER_MAX = (1 << 63) - 1


def has_position(sql: str) -> bool:
    """Return whether a statement adds a record, whose first values are run id and position."""
    return "(run_id, position" in sql


def positions(unit: Unit) -> list[object]:
    """Return the positions of the records that a unit adds."""
    return [parameters[1] for sql, parameters in unit if has_position(sql)]


class Storable(tuple[Statement, ...]):
    """A unit of which every value is one that SQLite takes."""

    __slots__ = ()

    def __new__(cls, unit: Iterable[Statement]) -> Storable:
        """Make every value of a unit fit: cut integers, text without surrogates, else JSON."""
        fit = ((sql, tuple(map(_storable_value, parameters))) for sql, parameters in unit)
        return super().__new__(cls, fit)


def _storable_value(value: Any) -> Any:
    if value is None:
        return value
    if isinstance(value, float):
        return float(value) if isfinite(value) else repr(float(value))
    if isinstance(value, str):
        return encode.text(value)
    if isinstance(value, int):
        return max(-INTEGER_MAX, min(INTEGER_MAX, int(value)))
    return encode.dumps(value)
