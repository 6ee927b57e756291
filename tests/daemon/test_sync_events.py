"""Events outside any run go to the events endpoint, and arrive at a hub once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import FaultServer, fault_server
from tests.tools.sync import (
    ask,
    change,
    record,
    settings_for,
    upload,
)
from tests.tools.web import serving, url_of
from waxlocal import WaxellObserveClient
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import delivery_status, list_parked
from waxlocal.storage.connection import reader, writer
from waxlocal.wire.outside_events import event_body, outside_event
from waxlocal_daemon.dry_run import previews

pytestmark = pytest.mark.usefixtures("recorder")

ways = pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
HERE = "SELECT position, recorded_at, event, data FROM events WHERE run_id = '' ORDER BY position"


def _note(count: int, text: str = "") -> None:
    """Record events outside any run."""
    client = WaxellObserveClient()
    events = [{"event": "feedback", "n": n, "text": text} for n in range(count)]
    asyncio.run(client.record_events(events))


def _add(path: Path, event: str, data: str, position: int = 7) -> None:
    change(
        path,
        "INSERT INTO events (run_id, position, recorded_at, event, data)"
        " VALUES ('', ?, '2026-01-31T09:30:00.123456Z', ?, ?)",
        position,
        event,
        data,
    )


def _received(server: FaultServer) -> list[dict[str, object]]:
    bodies = [one["body"] for one in server.requests() if one["path"].endswith("/events/")]
    return [event for body in bodies for event in body["events"]]


@ways
def test_a_hub_has_them_as_they_are_here(db_path: Path, bulk: bool) -> None:
    """With their times, in whatever way runs are sent; and those that come later follow."""
    hub = db_path.with_name("hub.db")
    record(1)
    _note(3)
    _add(db_path, "policy_check", '{"action":"allow"}')
    _add(db_path, "odd", '{"event":"another name"}', position=8)
    with serving(hub) as client:
        done = upload(db_path, url_of(client), bulk=bulk)
        assert (done.delivered, done.pending) == (1, 0)
        assert ask(hub, HERE) == ask(db_path, HERE)
        assert len(ask(hub, HERE)) == 5
        _note(2)
        assert upload(db_path, url_of(client), bulk=bulk).delivered == 0
        assert ask(hub, HERE) == ask(db_path, HERE)


@ways
def test_what_comes_twice_is_there_once(db_path: Path, bulk: bool) -> None:
    """Answers that were lost, keys that were forgotten, a file restored from a copy."""
    hub = db_path.with_name("hub.db")
    _note(3)
    with serving(hub) as client:
        for _ in range(3):
            upload(db_path, url_of(client), bulk=bulk)
            change(db_path, "DELETE FROM requests")
            change(db_path, "UPDATE targets SET events_cursor = 0")
            change(hub, "DELETE FROM received")
        assert ask(hub, HERE) == ask(db_path, HERE)


def test_two_devices_in_the_same_nanosecond(db_path: Path) -> None:
    """Both are kept, and both once."""
    hub, other = db_path.with_name("hub.db"), db_path.with_name("other.db")
    with reader(db_path) if db_path.exists() else writer(db_path):
        pass
    with writer(other):
        pass
    _add(db_path, "a", '{"n":1}')
    _add(other, "a", '{"n":2}')
    with serving(hub) as client:
        for path in (db_path, other, db_path, other):
            upload(path, url_of(client))
            change(path, "UPDATE targets SET events_cursor = 0")
            change(path, "DELETE FROM requests")
    assert ask(hub, "SELECT position, data FROM events ORDER BY position") == [
        (7, '{"n":1}'),
        (8, '{"n":2}'),
    ]


def test_a_hub_sends_them_on(db_path: Path) -> None:
    """As they were where they were recorded."""
    first, second = db_path.with_name("first.db"), db_path.with_name("second.db")
    _note(3)
    with serving(first) as one, serving(second) as two:
        upload(db_path, url_of(one))
        upload(first, url_of(two))
    assert ask(second, HERE) == ask(db_path, HERE)


def test_a_plain_server_gets_what_the_program_gave(db_path: Path) -> None:
    """In as many requests as it takes, each with a key of its own, each once."""
    _note(1_100)
    with fault_server() as server:
        assert upload(db_path, server.url).pending == 0
        received = _received(server)
        audit(server).assert_sound()
    assert [event["n"] for event in received] == list(range(1_100))
    assert {event["event"] for event in received} == {"feedback"}
    keys = ask(db_path, "SELECT idempotency_key FROM requests")
    assert len(set(keys)) == len(keys) == 3


@pytest.mark.parametrize("kind", ["close", "reset-before-answer", "status", "html", "truncated"])
def test_a_failure_is_tried_again_with_the_same_request(db_path: Path, kind: str) -> None:
    """The same bytes under the same key."""
    _note(5)
    record(3)
    with fault_server((Rule(kind, path="/events/$", times=2),)) as server:
        assert upload(db_path, server.url).delivered == 3
        audit(server).assert_sound()
        assert len(_received(server)) == 5


def test_one_that_is_refused_holds_up_no_other(db_path: Path) -> None:
    """It is set aside by itself, shown, and sent again when that is wanted."""
    _note(3)
    _add(db_path, "bad", "{}", position=1)
    with fault_server((Rule("poison", path="/events/$", contains='"bad"'),)) as server:
        done = upload(db_path, server.url)
        assert (done.pending, done.parked) == (0, 1)
        _note(1)
        assert upload(db_path, server.url).pending == 0
        assert len(_received(server)) == 4
        with reader(db_path) as connection:
            (parked,) = list_parked(connection)
            (status,) = delivery_status(connection)
        assert (parked.run_id, parked.stage, parked.records) == ("", "events", 1)
        assert (status.parked, status.pending) == (1, 0)
        server.use_script(())
        with writer(db_path) as connection:
            assert requeue(connection) == 1
        done = upload(db_path, server.url)
        assert (done.pending, done.parked) == (0, 0)
        assert sorted(str(event["event"]) for event in _received(server)).count("bad") == 1


@ways
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("event", "CAST(x'61ff' AS TEXT)"),
        ("data", "CAST(x'7b2261223a22ff227d' AS TEXT)"),
        ("data", "x'ff00'"),
        ("data", """'{"a":1e999}'"""),
        ("recorded_at", "CAST(x'ff' AS TEXT)"),
        ("recorded_at", "x'ff'"),
        ("position", "'here'"),
        ("position", "1.5"),
        ("position", "9e999"),
    ],
)
def test_one_that_somebody_else_wrote_holds_up_nothing(
    db_path: Path, bulk: bool, column: str, value: str
) -> None:
    """What is not UTF-8 goes with replacement characters; the runs and other events go, too."""
    record(2)
    _note(1)
    row = {"position": "7", "recorded_at": "'2026-01-31'", "event": "'odd'", "data": "'{}'"}
    row[column] = value
    change(
        db_path,
        f"INSERT INTO events (run_id, {', '.join(row)}) VALUES ('', {', '.join(row.values())})",
    )
    shown = [one for one in previews(db_path, settings_for("https://x")) if not one.run_id]
    assert [len(json.loads(one.body)["events"]) for one in shown] == [2]
    with fault_server(bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk)
        assert (done.delivered, done.pending, done.parked) == (2, 0, 0)
        assert len(_received(server)) == 2
        audit(server).assert_sound()


def test_a_large_one_goes_by_itself(db_path: Path) -> None:
    """Requests stay small."""
    _note(4, text="x" * 900_000)
    with fault_server() as server:
        assert upload(db_path, server.url).pending == 0
        assert len(_received(server)) == 4
    sizes = [size for (size,) in ask(db_path, "SELECT bytes FROM requests")]
    assert len(sizes) == 2
    assert max(sizes) < 2 * 1024 * 1024


def test_a_dry_run_shows_them(db_path: Path) -> None:
    """As they would leave."""
    _note(2)
    (one,) = previews(db_path, settings_for("https://x"))
    assert one.url == "https://x/api/v1/observe/events/"
    assert [event["n"] for event in json.loads(one.body)["events"]] == [0, 1]


@pytest.mark.parametrize(
    "body",
    [
        {"event": "e"},
        {"event": "e", "waxlocal": 7},
        {"event": "e", "waxlocal": {"outside": True}},
        {"event": "e", "waxlocal": {"outside": True, "position": -1, "recorded_at": "2026-01-01"}},
        {"event": "e", "waxlocal": {"outside": True, "position": 2**63, "recorded_at": "2026"}},
        {"event": "e", "waxlocal": {"outside": 1, "position": 1, "recorded_at": "2026-01-01"}},
    ],
)
def test_an_event_of_anybody_else_is_none_of_these(body: dict[str, object]) -> None:
    """It is stored as what it is."""
    assert outside_event(body) is None


@pytest.mark.parametrize("data", ["{}", '{"event":"e"}', '{"event":"x","a":1}', '{"event":null}'])
def test_an_event_comes_back_as_it_was(data: str) -> None:
    """Name and data, whether or not the data names the event."""
    row = {"position": 7, "recorded_at": "2026-01-31T09:30:00.123456Z", "event": "e", "data": data}
    assert outside_event(json.loads(json.dumps(event_body(row)))) == tuple(row.values())


@ways
@pytest.mark.parametrize("own", ['{"position":3,"recorded_at":"x"}', "null", '"text"', "[1]"])
def test_an_event_s_own_member_waxlocal_stays(db_path: Path, own: str, bulk: bool) -> None:
    """What a program has under that name arrives, in a run and outside, at a second hub, too."""
    (run_id,) = record(1)
    data = '{"event":"mine","before":1,"waxlocal":' + own + ',"after":2}'
    _add(db_path, "mine", data)
    add = "INSERT INTO events VALUES (?, 77, '2026-01-31T09:30:00.123456Z', 'mine', ?, NULL)"
    change(db_path, add, run_id, data.replace("{", f'{{"workflow_id":"wf_{run_id}",', 1))
    everywhere = "SELECT run_id, position, recorded_at, event, data FROM events ORDER BY 1, 2"
    sent = db_path
    for name in ("hub1.db", "hub2.db"):
        hub = db_path.with_name(name)
        with serving(hub) as client:
            upload(sent, url_of(client), bulk=bulk)
        assert ask(hub, everywhere) == ask(db_path, everywhere)
        sent = hub
