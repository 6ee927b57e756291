"""The figures of many sessions together: of each of them, or those that were added up before."""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import compress
from operator import truediv

from waxlocal.queries.filters import EVERYTHING, SessionFilter
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.ordered_values import ListedValues, SummedValues
from waxlocal.queries.session_figures import Figures, figures_of, session_figures
from waxlocal.queries.sums import APART, are_usable
from waxlocal.records import RunStatus

__all__ = [
    "Counts",
    "ListedSessions",
    "ManySessions",
    "SummedSessions",
    "many_sessions",
    "summed_sessions",
]

# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
_SUMS = f"""
SELECT count(*) AS sessions, coalesce(sum(runs), 0) AS runs, coalesce(sum(calls), 0) AS calls,
  coalesce(sum(unmetered_calls), 0) AS unmetered, CAST(total(tokens) AS INTEGER) AS tokens,
  CAST(total(priced_tokens) AS INTEGER) AS priced_tokens,
  coalesce(sum(calls = 0), 0) AS without_calls,
  count(cost) AS priced, total(cost) AS cost, total(duration) AS duration
FROM session_sums WHERE session_id NOT IN {APART}
"""  # noqa: S608
_BY_TURNS = "SELECT turns, count(*) FROM session_sums GROUP BY turns"
_BY_END = """
SELECT count(*), coalesce(sum(failed > 0), 0),
  (SELECT count(*) FROM session_sums WHERE turns = 1 AND failed = 0 AND duration > ?)
FROM session_sums WHERE turns = 1
"""
_ADDED = ("runs", "calls", "unmetered", "tokens", "priced_tokens")
_NONE: frozenset[str] = frozenset()
# The rows that are out of date.
_GONE = f"SELECT turns, failed, duration FROM session_sums WHERE session_id IN {APART}"  # noqa: S608
_GONE_VALUES = f"""
SELECT {{column}} FROM session_sums
WHERE session_id IN {APART} AND {{column}} IS NOT NULL ORDER BY 1
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Counts:
    """What many sessions have together: the known costs, in dollars, and the turns' seconds.

    `distribution` counts the sessions by their number of turns.
    """

    sessions: int
    distribution: Counter[int]
    runs: int
    calls: int
    unmetered: int
    tokens: int
    priced_tokens: int
    without_calls: int
    cost: float
    duration: float

    @property
    def turns(self) -> int:
        """The number of turns."""
        return sum(turns * sessions for turns, sessions in self.distribution.items())


class ListedSessions:
    """Sessions whose figures were read one by one. For the snapshot in which they were read.

    `costs` are the known ones, `durations` and `means` (the mean duration of a turn) those of
    sessions with a turn, in seconds.
    """

    def __init__(self, found: Iterable[Figures], gone: GoneProcesses) -> None:
        self._gone = gone
        self._alone = _AloneTurns()
        all_of_them = _Gathered()
        for some in found:
            all_of_them.add(some)
            self._alone.add(some)
        self.counts = all_of_them.counts()
        self.costs = ListedValues(all_of_them.costs)
        self.durations = ListedValues(all_of_them.durations)
        self.means = ListedValues(all_of_them.means)

    def ends(self, slow_after: float | None) -> Counter[str]:
        """Count the sessions of one turn by its end; one whose process has ended failed."""
        return self._alone.ends(_limit(slow_after), self._gone)


class _Gathered:
    """The figures of sessions, one piece after another."""

    def __init__(self) -> None:
        self.costs, self.durations, self.means = array("d"), array("d"), array("d")
        self._distribution: Counter[int] = Counter()
        self._sums: Counter[str] = Counter()

    def add(self, some: Figures) -> None:
        # A session may have calls in a period and no turn: they are of one that began before it.
        turns = array("q", compress(some.turns, some.turns))
        durations = array("d", compress(some.durations, some.turns))
        self._distribution.update(turns)
        self.durations.extend(durations)
        self.means.extend(map(truediv, durations, turns))
        self.costs.extend(cost for cost in some.costs if cost is not None)
        for name in _ADDED:
            self._sums[name] += sum(getattr(some, name))
        self._sums["sessions"] += len(some.turns)
        self._sums["without_calls"] += some.calls.count(0)

    def counts(self) -> Counts:
        return Counts(
            distribution=self._distribution,
            cost=float(sum(self.costs)),
            duration=float(sum(self.durations)),
            sessions=self._sums["sessions"],
            without_calls=self._sums["without_calls"],
            **{name: self._sums[name] for name in _ADDED},
        )


class _AloneTurns:
    """The sessions of one turn: whether it failed, its seconds, and the ids of those still open."""

    def __init__(self) -> None:
        self._failed = array("b")
        self._durations = array("d")
        self._open: dict[int, str] = {}

    def add(self, some: Figures) -> None:
        first = len(self._failed)
        self._failed.extend(map(bool, compress(some.failed, some.single)))
        self._durations.extend(compress(some.durations, some.single))
        for place, open_id in enumerate(compress(some.open_alone, some.single), first):
            if open_id is not None:
                self._open[place] = open_id

    def ends(self, limit: float, gone: GoneProcesses) -> Counter[str]:
        runs = gone.shown_runs(list(self._open.values())) if self._open else {}
        shown = {place: runs[one].statuses for place, one in self._open.items() if one in runs}
        turns = enumerate(zip(self._failed, self._durations, strict=True))
        return Counter(
            _end(shown.get(place, _NONE), bool(failed), duration > limit)
            for place, (failed, duration) in turns
        )


class SummedSessions:
    """All sessions of the file, by `session_sums`; the `apart_sessions` are looked at themselves.

    It has what `ListedSessions` have. For the snapshot in which it was made, and where the sums
    `are_usable`.
    """

    def __init__(self, conn: sqlite3.Connection, gone: GoneProcesses) -> None:
        self._conn = conn
        self._apart = ListedSessions(figures_of(conn, APART), gone)
        self._gone = conn.execute(_GONE).fetchall()
        sums = conn.execute(_SUMS).fetchone()
        self.counts = self._counts(sums)
        self.costs = self._values("cost", sums["priced"], self._apart.costs)
        self.durations = self._values("duration", sums["sessions"], self._apart.durations)
        self.means = self._values("duration / turns", sums["sessions"], self._apart.means)

    def _values(self, column: str, left: int, more: ListedValues) -> SummedValues:
        gone = self._conn.execute(_GONE_VALUES.format(column=column)).fetchall()
        return SummedValues(self._conn, column, left, [row[0] for row in gone], more)

    def _counts(self, sums: sqlite3.Row) -> Counts:
        more = self._apart.counts
        distribution = Counter(dict(self._conn.execute(_BY_TURNS).fetchall()))
        distribution.subtract(row["turns"] for row in self._gone)
        distribution.update(more.distribution)
        return Counts(
            sessions=sums["sessions"] + more.sessions,
            distribution=+distribution,
            runs=sums["runs"] + more.runs,
            calls=sums["calls"] + more.calls,
            unmetered=sums["unmetered"] + more.unmetered,
            tokens=sums["tokens"] + more.tokens,
            priced_tokens=sums["priced_tokens"] + more.priced_tokens,
            without_calls=sums["without_calls"] + more.without_calls,
            cost=sums["cost"] + more.cost,
            duration=sums["duration"] + more.duration,
        )

    def ends(self, slow_after: float | None) -> Counter[str]:
        """Count the sessions of one turn by its end: of those in the sums, no turn is open."""
        limit = _limit(slow_after)
        every, failed, slow = self._conn.execute(_BY_END, (limit,)).fetchone()
        ends = Counter(error=failed, slow=slow, fine=every - failed - slow)
        ends.subtract(
            _end(_NONE, bool(row["failed"]), row["duration"] > limit)
            for row in self._gone
            if row["turns"] == 1
        )
        ends.update(self._apart.ends(slow_after))
        return ends


ManySessions = ListedSessions | SummedSessions


def many_sessions(conn: sqlite3.Connection, filter: SessionFilter) -> ManySessions:
    """Return the figures of all sessions that match the filter; raises `InvalidQuery`."""
    gone = GoneProcesses(conn)
    summed = summed_sessions(conn, filter, gone)
    return summed or ListedSessions(session_figures(conn, filter, gone), gone)


def summed_sessions(
    conn: sqlite3.Connection, filter: SessionFilter, gone: GoneProcesses
) -> SummedSessions | None:
    """Return the figures of all sessions from the totals; None where these do not hold them."""
    return SummedSessions(conn, gone) if filter == EVERYTHING and are_usable(conn) else None


def _limit(slow_after: float | None) -> float:
    return math.inf if slow_after is None else slow_after


def _end(shown: Set[str], bad: bool, slow: bool) -> str:
    if RunStatus.RUNNING in shown:
        return "open"
    if bad or RunStatus.INTERRUPTED in shown:
        return "error"
    return "slow" if slow else "fine"
