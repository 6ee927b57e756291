"""Figures for Prometheus: their text, their file, and the server that serves them."""

from __future__ import annotations

import http.client
import io
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.daemon.test_notify import Clock
from tests.tools.builders import (
    START_NS,
    Builder,
    FixedClock,
    moment,
    run_id,
)
from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S
from waxlocal.errors import ConfigurationError
from waxlocal_daemon.log import Log
from waxlocal_daemon.metrics import (
    Figures,
    MetricsFile,
    Scrape,
    exposition,
    read_figures,
    write_file,
)
from waxlocal_daemon.metrics_server import MOST_AT_ONCE, MetricsServer, address_of

URL = "https://acme.example"
SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? -?[0-9.]+')


def samples(text: str) -> dict[str, float]:
    """Return the samples of an exposition, after a look at its form."""
    found: dict[str, float] = {}
    announced: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            announced.add(line.split()[2])
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            assert name.partition("{")[0] in announced
            found[name] = float(value)
    return found


def _target(file: Builder, **columns: object) -> None:
    file.insert("targets", target_id=1, url=URL, **columns)


def test_every_figure_has_its_sample() -> None:
    """Counts, ages and times of a daemon in full swing."""
    figures = Figures(
        pending=3,
        oldest_pending_ns=START_NS - 90_500_000_000,
        uploaded=12,
        parked=1,
        paused=True,
        last_success_ns=START_NS - 1_000_000_000,
        database_bytes=8192,
        wal_bytes=4096,
        failures={"timeout": 2, "http_5xx": 1},
    )
    found = samples(exposition(figures, FixedClock()))
    version = next(name for name in found if name.startswith("waxlocal_build_info{version="))
    assert found.pop(version) == 1
    assert found == {
        "waxlocal_pending_runs": 3,
        "waxlocal_oldest_pending_seconds": 90.5,
        "waxlocal_uploaded_runs_total": 12,
        'waxlocal_upload_failures_total{reason="http_5xx"}': 1,
        'waxlocal_upload_failures_total{reason="timeout"}': 2,
        "waxlocal_parked_runs": 1,
        "waxlocal_paused": 1,
        "waxlocal_last_success_timestamp_seconds": START_NS / 1e9 - 1,
        "waxlocal_database_bytes": 8192,
        "waxlocal_wal_bytes": 4096,
    }


def test_what_is_not_known_is_left_out() -> None:
    """No sample is better than a zero that is none; sizes and versions are always known."""
    found = samples(exposition(Figures()))
    names = {name.partition("{")[0] for name in found}
    assert names == {"waxlocal_build_info", "waxlocal_database_bytes", "waxlocal_wal_bytes"}


def test_a_label_cannot_leave_its_quotes() -> None:
    """Quotes, backslashes and line ends are escaped as the format says."""
    text = exposition(Figures(failures={'a"b\\c\nd': 1}))
    assert r'waxlocal_upload_failures_total{reason="a\"b\\c\nd"} 1' in text.splitlines()


def test_figures_come_from_the_file(db_path: Path) -> None:
    """Those of the server that this daemon uploads to, and no other's."""
    with recorded(db_path) as file:
        for _ in range(3):
            file.run()
        _target(file, cursor=2, delivered=7, paused_at=moment(1), last_success_at=moment(2))
        file.insert("deliveries", run_id=run_id(1), target_id=1, state="parked")
        file.insert("deliveries", run_id=run_id(2), target_id=1, state="delivered")
        found = read_figures(db_path, URL, {"network": 4})
        other = read_figures(db_path, "https://other.example", {})
        sizes = [db_path.with_name(db_path.name + end).stat().st_size for end in ("", "-wal")]
    assert (found.pending, found.parked, found.uploaded, found.paused) == (1, 1, 7, True)
    assert found.oldest_pending_ns == START_NS
    assert found.last_success_ns == START_NS + 2_000_000_000
    assert found.failures == {"network": 4}
    assert [found.database_bytes, found.wal_bytes] == sizes
    assert (other.pending, other.uploaded, other.paused) == (1, 0, None)


def test_before_the_first_upload_every_run_is_pending(db_path: Path) -> None:
    """A file that no upload has looked at."""
    with recorded(db_path) as file:
        file.run()
    assert read_figures(db_path, URL, {}).pending == 1


def test_a_missing_file_has_no_counts(db_path: Path) -> None:
    """Its size is 0, and nothing is made by asking."""
    assert read_figures(db_path, URL, {}) == Figures()
    assert not db_path.exists()


def test_failures_outlive_an_uploader(db_path: Path) -> None:
    """A counter never falls: what an uploader had counted is kept when the next begins."""
    clock = Clock()
    scrape = Scrape(db_path, URL, clock=clock)
    name = 'waxlocal_upload_failures_total{reason="network"}'
    for counts, total in (({"network": 2}, 2), (None, 2), ({}, 2), ({"network": 1}, 3)):
        scrape.failures(counts)
        clock.seconds += 2
        assert samples(scrape.text())[name] == total
    scrape.count_failure("internal")
    clock.seconds += 2
    assert samples(scrape.text())['waxlocal_upload_failures_total{reason="internal"}'] == 1


def test_figures_are_counted_once_a_second(db_path: Path) -> None:
    """Whoever asks a hundred times a second does not make the file busy."""
    clock = Clock()
    scrape = Scrape(db_path, URL, clock=clock)
    before = scrape.text()
    with recorded(db_path) as file:
        file.run()
    assert scrape.text() == before
    clock.seconds += 1
    assert samples(scrape.text())["waxlocal_pending_runs"] == 1


# -- in a file ------------------------------------------------------------------------------------


def test_the_file_is_replaced_whole_and_readable_by_all(tmp_path: Path) -> None:
    """0644 under any umask, in place of what was there, with nothing left beside it."""
    path = tmp_path / "waxlocal.prom"
    before = os.umask(0o077)
    try:
        for text in ("first\n", "second\n"):
            write_file(path, text)
            assert path.read_text() == text
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """While it is written again and again, each reading is one whole text."""
    path = tmp_path / "waxlocal.prom"
    texts = ["a" * 100_000, "b" * 200_000]
    write_file(path, texts[0])
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            for text in texts:
                write_file(path, text)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert {path.read_text() for _ in range(200)} <= set(texts)
    finally:
        over.set()
        writing.join()


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A link in a directory of others cannot lead the daemon to a file of its user."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "waxlocal.prom"
    path.symlink_to(victim)
    write_file(path, "figures\n")
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_a_file_that_cannot_be_written_is_told_of_once(tmp_path: Path) -> None:
    """The daemon goes on; it tries again every 15 seconds."""
    said, clock = io.StringIO(), Clock()
    path = tmp_path / "no" / "waxlocal.prom"
    file = MetricsFile(path, lambda: "figures\n", Log(said, clock=clock), clock)
    for clock.seconds in (100, 101, 110, 115, 120):
        file.refresh()
    assert said.getvalue().count("event=metrics_file_failed") == 1
    path.parent.mkdir()
    clock.seconds = 129
    file.refresh()
    assert not path.exists()
    clock.seconds = 130
    file.refresh()
    assert path.read_text() == "figures\n"


# -- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """A server on a free port of loopback; it is never alive."""
    serving = MetricsServer(("127.0.0.1", 0), lambda: "waxlocal_paused 0\n", lambda: False)
    yield serving
    serving.close()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Return status, headers and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def test_metrics_are_served_without_a_word_about_us(server: MetricsServer) -> None:
    """The figures, the type of the format, and no header that names Python or its version."""
    status, headers, body = ask(server.port, "/metrics")
    assert (status, body) == (200, "waxlocal_paused 0\n")
    assert headers == {
        "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
        "Content-Length": "18",
        "Connection": "close",
    }
    assert ask(server.port, "/metrics?x=1")[0] == 200


def test_health_is_that_of_the_daemon(server: MetricsServer) -> None:
    """503 when it has given no sign of life; 200 when it has."""
    assert ask(server.port, "/healthz")[::2] == (503, "stalled\n")
    well = MetricsServer(("127.0.0.1", 0), str)
    assert ask(well.port, "/healthz")[::2] == (200, "ok\n")
    well.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/metrics", 405), ("DELETE", "/metrics", 405), ("GET", "/", 404), ("GET", "/x", 404)],
)
def test_nothing_else_is_served(server: MetricsServer, method: str, path: str, status: int) -> None:
    """Two pages, one method; the answer repeats nothing of the request."""
    answered, headers, body = ask(server.port, path, method)
    assert answered == status
    assert set(headers) == {"Content-Type", "Content-Length", "Connection"}
    assert "<" not in body


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
    ids=["nonsense", "version", "long path", "many headers"],
)
def test_what_is_no_request_is_refused(server: MetricsServer, sent: bytes) -> None:
    """An error of the client's, in a line; the next request is answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:  # there was more to read than the server wanted
            pass
    assert b" 200 " not in answer
    assert b"Server:" not in answer
    assert ask(server.port, "/metrics")[0] == 200


@contextmanager
def silent(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connect so often, and say nothing."""
    with ExitStack() as stack:
        address = ("127.0.0.1", port)
        yield [
            stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
            for _ in range(count)
        ]


def test_a_few_silent_clients_keep_nobody_out(server: MetricsServer) -> None:
    """There is room for one who asks."""
    with silent(server.port, MOST_AT_ONCE - 1):
        assert ask(server.port, "/metrics")[0] == 200


def test_many_silent_clients_are_let_go() -> None:
    """Those for whom there is no room are shut out, not queued; the others after a time."""
    hasty = MetricsServer(("127.0.0.1", 0), lambda: "waxlocal_paused 0\n", request_s=0.2)
    with closing(hasty), silent(hasty.port, MOST_AT_ONCE + 3) as clients:
        assert [one.recv(1) for one in clients] == [b""] * len(clients)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses(given: str, address: tuple[str, int]) -> None:
    """A port alone is one of loopback."""
    assert address_of(given) == address


@pytest.mark.parametrize("given", ["", "host", "host:", "host:x", "1:99999", "::1:80", "a:-1"])
def test_what_is_no_address(given: str) -> None:
    """It is refused with an example."""
    with pytest.raises(ConfigurationError) as caught:
        address_of(given)
    assert "127.0.0.1:9464" in caught.value.hint


def test_an_address_in_use_is_a_setting_to_change(server: MetricsServer) -> None:
    """Also one that is not of this machine."""
    for address in (("127.0.0.1", server.port), ("192.0.2.1", 9464)):
        with pytest.raises(ConfigurationError, match="cannot listen"):
            MetricsServer(address, str)


def test_loopback_of_the_newer_protocol() -> None:
    """`[::1]:PORT` is listened on where the machine has it."""
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    serving = MetricsServer(("::1", 0), lambda: "x 1\n")
    with closing(http.client.HTTPConnection("::1", serving.port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == b"x 1\n"
    serving.close()
