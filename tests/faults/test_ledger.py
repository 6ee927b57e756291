"""What the fault server stores: each request once, and only what the API takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.asking import (
    CALLS,
    END,
    START,
    connected,
    get,
    head_bytes,
    is_stored,
    line,
    next_key,
    of_stage,
    post,
    post_bulk,
    request_bytes,
    send_run,
)
from tests.faults.audit import audit
from tests.faults.ledger import BULK_PATH, CONFIG_PATH, START_PATH
from tests.faults.rules import Rule
from tests.faults.server import FaultServer, fault_server
from waxlocal.wire.paths import EVENTS, stage_path

WHOLE = json.dumps(START).encode()


@pytest.fixture(scope="module")
def shared() -> Iterator[FaultServer]:
    """One server for the tests that only look at single requests."""
    with fault_server() as server:
        yield server


@pytest.fixture
def server(shared: FaultServer) -> Iterator[FaultServer]:
    """The shared server without faults; what a test has told it is taken back."""
    yield shared
    shared.use_script(())
    shared.demand_key(None)
    shared.open_doors()


def test_a_key_gets_the_same_answer_each_time(server: FaultServer) -> None:
    """The second arrival of a key is answered as the first and stores nothing."""
    before = server.counts()["started"]
    first, second, third = (post(server, START_PATH, START, key) for key in ("a", "a", "b"))
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    assert first.body["run_id"] != third.body["run_id"]
    assert first.body["workflow_id"] != third.body["workflow_id"]
    assert server.counts()["started"] == before + 2


def test_a_key_with_another_body_is_refused_and_told(server: FaultServer) -> None:
    """The same key with other bytes is answered 422, and the audit names it."""
    post(server, START_PATH, START, "two-bodies")
    assert post(server, START_PATH, {**START, "agent_name": "b"}, "two-bodies").status == 422
    assert any(told.startswith("two-bodies: 2 bodies") for told in audit(server).two_bodies)


def test_records_are_kept_by_run_and_stage(server: FaultServer) -> None:
    """What was sent can be asked for, by run as well as request by request."""
    ids = send_run(server, "kept")
    run = next(run for run in server.runs() if run["run_id"] == ids["run_id"])
    assert run["local_id"] == "kept"
    assert run["records"] == {"llm-calls": CALLS["calls"]}
    assert run["completes"] == [END]
    sent = [found for found in server.requests() if "/runs/start/" in found["path"]]
    assert sent[-1]["body"]["metadata"] == {"waxlocal": {"run_id": "kept"}}
    assert sent[-1]["headers"]["idempotency-key"] == "kept-start"
    assert "x-wax-key" not in sent[-1]["headers"]


@pytest.mark.parametrize("stage", ["steps", "spans", "scores"])
def test_each_stage_answers_how_much_it_has_taken(server: FaultServer, stage: str) -> None:
    """The answer to a stage is the number of its records."""
    reply = of_stage(server, next_key(), stage, **{stage: [{"name": "s"}] * 3})
    assert (reply.status, reply.body) == (200, {"recorded": 3})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (EVENTS, {"events": [{"event": "approval_granted"}]}),
        (stage_path("partial", "{run}"), {"partial": "so far"}),
        (
            stage_path("episodic", "{run}"),
            {"slot_name": "s", "scope_key": "a:b", "memory_type": "dict", "data": {}},
        ),
        (
            stage_path("semantic", "{run}"),
            {"slot_name": "s", "scope_key": "a:b", "content": "c"},
        ),
    ],
)
def test_the_smaller_endpoints_answer(server: FaultServer, path: str, body: Any) -> None:
    """Events, partial outputs and memory are taken, too."""
    run_id = post(server, START_PATH, START, next_key()).body["run_id"]
    reply = post(server, path.replace("{run}", run_id), body, next_key())
    assert (reply.status, reply.body) == (200, {"recorded": 1})


@pytest.mark.parametrize("run_id", ["nobody", ""])
def test_records_of_an_unknown_run_are_not_found(server: FaultServer, run_id: str) -> None:
    """A run that never started gives 404, and the audit names the path."""
    path = stage_path("llm-calls", run_id)
    assert post(server, path, CALLS, next_key()).status == 404
    assert path in audit(server).unknown_runs


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (WHOLE.replace(b"{}", b'{"x": NaN}', 1), "application/json", 400),
        (WHOLE.replace(b"{}", b'{"x": 1, "x": 2}', 1), "application/json", 400),
        (WHOLE.replace(b"{}", b'{"x": "\xff"}', 1), "application/json", 400),
        (b"[]", "application/json", 400),
        (b"", "application/json", 400),
        (json.dumps({**START, "inputs": None}).encode(), "application/json", 400),
        (WHOLE, "text/plain", 415),
    ],
)
def test_json_is_read_strictly(server: FaultServer, body: bytes, kind: str, status: int) -> None:
    """What RFC 8259 or the API does not allow is refused and told."""
    before = len(audit(server).refused)
    reply = post(server, START_PATH, body, next_key(), Content_Type=kind)
    assert reply.status == status
    assert len(audit(server).refused) == before + 1


def test_the_key_of_the_api_can_be_demanded(server: FaultServer) -> None:
    """Another X-Wax-Key than the demanded one gives 401, and stores nothing."""
    server.demand_key("new")
    assert post(server, START_PATH, START, "demanded").status == 401
    assert not is_stored(server, "demanded")
    assert post(server, START_PATH, START, "demanded", X_Wax_Key="new").status == 201


def test_a_connection_serves_many_requests(server: FaultServer) -> None:
    """Keep-alive: a hundred requests use one connection."""
    with connected(server) as sock:
        for _ in range(100):
            sock.sendall(request_bytes(next_key()))
            assert sock.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_expect_is_answered_before_the_body(server: FaultServer) -> None:
    """A client that asks for 100 Continue gets it before it has sent the body."""
    body = json.dumps(START).encode()
    with connected(server) as sock:
        sock.sendall(head_bytes(next_key(), len(body), "Expect: 100-continue"))
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_bulk_is_offered_only_when_asked_for(server: FaultServer) -> None:
    """Without it the configuration is empty and the path unknown."""
    assert get(server, CONFIG_PATH).body == {}
    assert post_bulk(server, line("r")).status == 404
    with fault_server(bulk=True) as other:
        assert get(other, CONFIG_PATH).body["bulk"]["path"] == BULK_PATH


def test_bulk_answers_each_line_and_merges_by_position() -> None:
    """A run that comes again adds only what is new, and is counted once."""
    with fault_server(bulk=True) as server:
        first = post_bulk(server, line("r1"), line("r2", status="running"), b"{not json")
        second = post_bulk(server, line("r2", calls=3))
        found = audit(server)
    statuses = [(result["run_id"], result["status"]) for result in first.body["results"]]
    assert statuses == [("r1", "stored"), ("r2", "stored"), ("", "refused")]
    assert second.body == {"results": [{"run_id": "r2", "status": "merged"}]}
    assert found.records == {"r1": {"llm-calls": 1}, "r2": {"llm-calls": 3}}
    assert (found.runs, found.completed, found.requests, found.minimum) == (2, 2, 2, 2)
    assert len(found.problems()) == 1
    assert "no JSON" in found.problems()[0]


def test_a_bulk_key_must_be_the_hash_of_the_body() -> None:
    """Any other key is answered 400, and nothing is stored."""
    with fault_server(bulk=True) as server:
        assert post_bulk(server, line("r"), key="another").status == 400
        assert audit(server).runs == 0


def test_poison_refuses_its_line_of_a_bulk_request() -> None:
    """The other runs of the batch are stored."""
    with fault_server((Rule("poison", contains="bad"),), bulk=True) as server:
        results = post_bulk(server, line("good"), line("bad")).body["results"]
        assert [result["status"] for result in results] == ["stored", "refused"]
        assert list(audit(server).records) == ["good"]
