"""Batches of whole runs, merged into the file: sending them again changes nothing.

A run is identified by its id, a record by (run_id, position). Of two states of a row the newer one
stays: an ended run is newer than a running one, and of two ended ones the greater `revision` is
newer. So neither the order nor the repetition of batches makes a difference.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from waxlocal.clock import utc_text
from waxlocal.ingest.origins import ELSEWHERE
from waxlocal.ingest.placing import place
from waxlocal.ingest.positions import is_sent
from waxlocal.prices.lookup import NOTE_MODEL, NOTE_PRICED_MODEL
from waxlocal.records import (
    LLM_CALLS,
    PROCESSES,
    RECORD_TABLES,
    RUNS,
    CostSource,
    Phase,
    RunStatus,
    Table,
)
from waxlocal.storage.contents import KEYED, put
from waxlocal.storage.forgotten import Forgotten
from waxlocal.storage.record_sql import ELSEWHERE_AGENT, OR_TAKE_OVER, insert, positional_insert
from waxlocal.storage.transaction import part
from waxlocal.storage.value_errors import is_of_value
from waxlocal.wire.bulk import RUN_COLUMNS, Line, LineStatus
from waxlocal.wire.columns import Refused

__all__ = ["Result", "merge"]

# How many rows one statement adds. A statement that fires triggers first copies each page that it
# changes into a statement journal (https://sqlite.org/tempfiles.html section 2.5), which takes as
# long as adding a row. And after each statement this thread waits up to 5 ms for Python's lock
# while another one reads the next batch. With 32 rows a batch takes half the time; more rows gain
# nothing.
_ROWS_AT_ONCE = 32


class _Insert(NamedTuple):
    """The statement that adds one row, and the one that adds many at once."""

    one: str
    many: str


def _insert(table: Table, names: tuple[str, ...]) -> _Insert:
    # With values by position: the rows are tuples from `wire.bulk`, in the order of `records`.
    return _Insert(
        positional_insert(table, names, on_conflict="DO NOTHING"),
        positional_insert(table, names, on_conflict="DO NOTHING", rows=_ROWS_AT_ONCE),
    )


_ADD_PROCESS = positional_insert(PROCESSES, on_conflict="DO NOTHING")
_ADD_RUN = _insert(RUNS, (*RUN_COLUMNS, "process_id"))
_ADD = {table.name: _insert(table, table.arriving) for table in RECORD_TABLES}
# Calls with messages or tools, of which each is stored once.
_ADD_LISTED = insert(LLM_CALLS, LLM_CALLS.names, on_conflict="DO NOTHING")
_LISTS = [LLM_CALLS.arriving.index(name) for name in KEYED]
# For a run whose records arrived before its start.
_TAKE_OVER = positional_insert(RUNS, (*RUN_COLUMNS, "process_id"), on_conflict=OR_TAKE_OVER)
_KNOWN = """
SELECT r.run_id, r.status, coalesce(r.revision, 0),
  iif(p.pid_namespace = ?, p.process_id, NULL) AS device, r.agent_name
FROM runs r LEFT JOIN processes p ON p.process_id = r.process_id
WHERE run_id IN (SELECT value FROM json_each(?))
"""
# What a start may leave out: it follows from the run's parent, or from a start that arrives late.
# Not the session, which decides where the run is counted.
_LEARNED = tuple(
    column.name
    for column in RUNS.travelling
    if column.phase is Phase.START and not column.required and column.name != "session_id"
)
# What may still change while a run is open, and its end.
_CHANGING = (*RUNS.names_of(Phase.END), *RUNS.names_of(Phase.ANY_TIME), *_LEARNED)
_GO_ON = f"""
UPDATE runs SET {", ".join(f"{name} = coalesce(?, {name})" for name in (*_CHANGING, "revision"))}
WHERE run_id = ? AND status = 'running'
"""  # noqa: S608
# A newer state of an ended run replaces the one in the file as a whole.
_REPLACED = tuple(name for name in RUN_COLUMNS if name not in ("run_id", "session_id"))
# But the run keeps its session; a run without one may join one.
_REPLACE = f"""
UPDATE runs SET {", ".join(f"{name} = ?" for name in _REPLACED)},
  session_id = coalesce(session_id, ?)
WHERE run_id = ?
"""  # noqa: S608
_SET_PROCESS = "UPDATE runs SET process_id = ? WHERE run_id = ?"
_CLEAR = [f"DELETE FROM {table.name} WHERE run_id = ?" for table in RECORD_TABLES]  # noqa: S608
_CHANGED_PLACES = [RUN_COLUMNS.index(name) for name in (*_CHANGING, "revision")]
_REPLACED_PLACES = [RUN_COLUMNS.index(name) for name in _REPLACED]
_STATUS, _REVISION, _AGENT = map(RUN_COLUMNS.index, ("status", "revision", "agent_name"))
_SESSION = RUN_COLUMNS.index("session_id")
_MODEL, _PROVIDER, _COST, _COST_SOURCE = map(
    LLM_CALLS.arriving.index, ("model", "provider", "cost", "cost_source")
)


class Result(NamedTuple):
    """The result of a line: stored, merged or refused."""

    run_id: str
    status: str
    reason: str = ""

    def document(self) -> dict[str, str]:
        """Return the result as it stands in the response."""
        told = {"run_id": self.run_id, "status": self.status}
        return {**told, "reason": self.reason} if self.reason else told


def merge(
    connection: sqlite3.Connection, lines: Sequence[Line | tuple[str, str]], now_ns: int
) -> list[Result]:
    """Merge runs into the file; return the result of each line, in order."""
    runs = [line for line in lines if isinstance(line, Line)]
    forgotten = _forgotten(connection, runs)
    runs = [run for run in runs if run.run_id not in forgotten]
    try:
        statuses = _all_or_none(connection, runs)
    except Exception as error:
        if not _is_of_rows(error):
            raise
        # The checks let a bad value pass. Store the other runs without its run.
        statuses = [_one(connection, run) for run in runs]
    _note_models(connection, runs, now_ns)
    results = iter(statuses)
    return [_result(line, forgotten, results) for line in lines]


def _forgotten(connection: sqlite3.Connection, runs: Sequence[Line]) -> set[str]:
    """Return the ids of the runs that were deleted here on purpose, or belong to such."""
    forgotten = Forgotten(connection)
    if not forgotten:
        return set()
    known = _known(connection, runs)
    return {
        run.run_id
        for run in runs
        if run.run_id not in known and forgotten.take(dict(zip(RUN_COLUMNS, run.run, strict=True)))
    }


def _result(line: Line | tuple[str, str], forgotten: set[str], results: Iterator[Result]) -> Result:
    """Return the result of a line; one that is forgotten is accepted, or it would come again."""
    if not isinstance(line, Line):
        return _refused(*line)
    if line.run_id in forgotten:
        return Result(line.run_id, LineStatus.MERGED)
    return next(results)


def _is_of_rows(error: Exception) -> bool:
    return isinstance(error, Refused) or is_of_value(error)


def _refused(run_id: str, reason: str) -> Result:
    return Result(run_id, LineStatus.REFUSED, reason)


def _one(connection: sqlite3.Connection, run: Line) -> Result:
    try:
        return _all_or_none(connection, [run])[0]
    except Exception as error:
        if not _is_of_rows(error):
            raise
        return _refused(run.run_id, str(error))


def _note_models(connection: sqlite3.Connection, runs: Iterable[Line], now_ns: int) -> None:
    """Note the models of calls, but for those whose cost was given, to be looked up later."""
    calls = [call for run in runs for call in run.records.get("llm_calls", ())]
    unpriced = {(call[_MODEL], call[_PROVIDER]) for call in calls if call[_COST] is None}
    priced = {
        (call[_MODEL], call[_PROVIDER]) for call in calls if call[_COST_SOURCE] == CostSource.PRICE
    }
    at = utc_text(now_ns)
    connection.executemany(NOTE_MODEL, [(*pair, at) for pair in sorted(unpriced)])
    connection.executemany(NOTE_PRICED_MODEL, [(*pair, at) for pair in sorted(priced)])


def _all_or_none(connection: sqlite3.Connection, runs: Sequence[Line]) -> list[Result]:
    with part(connection):
        return _merge(connection, runs)


class _Here(NamedTuple):
    """A run in the file; `device`: the process it came from, if it came by single requests."""

    status: str
    revision: int
    device: int | None
    agent_name: str


def _merge(connection: sqlite3.Connection, runs: Sequence[Line]) -> list[Result]:
    known = _known(connection, runs)
    processes = {run.process[0]: run.process for run in runs if run.process}
    connection.executemany(_ADD_PROCESS, processes.values())
    new: list[tuple[Any, ...]] = []
    results: list[Result] = []
    fresh: list[Line] = []
    again: list[Line] = []
    for run in runs:
        if run.run_id in known:
            again.append(run)
            results.append(Result(run.run_id, LineStatus.MERGED))
        else:
            known[run.run_id] = _state_of(run)
            fresh.append(run)
            new.append((*run.run, run.process and run.process[0]))
            results.append(Result(run.run_id, LineStatus.STORED))
    _add(connection, _ADD_RUN, new)
    for run in again:
        if _go_on(connection, run, known[run.run_id]):
            known[run.run_id] = _state_of(run)
    _add_records(connection, fresh)
    for run in again:
        _place_records(connection, run)
    return results


def _known(connection: sqlite3.Connection, runs: Sequence[Line]) -> dict[str, _Here]:
    ids = json.dumps([run.run_id for run in runs])
    rows = connection.execute(_KNOWN, (ELSEWHERE, ids)).fetchall()
    return {run_id: _Here(*state) for run_id, *state in rows}


def _state_of(run: Line) -> _Here:
    return _Here(run.run[_STATUS], run.run[_REVISION] or 0, None, run.run[_AGENT])


def _go_on(connection: sqlite3.Connection, run: Line, here: _Here) -> bool:
    """Merge the row of a run that is in the file; return whether it takes the new state."""
    there = _state_of(run)
    ended = there.status != RunStatus.RUNNING
    took = False
    if here.agent_name == ELSEWHERE_AGENT:
        connection.execute(_TAKE_OVER, (*run.run, run.process and run.process[0]))
    if here.status != RunStatus.RUNNING:
        # An interruption was a guess of somebody who could not know.
        guessed = here.status == RunStatus.INTERRUPTED != there.status
        took = ended and (guessed or there.revision > here.revision)
        if took:
            values = [run.run[place] for place in _REPLACED_PLACES]
            connection.execute(_REPLACE, (*values, run.run[_SESSION], run.run_id))
    elif ended or there.revision >= here.revision:
        # What the line leaves out stays: a running run may arrive in parts.
        values = [run.run[place] for place in _CHANGED_PLACES]
        took = connection.execute(_GO_ON, (*values, run.run_id)).rowcount > 0
    if run.process and here.device not in (None, run.process[0]):
        _begin_anew(connection, run.run_id, run.process[0])
    return took


def _begin_anew(connection: sqlite3.Connection, run_id: str, process_id: int) -> None:
    """Delete the records of a run that came by single requests of an older version.

    They have other positions than where they were recorded, so those of the line would be added a
    second time. If they were sent on to another server, they stay: it knows them by position.
    """
    if not is_sent(connection, run_id):
        for statement in _CLEAR:
            connection.execute(statement, (run_id,))
        connection.execute(_SET_PROCESS, (process_id, run_id))


def _place_records(connection: sqlite3.Connection, run: Line) -> None:
    """Add the records of a run that are not in the file; other records may have their positions."""
    for table in RECORD_TABLES:
        records = run.records.get(table.name, ())
        rows = (dict(zip(table.arriving, record, strict=True)) for record in records)
        place(connection, table, run.run_id, rows)


def _add_records(connection: sqlite3.Connection, runs: Iterable[Line]) -> None:
    """Add the records of new runs, table by table."""
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _ADD}
    for run in runs:
        for table, records in run.records.items():
            rows[table] += records
    rows[LLM_CALLS.name] = _add_listed(connection, rows[LLM_CALLS.name])
    for table, records in rows.items():
        _add(connection, _ADD[table], records)


def _add_listed(
    connection: sqlite3.Connection, calls: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Add the calls that have messages or tools; return the others."""
    others: list[tuple[Any, ...]] = []
    lists: list[dict[str, Any]] = []
    for call in calls:
        if any(call[place] is not None for place in _LISTS):
            lists.append(dict(zip(LLM_CALLS.arriving, call, strict=True)))
        else:
            others.append(call)
    if lists:
        connection.executemany(_ADD_LISTED, put(connection, LLM_CALLS, lists))
    return others


def _add(connection: sqlite3.Connection, adding: _Insert, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows; those that are in the file stay as they are."""
    rest = len(rows) % _ROWS_AT_ONCE
    for start in range(0, len(rows) - rest, _ROWS_AT_ONCE):
        values = chain.from_iterable(rows[start : start + _ROWS_AT_ONCE])
        connection.execute(adding.many, tuple(values))
    if rest:
        connection.executemany(adding.one, rows[-rest:])
