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
# Into how many pieces the numbers between two damaged pages are divided, each time, and how many
# pieces of a table are looked at.
PIECES = 200
MOST_PIECES = 100_000
# Where the end of a table is damaged, numbers up to that power of two are looked for.
LAST_STEP = 40
# What is narrower is on one page.
ROWS_OF_PAGE = 64


class Place(NamedTuple):
    """A table, the columns to read, which of them are its key, and whether that is one number."""

    table: str
    columns: Sequence[str]
    key: Sequence[str]
    is_numbered: bool

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
        ends_are_known = bool(gaps and gaps[0].low and gaps[0].high)
        lost: list[_Range] = []
        looked = 0
        while gaps and looked < MOST_PIECES:
            gap = gaps.pop()
            pieces = [*_pieces(place, gap, bounds)]
            looked += len(pieces)
            if not pieces:
                lost.append(gap)
            for piece in pieces:
                left: list[_Range] = []
                yield from self._from_both_ends(place, piece, left)
                # Behind the end of a table all pieces are on its last page, which is damaged.
                again = place.is_numbered and (
                    left != [piece] or (ends_are_known and _is_wide(piece))
                )
                (gaps if again else lost).extend(left)
        self.unread += _count_places(lost + gaps)

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
        after: Row | None = None
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
                last = place.key_of(found[-1])
                if not _goes_on(after, last, order):
                    yield [], True  # a page in the wrong place, or text that is not UTF-8
                    return
                yield found, False
                after = last
                part = _Range(last, part.high) if order == "ASC" else part._replace(high=last)

    def _fetched(self, sql: str, values: Row) -> list[Row] | None:
        """Return all rows of a query; None where it has met damage."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError:
            return None


def _goes_on(before: Row | None, last: Row, order: str) -> bool:
    """Return whether a page ends behind the one before; else it would come again for ever."""
    if before is None:
        return True
    earlier, later = (before, last) if order == "ASC" else (last, before)
    return [*map(_rank, earlier)] < [*map(_rank, later)]


def _rank(value: Any) -> tuple[int, Any]:
    """Return a value as SQLite orders it: NULL, numbers, text, blobs."""
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2 + isinstance(value, bytes), value)


def _pieces(place: Place, gap: _Range, bounds: Sequence[Any]) -> Iterator[_Range]:
    """Divide what lies between two damaged pages; nothing where it cannot be divided."""
    low = gap.low[0] if gap.low else None
    high = gap.high[0] if gap.high else None
    if place.is_numbered:
        bounds = _numbers(-1 if low is None else low, high)
    inside = [
        (one,) for one in bounds if (low is None or one > low) and (high is None or one < high)
    ]
    if not inside:
        return
    yield gap._replace(high=inside[0])
    for one, following in pairwise(inside):
        yield _Range(one, following, with_low=True)
    yield _Range(inside[-1], gap.high, with_low=True)


def _numbers(low: int, high: int | None) -> Sequence[int]:
    """Return numbers that divide a gap, in wider and wider steps where its end is not known."""
    if high is None:
        return [low + 2**step for step in range(LAST_STEP)]
    return range(low + 1, high, max((high - low) // PIECES, 1))


def _is_wide(gap: _Range) -> bool:
    if gap.low is None or gap.high is None:
        return False
    return bool(gap.high[0] - gap.low[0] > ROWS_OF_PAGE)


def _count_places(lost: Sequence[_Range]) -> int:
    """Return how many places these are: pieces that touch each other are one."""
    ordered = sorted(lost, key=lambda one: [*map(_rank, one.low or ())])
    apart = [one.high != other.low for one, other in pairwise(ordered)]
    return min(len(ordered), 1) + sum(apart)
