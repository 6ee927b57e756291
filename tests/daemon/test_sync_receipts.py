"""What stays in the file of the requests of delivered runs: little, and all that is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import ask, change, contents_of, record, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.delivery import receipts
from waxlocal.delivery.resend import Resend
from waxlocal.delivery.status import list_receipts
from waxlocal.storage.connection import reader

pytestmark = pytest.mark.usefixtures("recorder")

BY_ANY_WAY = pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])
NEEDED = """
SELECT run_id, stage, part, state, iif(state = 'replaced', '[]', positions) AS positions, states
FROM known_requests ORDER BY run_id, stage, part
"""
IN_ROWS = "SELECT count(DISTINCT run_id) FROM requests"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what is delivered at once."""
    monkeypatch.setattr(receipts, "KEPT", 0)


def _late(path: Path, run_id: str, position: int) -> None:
    change(
        path,
        "INSERT INTO scores (run_id, position, recorded_at, name, data_type, comment)"
        " VALUES (?, ?, '2026-02-01T09:30:00.000000Z', 'late', 'numeric', '')",
        run_id,
        position,
    )


@BY_ANY_WAY
def test_the_last_runs_keep_their_requests_in_full(db_path: Path, bulk: bool) -> None:
    """Those before keep what a later upload needs: numbers, records, states."""
    record(receipts.KEPT)
    with serving(db_path.with_name("hub.db")) as client:
        upload(db_path, url_of(client), bulk=bulk)
        in_full = ask(db_path, NEEDED)
        assert ask(db_path, IN_ROWS) == [(receipts.KEPT,)]
        record(10)
        upload(db_path, url_of(client), bulk=bulk)
        assert ask(db_path, IN_ROWS) == [(receipts.KEPT,)]
        assert ask(db_path, NEEDED)[: len(in_full)] == in_full


def test_the_runs_that_came_last_are_those_in_full(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over several uploads, with more runs from before than are read at once."""
    monkeypatch.setattr(receipts, "LOOKED_AT_ONCE", 3)
    with fault_server() as server:
        record(7)
        upload(db_path, server.url)
        last = record(2)
        monkeypatch.setattr(receipts, "KEPT", 4)
        for _ in range(3):
            upload(db_path, server.url)
        assert ask(db_path, IN_ROWS) == [(4,)]
        in_full = [run_id for (run_id,) in ask(db_path, "SELECT DISTINCT run_id FROM requests")]
    assert set(last) <= set(in_full)


@BY_ANY_WAY
def test_receipts_that_are_no_json_stop_nothing(db_path: Path, bulk: bool) -> None:
    """The run begins anew, under the same keys; the others go."""
    bad, *_ = record(3)
    with serving(db_path.with_name("hub.db")) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(receipts, "KEPT", 0)
            upload(db_path, url_of(client), bulk=bulk)
        change(
            db_path,
            "UPDATE deliveries SET receipts = '[1', state = 'pending', remote_run_id = NULL"
            " WHERE run_id = ?",
            bad,
        )
        record(1)
        upload(db_path, url_of(client), bulk=bulk)
    assert ask(db_path, "SELECT DISTINCT state FROM deliveries") == [("delivered",)]
    assert contents_of(db_path.with_name("hub.db")) == contents_of(db_path)
    with reader(db_path) as connection:
        assert list_receipts(connection, bad)


def test_what_the_last_upload_left_in_full_is_shortened_by_the_next(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is what an older waxlocal left, some runs at a time."""
    with fault_server() as server:
        record(7)
        upload(db_path, server.url)
        before = ask(db_path, NEEDED)
        monkeypatch.setattr(receipts, "KEPT", 0)
        monkeypatch.setattr(receipts, "LOOKED_AT_ONCE", 3)
        for _ in range(3):
            upload(db_path, server.url)
        assert ask(db_path, IN_ROWS) == [(0,)]
        assert ask(db_path, NEEDED) == before


@BY_ANY_WAY
@pytest.mark.usefixtures("short")
def test_a_late_record_of_a_run_in_short_form_goes_alone(db_path: Path, bulk: bool) -> None:
    """Nothing that was sent goes a second time, and no number is given twice."""
    run_ids = record(3)
    with fault_server(bulk=bulk) as server:
        for position in (900, 901):
            upload(db_path, server.url, bulk=bulk)
            _late(db_path, run_ids[1], position)
        upload(db_path, server.url, bulk=bulk)
        found = audit(server)
    found.assert_sound(late=True)
    assert found.records[run_ids[1]]["scores"] == 3
    if not bulk:
        assert found.requests == found.minimum + 2
        parts = "SELECT part FROM known_requests WHERE stage = 'scores' AND run_id = ? ORDER BY 1"
        assert ask(db_path, parts, run_ids[1]) == [(0,), (1,), (2,)]
    assert ask(db_path, "SELECT DISTINCT state FROM deliveries") == [("delivered",)]


@BY_ANY_WAY
@pytest.mark.usefixtures("short")
def test_a_changed_record_of_a_run_in_short_form_is_told(db_path: Path, bulk: bool) -> None:
    """Another waxlocal has it as it is here, also after all was sent again to a new file."""
    (run_id,) = record(1)
    for name in ("hub.db", "new.db"):
        with serving(db_path.with_name(name)) as client:
            change(db_path, "UPDATE targets SET url = ?", url_of(client))
            with Resend(db_path) as again:
                again.all()
            upload(db_path, url_of(client), bulk=bulk)
            change(
                db_path,
                "UPDATE scores SET numeric_value = 0.1, revision = 1 + coalesce(revision, 0)",
            )
            upload(db_path, url_of(client), bulk=bulk)
        assert contents_of(db_path.with_name(name)) == contents_of(db_path)
    assert ask(db_path, "SELECT state FROM deliveries WHERE run_id = ?", run_id) == [("delivered",)]


@pytest.mark.usefixtures("short")
def test_what_failed_keeps_its_details(db_path: Path) -> None:
    """A refused request, and all others of its run; what was taken beside it is shortened."""
    (bad,) = record(1, topic="order 17")
    record(3)
    refuse = Rule("status", status=422, path="/start/$", contains="order 17", store=False)
    with fault_server((refuse,)) as server:
        upload(db_path, server.url)
    assert ask(db_path, "SELECT DISTINCT run_id FROM requests") == [(bad,)]
    refused = ask(db_path, "SELECT stage, status FROM requests WHERE state = 'parked'")
    assert refused == [("start", 422)]


@pytest.mark.parametrize("column", ["positions", "states"])
@pytest.mark.usefixtures("short")
def test_rows_that_are_no_json_stay_and_hold_up_nobody(db_path: Path, column: str) -> None:
    """Somebody else wrote them; the others are shortened."""
    bad, good = record(2)
    with fault_server() as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(receipts, "KEPT", 9)
            upload(db_path, server.url)
        change(db_path, f"UPDATE requests SET {column} = '[1' WHERE run_id = ?", bad)
        upload(db_path, server.url)
    assert ask(db_path, "SELECT DISTINCT run_id FROM requests") == [(bad,)]
    assert ask(db_path, "SELECT run_id FROM deliveries WHERE receipts IS NOT NULL") == [(good,)]


@pytest.mark.usefixtures("short")
def test_the_upload_of_a_run_in_short_form_is_still_shown(db_path: Path) -> None:
    """Each request with its number of records; how it went is no longer known."""
    (run_id,) = record(1)
    with fault_server() as server:
        upload(db_path, server.url)
    with reader(db_path) as connection:
        found = list_receipts(connection, run_id)
    assert {(one.stage, one.records, one.state) for one in found} == {
        ("start", 1, "delivered"),
        ("llm-calls", 1, "delivered"),
        ("steps", 1, "delivered"),
        ("scores", 1, "delivered"),
        ("spans", 3, "delivered"),
        ("complete", 1, "delivered"),
    }
    assert {(one.attempts, one.status, one.bytes) for one in found} == {(None, None, None)}


def test_receipts_take_a_small_part_of_the_data(db_path: Path) -> None:
    """Of runs with a few messages each, after all were delivered by single requests."""
    said = [{"role": role, "content": "What is the state of order 17? " * 12} for role in "ua" * 3]
    for number in range(300):
        with WaxellContext(
            "chatbot", session_id=f"s{number // 5}", inputs={"messages": said}
        ) as run:
            run.record_llm_call(model="gpt-4o", tokens_in=900, tokens_out=50)
            run.set_result({"answer": said[0]["content"]})
    with fault_server() as server:
        upload(db_path, server.url)
    sizes = dict(ask(db_path, "SELECT name, sum(pgsize - unused) FROM dbstat GROUP BY name"))
    told = sizes.pop("deliveries") + sizes.pop("requests") * (1 - receipts.KEPT / 300)
    of_data = sum(size for name, size in sizes.items() if name in ("runs", "llm_calls", "sessions"))
    assert told < 0.15 * of_data
    assert ask(db_path, "SELECT max(length(receipts)) < 140 FROM deliveries") == [(1,)]
