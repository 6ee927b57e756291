"""What is recorded or changed after a run was delivered goes with the next upload."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.server import fault_server
from tests.tools.sync import (
    PATIENT,
    ask,
    change,
    contents_of,
    settings_for,
    upload,
    uploading,
)
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.delivery.requeue import requeue
from waxlocal.prices.table import set_price
from waxlocal.storage.connection import writer
from waxlocal_daemon import plan
from waxlocal_daemon.doubts import OF_CONTENT
from waxlocal_daemon.verify import verify

pytestmark = pytest.mark.usefixtures("recorder")

LATE = "2026-02-01T09:30:00.000000Z"

Change = Callable[[Path, str], object]


def _sql(sql: str) -> Change:
    return lambda path, run_id: change(path, sql, run_id)


def _late(table: str, **columns: Any) -> Change:
    """Return a change that adds a record behind all others."""
    names, values = ", ".join(columns), ", ".join(map(repr, columns.values()))
    return _sql(f"INSERT INTO {table} (run_id, position, {names}) VALUES (?, 900, {values})")


RECORDS: dict[str, Change] = {
    "score": _late(
        "scores", recorded_at=LATE, name="liked", data_type="numeric", numeric_value=1.0, comment=""
    ),
    "event": _late("events", recorded_at=LATE, event="approval_granted", data='{"action": "x"}'),
    "feedback": _late(
        "events", recorded_at=LATE, event="feedback", data='{"event": "feedback", "stars": 5}'
    ),
    "step": _late("steps", recorded_at=LATE, step_name="tidy", kind="chain", output='{"n": 1}'),
    "span": _late("spans", started_at=LATE, name="search", kind="tool", status="ok"),
    "call": _late(
        "llm_calls", recorded_at=LATE, model="gpt-4o", provider="", task="", tokens_in=7,
        tokens_out=3, cached_tokens=0, cache_write_tokens=0, cost=0.5, cost_source="call",
        is_streaming=0, status="ok",
    ),
}  # fmt: skip
CHANGES: dict[str, Change] = {
    "tags": _sql('UPDATE runs SET tags = \'{"late": "yes"}\' WHERE run_id = ?'),
    "metadata": _sql("UPDATE runs SET metadata = '{\"turn\": 3}' WHERE run_id = ?"),
    "no metadata": _sql("UPDATE runs SET metadata = NULL WHERE run_id = ?"),
    "result": _sql("UPDATE runs SET result = '{\"answer\": 43}' WHERE run_id = ?"),
    "status": _sql(
        "UPDATE runs SET status = 'error', error = 'no', error_type = 'E', duration = 9.5,"
        " completed_at = '2030-01-31T09:30:00.000000Z' WHERE run_id = ?"
    ),
    "price": lambda path, _: set_price(path, "in-house", input_per_mtok=2.0, output_per_mtok=4.0),
    "cost": _sql("UPDATE llm_calls SET cost = 0.25 WHERE run_id = ? AND model = 'gpt-4o'"),
    "response": _sql("UPDATE llm_calls SET response = 'corrected' WHERE run_id = ?"),
    "open span": _sql(
        "UPDATE spans SET status = 'ok', duration_ms = 7.5 WHERE run_id = ? AND name = 'slow'"
    ),
    "span": _sql("UPDATE spans SET output = '{\"n\": 8}' WHERE run_id = ? AND name = 'quick'"),
    "step": _sql("UPDATE steps SET output = '{\"n\": 9}' WHERE run_id = ?"),
    "score": _sql("UPDATE scores SET comment = 'on second thoughts' WHERE run_id = ?"),
    "event": _sql("UPDATE events SET data = '{\"n\": 10}' WHERE run_id = ?"),
}


def _record(path: Path) -> str:
    """Record a run of everything; return its id."""
    with WaxellContext("chatbot", session_id="sess_1", metadata={"turn": 1}) as run:
        run.set_tag("first", "1")
        run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.1)
        run.record_llm_call(model="in-house", tokens_in=100, tokens_out=50)
        run.record_step("think", {"n": 1})
        run.record_tool_call(name="quick", input={"n": 1}, output={"n": 1})
        run.record_score("quality", 0.5)
        run.record_data_access(source="db", operation="read", records=1)
        run.set_result({"answer": 42})
    # A tool that goes on when the run is over.
    change(
        path,
        "INSERT INTO spans (run_id, position, started_at, name, kind, status)"
        " VALUES (?, 50, '2026-01-31T09:30:00.000000Z', 'slow', 'tool', 'running')",
        run.run_id,
    )
    return str(run.run_id)


BY_ANY_WAY = pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])


@BY_ANY_WAY
@pytest.mark.parametrize("what", [*(f"late {one}" for one in RECORDS), *CHANGES])
def test_a_hub_has_what_is_here(db_path: Path, what: str, bulk: bool) -> None:
    """Each row as it is here, once, and the session's totals."""
    make = RECORDS[what.removeprefix("late ")] if what.startswith("late ") else CHANGES[what]
    run_id = _record(db_path)
    _record(db_path)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        upload(db_path, url_of(client), bulk=bulk)
        assert contents_of(hub) == contents_of(db_path)
        make(db_path, run_id)
        assert contents_of(hub) != contents_of(db_path)
        upload(db_path, url_of(client), bulk=bulk)
        assert contents_of(hub) == contents_of(db_path)
        assert verify(db_path, settings_for(url_of(client), **PATIENT)).agrees


def _without_refused(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    found = contents_of(path)
    return found | {"steps": [row for row in found["steps"] if "poison" not in row]}


@BY_ANY_WAY
@pytest.mark.parametrize("what", [*(f"late {one}" for one in RECORDS), *CHANGES])
def test_a_parked_run_goes_on_but_for_what_was_refused(
    db_path: Path, what: str, bulk: bool
) -> None:
    """No request that is parked goes again, and the run stays parked with the reason."""
    make = RECORDS[what.removeprefix("late ")] if what.startswith("late ") else CHANGES[what]
    run_id = _record(db_path)
    poison = _sql("INSERT INTO steps (run_id, position, recorded_at, step_name, kind)"
                  f" VALUES (?, 800, '{LATE}', 'poison', 'chain')")  # fmt: skip
    poison(db_path, run_id)
    hub = db_path.with_name("hub.db")
    state = "SELECT state, reason, not_before FROM deliveries"
    refused = (
        "SELECT part, attempts, reason FROM requests WHERE stage = 'steps' AND state = 'parked'"
    )
    with serving(hub) as client:
        change(
            hub,
            "CREATE TRIGGER refuse BEFORE INSERT ON steps WHEN NEW.step_name = 'poison'"
            " BEGIN SELECT raise(ABORT, 'not this one'); END",
        )
        assert upload(db_path, url_of(client), bulk=bulk).parked == 1
        parked, of_one = ask(db_path, state), ask(db_path, refused)
        assert [attempts for _, attempts, _ in of_one] <= [OF_CONTENT]
        make(db_path, run_id)
        assert _without_refused(hub) != _without_refused(db_path)
        assert upload(db_path, url_of(client), bulk=bulk).parked == 1
        assert _without_refused(hub) == _without_refused(db_path)
        assert ask(db_path, refused) == of_one
        # A change of the refused record itself is tried, and refused in its turn.
        assert ask(db_path, state) == parked or what == "step"
        change(hub, "DROP TRIGGER refuse")
        with writer(db_path) as connection:
            assert requeue(connection) == 1
        assert upload(db_path, url_of(client), bulk=bulk).parked == 0
        assert contents_of(hub) == contents_of(db_path)


@BY_ANY_WAY
def test_a_change_goes_on_from_hub_to_hub(db_path: Path, bulk: bool) -> None:
    """What a hub takes over is news there, too."""
    run_id = _record(db_path)
    first, second = db_path.with_name("first.db"), db_path.with_name("second.db")
    with serving(first) as one, serving(second) as two:

        def send() -> None:
            upload(db_path, url_of(one), bulk=bulk)
            upload(first, url_of(two), bulk=bulk)

        send()
        for name in ("tags", "price", "cost", "open span", "event"):
            CHANGES[name](db_path, run_id)
            send()
            assert contents_of(second) == contents_of(db_path), name


@BY_ANY_WAY
def test_a_change_while_a_run_is_on_its_way(db_path: Path, bulk: bool) -> None:
    """It goes with the next requests."""
    run_id = _record(db_path)
    hub = db_path.with_name("hub.db")
    made = []

    def make(point: str) -> None:
        if point == "sending" and not made:
            made.append([CHANGES[name](db_path, run_id) for name in ("tags", "step", "response")])

    with serving(hub) as client:
        upload(db_path, url_of(client), bulk=bulk, at=make)
        assert contents_of(hub) == contents_of(db_path)


class Killed(Exception):
    """The upload ends here, as if its process were killed."""


@pytest.mark.parametrize("seed", range(4))
@BY_ANY_WAY
def test_changes_arrive_though_the_upload_is_killed_again_and_again(
    db_path: Path, bulk: bool, seed: int
) -> None:
    """Before a request, after it, before its answer is written down; all kinds of changes."""
    random = Random(seed)
    run_ids = [_record(db_path) for _ in range(2)]
    hub = db_path.with_name("hub.db")
    makes = [make for name, make in CHANGES.items() if name != "no metadata"]

    def die(point: str) -> None:
        if random.random() < 0.2:
            raise Killed(point)

    with serving(hub) as client:
        for make in random.sample(makes, len(makes)):
            make(db_path, random.choice(run_ids))
            if random.random() < 0.6:
                with (
                    uploading(db_path, url_of(client), bulk=bulk, at=die, **PATIENT) as uploader,
                    suppress(Killed),
                ):
                    uploader.run(threading.Event())
        upload(db_path, url_of(client), bulk=bulk)
        assert contents_of(hub) == contents_of(db_path)
    bodies = ask(db_path, "SELECT count(*) FROM requests WHERE body IS NOT NULL")
    assert bodies == [(0,)]


def test_a_run_that_began_by_single_requests_and_goes_on_in_batches(db_path: Path) -> None:
    """It stays with single requests; what changes arrives all the same."""
    run_id = _record(db_path)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        for number, (name, make) in enumerate(CHANGES.items()):
            upload(db_path, url_of(client), bulk=number % 2 == 1)
            make(db_path, run_id)
            upload(db_path, url_of(client), bulk=number % 3 == 1)
            assert contents_of(hub) == contents_of(db_path), name


def test_many_changed_records_go_in_several_requests(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is larger than a server may take."""
    monkeypatch.setattr(plan, "MAX_ITEMS", 7)
    with WaxellContext("chatbot") as run:
        for number in range(20):
            run.record_step(f"step {number}", {"n": number})
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        upload(db_path, url_of(client))
        change(db_path, "UPDATE steps SET output = '{}'")
        upload(db_path, url_of(client))
        assert contents_of(hub) == contents_of(db_path)
    ends = ask(db_path, "SELECT positions FROM requests WHERE stage = 'complete' ORDER BY part")
    assert [len(json.loads(positions)) for (positions,) in ends] == [1, 8, 8, 7]


def test_an_upload_without_changes_sends_nothing_more(db_path: Path) -> None:
    """What was sent in the state that it is in stays where it is, whatever the state is."""
    run_id = _record(db_path)
    CHANGES["response"](db_path, run_id)
    CHANGES["tags"](db_path, run_id)
    hub = db_path.with_name("hub.db")
    count = "SELECT count(*) FROM requests"
    with serving(hub) as client:
        upload(db_path, url_of(client))
        CHANGES["score"](db_path, run_id)
        upload(db_path, url_of(client))
        ((sent,),) = ask(db_path, count)
        change(db_path, "UPDATE deliveries SET state = 'pending'")
        upload(db_path, url_of(client))
    assert ask(db_path, count) == [(sent,)]


def test_receipts_of_runs_that_never_change_say_nothing_of_states(db_path: Path) -> None:
    """But for the checksum of the end, which another server is not sent again without need."""
    with WaxellContext("chatbot") as run:
        run.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1, cost=0.1)
        run.record_step("think", {"n": 1})
        run.record_score("quality", 0.5)
    with serving(db_path.with_name("hub.db")) as client:
        upload(db_path, url_of(client))
    longest = "SELECT stage, max(length(states)) FROM requests WHERE states IS NOT NULL GROUP BY 1"
    assert ask(db_path, longest) == [("complete", 18), ("spans", 11)]


@pytest.mark.parametrize("what", CHANGES)
def test_a_server_of_another_kind_is_told_of_another_end_only(db_path: Path, what: str) -> None:
    """Its API has no change: it gets another end if result, status or error changed, once."""
    run_id = _record(db_path)
    with fault_server() as server:
        upload(db_path, server.url)
        before = server.counts()["stored"]
        for _ in range(2):
            CHANGES[what](db_path, run_id)
            upload(db_path, server.url)
        ends = server.runs()[0]["completes"]
        assert server.counts()["stored"] - before == len(ends) - 1
    assert len(ends) == (2 if what in ("result", "status") else 1)
    if what == "result":
        assert [end["result"] for end in ends] == [{"answer": 42}, {"answer": 43}]
    if what == "status":
        assert [(end["status"], end["error"]) for end in ends] == [("success", ""), ("error", "no")]
