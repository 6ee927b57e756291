"""Numbers to take percentiles of: in a list, in sorted pieces, or in an index of `session_sums`."""

from __future__ import annotations

import math
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise, repeat

from waxlocal.queries.percentiles import percentile, place_of

__all__ = ["ListedValues", "SortedPieces", "SummedValues", "Values", "sorted_pieces", "value_at"]

# Up to this many values are sorted. Of more, only those near the wanted place are.
FEW = 60_000
# How many values the sample has that tells where the wanted place is, and how far it may be off.
SAMPLE, SPREAD = 2_000, 60


class ListedValues:
    """Numbers of a list, in any order.

    They stay in an array: a million of them take 8 MB, and 32 as objects of Python.
    """

    def __init__(self, values: Iterable[float]) -> None:
        self._values = values if isinstance(values, array) else array("d", values)
        self.count = len(self._values)

    @cached_property
    def ordered(self) -> list[float]:
        """The numbers in order, for few."""
        return sorted(self._values)

    def percentile(self, q: float) -> float | None:
        """Return the value at index `int(count * q)` in order; None if there are none."""
        if self.count <= FEW:
            return percentile(self.ordered, q)
        return value_at(self._values, place_of(self.count, q))

    def counts_below(self, limits: Sequence[float]) -> list[int]:
        """Return for each of these, which are sorted, how many values are less."""
        found = Counter(bisect_right(limits, value) for value in self._values)
        return list(accumulate(found[place] for place in range(len(limits))))


class SortedPieces:
    """Whole numbers in pieces, each of which is in order, as `block_durations` has them.

    Nothing is sorted: a percentile is found by halving the range in which it may lie.
    """

    def __init__(self, pieces: Iterable[Sequence[int]] = ()) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.count = sum(map(len, self._pieces))

    def percentile(self, q: float) -> int | None:
        """Return the value at index `int(count * q)` in order; None if there are none."""
        if not self._pieces:
            return None
        place = place_of(self.count, q)
        # The same percentile of each piece: that of all lies between the least of these and the
        # largest, and most often not far from the one in the middle.
        of_pieces = sorted(piece[place_of(len(piece), q)] for piece in self._pieces)
        low, high = of_pieces[0], of_pieces[-1]
        guesses = [of_pieces[len(of_pieces) * nth // 20] for nth in (9, 11)]
        while low < high:
            guess = guesses.pop() if guesses else (low + high) // 2
            if sum(map(bisect_right, self._pieces, repeat(guess))) > place:
                high = min(high, guess)
            else:
                low = max(low, guess + 1)
        return low


@dataclass(frozen=True, slots=True)
class SummedValues:
    """A column of `session_sums`, without the values `gone` of some of its rows, and with others.

    `column` is an expression that has an index; its NULLs are no values. `left` of them are not
    `gone`; `gone` is sorted. For the snapshot in which it was made.
    """

    conn: sqlite3.Connection
    column: str
    left: int
    gone: Sequence[float]
    more: ListedValues

    @property
    def count(self) -> int:
        """How many there are."""
        return self.left + self.more.count

    def percentile(self, q: float) -> float | None:
        """Return the value at index `int(count * q)`; None if there are none."""
        return self._at(place_of(self.count, q)) if self.count else None

    def counts_below(self, limits: Sequence[float]) -> list[int]:
        """Return for each of these, which are sorted, how many values are less."""
        sql = f"""SELECT count(*) FROM session_sums
          WHERE {self.column} >= ? AND {self.column} < ?"""  # noqa: S608
        between = pairwise([-math.inf, *limits])
        found = accumulate(self.conn.execute(sql, two).fetchone()[0] for two in between)
        more = self.more.counts_below(limits)
        return [
            count + others - bisect_left(self.gone, limit)
            for count, others, limit in zip(found, more, limits, strict=True)
        ]

    def _at(self, place: int) -> float:
        """Return the value at an index.

        In the column alone, the value is at most `len(more)` places earlier or `len(gone)` later.
        """
        first = max(place - self.more.count, 0)
        length = place + len(self.gone) - first + 1
        found = self._window(first, length)
        # Values after the window are too large, and it cannot tell their places.
        largest = found[-1] if len(found) == length else math.inf
        values = sorted([*found, *(one for one in self.more.ordered if one <= largest)])

        def how_many(value: float) -> int:
            """Count the values up to this one."""
            among = first + bisect_right(found, value) + bisect_right(self.more.ordered, value)
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


def sorted_pieces(values: array[int]) -> Iterator[array[int]]:
    """Yield numbers as `SortedPieces` takes them, so many at once as take little memory."""
    for start in range(0, len(values), FEW):
        yield array(values.typecode, sorted(values[start : start + FEW]))


def value_at(values: Sequence[float], place: int) -> float:
    """Return the value at an index of the sorted values; sorts only a few of them.

    A sample tells about how large that value is.
    """
    sample = sorted(values[:: max(len(values) // SAMPLE, 1)])
    about = place * len(sample) // len(values)
    low = sample[about - SPREAD] if about >= SPREAD else -math.inf
    high = sample[about + SPREAD] if about + SPREAD < len(sample) else math.inf
    below = sum(map(low.__gt__, values))
    if low == high and place - below in range(sum(map(low.__eq__, values))):
        return low  # very many values are equal
    near = sorted(value for value in values if low <= value <= high)
    if 0 <= place - below < len(near):
        return near[place - below]
    return sorted(values)[place]  # the order of the values misled the sample
