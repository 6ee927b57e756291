"""The key stays where it is: not even a server that repeats it gets it printed or stored."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest

from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.cli import invoke
from tests.tools.daemon import KEY, running
from tests.tools.sync import ask, record

pytestmark = pytest.mark.usefixtures("recorder")

SAID = {"detail": f"no such key: {KEY}", "run_id": KEY, "workflow_id": KEY, "results": [KEY]}
ECHOES = {
    **{str(status): Rule("status", status=status, body=SAID) for status in (200, 400, 401, 403)},
    **{str(status): Rule("status", status=status, body=SAID) for status in (404, 409, 413, 422)},
    **{
        str(status): Rule("status", status=status, body=SAID, retry_after=KEY)
        for status in (429, 500, 503)
    },
    "text": Rule("status", status=500, body=KEY),
    "list": Rule("status", status=200, body=[KEY]),
    "redirect": Rule("status", status=302, headers={"location": f"http://127.0.0.1:9/{KEY}"}),
    "content-type": Rule("status", status=200, body=7, headers={"content-type": f"text/{KEY}"}),
}


def _commands(path: Path, url: str) -> str:
    """Return all that the commands say, to both streams."""
    env = {"WAXELL_API_URL": url, "WAXELL_API_KEY": KEY, "WAXLOCAL_LOG_LEVEL": "debug"}
    said = []
    for arguments in (
        ("--dry-run",),
        ("--patience", "0"),
        ("--patience", "0", "--json"),
        ("status",),
        ("status", "--json"),
        ("parked",),
        ("parked", "--json"),
        ("verify",),
    ):
        done = invoke("sync", *arguments, db=path, HOME=str(path.parent), **env)
        assert isinstance(done.exception, SystemExit | None)
        said += [done.stdout, done.stderr]
    return "".join(said)


def _files_with(text: str, place: Path) -> list[str]:
    """Return the files with this text; another process reads them, this one has locks on them."""
    command = ["grep", "-rlaF", text, str(place)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return sorted(Path(line).name for line in found.splitlines())


def _assert_kept(path: Path, url: str, said: str) -> None:
    assert KEY not in said
    assert url in said
    assert _files_with(KEY, path.parent) == []
    assert "waxlocal.db-wal" in _files_with(url, path.parent)


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("echo", ECHOES)
def test_a_server_that_repeats_the_key(db_path: Path, echo: str, bulk: bool) -> None:
    """In no output, no byte of the database or its WAL, no lock file."""
    record(2)
    with fault_server((ECHOES[echo],), bulk=bulk) as server:
        said = _commands(db_path, server.url)
        assert server.counts()["arrivals"] > 0
        _assert_kept(db_path, server.url, said)


def test_a_batch_answered_with_the_key(db_path: Path) -> None:
    """The reason of a refused run comes from the server, and is stored."""
    (run_id,) = record(1)
    body = {"results": [{"run_id": run_id, "status": "refused", "reason": f"not with {KEY}"}]}
    with fault_server(
        (Rule("status", status=200, path="/bulk/$", body=body),), bulk=True
    ) as server:
        said = _commands(db_path, server.url)
        _assert_kept(db_path, server.url, said)
    line = "SELECT DISTINCT reason FROM requests WHERE stage = 'bulk'"
    assert ask(db_path, line) == [("not with (the key)",)]


class _NoHttp(StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        self.wfile.write(f"HTTP/1.1 {KEY}\r\nX: {KEY}\r\n\r\n{KEY}".encode())


@contextmanager
def _no_http() -> Iterator[str]:
    with ThreadingTCPServer(("127.0.0.1", 0), _NoHttp) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_server_that_speaks_no_http(db_path: Path) -> None:
    """What the HTTP library complains of holds what came, and that the key."""
    record(1)
    with _no_http() as url:
        _assert_kept(db_path, url, _commands(db_path, url))


def test_the_daemon(db_path: Path) -> None:
    """Neither its log nor its figures have the key."""
    record(2)
    figures = db_path.parent / "waxlocal.prom"
    with (
        fault_server((ECHOES["401"],)) as server,
        running(
            db_path, server.url, "--metrics-file", figures, WAXLOCAL_LOG_LEVEL="debug"
        ) as daemon,
    ):
        told: dict[str, Any] = daemon.event("paused")
        assert told["reason"] == "401: no such key: (the key)"
        assert daemon.end() == 0
        _assert_kept(db_path, server.url, "".join(daemon.said))
    assert "waxlocal_" in figures.read_text()
