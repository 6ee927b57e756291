"""Any record that a file can hold is the same at a hub, and at a hub behind that hub.

Requests are made as the uploader makes them, and done as the server does them; between the two are
bytes, and nothing of HTTP. No key makes the server remember a request: what comes twice is known by
what it says.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import zip_longest
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.builders import FixedClock
from tests.tools.examples import examples
from tests.tools.wire_strategies import Stored, changes_of, new_record, stored_runs
from waxlocal.delivery.due import Due
from waxlocal.delivery.records import load_children, load_runs
from waxlocal.delivery.requests import Part
from waxlocal.ingest.endpoints import OF_RUN, WITHOUT_RUN
from waxlocal.ingest.merge import merge
from waxlocal.ingest.placing import _NAMES
from waxlocal.records import LLM_CALLS, PROCESSES, RECORD_TABLES, RUNS, Table
from waxlocal.storage.contents import KEYED, expand, put
from waxlocal.storage.record_sql import insert
from waxlocal.storage.schema import schema_text
from waxlocal.wire.bulk import Offer, batch_of, read_lines
from waxlocal.wire.paths import BULK
from waxlocal_daemon.plan import planned, start_part, turn_of

Row = dict[str, Any]
NOW_NS = FixedClock(86_400.0).time_ns()
OFFER = Offer(BULK, 500, 8 * 1024 * 1024)
# Between the places that a record may have where others are in its way.
STRIDE = 2**40
WAYS = ("single", "bulk")

_template = sqlite3.connect(":memory:")
_template.executescript(schema_text())
_template.commit()


class File:
    """A file in memory: that of a device, of a hub, or of both."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.parts: list[Part] = []

    def insert(self, stored: Stored) -> None:
        """Put a run into the file as it stands."""
        run, process, records = stored
        if process is not None:
            self.connection.execute(insert(PROCESSES), process)
        names = [column.name for column in RUNS.travelling]
        row = run | {"process_id": process and process["process_id"]}
        self.connection.execute(insert(RUNS, [*names, "process_id"]), row)
        for table, rows in records.items():
            for record in rows:
                self.add(table, run["run_id"], record)

    def add(self, name: str, run_id: str, record: Row) -> None:
        """Add a record to a run; every other call has its lists whole, as 0.2 stores them."""
        (table,) = (table for table in RECORD_TABLES if table.name == name)
        row = record | {"run_id": run_id}
        if row["position"] % 2:
            (row,) = put(self.connection, table, [row])
        names = [column for column in table.names if column in row]
        self.connection.execute(insert(table, names), row)

    def rows(self, table: str, names: list[str], order: str) -> list[tuple[Any, ...]]:
        """Return some columns of a table."""
        sql = f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}"
        return self.connection.execute(sql).fetchall()

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all that travels."""
        run = [column.name for column in RUNS.travelling]
        found = {
            "runs": self.rows("runs", [*run, "process_id"], "run_id"),
            "processes": self.rows("processes", list(PROCESSES.names), "process_id"),
        }
        for table in RECORD_TABLES:
            found[table.name] = [
                tuple(row.values()) for row in self.records(table, "run_id, position")
            ]
        return found

    def records(self, table: Table, order: str = "position") -> list[Row]:
        """Return the rows of a table of records with all that travels, and the run's id."""
        found = [
            dict(zip(table.names, row, strict=True))
            for row in self.rows(table.name, list(table.names), order)
        ]
        if table is LLM_CALLS:
            expand(self.connection, found)
        return found

    def change(self, table: str, key: Row, values: Row) -> None:
        """Change a row, as somebody does who knows nothing of revisions."""
        for name, keys in KEYED.items():
            if name in values:
                values = values | {keys: None}
        sets = ", ".join(f"{name} = :{name}" for name in values)
        where = " AND ".join(f"{name} = :{name}" for name in key)
        self.connection.execute(f"UPDATE {table} SET {sets} WHERE {where}", values | key)

    # -- to a hub -------------------------------------------------------------------------------

    def send(
        self,
        hub: File,
        way: str,
        *,
        lost: frozenset[int] = frozenset(),
        order: Random | None = None,
    ) -> None:
        """Send the run in one way; the answers to the requests with these numbers are lost.

        `order`: in which the records arrive, as they go over several connections.
        """
        if way == "bulk":
            self._send_batch(hub)
        else:
            self._send_singly(hub, lost, order or Random(0))

    def _send_batch(self, hub: File) -> None:
        runs = load_runs(self.connection, self._run_ids())
        body = zlib.decompress(batch_of(runs, OFFER).body, 16 + zlib.MAX_WBITS)
        results = merge(hub.connection, read_lines(body), NOW_NS)
        assert [result.reason for result in results] == [""] * len(runs)

    def _run_ids(self) -> list[str]:
        return [row[0] for row in self.rows("runs", ["run_id"], "id")]

    def _send_singly(self, hub: File, lost: frozenset[int], order: Random) -> None:
        ((run_id,), (run,)) = self._run_ids(), load_runs(self.connection, self._run_ids())
        due = Due(run_id, run_id, f"wf_{run_id}", 0, False, False, None, None, 0)
        children = load_children(self.connection, f"wf_{run_id}")
        start = start_part(run, due, self.parts)
        new = [start] if start else []
        new += planned(run, children, {}, self.parts, of_waxlocal=True)
        self.parts += new
        arriving = list(self.parts)
        order.shuffle(arriving)
        for number, part in enumerate(sorted(arriving, key=turn_of)):
            if part.state == "waiting":
                hub.take(part.stage, run_id, json.loads(part.body or b""))
                if number not in lost:
                    self.parts[self.parts.index(part)] = part._replace(state="delivered")

    # -- as a hub -------------------------------------------------------------------------------

    def take(self, stage: str, run_id: str, body: Row) -> None:
        """Do what a request asks for."""
        if stage in ("start", "events"):
            WITHOUT_RUN[stage](self.connection, body, NOW_NS)
        else:
            OF_RUN[stage](self.connection, run_id, body, NOW_NS)


@contextmanager
def files(count: int) -> Iterator[list[File]]:
    """Open so many empty files."""
    connections = [sqlite3.connect(":memory:", isolation_level=None) for _ in range(count)]
    for connection in connections:
        _template.backup(connection)
    try:
        yield [File(connection) for connection in connections]
    finally:
        for connection in connections:
            connection.close()


def differences(file: File, other: File) -> list[tuple[str, Any, Any]]:
    """Return (column, here, there) for all cells of two files that differ, or rows that lack."""
    found: list[tuple[str, Any, Any]] = []
    there = other.contents()
    for table, rows in file.contents().items():
        names = [*(column.name for column in RUNS.travelling), "process_id"]
        if table != "runs":
            tables = (*RECORD_TABLES, PROCESSES)
            (one,) = (one for one in tables if one.name == table)
            names = [*(one.names if one is PROCESSES else one.arriving)]
        for row, same in zip_longest(rows, there[table], fillvalue=()):
            if len(row) != len(same):
                found.append((table, row, same))
            cells = zip(names, row, same, strict=False)
            found += [(f"{table}.{name}", a, b) for name, a, b in cells if a != b]
    return found


ANY_TIME = settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
@ANY_TIME
@given(stored=stored_runs())
def test_a_run_is_the_same_behind_two_hubs(first: str, second: str, stored: Stored) -> None:
    """Every column of every kind of record, whichever way it goes to each of them."""
    with files(3) as (device, hub, behind):
        device.insert(stored)
        device.send(hub, first)
        assert differences(hub, device) == []
        hub.send(behind, second)
        assert differences(behind, device) == []


@ANY_TIME
@given(
    stored=stored_runs(most=4, highest=1_000),
    steps=st.lists(
        st.sampled_from(WAYS)
        | st.sampled_from(("forget", "late", "score of the hub"))
        | st.frozensets(st.integers(0, 9), min_size=1),
        max_size=6,
    ),
    last=st.sampled_from(WAYS),
    order=st.randoms(use_true_random=False),
    data=st.data(),
)
def test_each_record_arrives_once_whatever_happens(
    stored: Stored, steps: list[Any], last: str, order: Random, data: st.DataObject
) -> None:
    """Batches and single requests, lost answers, lost progress, late records, scores of the hub."""
    run_id = stored[0]["run_id"]
    given_there = 0
    with files(2) as (device, hub):
        device.insert(stored)
        for step in [*steps, last]:
            if step == "forget":
                device.parts.clear()
            elif step == "late":
                name, record = data.draw(new_record(_last_position(device) + 1))
                device.add(name, run_id, record)
            elif step == "score of the hub":
                if hub.rows("runs", ["run_id"], "id"):
                    hub.take("scores", run_id, {"scores": [{"name": "given there"}]})
                    given_there += 1
            elif isinstance(step, frozenset):
                device.send(hub, "single", lost=step, order=order)
            else:
                device.send(hub, step, order=order)
        sent, found = device.contents(), hub.contents()
        ours = [row for row in found["scores"] if "given there" not in row]
        assert len(found["scores"]) == len(ours) + given_there
        assert {**found, "scores": ours} | _in_place(found, ours) == sent


@pytest.mark.parametrize("then", WAYS)
@ANY_TIME
@given(
    stored=stored_runs(most=5, highest=1_000),
    steps=st.lists(
        st.sampled_from(WAYS)
        | st.sampled_from(
            ("change", "change", "change of the run", "forget", "late", "on", "again")
        )
        | st.frozensets(st.integers(0, 9), min_size=1),
        max_size=10,
    ),
    last=st.sampled_from(WAYS),
    order=st.randoms(use_true_random=False),
    data=st.data(),
)
def test_changes_arrive_at_both_hubs_whatever_happens(
    then: str, stored: Stored, steps: list[Any], last: str, order: Random, data: st.DataObject
) -> None:
    """Of any column of any kind of record, before, while and after it is sent; and none is undone.

    `on`: from the hub to the hub behind it; `again`: whatever was sent so far comes once more.
    """
    run, _process, records = stored
    for row in (run, *(row for rows in records.values() for row in rows)):
        row["revision"] = row["revision"] and row["revision"] % 10**12
    with files(3) as (device, hub, behind):
        device.insert(stored)
        for step in [*steps, last]:
            if step == "forget":
                device.parts.clear()
            elif step == "late":
                name, record = data.draw(new_record(_last_position(device) + 1))
                record["revision"] = None
                device.add(name, run["run_id"], record)
            elif step == "change":
                _change_a_record(device, data)
            elif step == "change of the run":
                keep = () if run["session_id"] is None else ("session_id",)
                changes = data.draw(changes_of(run, RUNS, keep=keep))
                run |= changes
                device.change("runs", {"run_id": run["run_id"]}, changes)
            elif step == "on":
                if hub.rows("runs", ["run_id"], "id"):
                    hub.send(behind, then, order=order)
            elif step == "again":
                for part in device.parts:
                    hub.take(part.stage, run["run_id"], json.loads(part.body or b""))
            elif isinstance(step, frozenset):
                device.send(hub, "single", lost=step, order=order)
            else:
                device.send(hub, step, order=order)
        assert differences(hub, device) == []
        hub.send(behind, then, order=order)
        assert differences(behind, hub) == []


def _change_a_record(device: File, data: st.DataObject) -> None:
    found = [(table, row) for table in RECORD_TABLES for row in device.records(table)]
    if found:
        table, row = data.draw(st.sampled_from(found))
        changes = data.draw(changes_of(row, table, keep=_NAMES[table]))
        device.change(table.name, {name: row[name] for name in table.key}, changes)


def _last_position(file: File) -> int:
    tables = (table.name for table in RECORD_TABLES)
    found = [file.rows(table, ["coalesce(max(position), 0)"], "1")[0][0] for table in tables]
    return max(found)


def _in_place(found: dict[str, list[Any]], scores: list[Any]) -> dict[str, list[Any]]:
    """Return the records of a hub at the places that they had on the device."""
    records = {table.name: found[table.name] for table in RECORD_TABLES} | {"scores": scores}
    return {
        table: sorted((row[0], row[1] % STRIDE, *row[2:]) for row in rows)
        for table, rows in records.items()
    }


def test_the_end_of_a_run_adds_what_its_start_could_not_say() -> None:
    """A run that is sent while it is open has its end, tags and metadata afterwards."""
    with files(2) as (device, hub), closing(device.connection):
        process = None
        row = {
            **dict.fromkeys(column.name for column in RUNS.travelling),
            "run_id": "01942000-0000-7000-8000-000000000001",
            "agent_name": "chatbot",
            "workflow_name": "default",
            "trace_id": "0" * 32,
            "interaction_mode": "autonomous",
            "status": "running",
            "started_at": "2026-01-31T09:30:00.000001Z",
        }
        device.insert((row, process, {}))
        device.send(hub, "single")
        device.connection.execute(
            "UPDATE runs SET status = 'error', error = 'no', completed_at = :at, duration = 1.25,"
            " tags = '{\"a\":\"b\"}', metadata = '{ }'",
            {"at": "2026-01-31T09:30:01.250001Z"},
        )
        device.send(hub, "single")
        assert hub.contents() == device.contents()
