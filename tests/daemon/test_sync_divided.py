"""A request that the server refuses is divided until what it refuses goes alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import PATIENT, ask, change, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import list_parked
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import reader, writer
from waxlocal.web.middleware import guards
from waxlocal_daemon.doubts import OF_CONTENT

pytestmark = pytest.mark.usefixtures("recorder")

BY_ANY_WAY = pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])
# A row that the server does not take, though nothing is wrong with it here; and where it stands.
POISON = "poison"
CHANGED = {"steps": "output", "spans": "output", "scores": "comment", "events": "data"}


def _record() -> str:
    """Record a run with several records of each kind, among them events that only its end tells."""
    with WaxellContext("chatbot", session_id="s") as run:
        for number in range(6):
            run.record_step(f"step {number}", {"n": number})
            run.record_tool_call(name=f"tool {number}", input={"n": number}, output={"n": number})
            run.record_score(f"score {number}", 0.5)
            run.record_data_access(source=f"db {number}", operation="read", records=number)
        run.set_result({"answer": 42})
    return str(run.run_id)


def _refuse(hub: Path, table: str) -> None:
    """Have the server's file refuse each row with the poison."""
    for when in ("INSERT", "UPDATE"):
        change(
            hub,
            f"CREATE TRIGGER refuse_{when} BEFORE {when} ON {table}"
            f" WHEN instr(NEW.{CHANGED[table]}, '{POISON}')"
            " BEGIN SELECT raise(ABORT, 'not this one'); END",
        )


def _take(hub: Path) -> None:
    """Have it take them again."""
    for when in ("INSERT", "UPDATE"):
        change(hub, f"DROP TRIGGER refuse_{when}")


def _rows(path: Path, without: str = "") -> dict[str, list[Any]]:
    """Return all rows, without those that have this word somewhere."""
    tables = {table.name: table.names for table in RECORD_TABLES}
    tables["runs"] = ("run_id", "status", "completed_at", "duration", "result", "revision")
    found = {}
    for table, names in tables.items():
        rows = ask(path, f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2")
        found[table] = [row for row in rows if not without or without not in str(row)]
    return found


@BY_ANY_WAY
@pytest.mark.parametrize("table", [*CHANGED])
def test_one_refused_change_does_not_hold_up_the_others(
    db_path: Path, table: str, bulk: bool
) -> None:
    """All other rows arrive as they are now; the refused one when the server takes it."""
    run_id, column = _record(), CHANGED[table]
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        upload(db_path, url, bulk=bulk, **PATIENT)
        _refuse(hub, table)
        for other, of_other in CHANGED.items():
            change(db_path, f"""UPDATE {other} SET {of_other} = '{{"new": ' || position || '}}'""")
        change(
            db_path,
            f"""UPDATE {table} SET {column} = '{{"new": "{POISON}"}}' WHERE position ="""
            f" (SELECT position FROM {table} ORDER BY position LIMIT 1 OFFSET 3)",
        )
        change(db_path, "UPDATE runs SET result = '{\"answer\": 43}'")
        done = upload(db_path, url, bulk=bulk, **PATIENT)
        assert (done.pending, done.parked) == (0, 1)
        assert len(_rows(hub)[table]) == len(_rows(db_path)[table])
        for name, rows in _rows(db_path, POISON).items():
            assert set(rows) <= set(_rows(hub)[name]), name
        with reader(db_path) as connection:
            ((stage, status, records),) = [
                (one.stage, one.status, one.records) for one in list_parked(connection)
            ]
        # Where a batch has brought the run, no request has told of its records yet.
        assert (stage, status, records) == (
            table if bulk and table != "events" else "complete",
            400,
            1,
        )
        _take(hub)
        with writer(db_path) as connection:
            assert requeue(connection, [run_id]) == 1
        assert upload(db_path, url, bulk=bulk, **PATIENT).parked == 0
        assert _rows(hub) == _rows(db_path)


def test_a_record_that_only_the_end_tells_does_not_hold_up_the_end(db_path: Path) -> None:
    """The run ends at the server, with the other events in their places."""
    _record()
    third = "(SELECT position FROM events ORDER BY position LIMIT 1 OFFSET 2)"
    data = f"json_set(data, '$.source', '{POISON}')"
    change(db_path, f"UPDATE events SET data = {data}, revision = NULL WHERE position = {third}")
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        _refuse(hub, "events")
        done = upload(db_path, url, **PATIENT)
        assert (done.pending, done.parked) == (0, 1)
        assert _rows(hub) == _rows(db_path, POISON)
        _take(hub)
        with writer(db_path) as connection:
            requeue(connection)
        assert upload(db_path, url, **PATIENT).parked == 0
        assert _rows(hub) == _rows(db_path)


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_an_end_goes_before_its_records_however_often_it_is_divided(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """A server that does not know requests without an end would take one for the end."""
    run_id = _record()
    if cut:
        result = json.dumps({"text": "x" * 70_000})
        change(db_path, "UPDATE runs SET result = ?, revision = NULL", result)
    large = "json_set(data, '$.source', ?)"
    change(db_path, f"UPDATE events SET data = {large}, revision = NULL", "x" * 20_000)
    monkeypatch.setattr(guards, "MAX_BODY", 50_000)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        done = upload(db_path, url_of(client), concurrency=1, **PATIENT)
    assert (done.pending, done.parked) == (0, int(cut))
    assert _rows(hub)["events"] == _rows(db_path)["events"]
    ends = ask(
        db_path,
        "SELECT EXISTS (SELECT 1 FROM json_each(positions) WHERE value = 0) FROM requests"
        " WHERE run_id = ? AND stage = 'complete' AND state = 'delivered'"
        " ORDER BY last_attempt_at",
        run_id,
    )
    assert [bool(ends_it) for (ends_it,) in ends] == [True, *[False] * (len(ends) - 1)]
    assert len(ends) > 2


def test_a_server_of_another_kind_gets_one_end_without_what_it_cannot_read(db_path: Path) -> None:
    """It would take a second end for the newer one."""
    _record()
    rule = Rule("status", status=413, path="/complete/$", contains='"recorded_at"')
    with fault_server((rule,)) as server:
        assert upload(db_path, server.url).delivered == 1
        seen = audit(server)
        seen.assert_sound()
        assert seen.completed == 1
    ends = ask(db_path, "SELECT state, positions FROM requests WHERE stage = 'complete'")
    assert [state for state, _ in ends] == ["replaced", "delivered"]
    assert len({positions for _, positions in ends}) == 1
    assert len(json.loads(ends[0][1])) == 7


def test_an_end_that_is_refused_itself_is_not_divided_for_ever(db_path: Path) -> None:
    """Its records are not to blame; each that the server takes arrives."""
    _record()
    with fault_server((Rule("status", status=400, path="/complete/$"),)) as server:
        assert upload(db_path, server.url).parked == 1
        assert audit(server).faults["status 400"] == 1 + OF_CONTENT
