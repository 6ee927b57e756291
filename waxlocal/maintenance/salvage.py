"""Reads what can be read of a damaged file.

A table is read in the order of its key, from its beginning and from its end, until SQLite meets a
page that makes no sense; then what lies between, piece by piece, each from both ends. So a damaged
page costs the rows that are on it, and, where it is one of the upper pages, those below it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

__all__ = ["Place", "RowReader"]

Row = tuple[Any, ...]
# Rows read at once.
PAGE = 500
# The pieces into which the numbers between two damaged pages are divided.
PIECES = 1_000


class Place(NamedTuple):
    """A table, the columns to read, and which of them are its key."""

    table: str
    columns: Sequence[str]
    key: Sequence[str]

    def key_of(self, row: Row) -> Row:
        """Return the key of a row."""
        return tuple(row[self.columns.index(name)] for name in self.key)


class _Range(NamedTuple):
    """A part of a table, between two keys or beginnings of keys; None is no limit.

    Neither limit is in it, but with `with_low` what begins with `low` is.
    """

    low: Row | None = None
    high: Row | None = None
    with_low: bool = False

    def condition(self, key: Sequence[str]) -> tuple[str, Row]:
        """Return what a row of it fulfils, and the values of that."""
        parts: list[str] = []
        values: Row = ()
        for limit, sign in ((self.low, ">=" if self.with_low else ">"), (self.high, "<")):
            if limit is not None:
                names, marks = ", ".join(key[: len(limit)]), ", ".join("?" * len(limit))
                parts.append(f"({names}) {sign} ({marks})")
                values += limit
        return " AND ".join(parts) or "1", values


class RowReader:
    """Reads the rows of a damaged file; for one thread.

    `unread` counts the places at which something could not be read.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.unread = 0

    def rows(self, place: Place, bounds: Sequence[Any] = ()) -> Iterator[list[Row]]:
        """Give all rows that can be read, some at a time, each once, in no particular order.

        `bounds`: values of the first column of the key, in order, which divide what lies between
        two damaged pages; numbers need none.
        """
        gaps: list[_Range] = []
        yield from self._from_both_ends(place, _Range(), gaps)
        for gap in gaps[:]:
            for piece in _pieces(gap, bounds):
                yield from self._from_both_ends(place, piece, gaps)
        self.unread += max(len(gaps) - 1, len(gaps[:1]))

    def _from_both_ends(
        self, place: Place, part: _Range, gaps: list[_Range]
    ) -> Iterator[list[Row]]:
        """Give the rows of a part of a table, and note what lies between two damaged pages."""
        for page, is_damaged in self._pages(place, part, "ASC"):
            if is_damaged:
                break
            yield page
            part = _Range(place.key_of(page[-1]), part.high)
        else:
            return
        for page, is_damaged in self._pages(place, part, "DESC"):
            if not is_damaged:
                yield page
                part = part._replace(high=place.key_of(page[-1]))
        gaps.append(part)

    def _pages(self, place: Place, part: _Range, order: str) -> Iterator[tuple[list[Row], bool]]:
        """Give pages of rows in the order of the key, and ([], True) where damage ends it."""
        ordered = ", ".join(f"{name} {order}" for name in place.key)
        size = PAGE
        while True:
            condition, values = part.condition(place.key)
            found = self._fetched(
                f"SELECT {', '.join(place.columns)} FROM {place.table} WHERE {condition} "  # noqa: S608
                f"ORDER BY {ordered} LIMIT {size}",
                values,
            )
            if found is None and size > 1:
                size //= 4  # up to the damaged page
            elif found is None:
                yield [], True
                return
            elif not found:
                return
            else:
                yield found, False
                last = place.key_of(found[-1])
                part = _Range(last, part.high) if order == "ASC" else part._replace(high=last)

    def _fetched(self, sql: str, values: Row) -> list[Row] | None:
        """Return all rows of a query; None where it has met damage."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError:
            return None


def _pieces(gap: _Range, bounds: Sequence[Any]) -> Iterator[_Range]:
    """Divide what lies between two damaged pages."""
    low, high = gap.low and gap.low[0], gap.high and gap.high[0]
    if isinstance(low, int) and isinstance(high, int):
        bounds = range(low + 1, high, max((high - low) // PIECES, 1))
    inside = [
        (one,) for one in bounds if (low is None or one > low) and (high is None or one < high)
    ]
    if not inside:
        return
    yield gap._replace(high=inside[0])
    for one, following in pairwise(inside):
        yield _Range(one, following, with_low=True)
    yield _Range(inside[-1], gap.high, with_low=True)
