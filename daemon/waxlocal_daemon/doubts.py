"""Whose a refusal is: the run's, or the host's.

An API refuses a run that it does not like, a firewall one whose prompt looks like an attack. But
while a server is being replaced, or a proxy in front of it knows nothing better to say, it refuses
every run, or each second one, with the same statuses; and a run that is set aside for that would
stay so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from waxlocal.delivery.requests import Part

__all__ = ["ENOUGH", "MOST_REFUSALS", "OF_CONTENT", "OF_FICKLE", "STEADY", "Doubts", "Whose"]

# A request is the run's to blame after so many refusals, if others like it were accepted meanwhile:
# a few seconds.
ENOUGH = 3
# And after so many if it is the only run that is refused, or anything at all was accepted. With
# growing waits that takes five to nine minutes.
MOST_REFUSALS = 10
# Half a minute at most, if it was read and its content is said to be wrong.
OF_CONTENT = 5
# Where the server was seen to refuse what it accepted a little later: after so many refusals, or
# after `ENOUGH` while so many others like it were accepted.
OF_FICKLE = 20
# Until it has accepted so many requests without that.
STEADY = 200
# How many runs are remembered; more are refused at once only by a host.
_MOST_RUNS = 10_000
# A batch has requests of each stage.
_BATCH = "bulk"


class Whose(Enum):
    """Whose a refusal is, as far as is known."""

    RUN = "run"
    UNKNOWN = "unknown"
    # It was refused before, and says nothing new of the server.
    UNKNOWN_STILL = "unknown still"


@dataclass
class _Doubt:
    """A request that was refused and not accepted since.

    `before`: how many like it had been accepted when it was refused first, or first since a
    recovery; `seen`: how many recoveries there had been. `before_all`: how many of all kinds.
    """

    before: int
    before_all: int
    seen: int
    times: int = 0
    in_a_row: int = 0


class Doubts:
    """What was refused, and what the server has accepted since; for one thread.

    A server that accepts what it has refused before refuses without reading: the count of what it
    refuses begins anew then, and more is to be seen before one is the run's.
    """

    def __init__(self) -> None:
        # By run and key.
        self._doubts: dict[str, dict[str, _Doubt]] = {}
        self._accepted: Counter[str] = Counter()
        self._all = 0
        # How often the server accepted what it had refused, and until when it is fickle.
        self._recoveries = self._fickle_until = 0

    def accept(self, run_id: str, part: Part) -> None:
        """Note that the server has accepted a request."""
        self._accepted[part.stage] += 1
        self._all += 1
        of_run = self._doubts.get(run_id, {})
        if of_run.pop(part.idempotency_key, None) is not None:
            self._recoveries += 1
            self._fickle_until = self._all + STEADY
            if not of_run:
                self.forget(run_id)

    def accept_batch(self) -> None:
        """Note that the server has accepted runs in a batch."""
        self._accepted[_BATCH] += 1
        self._all += 1

    def refuse_line(self, run_id: str) -> None:
        """Note that a run was refused in a batch, after which it goes by itself."""
        line = self._doubt(run_id, _BATCH, "")
        line.times += 1
        line.in_a_row += 1

    def settle(self, run_id: str, part: Part, *, read: bool = False) -> Whose:
        """Note a refusal; return whose it is. If it is not the run's, it is to be tried again.

        `read`: it says that the content is wrong.
        """
        doubt = self._doubt(run_id, part.stage, part.idempotency_key)
        if doubt.seen != self._recoveries:
            doubt.seen, doubt.in_a_row = self._recoveries, 0
            doubt.before = self._like(part.stage)
        doubt.times += 1
        doubt.in_a_row += 1
        others, most = 1, OF_CONTENT if read else MOST_REFUSALS
        if self._all < self._fickle_until:
            others = most = OF_FICKLE
        if doubt.in_a_row >= ENOUGH and self._like(part.stage) >= doubt.before + others:
            return Whose.RUN
        alone = len(self._doubts) == 1
        if doubt.times >= most and (alone or self._all > doubt.before_all):
            return Whose.RUN
        return Whose.UNKNOWN if doubt.times == 1 else Whose.UNKNOWN_STILL

    def forget(self, run_id: str) -> None:
        """Forget what was refused of a run: it has gone, or was set aside."""
        self._doubts.pop(run_id, None)

    def _doubt(self, run_id: str, stage: str, key: str) -> _Doubt:
        if run_id not in self._doubts and len(self._doubts) >= _MOST_RUNS:
            self._doubts.clear()
        of_run = self._doubts.setdefault(run_id, {})
        if key in of_run:
            return of_run[key]
        found = of_run.pop("", None)
        if found is None:
            found = _Doubt(self._like(stage), self._all, self._recoveries)
        else:  # the refusal of its line was the first one: of batches alone it knew
            found.before += self._accepted[stage]
        of_run[key] = found
        return found

    def _like(self, stage: str) -> int:
        return self._accepted[stage] + (self._accepted[_BATCH] if stage != _BATCH else 0)
