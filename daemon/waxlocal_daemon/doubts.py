"""Whose a refusal is: the run's, or the host's.

An API refuses a run that it does not like, a firewall one whose prompt looks like an attack. But
while a server is being replaced, or a proxy in front of it knows nothing better to say, it refuses
every run, with the same statuses; and a run that is set aside for that would stay so.
"""

from __future__ import annotations

from collections import Counter

__all__ = ["MOST_OF_BEGUN", "MOST_REFUSALS", "Doubts"]

# A run is set aside after so many refusals in a row though nothing else was accepted meanwhile: it
# may be the only one. With growing waits that takes a quarter of an hour, or half a minute for one
# that the server has begun: so it knows the API.
MOST_REFUSALS = 12
MOST_OF_BEGUN = 5
# How many runs are remembered; more are refused at once only by a host.
_MOST_RUNS = 10_000


class Doubts:
    """The runs that were refused, and what the server has accepted since; for one thread.

    Once it has accepted something else, a second refusal of a run is the run's own. It is the
    host's as long as several runs are refused and nothing is accepted.
    """

    def __init__(self) -> None:
        # How many requests the server has accepted.
        self.accepted = 0
        # The same when a run was first refused.
        self._before: dict[str, int] = {}
        # Refusals since the server last accepted something.
        self._in_a_row: Counter[str] = Counter()

    def accept(self) -> None:
        """Note that the server has accepted a request."""
        self.accepted += 1
        self._in_a_row.clear()

    def refuse(self, run_id: str) -> None:
        """Note that a run was refused in a batch, or for the first time."""
        if len(self._before) >= _MOST_RUNS:
            self._before.clear()
        self._before.setdefault(run_id, self.accepted)
        self._in_a_row[run_id] += 1

    def settle(self, run_id: str, *, accepted: int, begun: bool) -> bool:
        """Return whether a refusal of a run is its own; if not, it is to be tried again.

        `accepted`: how many requests the server had accepted when this one left; `begun`: it has
        accepted the start of the run.
        """
        if self._before.get(run_id, accepted) < accepted:
            return True
        self.refuse(run_id)
        most = MOST_OF_BEGUN if begun else MOST_REFUSALS
        return len(self._in_a_row) == 1 and self._in_a_row[run_id] >= most

    def forget(self, run_id: str) -> None:
        """Forget what was refused of a run: it has gone, or was set aside."""
        self._before.pop(run_id, None)
