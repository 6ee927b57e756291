"""What is written down of the upload, and how long it keeps others from writing."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.movable_clock import MovableClock
from tests.tools.sync import ask, change, record
from waxlocal import WaxellContext
from waxlocal.delivery import receipts
from waxlocal.delivery.connection import ALONE_AT_A_TIME, AT_A_TIME, QUIET_S
from waxlocal.delivery.due import ADMITTED_AT_ONCE
from waxlocal.delivery.outbox import Line, Outbox
from waxlocal.delivery.requests import new_part
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.checkpoint import COMMITS_PER_LOOK, Checkpointer

pytestmark = pytest.mark.usefixtures("recorder")

URL = "http://x"
MANY = 2 * AT_A_TIME + 1
STATES = "SELECT count(*) FILTER (WHERE state = 'sending'), count(*) FROM deliveries"


def _writing(path: Path, rests: list[float]) -> Callable[[float], None]:
    """Return a sleep in which another program writes; it waits for nobody."""

    def sleep(seconds: float) -> None:
        with closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        rests.append(seconds)

    return sleep


def _note(outbox: Outbox, run_ids: Sequence[str]) -> None:
    lines = [Line(run_id, "delivered", 7) for run_id in run_ids]
    outbox.note_batch(lines, key="k", status=200, sent_at="2026", open_until="2027")


def test_others_write_while_many_runs_are_taken_in_hand_and_noted(db_path: Path) -> None:
    """Every few runs the file is free for a moment, too short to slow an upload down."""
    record(MANY)
    rests: list[float] = []
    with Outbox(db_path, URL, sleep=_writing(db_path, rests)) as outbox:
        outbox.admit()
        due = [one.run_id for one in outbox.due(MANY, horizon="9")]
        record(1)
        outbox.mark_sending(due)
        assert len(rests) == 2
        assert ask(db_path, STATES) == [(MANY, MANY)]
        with outbox.together():
            _note(outbox, due)
        assert len(rests) == 4
        assert outbox.delivered == MANY
    assert all(0 < seconds <= 0.001 for seconds in rests)


def test_others_write_while_many_runs_are_taken_in_and_made_due(db_path: Path) -> None:
    """Whatever an upload looks for, it locks the file for a few runs at a time."""
    record(ADMITTED_AT_ONCE + 1)
    rests: list[float] = []
    with Outbox(db_path, URL, sleep=_writing(db_path, rests)) as outbox:
        record(1)
        assert [outbox.admit(), outbox.admit(), outbox.admit()] == [ADMITTED_AT_ONCE, 2, 0]
        assert len(rests) == 2
        pieces = -(-(ADMITTED_AT_ONCE + 2) // AT_A_TIME)
        change(db_path, "UPDATE deliveries SET state = 'open'")
        assert outbox.reopen("2026") == ADMITTED_AT_ONCE + 2
        assert len(rests) == 2 + pieces - 1
        change(db_path, "UPDATE deliveries SET state = 'parked', remote_run_id = run_id")
        outbox.look_again()
        assert len(rests) == 2 + 2 * (pieces - 1)
        assert ask(db_path, "SELECT DISTINCT state FROM deliveries") == [("pending",)]


def test_a_look_that_finds_nothing_does_not_lock_the_file(db_path: Path) -> None:
    """An upload looks once a second whether open runs have ended, and mostly none has."""
    with WaxellContext("chatbot"), Outbox(db_path, URL) as outbox:
        assert outbox.admit() == 1
        with closing(sqlite3.connect(db_path)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert outbox.reopen("2026") == 0
            assert outbox.admit() == 0


def test_a_run_of_a_batch_is_noted_in_short_as_it_would_be_later(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is used and its records are known, as after `shorten`; the last are in full."""
    record(8)
    with Outbox(db_path, URL) as outbox:
        outbox.admit()
        due = [one.run_id for one in outbox.due(8, horizon="9")]
        outbox.mark_sending(due)
        monkeypatch.setattr(receipts, "KEPT", 3)
        with outbox.together():
            _note(outbox, due)
        in_full = "SELECT count(*), min(run_id) FROM requests"
        assert ask(db_path, in_full) == [(3, due[5])]
        monkeypatch.setattr(receipts, "KEPT", 0)
        outbox.shorten(threading.Event())
        assert outbox.delivered == 8
    assert ask(db_path, "SELECT DISTINCT state, receipts FROM deliveries") == [
        ("delivered", '[["bulk",0,[]]]')
    ]
    assert ask(db_path, "SELECT delivered FROM targets") == [(8,)]


def test_what_comes_while_a_batch_is_on_its_way_keeps_its_run_pending(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run is not delivered, nor counted, and goes again under the next number."""
    monkeypatch.setattr(receipts, "KEPT", 0)
    record(3)
    with Outbox(db_path, URL) as outbox:
        outbox.admit()
        due = [one.run_id for one in outbox.due(3, horizon="9")]
        outbox.mark_sending(due)
        change(db_path, "UPDATE scores SET comment = 'x' WHERE run_id = ?", due[1])
        with outbox.together():
            _note(outbox, due)
        states = "SELECT run_id, state FROM deliveries ORDER BY run_id"
        assert dict(ask(db_path, states)) == dict(
            zip(due, ["delivered", "pending", "delivered"], strict=True)
        )
        assert outbox.delivered == 2
        outbox.mark_sending(due[1:2])
        with outbox.together():
            _note(outbox, due[1:2])
        assert outbox.delivered == 3
    parts = "SELECT run_id, part FROM known_requests ORDER BY run_id, part"
    assert ask(db_path, parts) == [(due[0], 0), (due[1], 0), (due[1], 1), (due[2], 0)]


def test_nobody_is_waited_for_who_does_not_write(db_path: Path) -> None:
    """An upload that has had the file to itself for ten seconds does not rest."""
    record(MANY)
    rests: list[float] = []
    clock = MovableClock(time.time_ns())
    with Outbox(db_path, URL, clock, sleep=rests.append) as outbox:
        outbox.admit()
        due = [one.run_id for one in outbox.due(MANY, horizon="9")]
        outbox.mark_sending(due)
        assert rests == []
        record(1)
        outbox.mark_sending(due)
        clock.sleep(QUIET_S - 1)
        outbox.mark_sending(due)
        assert len(rests) == 4
        clock.sleep(2)
        outbox.mark_sending(due)
        assert len(rests) == 4


def test_what_precedes_a_rest_stays_when_the_rest_of_the_block_is_undone(db_path: Path) -> None:
    """Runs that were not noted are in hand still, and go once more."""
    record(MANY)
    rests = []

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 4:
            raise KeyboardInterrupt

    with Outbox(db_path, URL, sleep=sleep) as outbox:
        outbox.admit()
        record(1)
        due = [one.run_id for one in outbox.due(MANY, horizon="9")]
        outbox.mark_sending(due)
        with pytest.raises(KeyboardInterrupt), outbox.together():
            _note(outbox, due)
        noted = 2 * AT_A_TIME
        assert outbox.delivered == noted
        assert ask(db_path, STATES) == [(MANY - noted, MANY)]


def test_the_log_is_never_looked_at_while_the_file_is_locked(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint would wait for the lock that the upload itself holds, and others with it."""
    (run_id,) = record(1)
    looks: list[bool] = []
    with Outbox(db_path, URL, sleep=lambda _: None) as outbox:

        def look(_checkpointer: Checkpointer) -> None:
            looks.append(outbox.connection.in_transaction)

        monkeypatch.setattr(Checkpointer, "look", look)
        outbox.admit()
        part = new_part(run_id, "start", 0, [0], b"{}")
        outbox.freeze({run_id: [part]})
        with outbox.together():
            for _ in range(5 * COMMITS_PER_LOOK):
                outbox.note_attempt(run_id, part, "waiting", 503, "503", "2026")
        with outbox.together():
            _note(outbox, [run_id] * (ALONE_AT_A_TIME * 2 * COMMITS_PER_LOOK))
    assert looks == [False, False]


SCORE = "INSERT INTO scores (run_id, position, recorded_at, name, data_type, comment) VALUES"
NEWS = [
    f"{SCORE} ((SELECT run_id FROM runs), 900, '', '', '', '')",
    "INSERT INTO events (run_id, position, recorded_at, event)"
    " VALUES ((SELECT run_id FROM runs), 900, '', '')",
    "UPDATE scores SET comment = 'x'",
    "UPDATE llm_calls SET cost = 0.25",
    "UPDATE runs SET status = 'error'",
]


@pytest.mark.parametrize("news", NEWS)
@pytest.mark.parametrize(
    ("state", "remote", "then"),
    [
        ("delivered", None, "pending"),
        ("delivered", "r", "pending"),
        ("sending", None, "pending"),
        ("parked", "r", "pending"),
        ("parked", None, "parked"),
        ("open", "r", "open"),
    ],
)
def test_news_of_a_run_make_it_pending(
    db_path: Path, news: str, state: str, remote: str | None, then: str
) -> None:
    """Whatever they are; not a parked run that the server does not know, and one that goes on."""
    record(1)
    with Outbox(db_path, URL) as outbox:
        outbox.admit()
    put = "UPDATE deliveries SET state = ?, remote_run_id = ?"
    change(db_path, put, state, remote)
    change(db_path, news)
    assert ask(db_path, "SELECT state FROM deliveries") == [(then,)]


def test_who_records_finds_the_delivery_by_its_key(db_path: Path) -> None:
    """Each trigger takes one look at the primary key, which most often finds no row."""
    record(1)
    triggers = ask(
        db_path,
        "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND sql GLOB '*UPDATE deliveries*'",
    )
    assert len(triggers) == 2 * len(RECORD_TABLES) + 1
    for (trigger,) in triggers:
        start = trigger.index("UPDATE deliveries")
        update = trigger[start : trigger.index(";", start)]
        plan = ask(db_path, f"EXPLAIN QUERY PLAN {update.replace('NEW.run_id', '?')}", "r")
        assert [row[3] for row in plan] == ["SEARCH deliveries USING PRIMARY KEY (run_id=?)"]


@pytest.mark.parametrize("park", [Outbox.park, Outbox.set_aside])
def test_a_parked_run_waits_for_no_time(
    db_path: Path, park: Callable[[Outbox, str, str], None]
) -> None:
    """What it records later may go at once; what it recorded while in hand keeps it pending."""
    (run_id,) = record(1)
    row = "SELECT state, reason, not_before FROM deliveries"
    with Outbox(db_path, URL) as outbox:
        outbox.admit()
        outbox.mark_sending([run_id])
        outbox.note_started(run_id, "remote", None)
        change(db_path, "UPDATE deliveries SET not_before = '2999'")
        park(outbox, run_id, "no")
        assert ask(db_path, row) == [("parked", "no", None)]
        change(db_path, NEWS[0])
        assert [one.run_id for one in outbox.due(1, horizon="9")] == [run_id]
        outbox.mark_sending([run_id])
        change(db_path, NEWS[1])
        park(outbox, run_id, "no")
        assert ask(db_path, "SELECT state FROM deliveries") == [("pending",)]


def test_a_postponed_run_has_its_time_and_why(db_path: Path) -> None:
    """How far the span of that time reached nobody asks of a run, so it is not written."""
    (run_id,) = record(1)
    with Outbox(db_path, URL) as outbox:
        outbox.admit()
        outbox.postpone(run_id, "2999", "timeout")
    row = "SELECT state, failures, not_before, reason, backoff_until FROM deliveries"
    assert ask(db_path, row) == [("pending", 1, "2999", "timeout", None)]
