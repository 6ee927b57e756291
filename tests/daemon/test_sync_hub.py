"""Another waxlocal as the server: what arrives there twice, in whatever form, is there once."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from random import Random

import pytest

from tests.crash.uploading import record_runs
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import (
    ask,
    change,
    copy_whole,
    record,
    upload,
)
from tests.tools.web import serving, url_of
from tests.tools.wire_programs_more import x02_memory
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder
from waxlocal.recording.statements import ADD_SCORE
from waxlocal.records import RECORD_TABLES, RUNS
from waxlocal.wire import paths
from waxlocal.wire.paths import stage_path

TABLES = ("runs", *(table.name for table in RECORD_TABLES))
SESSIONS = """
SELECT session_id, run_count, open_runs, failed_runs, llm_calls, total_tokens, round(total_cost, 6)
FROM sessions ORDER BY session_id
"""


def _contents(path: Path) -> list[object]:
    counts = [ask(path, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]
    return [*counts, ask(path, SESSIONS)]


@pytest.mark.parametrize(
    "ways",
    [
        ("single", "single"),
        ("single", "bulk"),
        ("bulk", "bulk"),
        ("bulk", "single"),
    ],
    ids="-".join,
)
def test_what_comes_twice_is_there_once(
    db_path: Path, recorder: Recorder, ways: tuple[str, str]
) -> None:
    """The second time because the answers to the first were lost, by the same way or the other."""
    record_runs(60, Random(1))
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        for way in ways:
            upload(db_path, url_of(client), bulk=way == "bulk")
            assert _contents(hub) == _contents(db_path)
            change(db_path, "DELETE FROM requests")
            change(
                db_path,
                "UPDATE deliveries SET state = 'pending', receipts = NULL, remote_run_id = NULL,"
                " remote_workflow_id = NULL",
            )


@pytest.mark.parametrize("bulk", [False, True])
def test_several_memories_of_a_run_arrive(db_path: Path, recorder: Recorder, bulk: bool) -> None:
    """Each has a request of its own where single requests carry them."""
    import waxlocal

    x02_memory(waxlocal)
    memories = "SELECT event, count(*) FROM events WHERE event GLOB 'memory_*' GROUP BY event"
    assert max(count for _, count in ask(db_path, memories)) > 1
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        assert upload(db_path, url_of(client), bulk=bulk).parked == 0
    assert _contents(hub) == _contents(db_path)
    assert ask(hub, memories) == ask(db_path, memories)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("single", "single"),
        ("bulk", "bulk"),
        ("single", "bulk"),
        ("bulk", "single"),
    ],
)
def test_a_late_score_comes_by_any_way(
    db_path: Path, recorder: Recorder, first: str, then: str
) -> None:
    """And brings nothing along that is there already."""
    record_runs(5, Random(1))
    hub = db_path.with_name("hub.db")
    ((run_id,),) = ask(db_path, "SELECT min(run_id) FROM runs")
    late = (run_id, 900, "2026-01-31T09:30:00.000000Z", "liked", "numeric", 1.0, None, "")
    with serving(hub) as client:
        upload(db_path, url_of(client), bulk=first == "bulk")
        recorder.store.write(ADD_SCORE, late)
        upload(db_path, url_of(client), bulk=then == "bulk")
    assert _contents(hub) == _contents(db_path)


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
def test_a_score_of_the_hub_leaves_that_of_the_device_its_place(
    db_path: Path, recorder: Recorder, bulk: bool
) -> None:
    """Both are kept, though both have the same position, and coming again adds nothing."""
    (run_id,) = record(1)
    last = 3  # the call, the step and the score of that run
    hub = db_path.with_name("hub.db")
    late = (run_id, last + 1, "2026-01-31T09:30:00.000000Z", "liked", "numeric", 1.0, None, "")
    with serving(hub) as client:
        upload(db_path, url_of(client), bulk=bulk)
        given = {"scores": [{"name": "reviewed", "numeric_value": 0.5}]}
        client.post(stage_path("scores", run_id), json=given).raise_for_status()
        recorder.store.write(ADD_SCORE, late)
        for _ in range(2):
            upload(db_path, url_of(client), bulk=bulk)
            found = ask(hub, "SELECT name FROM scores WHERE position > ? ORDER BY name", last)
            assert [row[0] for row in found] == ["liked", "reviewed"]
            change(db_path, "DELETE FROM requests")
            change(db_path, "UPDATE deliveries SET state = 'pending'")


@pytest.mark.parametrize("seed", range(3))
def test_any_mix_of_ways_brings_each_record_once(
    db_path: Path, recorder: Recorder, seed: int
) -> None:
    """Single requests and batches, progress that is lost, forgotten keys, late records."""
    random = Random(seed)
    record_runs(12, random)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        for number in range(6):
            upload(db_path, url_of(client), bulk=random.random() < 0.5)
            if random.random() < 0.5:
                _forget(db_path)
            for (run_id,) in ask(db_path, "SELECT run_id FROM runs"):
                if random.random() < 0.2:
                    _add_late(db_path, random, run_id, 900 + number)
        upload(db_path, url_of(client), bulk=random.random() < 0.5)
    for there, here in zip(_rows(hub), _rows(db_path), strict=True):
        assert set(there) ^ set(here) == set()
        assert there == here


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "batches"])
def test_a_device_whose_file_was_restored_from_a_backup_goes_on(
    db_path: Path, recorder: Recorder, bulk: bool
) -> None:
    """Its keys were used for other requests since: it takes new ones; nothing is there twice."""
    run_ids = record(3)
    hub, backup = db_path.with_name("hub.db"), db_path.with_name("backup.db")
    with serving(hub) as client:
        upload(db_path, url_of(client), bulk=False)
        copy_whole(db_path, backup)
        for position, run_id in enumerate(run_ids, 900):
            _add_late(db_path, Random(1), run_id, position)
            upload(db_path, url_of(client), bulk=bulk)
        recorder.close()
        copy_whole(backup, db_path)
        late = "INSERT INTO scores (run_id, position, recorded_at, name, data_type, comment)"
        at = "2026-01-31T09:30:00.000000Z"
        for run_id in run_ids:
            change(db_path, f"{late} VALUES (?, 950, '{at}', 'other', 'numeric', '')", run_id)
        change(db_path, 'UPDATE runs SET tags = \'{"restored": "yes"}\'')
        done = upload(db_path, url_of(client), bulk=bulk)
        assert (done.pending, done.parked) == (0, 0)
    # What was recorded after the backup and is lost here is kept there.
    assert ask(hub, "SELECT count(*) FROM scores WHERE name = 'other'") == [(3,)]
    assert ask(hub, "SELECT count(*) FROM scores WHERE name = 'late'") == [(3,)]
    assert ask(hub, "SELECT DISTINCT tags FROM runs") == [('{"restored": "yes"}',)]
    for table in TABLES:
        there, here = (ask(path, f"SELECT count(*) FROM {table}")[0][0] for path in (hub, db_path))
        assert there - here == (3 if table == "scores" else 0), table


def test_a_hub_that_calls_every_key_used_is_not_asked_for_ever(
    db_path: Path, recorder: Recorder
) -> None:
    """One new key for each request; then the run is parked, and a person decides."""
    record(2)
    hub = db_path.with_name("hub.db")
    used = "UPDATE received SET fingerprint = 'of another request'"

    def pretend(point: str) -> None:
        if point == "frozen":
            _use_up_keys(db_path, hub)
        elif hub.exists():
            change(hub, used)
            _use_up_keys(db_path, hub)

    with serving(hub) as client:
        client.get(paths.CONFIG)
        done = upload(db_path, url_of(client), at=pretend)
    assert (done.pending, done.parked, done.delivered) == (0, 2, 0)
    keys = ask(db_path, "SELECT idempotency_key FROM requests WHERE stage = 'start'")
    assert len(keys) == 4


def _use_up_keys(path: Path, hub: Path) -> None:
    """Let a hub know all keys of a file's requests already, with other requests."""
    for (key,) in ask(path, "SELECT idempotency_key FROM requests"):
        change(
            hub, "INSERT OR IGNORE INTO received VALUES (?, 'of another request', '{}', '')", key
        )


def test_a_server_that_goes_by_keys_is_sent_nothing_twice(
    db_path: Path, recorder: Recorder
) -> None:
    """It might store everything again: the request goes under its key, whole, or not at all."""
    (run_id,) = record(1)
    step = "(run_id, position, recorded_at, step_name, kind, output)"
    at = "2026-01-31T09:30:00.000000Z"
    taken = Rule("status", status=422, path="/steps/$", body={"code": "idempotency_key_in_use"})
    with fault_server((taken,)) as server:
        change(
            db_path,
            f"INSERT INTO steps {step} VALUES (?, 900, '{at}', 'b', 'chain', '{{}}')",
            run_id,
        )
        done = upload(db_path, server.url)
        assert (done.parked, done.delivered) == (1, 0)
        sent = [one["key"] for one in server.log() if one["path"].endswith("/steps/")]
    assert set(sent) == {f"{run_id}:steps:0"}


def _forget(path: Path) -> None:
    """Lose all that is known of what a server has, as when an older file is put in place."""
    change(path, "DELETE FROM requests")
    change(
        path,
        "UPDATE deliveries SET state = 'pending', receipts = NULL, remote_run_id = NULL,"
        " remote_workflow_id = NULL",
    )


def _add_late(path: Path, random: Random, run_id: str, position: int) -> None:
    at = f"'{run_id}', {position}, '2026-01-31T09:30:00.000000Z'"
    event = "(run_id, position, recorded_at, event, data)"
    step = "(run_id, position, recorded_at, step_name, kind, output)"
    score = "(run_id, position, recorded_at, name, data_type, numeric_value, comment)"
    change(
        path,
        random.choice(
            (
                f"INSERT INTO scores {score} VALUES ({at}, 'late', 'numeric', 0.25, '')",
                f"INSERT INTO events {event} VALUES ({at}, 'policy_check', '{{\"a\":1}}')",
                f"INSERT INTO steps {step} VALUES ({at}, 'late', 'chain', '{{\"n\":1}}')",
            )
        ),
    )


def _rows(path: Path) -> list[object]:
    """Return all that a file has of its runs, but for the order of their arrival."""
    names = ", ".join(column.name for column in RUNS.travelling)
    runs = ask(path, f"SELECT {names}, process_id FROM runs ORDER BY run_id")
    tables = (ask(path, f"SELECT * FROM {table.name} ORDER BY 1, 2") for table in RECORD_TABLES)
    return [runs, *tables, ask(path, SESSIONS)]


def test_a_hub_that_has_lost_a_run_gets_it_again(db_path: Path, recorder: Recorder) -> None:
    """A late score is answered with 404; then the run goes from its start, once."""
    record_runs(5, Random(1))
    hub = db_path.with_name("hub.db")
    ((run_id,),) = ask(db_path, "SELECT min(run_id) FROM runs")
    late = "INSERT INTO scores (run_id, position, recorded_at, name, data_type, comment)"
    with serving(hub) as client:
        upload(db_path, url_of(client))
        change(hub, "DELETE FROM runs")
        change(hub, "DELETE FROM received")
        change(
            db_path,
            f"{late} VALUES (?, 900, '2026-01-31T09:30:00.000000Z', 'liked', 'numeric', '')",
            run_id,
        )
        done = upload(db_path, url_of(client))
        assert (done.pending, done.parked) == (0, 0)
    counts = "SELECT count(*) FROM {0} WHERE run_id = ?"
    for table in TABLES:
        assert ask(hub, counts.format(table), run_id) == ask(db_path, counts.format(table), run_id)


def test_a_hub_that_forgets_a_run_each_time_is_not_asked_for_ever(
    db_path: Path, recorder: Recorder
) -> None:
    """The run is parked with the reason."""
    record_runs(1, Random(1))
    hub = db_path.with_name("hub.db")

    def forget(point: str) -> None:
        if point == "answered" and hub.exists():
            change(hub, "DELETE FROM runs")
            change(hub, "DELETE FROM received")

    with serving(hub) as client:
        done = upload(db_path, url_of(client), at=forget)
    assert (done.pending, done.delivered) == (0, 0)
    assert done.parked == ask(db_path, "SELECT count(*) FROM runs")[0][0]


@pytest.mark.parametrize("bulk", [False, True])
def test_infinite_scores_arrive(db_path: Path, recorder: Recorder, bulk: bool) -> None:
    """Also with half a character in their name, and those that 0.2 has stored as text."""
    with WaxellContext("a", session_id="s") as run:
        for name in ("whole", "half\ud83d"):
            for value in (inf, -inf, nan):
                run.record_score(name, value)
        run.record_score("0.2", 1.0)
        run.record_score("0.2 nan", 1.0)
    scores = "SELECT name, numeric_value, string_value FROM scores ORDER BY position"
    finite = [(inf, None), (-inf, None), (None, "nan")]
    recorded = [(name, *rest) for name in ("whole", "half\ufffd") for rest in finite]
    assert ask(db_path, scores)[:6] == recorded
    change(db_path, "UPDATE scores SET numeric_value = 'inf' WHERE name = '0.2'")
    change(db_path, "UPDATE scores SET numeric_value = 'nan' WHERE name = '0.2 nan'")
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        assert upload(db_path, url_of(client), bulk=bulk).parked == 0
    assert ask(hub, scores) == [*recorded, ("0.2", inf, None), ("0.2 nan", None, None)]


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "batches"])
def test_hubs_that_send_to_each_other_come_to_an_end(
    db_path: Path, recorder: Recorder, bulk: bool
) -> None:
    """Each record is once at each of them, and what came back goes no further."""
    record_runs(12, Random(2))
    ring = [db_path, *(db_path.with_name(f"hub{number}.db") for number in range(2))]
    with serving(ring[0]) as own, serving(ring[1]) as first, serving(ring[2]) as second:
        urls = [url_of(client) for client in (first, second, own)]
        for number in range(3):
            for path, url in zip(ring, urls, strict=True):
                upload(path, url, bulk=bulk)
            if not number:  # what is changed goes round, too
                _add_late(db_path, Random(3), _first(db_path), 900)
        before = [_changes(path) for path in ring]
        for path, url in zip(ring, urls, strict=True):
            done = upload(path, url, bulk=bulk)
            assert (done.delivered, done.pending, done.parked) == (0, 0, 0)
    assert [_changes(path) for path in ring] == before
    for path in ring[1:]:
        for there, here in zip(_rows(path), _rows(db_path), strict=True):
            assert there == here


@pytest.mark.parametrize("bulk", [False, True], ids=["single", "batches"])
def test_a_file_that_is_sent_to_its_own_server_stays_as_it_is(
    db_path: Path, recorder: Recorder, bulk: bool
) -> None:
    """As `waxlocal serve --daemon` with its own address does."""
    record_runs(12, Random(2))
    with serving(db_path) as client:
        before = _rows(db_path)
        for _ in range(3):
            done = upload(db_path, url_of(client), bulk=bulk)
            assert (done.pending, done.parked) == (0, 0)
        assert done.delivered == 0
    assert _rows(db_path) == before


def _first(path: Path) -> str:
    return str(ask(path, "SELECT run_id FROM runs ORDER BY id LIMIT 1")[0][0])


def _changes(path: Path) -> list[object]:
    """Return what is uploaded again if it has changed."""
    return ask(path, "SELECT run_id, revision FROM runs ORDER BY run_id")
