"""What is said of the upload, whoever gave the runs their ids."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.file_versions import old_file
from tests.tools.sync import ask, change, record
from waxlocal.delivery import status
from waxlocal.delivery.outbox import Outbox
from waxlocal.delivery.requests import OUTSIDE, new_part
from waxlocal.delivery.status import Receipt, delivery_status, list_receipts, recent_receipts
from waxlocal.storage.connection import reader

pytestmark = pytest.mark.usefixtures("recorder")

URL = "http://x"
ADD_RUN = """
INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status, started_at)
VALUES (?, 'chatbot', 'default', 't', 'autonomous', 'success', ?)
"""
ADD_EVENT = "INSERT INTO events (run_id, position, recorded_at, event) VALUES ('', ?, ?, 'x')"
# Texts in any order, one that begins as the time of an id does, and one with a 7 where it has one.
GIVEN = ["order-17", "01-order", "0order-9-of-at-7", "ffff0000-0000-4000-8000-000000000000", "!"]


def _admit(path: Path) -> None:
    with Outbox(path, URL) as outbox:
        while outbox.admit():
            pass
        outbox.admit_events()


def _oldest(path: Path) -> str | None:
    with reader(path) as connection:
        (target,) = delivery_status(connection)
    return target.oldest_pending_at


def _recent(path: Path, limit: int = 20) -> list[Receipt]:
    with reader(path) as connection:
        return recent_receipts(connection, limit)


def _send(path: Path, *, at: str) -> list[str]:
    """Take in hand whatever is due, and note an attempt at that time; return the ids."""
    with Outbox(path, URL) as outbox:
        while outbox.admit():
            pass
        due = [one.run_id for one in outbox.due(100, horizon="9")]
        outbox.mark_sending(due)
        for run_id in due:
            part = new_part(run_id, "start", 0, [], b"{}")
            outbox.freeze({run_id: [part]})
            outbox.note_attempt(run_id, part, "delivered", 200, "", at)
            outbox.deliver(run_id)
    change(path, "UPDATE requests SET last_attempt_at = ? WHERE first_attempt_at = ?", at, at)
    return due


@pytest.mark.parametrize("oldest", GIVEN)
def test_the_oldest_run_that_waits_may_have_any_id(db_path: Path, oldest: str) -> None:
    """Its place among the others says when it began only where waxlocal gave the id."""
    record(2)
    for year, run_id in enumerate([*GIVEN, "zz", "00"]):
        change(db_path, ADD_RUN, run_id, "2001" if run_id == oldest else f"201{year}")
    _admit(db_path)
    assert _oldest(db_path) == "2001"


def test_the_oldest_of_the_runs_that_waxlocal_names_is_the_first(db_path: Path) -> None:
    """Also beside younger ones of other names; what is delivered does not wait."""
    first, second = record(2)
    change(db_path, ADD_RUN, "!", "2999")
    _admit(db_path)
    starts = dict(ask(db_path, "SELECT run_id, started_at FROM runs"))
    assert _oldest(db_path) == starts[first]
    change(db_path, "UPDATE deliveries SET state = 'delivered' WHERE run_id = ?", first)
    assert _oldest(db_path) == starts[second]
    change(db_path, "UPDATE deliveries SET state = 'delivered' WHERE run_id = ?", second)
    assert _oldest(db_path) == "2999"


def test_a_run_in_hand_still_waits(db_path: Path) -> None:
    """It counts as pending, so its start is the oldest of those."""
    (run_id,) = record(1)
    _admit(db_path)
    with Outbox(db_path, URL) as outbox:
        outbox.mark_sending([run_id])
        assert _oldest(db_path) == ask(db_path, "SELECT started_at FROM runs")[0][0]


def test_events_outside_any_run_wait_beside_runs(db_path: Path) -> None:
    """The oldest of both is told, also while a request that carries the events is not answered."""
    record(1)
    _admit(db_path)
    run_began = _oldest(db_path)
    assert run_began is not None
    change(db_path, ADD_EVENT, 1, "2001")
    change(db_path, ADD_EVENT, 2, "2002")
    _admit(db_path)
    assert _oldest(db_path) == "2001"
    with Outbox(db_path, URL) as outbox, outbox.together():
        assert len(outbox.take_events(1)) == 1
        part = new_part(OUTSIDE, "events", 0, [1], b"{}")
        outbox.freeze({OUTSIDE: [part]})
    assert _oldest(db_path) == "2001"
    with Outbox(db_path, URL) as outbox:
        outbox.note_attempt(OUTSIDE, part, "delivered", 200, "", "2003")
    assert _oldest(db_path) == "2002"
    change(db_path, "UPDATE deliveries SET state = 'delivered' WHERE run_id = ''")
    assert _oldest(db_path) == run_began


def test_recent_requests_are_those_of_the_runs_that_came_last(db_path: Path) -> None:
    """The ids that programs give are in any order, and neither hide others nor are hidden."""
    record(5)
    for number in range(5):
        change(db_path, ADD_RUN, f"z{number}", "2001")
    _send(db_path, at="2001")
    for run_id in ("a-last", "!last"):
        change(db_path, ADD_RUN, run_id, "2002")
    (named,) = record(1)
    assert {*_send(db_path, at="2002")} == {"a-last", "!last", named}
    found = _recent(db_path, 3)
    assert {(one.run_id, one.last_attempt_at) for one in found} == {
        (run_id, "2002") for run_id in ("a-last", "!last", named)
    }
    with reader(db_path) as connection:
        assert list_receipts(connection, named) == [one for one in found if one.run_id == named]


def test_recent_requests_are_found_behind_many_runs_that_wait(db_path: Path) -> None:
    """A server that was away does not hide what it took before."""
    (named,) = record(1)
    change(db_path, ADD_RUN, "order-1", "2001")
    _send(db_path, at="2001")
    with closing(sqlite3.connect(db_path)) as connection:
        waiting = ((f"order-{number}", "2002") for number in range(2, 1_202))
        connection.executemany(ADD_RUN, waiting)
        connection.commit()
    assert {one.run_id for one in _recent(db_path)} == {"order-1", named}


def test_requests_of_events_outside_any_run_are_among_the_recent(db_path: Path) -> None:
    """Their run id is empty, which sorts before all others."""
    record(3)
    _send(db_path, at="2001")
    change(db_path, ADD_EVENT, 1, "2001")
    _admit(db_path)
    part = new_part(OUTSIDE, "events", 0, [1], b"{}")
    with Outbox(db_path, URL) as outbox:
        outbox.freeze({OUTSIDE: [part]})
        outbox.note_attempt(OUTSIDE, part, "delivered", 200, "", "2999")
    change(db_path, "UPDATE requests SET last_attempt_at = '2999' WHERE run_id = ''")
    assert [one.run_id for one in _recent(db_path, 1)] == [""]


def test_the_upload_of_a_file_that_nobody_has_upgraded_is_shown(tmp_path: Path) -> None:
    """A reader leaves it as it is; it has no table of events outside any run."""
    path = tmp_path / "old.db"
    old_file(path, 2)
    began = ask(path, "SELECT r.started_at FROM runs r JOIN deliveries USING (run_id)"
                " WHERE state = 'pending' ORDER BY 1 LIMIT 1")  # fmt: skip
    assert _oldest(path) == began[0][0]
    assert _recent(path)


def test_the_recent_requests_are_found_without_reading_all(db_path: Path) -> None:
    """Each part of the look ends after a few runs, which it finds in the order it needs."""
    record(1)
    _admit(db_path)
    look = status._RECENT.replace(":limit", "20")
    plan = [row[3] for row in ask(db_path, f"EXPLAIN QUERY PLAN {look}")]
    assert "SEARCH q USING PRIMARY KEY (run_id=?)" in plan
    assert not [one for one in plan if "FOR DISTINCT" in one or "SCAN q" in one]
    # In the order of their keys, and no further than to the limit.
    scans = [one for one in plan if re.match(r"SCAN (?!\(|newest|CONSTANT)", one)]
    assert scans == ["SCAN requests", "SCAN runs"]
