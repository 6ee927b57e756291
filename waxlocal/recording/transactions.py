"""Statements that belong together, and what makes them fit to be stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from waxlocal import encode
from waxlocal.records import LARGEST_INTEGER
from waxlocal.storage.record_sql import Statement

__all__ = ["Bound", "Parameters", "Storable", "Unit", "keys", "moved", "values_of"]

Parameters: TypeAlias = Sequence[object] | Mapping[str, object]
# A statement with its values.
Bound: TypeAlias = tuple[Statement, Parameters]
# What belongs in one transaction.
Unit: TypeAlias = tuple[Bound, ...]


def values_of(parameters: Parameters) -> Iterable[object]:
    """Return the values that a statement is executed with."""
    return parameters.values() if isinstance(parameters, Mapping) else parameters


def keys(unit: Unit) -> list[tuple[object, object]]:
    """Return run id and position of each record that a unit adds."""
    return [_key(parameters) for statement, parameters in unit if statement.adds is not None]


def moved(unit: Unit, next_position: Callable[[object], int]) -> Unit:
    """Return the unit with its records at other positions.

    `next_position` takes the id of a run and returns a position that is free in it.
    """
    put = tuple(
        (statement, _at(parameters, next_position(_key(parameters)[0])))
        if statement.adds is not None
        else (statement, parameters)
        for statement, parameters in unit
    )
    return Storable(put) if isinstance(unit, Storable) else put


def _key(parameters: Parameters) -> tuple[object, object]:
    if isinstance(parameters, Mapping):
        return parameters["run_id"], parameters["position"]
    return parameters[0], parameters[1]


def _at(parameters: Parameters, position: int) -> Parameters:
    if isinstance(parameters, Mapping):
        return {**parameters, "position": position}
    return (parameters[0], position, *parameters[2:])


class Storable(tuple[Bound, ...]):
    """A unit of which every value is one that SQLite takes."""

    __slots__ = ()

    def __new__(cls, unit: Iterable[Bound]) -> Storable:
        """Make every value of a unit fit: cut integers, text without surrogates, else JSON."""
        return super().__new__(cls, ((sql, _storable(values)) for sql, values in unit))


def _storable(parameters: Parameters) -> Parameters:
    if isinstance(parameters, Mapping):
        return {name: _storable_value(value) for name, value in parameters.items()}
    return tuple(map(_storable_value, parameters))


def _storable_value(value: Any) -> Any:
    if value is None:
        return value
    if isinstance(value, float):
        return float(value)  # SQLite has infinities; it stores NaN as NULL
    if isinstance(value, str):
        return encode.text(value)
    if isinstance(value, int):
        # A larger count is nonsense, but must not lose the row it stands in.
        return max(-LARGEST_INTEGER, min(LARGEST_INTEGER, int(value)))
    return encode.dumps(value)
