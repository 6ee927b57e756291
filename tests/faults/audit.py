"""What has arrived at a fault server, and whether all of it did so once and in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.server import FaultServer

__all__ = ["Audit", "audit", "read"]

# Of each kind of problem, as many are shown.
SHOWN = 5


@dataclass(frozen=True)
class Audit:
    """The figures of a server, and what was wrong, each list with words that say where.

    `records`: by the run's id where it was recorded, how many of each stage have arrived.
    `requests` counts POSTs that reached the server, `minimum` those that had to: one for each stage
    of each run, or one for each bulk request that was accepted.
    """

    runs: int
    completed: int
    requests: int
    minimum: int
    faults: Mapping[str, int]
    records: Mapping[str, Mapping[str, int]]
    doubled: Sequence[str]
    repeated: Sequence[str]
    two_bodies: Sequence[str]
    incomplete: Sequence[str]
    completed_twice: Sequence[str]
    children_before_parents: Sequence[str]
    after_complete: Sequence[str]
    unknown_runs: Sequence[str]
    without_key: Sequence[str]
    refused: Sequence[str]
    elsewhere: Sequence[str]

    def problems(self, *, at_most: float | None = None, late: bool = False) -> list[str]:
        """Return what is wrong, one line for each kind; empty when all is well.

        `at_most`: how many times the minimum of requests is too many. `late`: records that were
        made after the run had been delivered are expected, and with them a second completion.
        """
        found = [
            ("runs started more than once", self.doubled),
            ("records stored more than once", self.repeated),
            ("keys with more than one body or path", self.two_bodies),
            ("runs without an end", self.incomplete),
            ("runs completed more than once", () if late else self.completed_twice),
            ("children before their parents", self.children_before_parents),
            ("records after their run's end", () if late else self.after_complete),
            ("records of runs that never started", self.unknown_runs),
            ("requests without a key", self.without_key),
            ("requests that are not what the API takes", self.refused),
            ("requests that followed a redirect", self.elsewhere),
        ]
        told = [_told(what, cases) for what, cases in found if cases]
        if at_most is not None and self.requests > at_most * self.minimum:
            told.append(f"{self.requests} requests, {self.minimum} would have done")
        return told

    def assert_sound(self, *, at_most: float | None = None, late: bool = False) -> None:
        """Raise AssertionError that lists every problem."""
        problems = self.problems(at_most=at_most, late=late)
        if problems:
            raise AssertionError("\n".join((f"{self.runs} runs, and:", *problems)))


def audit(server: FaultServer) -> Audit:
    """Ask a server what it has and judge it."""
    return read(server.state())


def read(state: Mapping[str, Any]) -> Audit:
    """Judge a server's state, as `FaultServer.state` returns it or state.json holds it."""
    runs, keys = state["runs"], state["keys"]
    names = Counter(_name(run) for run in runs)
    return Audit(
        runs=len(names),
        completed=len({_name(run) for run in runs if run["completes"]}),
        requests=state["posts"],
        minimum=_minimum(runs, keys),
        faults=state["faults"],
        records={_name(run): run["records"] for run in runs},
        doubled=[f"{name} ({times} times)" for name, times in names.items() if times > 1],
        repeated=[text for run in runs for text in run["repeated"]],
        two_bodies=[_two(key) for key in keys if len(key["bodies"]) > 1 or len(key["paths"]) > 1],
        incomplete=[_name(run) for run in runs if not run["completes"]],
        completed_twice=[_name(run) for run in runs if run["completes"] > 1],
        children_before_parents=state["children_before_parents"],
        after_complete=state["after_complete"],
        unknown_runs=state["unknown_runs"],
        without_key=state["without_key"],
        refused=state["refused"],
        elsewhere=state["elsewhere"],
    )


def _name(run: Mapping[str, Any]) -> str:
    return str(run["local_id"] or run["run_id"])


def _minimum(runs: Sequence[Mapping[str, Any]], keys: Sequence[Mapping[str, Any]]) -> int:
    single = sum(
        1 + len(run["records"]) + bool(run["completes"]) for run in runs if not run["bulk"]
    )
    batches = sum(bool(key["stored"]) and "/runs/bulk/" in key["paths"][0] for key in keys)
    return single + batches


def _two(key: Mapping[str, Any]) -> str:
    return f"{key['key']}: {len(key['bodies'])} bodies, at {', '.join(key['paths'])}"


def _told(what: str, cases: Sequence[str]) -> str:
    shown = "; ".join(str(case) for case in cases[:SHOWN])
    more = f"; and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    return f"{len(cases)} {what}: {shown}{more}"
