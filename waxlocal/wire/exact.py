"""What an item of a single request holds of its record beside the fields of the original SDK.

The API has no place for much of a row: its position in the run, microseconds, the provider. An item
that carries a record has them under a key of its own, `waxlocal`:

    {"name": "liked", "data_type": "numeric", "comment": "", "numeric_value": 1.0,
     "waxlocal": {"position": 7, "recorded_at": "2026-01-31T09:30:00.123456Z"}}

Both sides compute a row from the other fields (`columns_of_…` of each kind); the sender adds the
columns in which its own row differs from that. An item that the SDK makes of another record is
marked `{"derived": true}`, and not stored. A server that does not know the key ignores it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isinf
from typing import Any, NamedTuple

from waxlocal.records import NEEDED, TABLES, Table
from waxlocal.wire.columns import CHECKS, missing, unfit
from waxlocal.wire.values import RAW, Json, as_list

__all__ = [
    "DERIVED",
    "KEY",
    "Item",
    "is_derived",
    "said_of",
    "told",
    "without_key",
    "written",
]

KEY = "waxlocal"
# How the JSON of a value begins that is not an object, where the API has one (`values.object_of`).
# Its column is named in `raw`, so that the value does not go a second time.
_RAW_START = f'{{"{RAW}":'
DERIVED: Json = {"derived": True}


class _Field(NamedTuple):
    """A column that travels, the check of its value, and the value where there is none."""

    name: str
    check: Callable[[Any], Any]
    default: object


# By the table's name: a table is made of tuples, which Python hashes whole at every look-up.
_FIELDS = {
    table.name: tuple(_Field(one.name, CHECKS[one.kind], one.default) for one in table.travelling)
    for table in TABLES
}


class Item(NamedTuple):
    """One item of a stage.

    `position` is that of its record in the run; 0 for the span of the run itself, and below 0 for
    a run that it opened, which is not a record. Several items of a stage may come from one record.
    `body` has the fields of the original SDK, `said` what goes into `waxlocal`: None for a row that
    no other file could store.
    """

    position: int
    body: Json
    said: Json | None = None

    @property
    def sent(self) -> Json:
        """The body with what is said of the record."""
        return self.body if self.said is None else {**self.body, KEY: self.said}


# -- to the wire -----------------------------------------------------------------------------------


def told(
    table: Table,
    row: Mapping[str, Any],
    given: Json,
    *,
    leave: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Json | None:
    """Return the columns of a row that differ from what is given.

    `leave`: not these; `only`: none but these. None for a row that no other file could store:
    somebody else may have written it.
    """
    found: Json = {}
    for field in _FIELDS[table.name]:
        name = field.name
        if name in leave or not (only is None or name in only):
            continue
        value = row.get(name)
        if name in given and given[name] == value:
            continue
        if value is None and name not in given and field.default is None:
            continue
        if isinstance(value, str) and given.get(name) == f"{_RAW_START}{value}}}":
            found.setdefault(RAW, []).append(name)
            continue
        try:
            found[name] = _sendable(field, value)
        except ValueError:
            if field.default is NEEDED:
                return None
    return found


def _sendable(field: _Field, value: object) -> object:
    """Return a value as it is sent; raises ValueError for one that the column may not hold."""
    if value is None:
        if field.default is not None:
            raise ValueError("NULL")
        return None
    checked: object = field.check(value)
    return str(checked) if isinstance(checked, float) and isinf(checked) else checked


# -- from the wire ---------------------------------------------------------------------------------


def said_of(item: Json) -> Json | None:
    """Return what an item says of its record, None for one of the original SDK."""
    said = item.get(KEY)
    return said if isinstance(said, dict) and ("position" in said or is_derived(said)) else None


def is_derived(said: Json) -> bool:
    """Return whether an item that says this is not to be stored."""
    return said.get("derived") is True


def without_key(item: Json) -> Json:
    """Return the fields of an item that the original SDK would have sent."""
    return {name: value for name, value in item.items() if name != KEY}


def written(table: Table, said: Json, given: Json, *, only: Collection[str] | None = None) -> Json:
    """Return the row that an item carries: all columns that travel, or only these.

    Raises `Refused`.
    """
    row: Json = {}
    raw = as_list(said.get(RAW))
    for field in _FIELDS[table.name]:
        name = field.name
        if not (only is None or name in only):
            continue
        value = given.get(name)
        if name in said:
            value = _checked(table, field, said[name])
        elif name in raw and isinstance(value, str) and value.startswith(_RAW_START):
            value = _checked(table, field, value[len(_RAW_START) : -1])
        if value is None:
            if field.default is NEEDED:
                raise missing(table.name, name)
            value = field.default
        row[name] = value
    return row


def _checked(table: Table, field: _Field, value: object) -> object:
    if value is None:
        return None
    try:
        return field.check(value)
    except ValueError as error:
        raise unfit(table.name, field.name, error) from None
