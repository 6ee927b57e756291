"""The figures of many sessions together: of each of them, or those that were added up before."""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress
from operator import truediv

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.queries.filters import EVERYTHING, SessionFilter
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.ordered_values import ListedValues, SummedValues
from waxlocal.queries.session_ends import AloneTurns, Ends, end_of, over_before
from waxlocal.queries.session_figures import Figures, figures_of, session_figures
from waxlocal.queries.sums import APART, are_usable
from waxlocal.queries.turns import turn_columns
from waxlocal.queries.visits import VisitCounts, visits_of_all

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
  count(cost) AS priced, total(cost) AS cost, total(duration) AS duration,
  total(elapsed) AS elapsed, total(waiting) AS waiting
FROM session_sums WHERE session_id NOT IN {APART}
"""  # noqa: S608
_BY_TURNS = "SELECT turns, count(*) FROM session_sums GROUP BY turns"
_BY_END = """
SELECT iif(failed > 0, 'error', iif(duration > :limit, 'slow', 'fine')), count(*), total(cost)
FROM session_sums WHERE turns = 1{} GROUP BY 1
"""
# What is added to a sum of floats can be taken away again, but not if it is so absurd.
_MOST_COST = 1e6
_ADDED = ("runs", "calls", "unmetered", "tokens", "priced_tokens")
# The rows that are out of date.
_GONE = f"SELECT turns, failed, duration, cost FROM session_sums WHERE session_id IN {APART}"  # noqa: S608
# The sessions that may go on; those apart are looked at themselves.
_RECENT_SESSIONS = f"""FROM sessions s CROSS JOIN session_sums t USING (session_id)
WHERE s.last_activity_at >= substr(:over_before, 1, 19) AND {{last_activity}} >= :over_before
  AND t.turns = 1 AND s.session_id NOT IN {APART}"""
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
    elapsed: float
    waiting: float

    @property
    def turns(self) -> int:
        """The number of turns."""
        return sum(turns * sessions for turns, sessions in self.distribution.items())


class ListedSessions:
    """Sessions whose figures were read one by one. For the snapshot in which they were read.

    `costs` are the known ones; `durations`, `means` (the mean duration of a turn), `elapsed` and
    `waiting` those of sessions with a turn, in seconds.
    """

    def __init__(self, found: Iterable[Figures], gone: GoneProcesses) -> None:
        self._gone = gone
        self._alone = AloneTurns()
        all_of_them = _Gathered()
        for some in found:
            all_of_them.add(some)
            self._alone.add(some)
        self.counts = all_of_them.counts()
        self.costs = all_of_them.costs
        self.durations, self.means = all_of_them.durations, all_of_them.means
        self.elapsed, self.waiting = all_of_them.elapsed, all_of_them.waiting
        self.visits = all_of_them.visits.visits()

    def ends(self, slow_after: float | None) -> Ends:
        """Return how the sessions of one turn ended; one whose process has ended failed."""
        return self._alone.ends(slow_after, self._gone)


class _Gathered:
    """The figures of sessions, one piece after another."""

    def __init__(self) -> None:
        self.costs, self.durations, self.means = ListedValues(), ListedValues(), ListedValues()
        self.elapsed, self.waiting = ListedValues(), ListedValues()
        self.visits = VisitCounts()
        self._distribution: Counter[int] = Counter()
        self._sums: Counter[str] = Counter()

    def add(self, some: Figures) -> None:
        # A session may have calls in a period and no turn: they are of one that began before it.
        turns = array("q", compress(some.turns, some.turns))
        durations = [*compress(some.durations, some.turns)]
        self._distribution.update(turns)
        self.durations.extend(durations)
        self.means.extend(map(truediv, durations, turns))
        elapsed = [*compress(some.elapsed, some.turns)]
        self.elapsed.extend(elapsed)
        self.waiting.extend(
            max(0.0, one - took) for one, took in zip(elapsed, durations, strict=True)
        )
        self.visits.add(some.users)
        self.costs.extend(cost for cost in some.costs if cost is not None)
        for name in _ADDED:
            self._sums[name] += sum(getattr(some, name))
        self._sums["sessions"] += len(some.turns)
        self._sums["without_calls"] += some.calls.count(0)

    def counts(self) -> Counts:
        return Counts(
            distribution=self._distribution,
            cost=self.costs.total,
            duration=self.durations.total,
            elapsed=self.elapsed.total,
            waiting=self.waiting.total,
            sessions=self._sums["sessions"],
            without_calls=self._sums["without_calls"],
            **{name: self._sums[name] for name in _ADDED},
        )


class SummedSessions:
    """All sessions of the file, by `session_sums`; the `apart_sessions` are looked at themselves.

    It has what `ListedSessions` have. For the snapshot in which it was made, and where the sums
    `are_usable`.
    """

    def __init__(self, conn: sqlite3.Connection, gone: GoneProcesses, over_before: str) -> None:
        self._conn = conn
        self._over_before = over_before
        self._apart = ListedSessions(figures_of(conn, APART, over_before), gone)
        self._gone = conn.execute(_GONE).fetchall()
        sums = conn.execute(_SUMS).fetchone()
        self.counts = self._counts(sums)
        self.costs = self._values("cost", sums["priced"], self._apart.costs)
        self.durations = self._values("duration", sums["sessions"], self._apart.durations)
        self.means = self._values("duration / turns", sums["sessions"], self._apart.means)
        self.elapsed = self._values("elapsed", sums["sessions"], self._apart.elapsed)
        self.waiting = self._values("waiting", sums["sessions"], self._apart.waiting)
        self.visits = visits_of_all(conn)

    def _values(self, column: str, left: int, more: ListedValues) -> SummedValues:
        gone = self._conn.execute(_GONE_VALUES.format(column=column)).fetchall()
        return SummedValues(self._conn, column, left, [row[0] for row in gone], more.in_order())

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
            elapsed=sums["elapsed"] + more.elapsed,
            waiting=sums["waiting"] + more.waiting,
        )

    def ends(self, slow_after: float | None) -> Ends:
        """Return how the sessions of one turn ended: of those in the sums, no turn is open."""
        limit = math.inf if slow_after is None else slow_after
        ends = self._apart.ends(slow_after)
        turns = turn_columns(self._conn)
        sessions = _RECENT_SESSIONS.format(last_activity=turns.last_activity)
        given = {"limit": limit, "over_before": self._over_before}
        recent = self._conn.execute(f"SELECT t.failed, t.duration, t.cost {sessions}", given)
        going = recent.fetchall()
        left = [*(row for row in self._gone if row["turns"] == 1), *going]
        but = ""
        if any(abs(row["cost"] or 0.0) > _MOST_COST for row in left):
            ids = f"SELECT s.session_id {sessions}"
            left, but = [], f" AND session_id NOT IN {APART} AND session_id NOT IN ({ids})"
        for end, count, cost in self._conn.execute(_BY_END.format(but), given).fetchall():
            ends.counts[end] += count
            ends.costs[end] += cost
        for row in left:
            failed, slow = bool(row["failed"]), row["duration"] > limit
            ends.add(end_of(failed=failed, slow=slow), row["cost"], -1)
        for row in going:
            ends.add("going", row["cost"])
        return ends


ManySessions = ListedSessions | SummedSessions


def many_sessions(
    conn: sqlite3.Connection, filter: SessionFilter, clock: Clock = SYSTEM_CLOCK
) -> ManySessions:
    """Return the figures of all sessions that match the filter; raises `InvalidQuery`.

    The clock tells which of them are over.
    """
    gone = GoneProcesses(conn)
    if (summed := summed_sessions(conn, filter, gone, clock)) is not None:
        return summed
    return ListedSessions(session_figures(conn, filter, gone, over_before(clock)), gone)


def summed_sessions(
    conn: sqlite3.Connection,
    filter: SessionFilter,
    gone: GoneProcesses,
    clock: Clock = SYSTEM_CLOCK,
) -> SummedSessions | None:
    """Return the figures of all sessions from the totals; None where these do not hold them."""
    if filter == EVERYTHING and are_usable(conn):
        return SummedSessions(conn, gone, over_before(clock))
    return None
