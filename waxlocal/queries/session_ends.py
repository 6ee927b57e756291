"""Which sessions of one turn were abandoned, how that turn ended, and what they cost."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import compress

from waxlocal.clock import Clock, utc_text
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.session_figures import Figures
from waxlocal.records import RunStatus
from waxlocal.settings.config import session_over_after

__all__ = ["AloneTurns", "Ends", "end_of", "over_before"]

_NONE: frozenset[str] = frozenset()


def over_before(clock: Clock) -> str:
    """Return a time: a session without an open run is over if it was last active before.

    `WAXLOCAL_SESSION_OVER_AFTER` says how long ago that is.
    """
    return utc_text(clock.time_ns() - int(session_over_after() * 1e9))


@dataclass(slots=True)
class Ends:
    """Sessions of one turn by their end: `fine`, `error`, `slow`, or `going`, which are not over.

    `costs` are the known ones of each end together, in dollars.
    """

    counts: Counter[str] = field(default_factory=Counter)
    costs: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, end: str, cost: float | None, count: int = 1) -> None:
        """Count a session, or with -1 count it no longer."""
        self.counts[end] += count
        self.costs[end] += count * (cost or 0.0)

    def cost(self, end: str) -> float:
        """Return what the sessions with this end cost together."""
        # No rest of a rounding where all were taken away again.
        return max(self.costs[end], 0.0) if self.counts[end] else 0.0


def end_of(shown: Set[str] = _NONE, *, recent: bool = False, failed: bool, slow: bool) -> str:
    """Return how a session of one turn ended; `shown` are the statuses of its open runs."""
    if RunStatus.RUNNING in shown or recent:
        return "going"
    if failed or RunStatus.INTERRUPTED in shown:
        return "error"
    return "slow" if slow else "fine"


class AloneTurns:
    """The sessions of one turn among those that were read: what `end_of` must know of them."""

    def __init__(self) -> None:
        self._failed, self._recent = array("b"), array("b")
        self._durations, self._costs = array("d"), array("d")
        self._open: dict[int, str] = {}

    def add(self, some: Figures) -> None:
        """Add those of some sessions."""
        first = len(self._failed)
        self._failed.extend(map(bool, compress(some.failed, some.single)))
        self._recent.extend(map(bool, compress(some.recent, some.single)))
        self._durations.extend(compress(some.durations, some.single))
        self._costs.extend(cost or 0.0 for cost in compress(some.costs, some.single))
        for place, open_id in enumerate(compress(some.open_alone, some.single), first):
            if open_id is not None:
                self._open[place] = open_id

    def ends(self, slow_after: float | None, gone: GoneProcesses) -> Ends:
        """Return how they ended; one whose process has ended failed."""
        limit = math.inf if slow_after is None else slow_after
        runs = gone.shown_runs(list(self._open.values())) if self._open else {}
        shown = {place: runs[one].statuses for place, one in self._open.items() if one in runs}
        found = Ends()
        for place, failed, recent, duration, cost in self._turns():
            end = end_of(
                shown.get(place, _NONE), recent=recent, failed=failed, slow=duration > limit
            )
            found.add(end, cost)
        return found

    def _turns(self) -> Iterator[tuple[int, bool, bool, float, float]]:
        columns = zip(self._failed, self._recent, self._durations, self._costs, strict=True)
        for place, (failed, recent, duration, cost) in enumerate(columns):
            yield place, bool(failed), bool(recent), duration, cost
