"""A value that is larger than a server takes keeps back neither its run nor any other."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import PATIENT, ask, change, record, upload, uploading
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import list_parked
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import reader, writer
from waxlocal.web.api import bulk_routes
from waxlocal.web.middleware import guards
from waxlocal.wire import cut_values
from waxlocal_daemon.doubts import MOST_REFUSALS

pytestmark = pytest.mark.usefixtures("recorder")

LARGE = "é" * 150_000
LIMIT = 200_000  # bytes
RUN = "run_id, agent_name, status, started_at, completed_at, duration, session_id, user_id"


def _record(*, alone: bool = False, **values: Any) -> str:
    """Record a run with such inputs, metadata or result, and another run.

    `alone`: without events and without a run inside of it, so that nothing waits for the answer to
    its start.
    """
    given = {"inputs": {"n": 1}, "metadata": {"turn": 1}, **values}
    result = given.pop("result", {"n": 1})
    with WaxellContext("chatbot", session_id="s", user_id="u", **given) as run:
        run.set_tag("first", "1")
        run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.1)
        run.record_step("think", {"n": 1})
        if not alone:
            run.record_data_access(source="db", operation="read", records=1)
            _record_other()
        run.record_score("liked", 1.0)
        run.set_result(result)
    if alone:
        _record_other()
    return str(run.run_id)


def _record_other() -> None:
    with WaxellContext("helper") as run:
        run.record_score("quality", 0.5)


def _all(path: Path, columns: str) -> dict[str, list[Any]]:
    tables = [table.name for table in RECORD_TABLES]
    found = {name: ask(path, f"SELECT * FROM {name} ORDER BY 1, 2") for name in tables}
    return found | {"runs": ask(path, f"SELECT {columns} FROM runs ORDER BY run_id")}


def _parked(path: Path) -> list[tuple[str, str, int | None]]:
    with reader(path) as connection:
        return [(one.run_id, one.stage, one.status) for one in list_parked(connection)]


@pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "nested"])
@pytest.mark.parametrize(
    ("name", "stage"), [("inputs", "start"), ("metadata", "start"), ("result", "complete")]
)
def test_a_run_with_a_value_that_the_hub_does_not_take(
    db_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    stage: str,
    bulk: bool,
    alone: bool,
) -> None:
    """All else of it arrives; the value itself when the hub takes it."""
    monkeypatch.setattr(guards, "MAX_BODY", LIMIT)
    monkeypatch.setattr(bulk_routes, "MOST_BYTES", LIMIT)
    large = _record(alone=alone, **{name: {"text": LARGE}})
    record(3)
    hub = db_path.with_name("hub.db")
    others = ", ".join({"inputs", "metadata", "result"} - {name})
    with serving(hub) as client:
        url = url_of(client)
        done = upload(db_path, url, bulk=bulk, **PATIENT)
        assert (done.delivered, done.pending, done.parked) == (4, 0, 1)
        assert _parked(db_path) == [(large, stage, 413)]
        assert _all(hub, f"{RUN}, {others}") == _all(db_path, f"{RUN}, {others}")
        ((cut,),) = ask(hub, f"SELECT {name} FROM runs WHERE run_id = ?", large)
        assert json.loads(cut) == {"$cut": f'{{"text":"{LARGE}'[:10_000], "length": 150_011}
        ((reason,),) = ask(db_path, "SELECT reason FROM deliveries WHERE state = 'parked'")
        assert reason.startswith(f"{stage}: 413: the body has more than 200,000 bytes")
        assert reason.endswith(f"all else was sent, with a part of: {name}")
        # Refused once more, it is parked once more, and nothing is lost or doubled.
        with writer(db_path) as connection:
            assert requeue(connection) == 1
        assert upload(db_path, url, bulk=bulk, **PATIENT).parked == 1
        assert _all(hub, f"{RUN}, {others}") == _all(db_path, f"{RUN}, {others}")
        monkeypatch.setattr(guards, "MAX_BODY", 10 * LIMIT)
        with writer(db_path) as connection:
            assert requeue(connection) == 1
        assert upload(db_path, url, bulk=bulk, **PATIENT).parked == 0
        everything = f"{RUN}, inputs, metadata, tags, result"
        assert _all(hub, everything) == _all(db_path, everything)


@pytest.mark.parametrize("cell", ['"{}"', '["{}"]'])
def test_a_value_that_is_no_object_goes_once(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    """The API wraps it; it is not sent beside that, and arrives as it is."""
    monkeypatch.setattr(guards, "MAX_BODY", LIMIT)
    run_id = _record()
    text = cell.format("x" * 150_000)
    change(db_path, "UPDATE runs SET inputs = ?, revision = NULL WHERE run_id = ?", text, run_id)
    change(db_path, "UPDATE runs SET metadata = '7', result = '[]' WHERE run_id = ?", run_id)
    change(db_path, "UPDATE steps SET output = ?", text)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        done = upload(db_path, url_of(client), **PATIENT)
    assert (done.delivered, done.parked) == (2, 0)
    everything = f"{RUN}, inputs, metadata, tags, result"
    assert _all(hub, everything) == _all(db_path, everything)


def test_a_whole_value_stays_where_it_comes_cut(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a changed run says all of it: too much at once, though each value was not."""
    monkeypatch.setattr(guards, "MAX_BODY", 2 * LIMIT)
    text = {"text": LARGE}
    run_id = _record(inputs=text)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        assert upload(db_path, url, **PATIENT).parked == 0
        change(db_path, "UPDATE runs SET result = inputs WHERE run_id = ?", run_id)
        assert upload(db_path, url, **PATIENT).parked == 1
        everything = f"{RUN}, inputs, metadata, tags"
        assert _all(hub, everything) == _all(db_path, everything)
        monkeypatch.setattr(guards, "MAX_BODY", 10 * LIMIT)
        with writer(db_path) as connection:
            assert requeue(connection) == 1
        assert upload(db_path, url, **PATIENT).parked == 0
        assert _all(hub, f"{everything}, result") == _all(db_path, f"{everything}, result")


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("error", "a\0b" + "x" * 150_000, "result"),
        ("result", json.dumps("x" * 150_000), "inputs"),
    ],
    ids=["NUL", "wrapped"],
)
def test_a_whole_value_stays_whatever_it_is(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, other: str
) -> None:
    """A text with a NUL character, and a value that the API wraps."""
    monkeypatch.setattr(guards, "MAX_BODY", LIMIT)
    run_id = _record()
    state = f"{name} = ?, status = 'error', revision = NULL"
    change(db_path, f"UPDATE runs SET {state} WHERE run_id = ?", value, run_id)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        assert upload(db_path, url, **PATIENT).parked == 0
        text = json.dumps({"text": "y" * 150_000})
        change(db_path, f"UPDATE runs SET {other} = ? WHERE run_id = ?", text, run_id)
        assert upload(db_path, url, **PATIENT).parked == 1
    assert _all(hub, f"{RUN}, {name}") == _all(db_path, f"{RUN}, {name}")


def test_a_session_is_never_cut(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run would stay in the wrong one; only what a whole value replaces is cut."""
    monkeypatch.setattr(guards, "MAX_BODY", LIMIT)
    session = "s" * 70_000
    with WaxellContext("chatbot", session_id=session, inputs={"text": LARGE}) as run:
        run.record_data_access(source="db", operation="read", records=1)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        assert upload(db_path, url_of(client), **PATIENT).parked == 1
    assert ask(hub, "SELECT session_id FROM runs") == ask(db_path, "SELECT session_id FROM runs")


def test_what_is_large_is_counted_in_bytes() -> None:
    """As the limits of servers are."""
    assert cut_values.with_cut_values({"result": {"text": "é" * 30_000}})[1] == []
    assert cut_values.with_cut_values({"result": {"text": "é" * 40_000}})[1] == ["result"]


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "nested"])
@pytest.mark.parametrize(
    ("name", "stage"), [("inputs", "start"), ("metadata", "start"), ("result", "complete")]
)
def test_a_server_of_another_kind_gets_the_run_once(
    db_path: Path, name: str, stage: str, alone: bool
) -> None:
    """With the value cut; wanted again, the run is not begun a second time."""
    large = _record(alone=alone, **{name: {"text": "x" * 200_000}})
    with fault_server((Rule("status", status=413, over_bytes=150_000),)) as server:
        assert upload(db_path, server.url).parked == 1
        seen = audit(server)
        assert (len(seen.records), seen.completed) == (2, 2)
        assert not seen.doubled
        server.use_script(())
        with writer(db_path) as connection:
            assert requeue(connection, [large]) == 1
        assert upload(db_path, server.url).parked == int(stage == "start")
        seen = audit(server)
        assert (len(seen.records), seen.doubled) == (2, [])


def test_a_changed_record_that_is_too_large_is_parked_alone(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs no request that carries nothing; the other changes arrive."""
    monkeypatch.setattr(guards, "MAX_BODY", LIMIT)
    _record()
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        assert upload(db_path, url, **PATIENT).parked == 0
        change(db_path, "UPDATE steps SET output = ?", json.dumps({"text": LARGE}))
        change(db_path, "UPDATE scores SET comment = 'on second thoughts'")
        change(db_path, "UPDATE llm_calls SET response = 'corrected'")
        assert upload(db_path, url, **PATIENT).parked == 1
    for table in ("llm_calls", "scores"):
        assert _all(hub, RUN)[table] == _all(db_path, RUN)[table]
    ((reason,),) = ask(db_path, "SELECT reason FROM requests WHERE state = 'parked'")
    assert reason == "413: the body has more than 200,000 bytes"


def _record_long() -> None:
    """Record a run whose state is larger than the limit, with a call and two steps of a few bytes.

    The state has the code, and the events that only the end tells.
    """
    with WaxellContext("chatbot") as run:
        run.record_step("one", {"n": 1})
        run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.1)
        for number in range(3):
            run.record_code_execution(code="x" * 90_000, language="python")
            run.record_data_access(source="y" * 30_000, operation="read", records=number)
        run.record_step("two", {"n": 1})


@pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])
def test_the_state_of_a_long_conversation_keeps_nothing_back(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, bulk: bool
) -> None:
    """Each record of the run is small enough: another waxlocal has all of them."""
    monkeypatch.setattr(guards, "MAX_BODY", LIMIT)
    monkeypatch.setattr(bulk_routes, "MOST_BYTES", LIMIT)
    _record_long()
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        done = upload(db_path, url_of(client), bulk=bulk, **PATIENT)
    assert (done.delivered, done.pending, done.parked) == (1, 0, 0)
    assert _all(hub, f"{RUN}, result") == _all(db_path, f"{RUN}, result")


def test_a_server_of_another_kind_gets_the_records_of_a_long_conversation(db_path: Path) -> None:
    """The state goes with the end alone, as far as there is room for it."""
    _record_long()
    with fault_server((Rule("status", status=413, over_bytes=LIMIT),)) as server:
        upload(db_path, server.url)
        seen = audit(server)
        seen.assert_sound()
        assert seen.completed == 1
    parked = ask(db_path, "SELECT stage, reason FROM requests WHERE state = 'parked'")
    assert [stage for stage, _ in parked] == ["complete"]
    assert parked[0][1].endswith("with a part of: conversation_state")


def test_a_start_without_large_values_is_parked_as_it_is(db_path: Path) -> None:
    """There is nothing to cut, and so little should fit: it may be the server that is wrong."""
    record(1)
    with fault_server((Rule("status", method="POST", status=413),)) as server:
        assert upload(db_path, server.url).parked == 1
        assert audit(server).faults["status 413"] == MOST_REFUSALS


class Killed(BaseException):
    """Ends an upload as a kill would: nothing of this process goes on."""


@pytest.mark.parametrize("seed", range(4))
def test_an_upload_that_is_killed_again_and_again(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Before a request, after it, before its answer is written down: each thing arrives once."""
    monkeypatch.setattr(guards, "MAX_BODY", LIMIT)
    random = Random(seed)
    large = [_record(**{name: {"text": LARGE}}) for name in ("inputs", "result")]
    kills = iter(range(40))

    def die(point: str) -> None:
        if random.random() < 0.3 and next(kills, None) is not None:
            raise Killed(point)

    def arrive(url: str) -> int:
        while True:
            with suppress(Killed), uploading(db_path, url, at=die, **PATIENT) as uploader:
                while uploader.progress().pending:
                    uploader.run(threading.Event())
                return uploader.progress().parked

    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        assert arrive(url) == 2
        assert _all(hub, RUN) == _all(db_path, RUN)
        assert sorted(_parked(db_path)) == sorted(
            [(large[0], "start", 413), (large[1], "complete", 413)]
        )
        monkeypatch.setattr(guards, "MAX_BODY", 10 * LIMIT)
        with writer(db_path) as connection:
            assert requeue(connection) == 2
        kills = iter(range(20))
        assert arrive(url) == 0
        everything = f"{RUN}, inputs, metadata, tags, result"
        assert _all(hub, everything) == _all(db_path, everything)
