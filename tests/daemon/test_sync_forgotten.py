"""What was forgotten here is not sent; what a hub has forgotten does not come back to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import Builder
from tests.tools.session_server import listing, session_server
from tests.tools.sync import ask, change, record, settings_for, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.delivery.outbox import Outbox
from waxlocal.delivery.requests import new_part
from waxlocal.delivery.resend import Resend
from waxlocal.maintenance import forgetting
from waxlocal.maintenance.chosen_runs import Choice, Kind
from waxlocal.maintenance.forgetting import forget
from waxlocal.recording.recorder import Recorder
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import open_writer
from waxlocal_daemon.verify import verify

ALICE = Choice(Kind.USER, "user_alice")
LATE = {"position": 99, "recorded_at": "2026-01-31T09:30:00.000000Z", "name": "late",
        "data_type": "numeric", "comment": ""}  # fmt: skip
TABLES = ("runs", "sessions", *(table.name for table in RECORD_TABLES))


def counts(path: Path) -> list[int]:
    """Return how many rows each table has."""
    return [int(ask(path, f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES]


def record_bob() -> None:
    """Record a run of another user in the same session."""
    with WaxellContext("chatbot", session_id="sess_1", user_id="bob") as run:
        run.record_step("think")


@pytest.mark.parametrize("bulk", [True, False], ids=["bulk", "single"])
@pytest.mark.parametrize("again", [True, False], ids=["bulk", "single"])
def test_two_hops_do_not_bring_it_back(
    db_path: Path, recorder: Recorder, bulk: bool, again: bool
) -> None:
    """From a device to a hub, which forgets, and on to another: all is sent again, and accepted."""
    record(3)
    record_bob()
    hub, top = db_path.with_name("hub.db"), db_path.with_name("top.db")
    with serving(hub) as client, serving(top) as above:
        upload(db_path, url_of(client), bulk=bulk)
        assert counts(hub)[0] == 4
        assert forget(hub, ALICE).runs == 3
        left = counts(hub)
        with closing(open_writer(db_path)) as connection:
            make = Builder(connection)
            for (run_id,) in ask(db_path, "SELECT run_id FROM runs"):
                make.insert("scores", **LATE, run_id=run_id)
        change(db_path, "UPDATE runs SET result = '{\"changed\":1}'")
        with Resend(db_path) as resend:
            resend.all()
        upload(db_path, url_of(client), bulk=again)
        assert ask(db_path, "SELECT DISTINCT state FROM deliveries") == [("delivered",)]
        # The late score of bob's run has come.
        assert counts(hub) == [*left[:-2], left[-2] + 1, left[-1]]
        upload(hub, url_of(above), bulk=bulk)
    assert ask(top, "SELECT user_id FROM runs") == [("bob",)]


def test_what_is_forgotten_here_is_not_sent(db_path: Path, recorder: Recorder) -> None:
    """Neither what no upload has looked at, nor what waits for its turn."""
    record(2)
    record_bob()
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        with Outbox(db_path, url_of(client)) as outbox:
            outbox.admit()
        record(1)
        assert forget(db_path, ALICE).runs == 3
        upload(db_path, url_of(client))
    assert ask(hub, "SELECT user_id FROM runs") == [("bob",)]


def test_an_upload_that_has_it_in_hand_writes_nothing_of_it_down(
    db_path: Path, recorder: Recorder
) -> None:
    """No request, whose body would stay in the file, no receipt; and it goes on with the next."""
    (run_id,) = record(1)
    with Outbox(db_path, "http://hub") as outbox:
        outbox.admit()
        outbox.mark_sending([run_id])
        assert len(outbox.load([run_id])) == 1
        assert forget(db_path, ALICE).runs == 1
        part = new_part(run_id, "start", 0, [], b"{}")
        outbox.freeze({run_id: [part]})
        outbox.note_attempt(run_id, part, "waiting", 503, "503", "2026")
        outbox.keep_from_batches(run_id, "too large")
        assert outbox.failures(run_id) == 0
        assert outbox.deliver(run_id) is False
        outbox.release(run_id)
        assert outbox.load([run_id]) == []
    assert ask(db_path, "SELECT count(*) FROM requests") == [(0,)]
    assert ask(db_path, "SELECT count(*) FROM deliveries") == [(0,)]


def test_verify_does_not_miss_it(db_path: Path, recorder: Recorder) -> None:
    """A server that still has forgotten runs differs in nothing that is still here."""
    record(2)
    record_bob()
    record(1, session="hers")
    with serving(db_path.with_name("hub.db")) as client:
        upload(db_path, url_of(client))
        assert forget(db_path, ALICE).runs == 3
        found = verify(db_path, settings_for(url_of(client), read_timeout=20.0))
        assert (found.agrees, found.lacking, found.waiting) == (True, [], [])
        with Resend(db_path) as resend:
            assert resend.all() == 1


def test_verify_does_not_call_it_doubled(db_path: Path) -> None:
    """By a server that does not list runs, and so has more in a session than is left here."""
    sessions = [{"session_id": name, "run_count": 2, "total_tokens": 0} for name in ("s", "t")]
    with (
        session_server(listing(sessions)) as server,
        closing(open_writer(db_path)) as connection,
    ):
        connection.execute("INSERT INTO targets (url) VALUES (?)", (server.url,))
        make = Builder(connection)
        for session in ("s", "t"):
            make.run(session, user="bob")
        make.run("s", user="user_alice")
        change(
            db_path,
            "INSERT INTO deliveries (run_id, target_id, state, delivered_at)"
            " SELECT run_id, 1, 'delivered', '2026-01-01' FROM runs",
        )
        assert forget(db_path, ALICE).runs == 1
        found = verify(db_path, settings_for(server.url, read_timeout=20.0))
    assert [one.session_id for one in found.doubled] == ["t"]
    assert (found.different, found.missing) == ([], [])


def test_what_is_left_of_a_run_in_the_middle_of_its_deletion_is_not_sent(
    db_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run goes in pieces; somebody who is killed leaves a part of it."""
    with WaxellContext("chatbot", session_id="s", user_id="user_alice") as run:
        for number in range(120):
            run.record_step(f"step {number}")
    recorder.close()
    change(db_path, "INSERT INTO targets (url) VALUES ('http://hub')")
    commits: list[int] = []

    def stopped(connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")
        commits.append(ask(db_path, "SELECT count(*) FROM steps")[0][0])
        if commits[-1] < 120:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "PIECE_NS", 0)
        patch.setattr(forgetting, "commit", stopped)
        with pytest.raises(KeyboardInterrupt):
            forget(db_path, ALICE)
    assert commits == [120, 70]
    with Outbox(db_path, "http://hub") as outbox:
        outbox.admit()
        assert list(outbox.due(10, horizon="9")) == []
    assert forget(db_path, ALICE).runs == 1
    assert counts(db_path) == [0] * len(TABLES)
    assert ask(db_path, "SELECT count(*) FROM deliveries") == [(0,)]
