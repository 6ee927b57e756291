"""What an item says of its record beside the original SDK's fields, and what a hub makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools.builders import FixedClock, moment, run_id
from tests.wire.test_round_trip import File, differences, files
from waxlocal.delivery.due import Due
from waxlocal.delivery.records import load_runs
from waxlocal.delivery.requests import Part
from waxlocal.errors import InvalidQuery
from waxlocal.ingest.endpoints import OF_RUN, WITHOUT_RUN
from waxlocal.records import EVENTS, LLM_CALLS, RUNS, SCORES, SPANS, Table
from waxlocal.wire.exact import KEY
from waxlocal_daemon.plan import planned, start_part

Row = dict[str, Any]
RUN_ID = run_id(1)
NOW_NS = FixedClock(60.0).time_ns()


@pytest.fixture
def pair() -> Iterator[tuple[File, File]]:
    """Return the files of a device, with one run that has ended, and of a hub."""
    with files(2) as (device, hub):
        device.insert((row_of(RUNS, **RUN), None, {}))
        yield device, hub


RUN = {
    "run_id": RUN_ID,
    "agent_name": "chatbot",
    "trace_id": "0" * 32,
    "interaction_mode": "autonomous",
    "status": "success",
    "started_at": moment(0),
    "completed_at": moment(5),
    "duration": 5.0,
}


def row_of(table: Table, **columns: Any) -> Row:
    """Return a row with the defaults of a table in all other columns."""
    return {column.name: column.default for column in table.travelling} | columns


def event(position: int, name: str, data: object, at: float = 1.0) -> Row:
    """Return an event."""
    text = json.dumps(data, separators=(",", ":"))
    return row_of(EVENTS, position=position, recorded_at=moment(at), event=name, data=text)


def plan(device: File, parts: list[Part]) -> dict[str, list[Row]]:
    """Return the bodies of the requests that a run still needs, by stage."""
    (run,) = load_runs(device.connection, [RUN_ID])
    due = Due(RUN_ID, RUN_ID, f"wf_{RUN_ID}", 0, False, False, None, None, 0)
    start = start_part(run, due, parts)
    new = ([start] if start else []) + planned(run, [], {}, parts, of_waxlocal=True)
    found: dict[str, list[Row]] = {}
    for part in new:
        found.setdefault(part.stage, []).append(json.loads(part.body or b""))
    return found


def test_a_call_and_its_span_make_one_row_in_any_order(pair: tuple[File, File]) -> None:
    """The call shows the row before the end of the run; the span has the rest, or all of it."""
    device, _ = pair
    call = row_of(
        LLM_CALLS,
        position=7,
        recorded_at=moment(1.5),
        model="gpt-4o",
        messages='[{"role":"user","content":"hi"}]',
        response="hello",
        details='{"framework":"x"}',
    )
    device.add("llm_calls", RUN_ID, call)
    bodies = plan(device, [])
    (sent,) = bodies["llm-calls"][0]["calls"]
    assert not {"messages", "response", "details"} & sent[KEY].keys()
    for order in (("llm-calls", "spans"), ("spans", "llm-calls")):
        with files(1) as (hub,):
            hub.take("start", RUN_ID, bodies["start"][0])
            hub.take(order[0], RUN_ID, bodies[order[0]][0])
            (early,) = hub.contents()["llm_calls"]
            assert early[:3] == (RUN_ID, 7, moment(1.5))
            for stage in (order[1], *order, "complete"):
                hub.take(stage, RUN_ID, bodies[stage][0])
            assert differences(hub, device) == []


def test_what_comes_late_and_has_no_request_of_its_own_goes_as_an_event(
    pair: tuple[File, File],
) -> None:
    """A policy check from after the end: every server can show it, a hub stores it as it was."""
    device, hub = pair
    device.send(hub, "single")
    device.add("events", RUN_ID, event(3, "policy_check", {"action": "allow"}, at=9.0))
    bodies = plan(device, device.parts)
    assert list(bodies) == ["events"]
    (late,) = bodies["events"][0]["events"]
    assert (late["event"], late["metadata"]) == ("policy_check", {"action": "allow"})
    assert "data" not in late[KEY]
    device.send(hub, "single")
    assert differences(hub, device) == []


def test_what_the_state_tells_is_not_said_twice(pair: tuple[File, File]) -> None:
    """The data of an event is left out where the conversation's state has it word for word."""
    device, hub = pair
    for position, data in enumerate(({"records": 3}, {"source": "crm", "operation": "read"}), 1):
        told = data if position == 1 else {**data, "records": 1}
        device.add("events", RUN_ID, event(position, "data_access", told))
    (body,) = plan(device, [])["complete"]
    first, second = body[KEY]["records"]["events"]
    assert ("data" in first, "data" in second) == (True, False)
    device.send(hub, "single")
    assert differences(hub, device) == []


@pytest.mark.parametrize(
    "said",
    [
        {"position": 1},
        {"position": "1", "recorded_at": moment(1)},
        {"position": 2**63, "recorded_at": moment(1)},
        {"position": 1, "recorded_at": "yesterday"},
        {"position": 1, "recorded_at": moment(1), "comment": 5},
    ],
)
def test_what_cannot_be_stored_as_it_is_is_refused(pair: tuple[File, File], said: Row) -> None:
    """With the column that is to blame; nothing of the request is answered as recorded."""
    device, hub = pair
    device.send(hub, "single")
    score = {"name": "liked", "data_type": "numeric", "comment": "", "numeric_value": 1.0}
    with pytest.raises(InvalidQuery, match=r"scores: "):
        OF_RUN["scores"](hub.connection, RUN_ID, {"scores": [{**score, KEY: said}]}, NOW_NS)
    assert hub.contents()["scores"] == []


def test_a_run_that_an_older_waxlocal_began_to_send_goes_on_without_places(
    pair: tuple[File, File],
) -> None:
    """Its first records lie at the server where that version has put them."""
    device, _ = pair
    start = Part("start", 0, "key", "delivered", [], 1, None)
    device.add("scores", RUN_ID, row_of(SCORES, position=1, recorded_at=moment(1), name="liked"))
    device.add("spans", RUN_ID, row_of(SPANS, position=2, started_at=moment(1), name="search"))
    text = json.dumps(plan(device, [start]))
    assert '"liked"' in text
    assert KEY not in text


def test_a_server_that_was_not_told_of_places_does_as_before(pair: tuple[File, File]) -> None:
    """An event of the original SDK may have a field of that name."""
    _, hub = pair
    body = {"events": [{"event": "mine", KEY: 1}, {"event": "mine", KEY: {"a": 1}}]}
    assert WITHOUT_RUN["events"](hub.connection, body, NOW_NS) == {"recorded": 2}
    data = [json.loads(text) for (text,) in hub.rows("events", ["data"], "position")]
    assert [one[KEY] for one in data] == [1, {"a": 1}]
