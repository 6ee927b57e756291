"""What goes over one connection, alone or with others: each answer belongs to its request."""

from __future__ import annotations

import base64
import io
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.scripts import RETRYABLE, everything
from tests.faults.server import fault_server
from tests.tools.answering import Asked, answering, ok, passing_on
from tests.tools.certificates import make_certificate
from tests.tools.patience import PATIENCE_S
from tests.tools.sync import (
    PATIENT,
    ask,
    change,
    record,
    settings_for,
    upload,
    uploading,
)
from waxlocal.settings.secret import Secret
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon import pipelining
from waxlocal_daemon import sender as sender_module
from waxlocal_daemon.answers import Answer
from waxlocal_daemon.circuit import Pace
from waxlocal_daemon.connection import Connection, Request
from waxlocal_daemon.network import Route
from waxlocal_daemon.pipelining import MOST_TOGETHER, TRUSTED_AFTER
from waxlocal_daemon.response import MAX_BODY_BYTES
from waxlocal_daemon.sender import UNANSWERED, Sender

COUNT = 400
ANYWHERE = "https://server.example"


def patient(url: str, **more: object) -> UploadSettings:
    """Return settings for a server that answers late where the machine is busy."""
    return settings_for(url, **{**PATIENT, "connect_timeout": PATIENCE_S, **more})


def requests(count: int, **more: object) -> list[Request]:
    """Return requests that may leave behind others, each to a path of its own."""
    return [Request("POST", f"/{n}", b"{}", joins=True)._replace(**more) for n in range(count)]


def send_all(settings: UploadSettings, some: Sequence[Request]) -> list[tuple[Request, Answer]]:
    """Send requests as fast as the sender takes them, and return all answers."""
    answers: list[tuple[Request, Answer]] = []
    left = list(reversed(some))
    deadline = time.monotonic() + PATIENCE_S
    with closing(Sender(settings)) as sender:
        while len(answers) < len(some) and time.monotonic() < deadline:
            for _ in range(min(sender.room(), len(left))):
                sender.send(left.pop())
            answers += sender.collect(0.1)
        assert sender.in_flight == 0
        assert sender.room() in (settings.concurrency, settings.concurrency * MOST_TOGETHER)
    return answers


def resend_all(settings: UploadSettings, some: Sequence[Request]) -> list[tuple[Request, Answer]]:
    """Do as `send_all`, with what got no answer sent again, as the upload does."""
    answers = send_all(settings, some)
    while again := [request for request, answer in answers if answer is UNANSWERED]:
        answers = [one for one in answers if one[1] is not UNANSWERED]
        answers += send_all(settings, again)
    return answers


def exchange(port: int, *some: Request, **more: object) -> list[Answer]:
    """Send requests together over one connection."""
    settings = patient(f"http://127.0.0.1:{port}", **more)
    with closing(Connection(Route(settings), settings)) as connection:
        return list(connection.exchange(some or requests(1)))


def echo(asked: Asked) -> bytes:
    """Answer with the path that was asked for."""
    return ok(asked.target.encode())


def assert_own(answers: Sequence[tuple[Request, Answer]]) -> None:
    """Assert that each answer that came is that to its request."""
    for request, answer in answers:
        assert answer.status is None or answer.body == request.path.encode()


def test_each_answer_belongs_to_its_request() -> None:
    """Whether requests leave alone or behind others; all of them over as many connections."""
    with answering(echo) as server:
        url = f"http://127.0.0.1:{server.port}"
        answers = send_all(patient(url, concurrency=4), requests(COUNT))
        assert {one.connection for one in server.asked} <= {0, 1, 2, 3}
    assert len(answers) == COUNT
    assert all(answer.status == 200 for _, answer in answers)
    assert_own(answers)


def test_a_trusted_server_gets_several_requests_before_it_answers() -> None:
    """One that answers only when two have come would wait for ever otherwise."""
    all_wait = threading.Event()

    def answer(asked: Asked) -> bytes:
        if asked.number == TRUSTED_AFTER:
            assert all_wait.wait(PATIENCE_S)
        return echo(asked)

    def hold(held: int) -> bool:
        # Not the last ones, which may leave alone.
        return TRUSTED_AFTER + 1 < len(server.asked) < TRUSTED_AFTER + MOST_TOGETHER and held < 2

    with answering(answer, hold=hold) as server:
        settings = patient(f"http://127.0.0.1:{server.port}", concurrency=1)
        with closing(Sender(settings)) as sender:
            for request in requests(TRUSTED_AFTER):
                sender.send(request)
                ((_, one),) = sender.collect(PATIENCE_S)
                assert one.status == 200
            assert sender.room() == MOST_TOGETHER
            for request in requests(MOST_TOGETHER + 1):  # the thread is busy with the first
                sender.send(request)
            all_wait.set()
            answers: list[tuple[Request, Answer]] = []
            while len(answers) <= MOST_TOGETHER:
                answers += sender.collect(PATIENCE_S)
    assert [one.status for _, one in answers] == [200] * (MOST_TOGETHER + 1)
    assert_own(answers)


def test_a_request_whose_answer_is_needed_goes_alone() -> None:
    """Its answer says what other requests are about; so it leaves behind no other one."""
    together: list[int] = []

    class Noting(Connection):
        def exchange(self, some: Sequence[Request]) -> Iterator[Answer]:
            together.append(len(some))
            return super().exchange(some)

    with answering(echo) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender_module, "Connection", Noting)
        settings = patient(f"http://127.0.0.1:{server.port}", concurrency=1)
        send_all(settings, requests(COUNT, joins=False))
        assert set(together) == {1}
        send_all(settings, requests(COUNT))
    assert max(together) > 1


@pytest.mark.parametrize("every", [3, 10, 50, 101])
def test_what_was_behind_a_lost_connection_goes_again(every: int) -> None:
    """The one that got no answer is told as lost; each is answered once."""
    lost: list[str] = []

    def answer(asked: Asked) -> bytes:
        if len(server.asked) % every == 0:
            lost.append(asked.target)
            return b""
        return echo(asked)

    with answering(answer) as server:
        url = f"http://127.0.0.1:{server.port}"
        answers = resend_all(patient(url, concurrency=1), requests(COUNT))
    assert sorted(one.path for one, _ in answers) == sorted(one.path for one in requests(COUNT))
    assert_own(answers)
    assert [one.path for one, answer in answers if answer.status is None] == lost


@pytest.mark.parametrize("every", [1, 7, 100])
def test_an_end_that_was_announced_is_no_failure(every: int) -> None:
    """Servers close a connection after a number of requests, and say so with the last answer."""

    def answer(asked: Asked) -> bytes:
        return ok(asked.target.encode(), *(["connection: close"] if closes(asked) else []))

    def closes(asked: Asked) -> bool:
        return (asked.number + 1) % every == 0

    with answering(answer, closes=closes) as server:
        url = f"http://127.0.0.1:{server.port}"
        answers = resend_all(patient(url, concurrency=2), requests(COUNT))
    assert [answer.status for _, answer in answers] == [200] * COUNT
    assert_own(answers)


CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(
    ("raw", "body", "is_open"),
    [
        (ok(b"abc"), b"abc", True),
        (CHUNKED, b"abcde", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"abc"), b"abc", True),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + ok(b"abc"), b"abc", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (ok(b"abc", "connection: close"), b"abc", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc", False),
        (ok(b"abc") * 2, b"abc", False),
        (ok(b"abc") + b"H", b"abc", False),
    ],
    ids=["length", "chunked", "100", "103", "204", "close", "1.0", "twice", "more"],
)
def test_the_bytes_of_a_response(raw: bytes, body: bytes, is_open: bool) -> None:
    """Where one ends, and whether the connection can be used again."""
    with answering(lambda _asked: raw) as server:
        settings = patient(f"http://127.0.0.1:{server.port}")
        with closing(Connection(Route(settings), settings)) as connection:
            (answer,) = connection.exchange(requests(1))
            assert (answer.body, connection.is_open) == (body, is_open)
            (again,) = connection.exchange(requests(1))
            assert again.body == body
        assert [one.connection for one in server.asked] == ([0, 0] if is_open else [0, 1])


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    """Nothing follows it, so nothing can be taken for another response."""

    raw = b"HTTP/1.1 200 OK\r\n\r\nabc"
    with answering(lambda _asked: raw, closes=lambda _asked: True) as server:
        (first, *rest) = exchange(server.port, *requests(2))
    assert (first.status, first.body, rest) == (200, b"abc", [])


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nabc", "did not come"),
        (CHUNKED[:-7], "longer than it says"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "more than 100 headers"),
        (ok(bytes(MAX_BODY_BYTES + 1)), "larger than 8 MB"),
        (b"", "without a response"),
    ],
    ids=["short", "cut", "ssh", "headers", "large", "none"],
)
def test_what_is_no_response_is_a_failure(raw: bytes, why: str) -> None:
    """It is told in words, and the connection is not used again."""
    with answering(lambda _asked: raw, closes=lambda _asked: True) as server:
        settings = patient(f"http://127.0.0.1:{server.port}")
        with closing(Connection(Route(settings), settings)) as connection:
            answers = list(connection.exchange(requests(1)))
            assert (connection.is_open, connection.was_lost) == (False, True)
    assert [answer.status for answer in answers] == [None]
    assert why in answers[0].error


def test_a_response_that_comes_twice_within_one_record_of_tls(certificate: Path) -> None:
    """What TLS has received and not given out is no answer to the next request."""
    size = io.DEFAULT_BUFFER_SIZE - len(ok(b"", "x: y")) - 3
    raw = ok(b"a" * size, "x: y")
    with answering(lambda _asked: raw * 2, tls=server_context(certificate)) as server:
        settings = patient(f"https://127.0.0.1:{server.port}", ca_file=str(certificate))
        with closing(Connection(Route(settings), settings)) as connection:
            assert len(list(connection.exchange(requests(1)))) == 1
            assert not connection.is_open


def test_what_was_taken_together_leaves_no_more_once_the_upload_ends() -> None:
    """A request that waits for its turn does not leave behind the one that is on its way."""
    arrived, go_on = threading.Event(), threading.Event()

    def answer(asked: Asked) -> bytes:
        arrived.set()
        assert go_on.wait(PATIENCE_S)
        return echo(asked)

    with answering(answer) as server:
        sender = Sender(patient(f"http://127.0.0.1:{server.port}", concurrency=1))
        for request in requests(3, joins=False):
            sender.send(request)
        assert arrived.wait(PATIENCE_S)
        sender.forget()
        go_on.set()
        while any(thread.name == "waxlocal-send" for thread in threading.enumerate()):
            time.sleep(0.01)
        assert [one.target for one in server.asked] == ["/0"]


@pytest.mark.usefixtures("recorder")
def test_requests_behind_a_lost_connection_wait_as_the_others_do(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that asks for an hour is sent nothing more than was on its way."""
    monkeypatch.setattr(pipelining, "TRUSTED_AFTER", 1)
    record(60)
    fails = Rule("status", status=503, retry_after="3600", path="/llm-calls/$", nth=(30,))
    headers = replace(fails, headers={"connection": "close"})
    with fault_server((headers, Rule("close", path="/scores/$", nth=(20,)))) as server:
        with uploading(db_path, server.url, pace=Pace(unit=3_600.0), concurrency=2) as uploader:
            uploader.run(threading.Event())
            sent = audit(server).requests
            uploader.run(threading.Event())
        assert audit(server).requests == sent
    assert ask(db_path, "SELECT count(*) FROM deliveries WHERE state = 'sending'") == [(0,)]


@pytest.mark.usefixtures("recorder")
def test_a_key_with_the_end_of_a_line_leaves_in_no_header(db_path: Path) -> None:
    """Whoever wrote that row: its run is set aside, and the others go."""
    record(2)
    fails = Rule("status", method="POST", status=503, path="/scores/$")
    with fault_server((fails,)) as server:
        upload(db_path, server.url, until=lambda: bool(_waiting(db_path)), concurrency=1)
        change(
            db_path,
            "UPDATE requests SET idempotency_key = 'a' || char(13, 10) || 'X-Evil: 1' "
            "WHERE run_id = ? AND state = 'waiting' AND stage = 'scores'",
            _waiting(db_path)[0][0],
        )
        server.use_script(())
        done = upload(db_path, server.url)
        assert (done.parked, done.pending) == (1, 0)
        assert "X-Evil" not in str(server.log())


def _waiting(path: Path) -> list[tuple[str]]:
    return ask(path, "SELECT run_id FROM requests WHERE state = 'waiting' AND stage = 'scores'")


@pytest.mark.usefixtures("recorder")
def test_half_of_all_answers_lost(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each arrives once, with few requests more than the lost answers need."""
    monkeypatch.setattr(pipelining, "TRUSTED_AFTER", 1)
    record(100)
    lossy = Rule("close", method="POST", probability=0.5, store=True)
    with fault_server((lossy,), seed=3) as server:
        assert upload(db_path, server.url, concurrency=8).delivered == 100
        found = audit(server)
    found.assert_sound()
    assert found.completed == 100
    assert found.requests <= 2.2 * 6 * 100


# A second copy of a response cannot be told from the next one: a server that sends such is never
# trusted for long, but one that begins with it could be believed once.
TOLD_APART = tuple(name for name in RETRYABLE if name != "duplicate")


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("seed", [1, 2])
def test_each_arrives_once_whatever_happens_to_those_beside_it(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Lost, late, cut, refused and wrong answers among requests that leave together."""
    monkeypatch.setattr(pipelining, "TRUSTED_AFTER", 1)
    record(100)
    with fault_server(everything(0.05, TOLD_APART), seed=seed) as server:
        assert upload(db_path, server.url, concurrency=4).delivered == 100
        found = audit(server)
    found.assert_sound()
    assert found.completed == 100


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for the server and for the proxy."""
    names = "DNS:server.example,IP:127.0.0.1"
    return make_certificate(tmp_path_factory.mktemp("certificate") / "both", names)


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return what a server needs for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_connects_to_a_server_with_tls(certificate: Path, scheme: str) -> None:
    """It is told user and password, and learns neither the key nor the path."""
    tls = server_context(certificate)
    of_proxy = tls if scheme == "https" else None
    with (
        answering(echo, tls=tls) as server,
        passing_on(server.port, tls=of_proxy) as (port, asked),
    ):
        proxy = Secret(f"{scheme}://us%20er:p%40ss@127.0.0.1:{port}")
        settings = patient(ANYWHERE, proxy=proxy, ca_file=str(certificate))
        answers = send_all(settings._replace(concurrency=1), requests(3))
    assert [answer.body for _, answer in answers] == [b"/0", b"/1", b"/2"]
    who = base64.b64encode(b"us er:p@ss")
    assert asked == [
        [
            b"CONNECT server.example:443 HTTP/1.1",
            b"Host: server.example:443",
            b"Proxy-Authorization: Basic " + who,
        ]
    ]


def test_a_proxy_that_refuses_is_told(certificate: Path) -> None:
    """With its status: nothing of the server has been seen."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    with passing_on(1, refusal) as (port, asked):
        proxy = Secret(f"http://127.0.0.1:{port}")
        settings = patient(ANYWHERE, proxy=proxy, ca_file=str(certificate))
        ((_, answer),) = send_all(settings, requests(1))
    assert answer.status is None
    assert answer.error == "ProxyError: 407 Proxy Authentication Required"
    assert len(asked) == 1


def test_a_proxy_forwards_to_a_server_without_tls() -> None:
    """It is asked for the whole URL, and told who asks with each request."""
    with answering(echo) as server:
        proxy = Secret(f"http://user:pw@127.0.0.1:{server.port}")
        settings = patient("http://server.example:8080/api", proxy=proxy)
        answers = send_all(settings._replace(concurrency=1), requests(2))
    assert [answer.body for _, answer in answers] == [
        b"http://server.example:8080/api/0",
        b"http://server.example:8080/api/1",
    ]
    who = "Basic " + base64.b64encode(b"user:pw").decode()
    assert [one.headers["proxy-authorization"] for one in server.asked] == [who, who]
    assert {one.headers["host"] for one in server.asked} == {"server.example:8080"}
