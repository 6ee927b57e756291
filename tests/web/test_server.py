"""`waxlocal serve` as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.tools import bulk_lines
from tests.tools.cli import recorded, spawn
from tests.tools.patience import PATIENCE_S
from tests.tools.web import (
    OBSERVABILITY,
    OBSERVE,
    get,
    serving,
    spawned,
)
from waxlocal.errors import ConfigurationError
from waxlocal.settings.secret import Secret
from waxlocal.storage.schema import VERSION
from waxlocal.web.server import check_key, listen
from waxlocal.web.supervisor import Supervisor
from waxlocal.wire.paths import BULK, DOCUMENT, SESSIONS

# For what a server does; the rest is the same whoever parses.
served_by_each = pytest.mark.usefixtures("engine")

CANARY = "canary-key-3f9a1c5b7d2e4f60"


@served_by_each
def test_it_prints_its_address_and_answers(db_path: Path) -> None:
    """One line on stdout, pages and data at that address; a file that it makes is named."""
    with spawned(db=db_path) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert httpx.get(address).status_code == 200
        assert httpx.get(f"{address.rstrip('/')}{SESSIONS}").json()["count"] == 0
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
        note = f"Note: {db_path} did not exist; it is a new file\n"
        assert (process.returncode, stdout, stderr) == (0, "", note)
    assert db_path.stat().st_mode & 0o777 == 0o600
    with spawned(db=db_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")


def _takes_connections(address: str) -> bool:
    try:
        return httpx.get(f"{address}healthz").is_success
    except httpx.TransportError:
        return False


@served_by_each
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_what_is_under_way(db_path: Path, ending: signal.Signals) -> None:
    """A request that has begun to arrive is answered, idle connections do not hold it up."""
    with spawned(db=db_path) as (process, address):
        url = httpx.URL(address)
        with (
            httpx.Client(base_url=address) as idle,
            closing(socket.create_connection((url.host, url.port or 0), PATIENCE_S)) as busy,
        ):
            assert idle.get("/healthz").status_code == 200
            body = b'{"agent_name": "late"}'
            head = (
                f"POST {OBSERVE}/runs/start/ HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            busy.sendall(head.encode() + body[:5])
            assert idle.get("/healthz").status_code == 200  # the head has been read by now
            process.send_signal(ending)
            while _takes_connections(address):
                pass
            busy.sendall(body[5:])
            assert busy.recv(1 << 16).startswith(b"HTTP/1.1 201")
        assert process.wait(timeout=PATIENCE_S) == 0
    with serving(db_path) as client:
        assert get(client, "runs/")["results"][0]["agent_name"] == "late"


# As `waxlocal serve`; a request may take an hour, but after a signal a second at most.
SOON_GONE = """
import sys
from pathlib import Path
from waxlocal.web.app import create_app
from waxlocal.web.server import address_of, listen, serve

app = create_app(Path(sys.argv[sys.argv.index("--db") + 1]), request_s=3600)
listener = listen("127.0.0.1", 0)
serve(app, listener, started=lambda: print(address_of(listener), flush=True), drain_s=1)
"""


@served_by_each
def test_a_client_that_never_ends_does_not_keep_it(db_path: Path) -> None:
    """Soon after the signal it is gone, whoever is still connected."""
    program = (sys.executable, "-c", SOON_GONE)
    with spawned(db=db_path, program=program) as (process, address):
        url = httpx.URL(address)
        with closing(socket.create_connection((url.host, url.port or 0), PATIENCE_S)) as stuck:
            head = f"PUT {OBSERVE}/model-costs/m/ HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n"
            stuck.sendall(
                f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode()
            )
            assert httpx.get(f"{address}healthz").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_S) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_others_are_not_let_in_without_a_key(db_path: Path, host: str) -> None:
    """An address that other machines reach needs a key; the error says how to make one."""
    done = spawn("--db", db_path, "serve", "--host", host, "--port", 0)
    assert done.returncode == 2
    assert "no key is set" in done.stderr
    hint = done.stderr.splitlines()[1]
    assert hint.startswith("Try: give --key-file hub.key, made with: (umask 077; python3 -c ")
    assert hint.endswith(" > hub.key)")
    short = spawn("--db", db_path, "serve", "--host", host, WAXLOCAL_SERVE_KEY="short")
    assert short.returncode == 2
    assert "shorter than 16" in short.stderr
    assert not db_path.exists()


@served_by_each
def test_others_are_let_in_with_a_key(db_path: Path, tmp_path: Path) -> None:
    """With a key in a file it listens for all; a name has to be allowed, an address does not."""
    key_file = tmp_path / "key"
    key_file.write_text(f"{CANARY}\n")
    key_file.chmod(0o600)
    arguments = ("--host", "0.0.0.0", "--key-file", key_file, "--allow-host", "hub.example")
    with spawned(*arguments, db=db_path) as (_, address):
        headers = {"X-Wax-Key": CANARY}
        asked = f"{address.rstrip('/')}{SESSIONS}"
        assert httpx.get(asked).status_code == 401
        assert httpx.get(asked, headers=headers).status_code == 200
        assert httpx.get(asked, headers={**headers, "Host": "hub.example"}).status_code == 200
        assert httpx.get(asked, headers={**headers, "Host": "evil.example"}).status_code == 421


@served_by_each
def test_the_environment_may_hold_the_key(db_path: Path) -> None:
    """`WAXLOCAL_SERVE_KEY` counts where no file is given."""
    with spawned(db=db_path, WAXLOCAL_SERVE_KEY=CANARY) as (_, address):
        assert httpx.get(f"{address}metrics").status_code == 401


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is empty or too large"),
        (b"x" * 9_000, "is empty or too large"),
        (b"\xff", "outside Latin-1"),
    ],
)
def test_a_key_file_that_holds_no_key_is_an_error(
    db_path: Path, tmp_path: Path, content: bytes | None, said: str
) -> None:
    """Better no server than one that is open by mistake. No hint overwrites another file."""
    key_file = tmp_path / "key"
    if content is not None:
        key_file.write_bytes(content)
        key_file.chmod(0o600)
    done = spawn("--db", db_path, "serve", "--port", 0, "--key-file", key_file)
    assert done.returncode == 2
    assert said in done.stderr
    assert ("made with: " in done.stderr) == (not content)
    folder = spawn("--db", db_path, "serve", "--port", 0, "--key-file", tmp_path)
    assert folder.stderr.splitlines()[1] == "Try: the file must contain only the key"


def test_a_key_file_that_all_can_read_is_an_error(db_path: Path, tmp_path: Path) -> None:
    """As for an upload: one rule for key files."""
    key_file = tmp_path / "key"
    key_file.write_text(f"{CANARY}\n")
    key_file.chmod(0o644)
    done = spawn("--db", db_path, "serve", "--port", 0, "--key-file", key_file)
    assert done.returncode == 2
    assert f"every user can read the key file {key_file}" in done.stderr
    assert CANARY not in done.stderr
    assert not db_path.exists()


@pytest.mark.parametrize(("key", "noted"), [("", True), (CANARY, False)])
def test_a_proxy_in_front_of_a_server_without_a_key_is_noted(
    db_path: Path, key: str, noted: bool
) -> None:
    """Loopback is open to others then; but the proxy may ask for a password itself."""
    options = ("--trusted-proxy", "127.0.0.1", "--root-path", "/wax")
    with spawned(*options, db=db_path, WAXLOCAL_SERVE_KEY=key) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/wax/", address)
        assert httpx.get(f"{address}healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert ("no key is set: whoever reaches the proxy" in stderr) == noted


def test_a_port_that_is_taken_is_said(db_path: Path) -> None:
    """With the next port to try; nothing answers twice."""
    with closing(listen("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = spawn("--db", db_path, "serve", "--port", port)
        assert done.returncode == 2
        assert f"another program is already listening on 127.0.0.1:{port}" in done.stderr
        assert f"--port {port + 1}" in done.stderr
        with pytest.raises(ConfigurationError):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "cannot listen on 192.0.2.1:8765: this machine does not have that address"),
        ("nope.invalid", "cannot listen on 'nope.invalid': no address is known under that name"),
        ("a..b", "cannot listen on 'a..b': no address is known under that name"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_said(db_path: Path, host: str, said: str) -> None:
    """Which address, why, and what to type; and no file is made."""
    done = spawn("--db", db_path, "serve", "--host", host, WAXLOCAL_SERVE_KEY=CANARY)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error == f"Error: {said}"
    assert hint.startswith("Try: --host 127.0.0.1 ")
    assert not db_path.exists()


def test_a_name_that_is_not_of_this_machine_needs_a_key() -> None:
    """Whatever address it has: only `localhost` is known to be this machine."""
    with pytest.raises(ConfigurationError, match=r"can reach hub\.example, and no key"):
        check_key("hub.example", Secret.unchecked(""))
    check_key("localhost", Secret.unchecked(""))


def test_a_name_without_an_address_is_said_before_a_missing_key(db_path: Path) -> None:
    """No key makes it right."""
    done = spawn("--db", db_path, "serve", "--host", "nope.invalid")
    assert "no address is known under that name" in done.stderr


def test_a_foreign_file_is_left_alone(db_path: Path) -> None:
    """A file that is none of ours is not served, and not touched."""
    db_path.write_bytes(b"no database at all" * 100)
    done = spawn("--db", db_path, "serve", "--port", 0)
    assert done.returncode == 4
    assert db_path.read_bytes() == b"no database at all" * 100


# -- the access log -------------------------------------------------------------------------------


@served_by_each
def test_the_log_names_requests_but_no_values_and_no_keys(db_path: Path) -> None:
    """One line for each request, with what it took; what was asked for is not repeated."""
    with spawned("--access-log", db=db_path, WAXLOCAL_SERVE_KEY=CANARY) as (process, address):
        with httpx.Client(base_url=address) as client:
            for headers in ({"X-Wax-Key": CANARY}, {"Authorization": f"Bearer {CANARY}"}, {}):
                parameters = {"search": "canary-text", "limit": 5}
                client.get(f"{OBSERVABILITY}/sessions/", params=parameters, headers=headers)
            client.post("/login", data={"key": CANARY})
            client.get("/a%0d%0aevent=forged%20b")
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    _note, *lines = stderr.splitlines()
    assert len(lines) == 5
    assert CANARY not in stdout + stderr
    assert "canary-text" not in stderr
    path = f"{OBSERVABILITY}/sessions/?limit,search"
    for line, status in zip(lines, (200, 200, 401, 303, 404), strict=True):
        assert re.fullmatch(
            rf"ts=\S+Z event=request method=\w+ path=\S+ status={status} ms=[\d.]+ bytes=\d+", line
        )
    assert f" path={path} " in lines[0]
    assert " path=/a%0d%0aevent=forged%20b " in lines[4]


@served_by_each
def test_the_key_is_nowhere(db_path: Path, tmp_path: Path) -> None:
    """Neither in the file, nor among the arguments, nor in any answer, nor after a fault."""
    key_file = tmp_path / "key"
    key_file.write_text(CANARY)
    key_file.chmod(0o600)
    with spawned("--key-file", key_file, db=db_path) as (process, address):
        headers = {"X-Wax-Key": CANARY}
        with httpx.Client(base_url=address, headers=headers) as client:
            answers = [
                client.get(path) for path in ("/", "/metrics", DOCUMENT, "/nowhere", "/sync")
            ]
            answers.append(client.post(f"{OBSERVE}/runs/start/", json={"agent_name": "a"}))
            answers.append(client.post(f"{OBSERVE}/runs/start/", content=b"{", headers={
                "Content-Type": "application/json"}))  # fmt: skip
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGTERM)
        output = "".join(process.communicate(timeout=PATIENCE_S))
    written = b"".join(file.read_bytes() for file in tmp_path.glob("waxlocal.db*"))
    said = [output.encode(), command, written]
    for answer in answers:
        said += [answer.content, repr(answer.headers.raw).encode()]
    assert CANARY.encode() not in b"".join(said)


# -- counters -------------------------------------------------------------------------------------


@served_by_each
def test_counters_go_by_route(db_path: Path) -> None:
    """Requests and their seconds by route, method and status; the size of the file; sessions."""
    with recorded(db_path) as builder:
        builder.run("s1")
    with serving(db_path) as client:
        for address in ("sessions/s1/", "sessions/s2/", "sessions/s3/"):
            client.get(f"{OBSERVABILITY}/{address}")
        client.get("/nowhere/a"), client.get("/nowhere/b")
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", answer.text, re.MULTILINE))
    route = f'route="{OBSERVABILITY}/sessions/{{session_id}}/",method="GET"'
    assert values[f'waxlocal_http_requests_total{{{route},status="200"}}'] == "1"
    assert values[f'waxlocal_http_requests_total{{{route},status="404"}}'] == "2"
    assert float(values[f'waxlocal_http_request_seconds_sum{{{route},status="404"}}']) > 0
    assert values['waxlocal_http_requests_total{route="",method="",status="404"}'] == "2"
    assert values["waxlocal_sessions"] == "1"
    assert int(values['waxlocal_file_bytes{part="database"}']) > 0
    for line in answer.text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{.*\})? [\d.e+-]+", line), line


@served_by_each
def test_readiness_is_about_the_file(db_path: Path) -> None:
    """Without its file a server lives, but is not ready."""
    with serving(db_path) as client:
        assert client.get("/readyz").status_code == 200
        db_path.rename(db_path.with_name("gone.db"))
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503


def _demand(path: Path, *, writer: int = VERSION, reader: int = VERSION) -> None:
    """Let a file say which versions may use it, as an upgrade beneath the server would."""
    with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as connection:
        connection.execute(
            "UPDATE schema_version SET min_writer = ?, min_reader = ?", (writer, reader)
        )
        connection.commit()


@served_by_each
def test_a_file_that_was_upgraded_beneath_the_server_is_left_alone(db_path: Path) -> None:
    """Nothing is written to it, or read from it, as far as it says; afterwards all goes on."""
    start, runs = f"{OBSERVE}/runs/start/", "SELECT count(*) FROM runs"
    body, lines = bulk_lines.batch(bulk_lines.line()), {"Content-Type": "application/x-ndjson"}

    def statuses() -> dict[str, int]:
        return {
            "small": client.post(start, json={"agent_name": "a"}).status_code,
            "large": client.post(start, json={"agent_name": "a" * 20_000}).status_code,
            "batch": client.post(BULK, content=body, headers=lines).status_code,
            "read": client.get(f"{OBSERVABILITY}/sessions/").status_code,
            "page": client.get("/models").status_code,
            "ready": client.get("/readyz").status_code,
        }

    as_usual = {"small": 201, "large": 201, "batch": 200, "read": 200, "page": 200, "ready": 200}
    with serving(db_path) as client:
        assert statuses() == as_usual
        _demand(db_path, writer=9)
        refused = {"small": 503, "large": 503, "batch": 503, "ready": 503}
        assert statuses() == {**as_usual, **refused}
        problem = client.post(start, json={"agent_name": "a"}).json()
        assert "needs 9, this one knows" in problem["detail"]
        assert problem["hint"] == "upgrade: pip install --upgrade waxlocal"
        assert str(db_path.parent) not in str(problem)
        _demand(db_path, writer=9, reader=9)
        assert statuses() == dict.fromkeys(as_usual, 503)
        _demand(db_path)
        assert statuses() == as_usual
    with closing(sqlite3.connect(db_path)) as connection:
        assert connection.execute(runs).fetchone() == (5,)


# -- the process beside it ------------------------------------------------------------------------

SAYS_ITS_PID = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'a')); {}"


def _pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def _wait_for(pids: int, path: Path) -> list[int]:
    deadline = time.monotonic() + PATIENCE_S
    while len(found := _pids(path)) < pids:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@pytest.fixture
def said() -> list[str]:
    """Return what the supervisor has said."""
    return []


def _supervised(said: list[str], path: Path, then: str) -> Supervisor:
    command = (sys.executable, "-c", SAYS_ITS_PID.format(then), str(path))
    return Supervisor(command, say=said.append, restart_s=(0.01, 0.02))


def test_a_command_that_ends_is_started_again(tmp_path: Path, said: list[str]) -> None:
    """It is started anew, and its status is logged once."""
    supervisor = _supervised(said, tmp_path / "pids", "sys.exit(3)")
    supervisor.start()
    try:
        assert len(set(_wait_for(3, tmp_path / "pids"))) == 3
    finally:
        supervisor.stop()
    assert [line.partition(" restart_s")[0] for line in said] == ["event=companion-ended status=3"]


def test_a_command_ends_with_the_server(tmp_path: Path, said: list[str]) -> None:
    """Stopping it waits for its end; it does not come back."""
    supervisor = _supervised(said, tmp_path / "pids", "time.sleep(600)")
    supervisor.start()
    (pid,) = _wait_for(1, tmp_path / "pids")
    supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert said == []


def test_a_supervisor_may_be_stopped_before_it_is_started(tmp_path: Path, said: list[str]) -> None:
    """Stopping what was never started is not an error."""
    _supervised(said, tmp_path / "pids", "pass").stop()
    assert _pids(tmp_path / "pids") == []


def _children(pid: int) -> list[int]:
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(one) for one in done.stdout.split()]


@served_by_each
@pytest.mark.skipif(not Path("/usr/bin/ps").exists(), reason="ps is not installed")
def test_the_daemon_runs_beside_the_server(db_path: Path) -> None:
    """`--daemon` starts the upload as a child, which ends with the server."""
    with spawned("--daemon", db=db_path, WAXELL_API_URL="http://127.0.0.1:9", WAXELL_API_KEY=CANARY
                 ) as (process, address):  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not (children := _children(process.pid)):
            assert time.monotonic() < deadline
        (child,) = children
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        assert command[-3:-1] == [b"daemon", b"run"]
        assert httpx.get(f"{address}healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
