"""Numbers to take percentiles of: in memory, or in an index of `session_sums`."""

from __future__ import annotations

import math
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, count, pairwise, repeat
from typing import Any

from waxlocal.queries.percentiles import place_of

__all__ = ["PIECE", "ListedValues", "SummedValues", "Values", "value_at"]

# So many values are sorted at once: as objects of Python they take four times as much memory.
PIECE = 4_096
# Guesses by the place in each piece, before those by its middle, which are slower and never fail.
_BY_PLACE = 4


class ListedValues:
    """Numbers in any order: a million of them take 8 MB, as whole ones (`q`) or not (`d`).

    They are kept in pieces that are in order: no list of all of them is ever made. First all are
    added, then questions are asked: each question ends a piece.
    """

    def __init__(self, values: Iterable[float] = (), typecode: str = "d") -> None:
        self._pieces: list[array[Any]] = []
        self._loose: array[Any] = array(typecode)
        self.extend(values)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self._pieces)) + len(self._loose)

    @property
    def total(self) -> float:
        """Their sum."""
        return float(sum(chain(*self._pieces, self._loose)))

    def extend(self, values: Iterable[float]) -> None:
        """Add numbers."""
        self._loose.extend(values)
        if len(self._loose) >= PIECE:
            self._settle()

    def add(self, piece: array[Any]) -> None:
        """Add numbers that are in order."""
        if piece:
            self._pieces.append(piece)

    def percentile(self, q: float) -> float | None:
        """Return the value at index `int(count * q)` in order; None if there are none."""
        self._settle()
        return value_at(self._pieces, place_of(self.count, q)) if self._pieces else None

    def counts_below(self, limits: Sequence[float]) -> list[int]:
        """Return for each of these how many values are less."""
        self._settle()
        return [sum(map(bisect_left, self._pieces, repeat(limit))) for limit in limits]

    def in_order(self) -> Sequence[float]:
        """Return all of them in one piece; for few."""
        self._settle()
        return array(self._loose.typecode, sorted(chain.from_iterable(self._pieces)))

    def _settle(self) -> None:
        loose = self._loose
        for start in range(0, len(loose), PIECE):
            self.add(array(loose.typecode, sorted(loose[start : start + PIECE])))
        self._loose = array(loose.typecode)


@dataclass(frozen=True, slots=True)
class SummedValues:
    """A column of `session_sums`, without the values `gone` of some of its rows, and with others.

    `column` is an expression that has an index; its NULLs are no values. `left` of them are not
    `gone`. `gone` and `more` are sorted. For the snapshot in which it was made.
    """

    conn: sqlite3.Connection
    column: str
    left: int
    gone: Sequence[float]
    more: Sequence[float]

    @property
    def count(self) -> int:
        """How many there are."""
        return self.left + len(self.more)

    def percentile(self, q: float) -> float | None:
        """Return the value at index `int(count * q)`; None if there are none."""
        return self._at(place_of(self.count, q)) if self.count else None

    def counts_below(self, limits: Sequence[float]) -> list[int]:
        """Return for each of these, which are sorted, how many values are less."""
        sql = f"""SELECT count(*) FROM session_sums
          WHERE {self.column} >= ? AND {self.column} < ?"""  # noqa: S608
        between = pairwise([-math.inf, *limits])
        found = accumulate(self.conn.execute(sql, two).fetchone()[0] for two in between)
        return [
            among + bisect_left(self.more, limit) - bisect_left(self.gone, limit)
            for among, limit in zip(found, limits, strict=True)
        ]

    def _at(self, place: int) -> float:
        """Return the value at an index.

        In the column alone, the value is at most `len(more)` places earlier or `len(gone)` later.
        """
        first = max(place - len(self.more), 0)
        length = place + len(self.gone) - first + 1
        found = self._window(first, length)
        # Values after the window are too large, and it cannot tell their places.
        largest = found[-1] if len(found) == length else math.inf
        values = sorted([*found, *(one for one in self.more if one <= largest)])

        def how_many(value: float) -> int:
            """Count the values up to this one."""
            among = first + bisect_right(found, value) + bisect_right(self.more, value)
            return among - bisect_right(self.gone, value)

        return values[bisect_left(values, place + 1, key=how_many)]

    def _window(self, first: int, length: int) -> list[float]:
        """Return the values from one place on; those beyond the last one are missing.

        SQLite steps through an offset row by row: from that end of the index that is nearer.
        """
        sql = f"""SELECT {self.column} FROM session_sums WHERE {self.column} IS NOT NULL
          ORDER BY {self.column} {{}} LIMIT ? OFFSET ?"""  # noqa: S608
        count = self.left + len(self.gone)
        length = min(length, max(count - first, 0))
        if first <= count // 2:
            found = self.conn.execute(sql.format("ASC"), (length, first)).fetchall()
        else:
            after = count - first - length
            found = self.conn.execute(sql.format("DESC"), (length, after)).fetchall()[::-1]
        return [row[0] for row in found]


Values = ListedValues | SummedValues


def value_at(pieces: Sequence[Sequence[float]], place: int) -> float:
    """Return the value at an index of the numbers of all pieces, each of which is in order.

    A guess tells on which side of it the value is, until few are left: these are sorted.
    """
    left = [(piece, 0, len(piece)) for piece in pieces if piece]
    for attempt in count():
        rest = sum(high - low for _, low, high in left)
        if rest <= PIECE:
            break
        part = place / rest if attempt < _BY_PLACE else 0.5
        guesses = sorted(piece[low + int((high - low) * part)] for piece, low, high in left)
        guess = guesses[len(guesses) // 2]
        less = [bisect_left(piece, guess, low, high) for piece, low, high in left]
        up_to = [bisect_right(piece, guess, low, high) for piece, low, high in left]
        before = sum(less) - sum(low for _, low, _ in left)
        if place < before:
            spans = ((piece, low, end) for (piece, low, _), end in zip(left, less, strict=True))
        elif place < before + sum(up_to) - sum(less):
            return guess
        else:
            place -= before + sum(up_to) - sum(less)
            spans = ((piece, end, high) for (piece, _, high), end in zip(left, up_to, strict=True))
        left = [span for span in spans if span[1] < span[2]]
    return sorted(chain.from_iterable(piece[low:high] for piece, low, high in left))[place]
