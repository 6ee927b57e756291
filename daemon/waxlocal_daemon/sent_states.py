"""In which state the records of a run were sent: what has changed since then goes again.

Each request keeps the states of what it carries, as JSON, and only those that are not the usual
one (as first recorded, nothing missing); nearly every request keeps nothing:

    {"changed": {"scores:7": 1767225600000}, "missing": {"spans:9": 1}, "calls": 2}

`changed`: revisions; `missing`: how much a record lacked that may still come; `calls`: the same for
all LLM calls of the request that `missing` does not name, because content that is not captured is
missing in each of them. The request that ends a run also keeps what it said of the end, as a
checksum (`end`).
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from waxlocal.delivery.progress import RequestState
from waxlocal.delivery.requests import Part
from waxlocal.records import LLM_CALLS, RECORD_TABLES, RUNS, Table
from waxlocal.wire.items import Untold
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.runs import columns_of_end
from waxlocal.wire.states import State, state_of

__all__ = ["THE_RUN", "SentStates", "states_of_end", "states_of_items"]

Row = Mapping[str, Any]
States = dict[str, Any]

# The run itself among the positions of its records; requests of before 0.3 do not name it.
THE_RUN = 0
# Which requests carry the records of a table themselves, and not only what the original SDK makes
# of them. A call goes twice; it is whole in its span.
_STAGES = {
    "llm_calls": ("spans", "complete"),
    "steps": ("steps", "complete"),
    "spans": ("spans", "complete"),
    "scores": ("scores", "complete"),
    "events": ("events", "episodic", "semantic", "complete"),
}
_TABLES_OF_STAGE = {
    stage: [table for table in RECORD_TABLES if stage in _STAGES[table.name]]
    for stage in ("steps", "spans", "scores", "events", "episodic", "semantic")
}


# -- what a request keeps --------------------------------------------------------------------------


def states_of_items(run: RecordedRun, stage: str, positions: Sequence[int]) -> States:
    """Return what a request keeps that carries the records at these positions."""
    carried = set(positions)
    return _states(
        (table, row)
        for table in _TABLES_OF_STAGE.get(stage, ())
        for row in getattr(run, table.name)
        if row["position"] in carried
    )


def states_of_end(run: RecordedRun, body: Mapping[str, Any], records: Iterable[Untold]) -> States:
    """Return what the request keeps that ends a run, and carries these records."""
    return {**_states([*records, (RUNS, run.run)]), "end": _checksum(body)}


def _states(rows: Iterable[tuple[Table, Row]]) -> States:
    changed: dict[str, int] = {}
    missing: dict[str, int] = {}
    of_calls: dict[str, int] = {}
    for table, row in rows:
        state, key = state_of(table, row), _key(table, row)
        if state.revision:
            changed[key] = state.revision
        if table.name == LLM_CALLS.name:
            of_calls[key] = state.missing
        elif state.missing:
            missing[key] = state.missing
    usual = Counter(of_calls.values()).most_common(1)[0][0] if of_calls else 0
    missing |= {key: count for key, count in of_calls.items() if count != usual}
    found = {"changed": changed, "missing": missing, "calls": usual}
    return {name: value for name, value in found.items() if value}


def _key(table: Table, row: Row) -> str:
    return f"{table.name}:{row.get('position', THE_RUN)}"


def _checksum(body: Mapping[str, Any]) -> str:
    """Return a checksum of what a server of any kind is told of the end of a run."""
    said = json.dumps(columns_of_end(body), sort_keys=True)
    return f"{zlib.crc32(said.encode()):08x}"


# -- what has changed since ------------------------------------------------------------------------


class SentStates:
    """What the requests of a run, answered or not, say of the states of its records."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._carried: dict[str, list[tuple[frozenset[int], Mapping[str, Any]]]] = {}
        for part in parts:
            if part.state != RequestState.REPLACED:
                carried = self._carried.setdefault(part.stage, [])
                carried.append((frozenset(part.positions), part.states))

    def changed(self, run: RecordedRun) -> list[Untold]:
        """Return the records that were sent, but not in the state that they are in now."""
        return [
            Untold(table, row)
            for table in RECORD_TABLES
            for row in getattr(run, table.name)
            if (sent := self._newest(table, row)) and state_of(table, row).is_newer_than(sent)
        ]

    def run_changed(self, run: RecordedRun) -> bool:
        """Return whether the run itself is in a newer state than when its end was sent."""
        key = _key(RUNS, run.run)
        ends = self._carried.get("complete", ())
        sent = max((states.get("changed", {}).get(key, 0) for _, states in ends), default=0)
        return state_of(RUNS, run.run).revision > sent

    def end_differs(self, body: Mapping[str, Any]) -> bool:
        """Return whether the last request that ended the run said something else than this one."""
        ends = self._carried.get("complete", ())
        return not ends or ends[-1][1].get("end") != _checksum(body)

    def _newest(self, table: Table, row: Row) -> State | None:
        """Return the newest state that was sent of a record; None if it was not sent."""
        newest: State | None = None
        for state in self._sent(table, row):
            if newest is None or state.is_newer_than(newest):
                newest = state
        return newest

    def _sent(self, table: Table, row: Row) -> Iterator[State]:
        key = _key(table, row)
        for stage in _STAGES[table.name]:
            for positions, states in self._carried.get(stage, ()):
                if row["position"] in positions:
                    usual = states.get("calls", 0) if table.name == LLM_CALLS.name else 0
                    yield State(
                        states.get("changed", {}).get(key, 0),
                        states.get("missing", {}).get(key, usual),
                    )
