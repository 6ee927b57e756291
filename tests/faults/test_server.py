"""Each fault does on the wire what its script says."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime

import httpcore
import pytest

from tests.faults.asking import (
    START,
    connected,
    head_bytes,
    is_stored,
    next_key,
    of_stage,
    patiently,
    post,
    request_bytes,
    until_closed,
    until_reset,
)
from tests.faults.audit import audit
from tests.faults.ledger import START_PATH
from tests.faults.rules import Rule
from tests.faults.scripts import ABSURD, LASTING, RETRYABLE
from tests.faults.server import FaultServer, fault_server
from tests.tools.patience import PATIENCE_S


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


@pytest.mark.parametrize(
    "rule",
    [rule for rule in {**RETRYABLE, **ABSURD, **LASTING}.values() if rule.kind == "status"],
    ids=lambda rule: f"{rule.status} {rule.retry_after or rule.body or ''}",
)
def test_a_status_is_answered_as_scripted(server: FaultServer, rule: Rule) -> None:
    """Status, Retry-After and body are the script's; only an accepting answer has stored."""
    server.use_script((replace(rule, over_items=None, over_bytes=None),))
    key = next_key()
    reply = post(server, START_PATH, START, key)
    assert reply.status == rule.status
    assert (reply.headers["retry-after"] is not None) is bool(rule.retry_after)
    if rule.retry_after and not rule.retry_after.startswith("date"):
        assert reply.headers["retry-after"] == rule.retry_after
    if rule.status == 204:
        assert (reply.text, reply.headers["content-length"]) == (b"", None)
    elif rule.body is not None:
        assert reply.body == rule.body
    assert is_stored(server, key) is (rule.store or rule.status < 300)


def test_retry_after_can_be_a_date(server: FaultServer) -> None:
    """A date is given in the form of HTTP, so many seconds from now."""
    server.use_script((Rule("status", status=429, retry_after="date+3600"),))
    given = post(server, START_PATH, START, next_key()).headers["retry-after"]
    assert given.endswith(" GMT")
    assert 3500 < parsedate_to_datetime(given).timestamp() - time.time() < 3700


def test_refuse_closes_the_door_and_opens_it_again(server: FaultServer) -> None:
    """The request gets no answer, then connections are refused until the door is opened."""
    server.use_script((Rule("refuse", seconds=600, times=1),))
    with connected(server) as there_before:
        with connected(server) as sock:
            sock.sendall(request_bytes("refused"))
            assert until_closed(sock) == b""
        with pytest.raises(ConnectionRefusedError), connected(server):
            pass
        server.open_doors()
        there_before.sendall(request_bytes("refused"))
        assert there_before.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert post(server, START_PATH, START, "refused").status == 201


def test_a_door_closed_for_a_time_opens_by_itself(server: FaultServer) -> None:
    """A client that goes on trying is let in, on the same port."""
    server.use_script((Rule("refuse", seconds=0.05, times=1),))
    with connected(server) as sock:
        sock.sendall(request_bytes("let in"))
        assert until_closed(sock) == b""
    assert patiently(server, START_PATH, START, "let in")["run_id"]


def test_reset_in_the_body_of_a_request(server: FaultServer) -> None:
    """The connection is reset when half of the body has come; nothing is stored."""
    server.use_script((Rule("reset-in-body"),))
    body = json.dumps(START).encode().ljust(1000)
    with connected(server) as sock:
        sock.sendall(head_bytes("half", len(body)) + body[:500])
        assert until_reset(sock) == b""
    assert not is_stored(server, "half")


@pytest.mark.parametrize("store", [False, True])
def test_reset_before_the_answer(server: FaultServer, store: bool) -> None:
    """The client cannot tell whether the request was carried out."""
    server.use_script((Rule("reset-before-answer", store=store),))
    key = next_key()
    with connected(server) as sock:
        sock.sendall(request_bytes(key))
        assert until_reset(sock) == b""
    assert is_stored(server, key) is store


def test_reset_in_the_answer(server: FaultServer) -> None:
    """All headers and half of the body come, then the connection is reset."""
    server.use_script((Rule("reset-in-answer"),))
    with connected(server) as sock:
        sock.sendall(request_bytes("half an answer"))
        head, _, body = until_reset(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 ")
    assert body.startswith(b'{"run_id"')
    assert not body.endswith(b"}")
    assert is_stored(server, "half an answer")


def test_store_then_close_without_an_answer(server: FaultServer) -> None:
    """The request was carried out; sent again, it is answered from what was stored."""
    server.use_script((Rule("close", attempt=(1,)),))
    with connected(server) as sock:
        sock.sendall(request_bytes("unanswered"))
        assert until_closed(sock) == b""
    assert is_stored(server, "unanswered")
    before = server.counts()["started"]
    assert post(server, START_PATH, START, "unanswered").status == 201
    assert server.counts()["started"] == before


@pytest.mark.parametrize("at", ["head", "body"])
def test_a_drip_sends_byte_by_byte(server: FaultServer, at: str) -> None:
    """The whole answer comes in the end, in many pieces; with "body" the headers come at once."""
    server.use_script((Rule("drip", at=at, seconds=0.002),))
    pieces: list[bytes] = []
    with connected(server) as sock:
        sock.sendall(request_bytes(next_key()))
        while not b"".join(pieces).endswith(b"}"):
            pieces.append(sock.recv(65536))
    assert len(pieces) > 20
    assert (b"\r\n\r\n" in pieces[0]) is (at == "body")


def test_a_hanging_request_is_let_go_when_told(server: FaultServer) -> None:
    """There is no answer until the test releases it, and then only the end of the connection."""
    server.use_script((Rule("hang", attempt=(1,)),))
    with connected(server) as sock:
        sock.sendall(request_bytes("hanging"))
        server.wait_for(hanging=1)
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        server.release()
        sock.settimeout(PATIENCE_S)
        assert until_closed(sock) == b""
    assert not is_stored(server, "hanging")


def test_a_client_that_leaves_no_longer_hangs(server: FaultServer) -> None:
    """The server notices that the connection is gone."""
    server.use_script((Rule("hang"),))
    with connected(server) as sock:
        sock.sendall(request_bytes(next_key()))
        server.wait_for(hanging=1)
        answered = server.counts()["answered"]
    server.wait_for(answered=answered + 1)
    assert server.counts()["hanging"] == 0


def test_truncated_json_has_the_right_length(server: FaultServer) -> None:
    """HTTP sees nothing wrong; JSON does."""
    server.use_script((Rule("truncated"),))
    reply = post(server, START_PATH, START, next_key())
    assert int(reply.headers["content-length"]) == len(reply.text) > 0
    with pytest.raises(ValueError, match="Unterminated string"):
        json.loads(reply.text)


def test_a_short_answer_promises_more_than_comes(server: FaultServer) -> None:
    """The connection is closed before content-length is reached, the JSON is whole."""
    server.use_script((Rule("short"),))
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(server, START_PATH, START, next_key())
    assert json.loads(caught.value.partial)["run_id"]
    assert caught.value.expected == 100


def test_a_captive_portal_answers_200_with_a_page(server: FaultServer) -> None:
    """It takes the request for its own: nothing is stored."""
    server.use_script((Rule("html"),))
    reply = post(server, START_PATH, START, "portal")
    assert (reply.status, reply.headers.get_content_type()) == (200, "text/html")
    assert not is_stored(server, "portal")


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_leads_to_another_origin(status: int) -> None:
    """What arrives there is noted, with the key that it carried."""
    with fault_server((Rule("redirect", status=status),)) as server:
        reply = post(server, START_PATH, START, next_key())
        assert (reply.status, reply.headers["location"]) == (status, server.elsewhere + START_PATH)
        assert audit(server).elsewhere == []
        httpcore.request("POST", reply.headers["location"], headers={"X-Wax-Key": "k"}, content=b"")
        assert audit(server).elsewhere == [f"POST {START_PATH} with x-wax-key"]


def test_too_large_depends_on_items_or_bytes(server: FaultServer) -> None:
    """413 only above the limit: fewer records, or a smaller body, are taken."""
    server.use_script((Rule("status", status=413, over_items=1),))
    assert of_stage(server, next_key()).status == 413
    assert of_stage(server, next_key(), calls=[{}]).status == 200
    server.use_script((Rule("status", status=413, over_bytes=300),))
    assert of_stage(server, next_key(), calls=[{"task": "x" * 300}]).status == 413
    assert of_stage(server, next_key(), calls=[{"task": "x"}]).status == 200


@pytest.mark.parametrize("status", [400, 422])
def test_poison_refuses_only_the_body_that_holds_it(server: FaultServer, status: int) -> None:
    """The same request without the marked record is taken."""
    server.use_script((Rule("poison", status=status, contains="arsenic"),))
    assert of_stage(server, next_key(), calls=[{}, {"task": "arsenic"}]).status == status
    assert of_stage(server, next_key(), calls=[{}]).status == 200


def test_a_duplicate_answer_comes_twice_at_once(server: FaultServer) -> None:
    """The bytes of the answer come two times over, for one request."""
    server.use_script((Rule("duplicate"),))
    with connected(server) as sock:
        sock.sendall(request_bytes(next_key()))
        found = b""
        while found.count(b"}") < 2:
            found += sock.recv(65536)
    half = len(found) // 2
    assert found[:half] == found[half:]


def test_closing_says_so_and_does_so(server: FaultServer) -> None:
    """The answer bears `Connection: close`, and then the connection ends."""
    server.use_script((Rule("closing"),))
    with connected(server) as sock:
        sock.sendall(request_bytes(next_key()))
        head = until_closed(sock).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 201 ")
    assert b"connection: close" in head


def test_100_continue_comes_before_the_answer(server: FaultServer) -> None:
    """An interim response that nobody asked for; the final one follows."""
    server.use_script((Rule("continue"),))
    assert post(server, START_PATH, START, next_key()).status == 201
    with connected(server) as sock:
        sock.sendall(request_bytes(next_key()))
        assert sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert sock.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_an_early_answer_does_not_wait_for_the_body(server: FaultServer) -> None:
    """It comes while not a byte of the body has been sent, and the connection is closed."""
    server.use_script((Rule("early", status=413),))
    with connected(server) as sock:
        sock.sendall(head_bytes("early", 10_000_000))
        head = until_closed(sock).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head
    assert not is_stored(server, "early")


def test_a_late_answer_is_the_usual_one(server: FaultServer) -> None:
    """It was stored before the wait."""
    server.use_script((Rule("late", seconds=0.01),))
    assert post(server, START_PATH, START, "late").status == 201
    assert is_stored(server, "late")
