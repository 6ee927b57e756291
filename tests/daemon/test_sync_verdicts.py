"""What each answer of a server means: no answer drops a record."""

from __future__ import annotations

import json

import pytest

from waxlocal_daemon.answers import Answer
from waxlocal_daemon.verdicts import Action, Verdict, judge

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}


def judged(
    status: int | None,
    body: bytes = b"{}",
    *,
    headers: dict[str, str] = JSON,
    records: int = 1,
    needed: tuple[str, ...] = (),
) -> Verdict:
    """Return what an answer means."""
    answer = Answer(status, headers, body, "" if status else "ConnectError: refused")
    return judge(answer, records=records, needed=needed, now=0.0)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_2xx_is_delivered(status: int) -> None:
    """With a body or without one."""
    assert judged(status).action is Action.DELIVERED
    assert judged(status, b"").action is Action.DELIVERED


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 418, 422, 451])
def test_other_4xx_are_parked(status: int) -> None:
    """A request with one record that the server refuses is set aside with the reason."""
    verdict = judged(status, b'{"detail": "no such thing"}')
    assert (verdict.action, verdict.reason) == (Action.PARK, f"{status}: no such thing")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_many_records_are_divided_to_find_the_one(status: int) -> None:
    """Of several records perhaps only one is refused."""
    assert judged(status, records=2).action is Action.SPLIT


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """Timeouts, too many requests, and errors of the server."""
    assert judged(status, records=5).action is Action.RETRY


def test_429_and_retry_after_hold_for_the_whole_server() -> None:
    """A 500 may be the fault of one run; a server that asks for patience asks all."""
    assert not judged(500).of_host
    assert judged(429).of_host
    patient = judged(503, headers={**JSON, "retry-after": "7"})
    assert (patient.of_host, patient.retry_after) == (True, 7.0)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_pauses_the_upload(status: int) -> None:
    """Nothing of the request is wrong."""
    assert judged(status).action is Action.PAUSE


def test_a_server_called_by_another_name_says_what_to_do() -> None:
    """Of another waxlocal the reason has the option that would accept the name."""
    body: dict[str, object] = {"detail": "not this host", "hint": "start it with --allow-host NAME"}
    verdict = judged(421, json.dumps(body).encode())
    assert verdict.reason == "421: not this host; start it with --allow-host NAME"
    assert judged(400, json.dumps(body).encode()).reason == "400: not this host"
    body["hint"] = ["x"]
    assert judged(421, json.dumps(body).encode()).reason == "421: not this host"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """A captive portal answers so, and another host must not see the key."""
    verdict = judged(status, headers={"location": "https://elsewhere.example/"})
    assert (verdict.action, verdict.of_host) == (Action.RETRY, True)


@pytest.mark.parametrize("body", [b"<html>Welcome to our Wi-Fi</html>", b'{"run_id": "r1"', b"[]"])
def test_2xx_without_a_json_object_is_no_answer(body: bytes) -> None:
    """A portal's page, a truncated answer, something else: the server has not said yes."""
    verdict = judged(200, body, headers=HTML)
    assert (verdict.action, verdict.of_host) == (Action.RETRY, True)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"run_id": ""}', b'{"run_id": 7}'])
def test_a_start_needs_the_id_of_the_run(body: bytes) -> None:
    """Without it nothing else of the run could be sent."""
    assert judged(200, body, needed=("run_id",)).action is Action.RETRY
    good = judged(201, b'{"run_id": "r1"}', needed=("run_id",))
    assert (good.action, good.body["run_id"]) == (Action.DELIVERED, "r1")


def test_no_answer_is_tried_again() -> None:
    """With what the network said as the reason."""
    verdict = judged(None)
    assert (verdict.action, verdict.of_host) == (Action.RETRY, True)
    assert verdict.reason == "ConnectError: refused"


@pytest.mark.parametrize("records", [1, 5])
def test_another_waxlocal_asks_for_a_new_key(records: int) -> None:
    """It knows each record by what the record says; the request is not divided."""
    body = b'{"type": "urn:waxlocal:problem:key-reused", "send_again": "with_new_key"}'
    assert judged(422, body, records=records).action is Action.NEW_KEY
    assert judged(500, body, records=records).action is Action.RETRY


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "https://x.dev/errors/idempotency"}',
        b'{"code": "idempotency_key_in_use"}',
        b'{"title": "Idempotency-Key is already used"}',
        b'{"detail": "this Idempotency-Key came before"}',
    ],
)
def test_a_request_whose_key_is_refused_is_not_divided(body: bytes) -> None:
    """Its halves would have new keys, under which a server might store all of it again."""
    assert judged(422, body, records=5).action is Action.PARK
    assert judged(422, b'{"detail": "no"}', records=5).action is Action.SPLIT
