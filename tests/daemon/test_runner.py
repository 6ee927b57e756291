"""The daemon as a process: signals, restarts, two of them, and files that come and go."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.daemon.test_metrics import samples
from tests.faults.rules import Rule
from tests.faults.server import FaultServer, fault_server
from tests.tools.cli import (
    answer,
    environment,
    invoke,
    recorded,
    spawn,
)
from tests.tools.daemon import (
    KEY,
    add_runs,
    manager,
    received,
    running,
)
from tests.tools.patience import PATIENCE_S
from tests.tools.short_waits import IMPATIENT
from waxlocal.search.index_file import index_path, index_reader
from waxlocal_daemon.lock import holder

# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"
TABLES = "SELECT count(*) FROM sqlite_schema WHERE name = 'deliveries'"
HANGS = (Rule("hang", path="/start/$"),)


@pytest.fixture(scope="module")
def shared() -> Iterator[FaultServer]:
    """One server for all tests; each has runs of its own."""
    with fault_server() as server:
        yield server


@pytest.fixture
def server(shared: FaultServer) -> Iterator[FaultServer]:
    """The shared server without faults; what a test has told it is taken back."""
    yield shared
    shared.use_script(())
    shared.demand_key(None)
    shared.release()


def config(home: Path, url: str, key: str) -> None:
    """Write `~/.waxell/config`."""
    path = home / ".waxell" / "config"
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"[default]\napi_url = {url}\napi_key = {key}\n")


def column(db: Path, sql: str) -> list[object]:
    """Return the first column of what a query finds."""
    with closing(sqlite3.connect(db)) as connection:
        return [row[0] for row in connection.execute(sql).fetchall()]


def arrived(server: FaultServer, first: int, number: int) -> list[int]:
    """Return how often each of these runs of `add_runs` is at the server."""
    found = Counter(run["local_id"] for run in server.runs() if run["completes"])
    return [found[f"01942000-0000-7000-8000-{one:012x}"] for one in range(first, first + number)]


# -- from the first run to the last ---------------------------------------------------------------


def test_it_waits_for_the_file_and_delivers_what_comes(db_path: Path, server: FaultServer) -> None:
    """Started before the first recording; SIGTERM ends it with status 0, and frees the lock."""
    with running(db_path, server.url) as daemon:
        started = daemon.event("started")
        assert started["server"] == server.url
        assert started["file"] == str(db_path)
        daemon.event("waiting_for_file")
        who = holder(db_path)
        assert who is not None
        assert (who.pid, who.command) == (daemon.process.pid, "waxlocal daemon run")
        add_runs(db_path, 3, first=100)
        assert daemon.event("up_to_date")["delivered"] == 3
        assert daemon.end() == 0
    assert arrived(server, 100, 3) == [1, 1, 1]
    assert [json.loads(line)["event"] for line in daemon.said] == [
        "started",
        "waiting_for_file",
        "file_found",
        "up_to_date",
        "stopping",
        "stopped",
    ]
    assert holder(db_path) is None


def test_a_later_run_wakes_it(db_path: Path, server: FaultServer) -> None:
    """By an event: the poll is an hour away."""
    add_runs(db_path, 1, first=200)
    with running(db_path, server.url, WAXLOCAL_SYNC_POLL="3600") as daemon:
        daemon.event("up_to_date")
        done = server.counts()["completed"]
        for number in range(1, 4):
            add_runs(db_path, 1, first=200 + number)
            server.wait_for(completed=done + number)
        assert daemon.end() == 0
    assert arrived(server, 200, 4) == [1] * 4


def test_a_killed_daemon_is_followed_by_the_next(db_path: Path, server: FaultServer) -> None:
    """kill -9 in the middle: the lock is free at once, and each run arrives once."""
    add_runs(db_path, 200, first=300)
    done = server.counts()["completed"]
    with running(db_path, server.url) as daemon:
        server.wait_for(completed=done + 20)
        daemon.send(signal.SIGKILL)
        daemon.process.wait(PATIENCE_S)
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        assert daemon.end() == 0
    assert arrived(server, 300, 200) == [1] * 200


def test_a_run_whose_process_was_killed_is_closed_and_delivered(
    db_path: Path, server: FaultServer
) -> None:
    """Nobody else can write that it was interrupted."""
    with recorded(db_path) as file:
        file._runs = 600
        run = file.run(seconds=None, process=file.process(alive=False))
        file.llm(run, at=0.5)
    with running(db_path, server.url) as daemon:
        assert daemon.event("up_to_date")["delivered"] == 1
        daemon.end()
    assert column(db_path, "SELECT status FROM runs") == ["interrupted"]
    assert arrived(server, 601, 1) == [1]


def test_a_call_that_waits_for_its_price_gets_it(db_path: Path, server: FaultServer) -> None:
    """Before it is delivered: the server is told what it cost."""
    with recorded(db_path) as file:
        file._runs = 620
        file.llm(file.run(), model="gpt-4o", provider="openai", cost=None, at=0.5)
        file.insert(
            "model_prices",
            model="gpt-4o",
            provider="openai",
            source="pending",
            updated_at="2026-01-31T09:30:00.000000Z",
        )
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        daemon.end()
    assert column(db_path, "SELECT cost > 0 FROM llm_calls") == [1]


# -- two at once ----------------------------------------------------------------------------------


def test_a_second_daemon_says_who_holds_the_file(db_path: Path, server: FaultServer) -> None:
    """It exits with 3, also while the first is stopped; so does `waxlocal sync`."""
    add_runs(db_path, 1, first=700)
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        for number in (signal.SIGCONT, signal.SIGSTOP):
            daemon.send(number)
            for verb in (("daemon", "run"), ("sync",)):
                said = spawn(*verb, "--db", db_path, WAXELL_API_URL=server.url, WAXELL_API_KEY=KEY)
                assert said.returncode == 3, said.stderr
                assert f"pid {daemon.process.pid} on {os.uname().nodename}" in said.stderr
        daemon.send(signal.SIGCONT)
        assert daemon.end() == 0


def test_a_daemon_waits_while_another_has_its_file_under_another_name(
    db_path: Path, server: FaultServer
) -> None:
    """A hard link that came after the start: it says so, sends nothing twice, and then goes on."""
    add_runs(db_path, 3, first=600)
    link = db_path.with_name("link.db")
    second_daemon = running(link, server.url, program=(sys.executable, "-c", EAGER))
    with running(db_path, server.url) as first, second_daemon as second:
        first.event("up_to_date")
        second.event("waiting_for_file")
        link.hardlink_to(db_path)
        second.event("file_taken")
        assert first.end() == 0
        done = server.counts()["completed"]
        add_runs(link, 1, first=603)
        server.wait_for(completed=done + 1)
        assert second.end() == 0
    assert arrived(server, 600, 4) == [1, 1, 1, 1]


def test_a_daemon_that_was_stopped_goes_on(db_path: Path, server: FaultServer) -> None:
    """SIGSTOP, runs meanwhile, SIGCONT: they are delivered, each once."""
    add_runs(db_path, 1, first=720)
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        done = server.counts()["completed"]
        daemon.send(signal.SIGSTOP)
        add_runs(db_path, 5, first=721)
        daemon.send(signal.SIGCONT)
        server.wait_for(completed=done + 5)
        assert daemon.end() == 0
    assert arrived(server, 720, 6) == [1] * 6


# -- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it_well(db_path: Path, number: int) -> None:
    """While it waits for a file, too."""
    with running(db_path, NOWHERE) as daemon:
        daemon.event("waiting_for_file")
        assert daemon.end(number) == 0
    assert json.loads(daemon.said[-1])["event"] == "stopped"


def test_sigterm_releases_what_hangs(db_path: Path, server: FaultServer) -> None:
    """A server that never answers: the daemon ends well, and the run goes again next time."""
    add_runs(db_path, 1, first=740)
    server.use_script(HANGS)
    with running(db_path, server.url, program=(sys.executable, "-c", EAGER)) as daemon:
        server.wait_for(hanging=1)
        assert daemon.end() == 0
    assert json.loads(daemon.said[-1])["event"] == "stopped"
    assert column(db_path, "SELECT state FROM deliveries") == ["pending"]
    server.release()
    server.use_script(())
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        daemon.end()
    assert arrived(server, 740, 1) == [1]


def test_sighup_takes_another_key(tmp_path: Path, server: FaultServer) -> None:
    """The old one pauses the upload; neither is ever shown, nor kept in the file."""
    old, new = "wax_sk_canary_old", "wax_sk_canary_new"
    db = tmp_path / "waxlocal.db"
    add_runs(db, 1, first=760)
    server.demand_key(new)
    config(tmp_path, server.url, old)
    settings = {"WAXELL_API_URL": "", "WAXELL_API_KEY": "", "WAXLOCAL_LOG_LEVEL": "debug"}
    with running(db, "", **settings) as daemon:
        assert daemon.event("paused")["level"] == "error"
        config(tmp_path, server.url, new)
        daemon.send(signal.SIGHUP)
        assert daemon.event("reloaded")["changed"] == "api_key"
        daemon.event("up_to_date")
        assert daemon.end() == 0
    assert arrived(server, 760, 1) == [1]
    said = "".join(daemon.said).encode()
    for content in (said, *(path.read_bytes() for path in tmp_path.glob("waxlocal.db*"))):
        assert b"canary" not in content


def test_sighup_with_settings_that_cannot_be_used_changes_nothing(
    tmp_path: Path, server: FaultServer
) -> None:
    """A file half-written is told of; the daemon goes on with what it has."""
    db = tmp_path / "waxlocal.db"
    add_runs(db, 1, first=780)
    config(tmp_path, server.url, KEY)
    with running(db, "", WAXELL_API_URL="", WAXELL_API_KEY="") as daemon:
        daemon.event("up_to_date")
        (tmp_path / ".waxell" / "config").write_text("[default\n")
        daemon.send(signal.SIGHUP)
        daemon.event("reload_failed")
        done = server.counts()["completed"]
        add_runs(db, 1, first=781)
        server.wait_for(completed=done + 1)
        assert daemon.end() == 0


def test_sighup_takes_another_server(tmp_path: Path, server: FaultServer) -> None:
    """What was delivered to the one is delivered to the other, too."""
    db = tmp_path / "waxlocal.db"
    add_runs(db, 2, first=800)
    config(tmp_path, server.url, KEY)
    with fault_server() as other, running(db, "", WAXELL_API_URL="", WAXELL_API_KEY="") as daemon:
        daemon.event("up_to_date")
        config(tmp_path, other.url, KEY)
        daemon.send(signal.SIGHUP)
        told = daemon.event("reloaded")
        assert (told["changed"], told["server"]) == ("api_url", other.url)
        other.wait_for(completed=2)
        assert daemon.end() == 0
        assert arrived(other, 800, 2) == [1, 1]


# -- what can be wrong at the start ---------------------------------------------------------------


def test_without_settings_it_does_not_start(db_path: Path) -> None:
    """Exit status 2, and what to type."""
    said = spawn("daemon", "run", "--db", db_path, HOME=str(db_path.parent))
    assert said.returncode == 2
    assert said.stderr.startswith("Error: no server and no API key are configured\nTry: ")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--metrics", "nonsense"), "not a valid address"),
        (("--metrics-file", "{db}"), "belongs to the database"),
        (("--metrics-file", "{db}-wal"), "belongs to the database"),
        (("--metrics-file", "{db}.sync.lock"), "belongs to the database"),
        (("--nice", "20"), "--nice"),
        (("--log-format", "xml"), "--log-format"),
    ],
)
def test_wrong_use_is_told(db_path: Path, args: tuple[str, ...], words: str) -> None:
    """Exit status 2, and the file is as it was."""
    add_runs(db_path, 1)
    before = db_path.read_bytes()
    said = spawn(
        "daemon",
        "run",
        "--db",
        db_path,
        *(one.format(db=db_path) for one in args),
        WAXELL_API_URL=NOWHERE,
        WAXELL_API_KEY=KEY,
    )
    assert said.returncode == 2, said.stderr
    assert words in said.stderr
    assert db_path.read_bytes() == before
    assert holder(db_path) is None


@pytest.mark.parametrize("below", ["", "file/below.db"])
def test_a_path_where_no_file_can_be_ends_it(tmp_path: Path, below: str) -> None:
    """Exit status 4 and what to do, instead of trying for ever; and no lock file is made."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").touch()
    said = spawn("daemon", "run", "--db", place / below, WAXELL_API_URL=NOWHERE, WAXELL_API_KEY=KEY)
    error, hint = said.stderr.splitlines()
    assert said.returncode == 4
    assert error.startswith(f"Error: {place / below} is ")
    assert hint == "Try: choose another file with --db FILE or WAXLOCAL_DB"
    assert sorted(tmp_path.rglob("*")) == [place, place / "file"]


@pytest.mark.parametrize("kind", ["text", "foreign", "newer"])
def test_a_file_that_is_none_of_ours_is_left_alone(db_path: Path, kind: str) -> None:
    """Exit status 4; not one byte is changed."""
    if kind == "text":
        db_path.write_text("hello " * 1000)
    else:
        with closing(sqlite3.connect(db_path)) as connection:
            connection.execute("CREATE TABLE mine (x)")
            if kind == "newer":
                connection.execute("PRAGMA application_id = 1463900236")
                connection.execute("PRAGMA user_version = 9999")
    before = db_path.read_bytes()
    said = spawn("daemon", "run", "--db", db_path, WAXELL_API_URL=NOWHERE, WAXELL_API_KEY=KEY)
    assert said.returncode == 4, said.stderr
    assert said.stderr.splitlines()[-2].startswith("Error: ")
    assert db_path.read_bytes() == before


@pytest.mark.parametrize("recorded_since", [0, 1])
def test_a_file_that_was_upgraded_beneath_it_ends_it(
    tmp_path: Path, server: FaultServer, recorded_since: int
) -> None:
    """Exit status 4, which version is needed, and not one row more about the delivery."""
    db = tmp_path / "waxlocal.db"
    add_runs(db, 1, first=950)
    with running(db, server.url) as daemon:
        daemon.event("up_to_date")
        before = column(db, "SELECT count(*) FROM requests")
        with closing(sqlite3.connect(db, timeout=PATIENCE_S)) as connection:
            if recorded_since:
                connection.execute(
                    "INSERT INTO runs (run_id, agent_name, workflow_name, trace_id,"
                    " interaction_mode, status, started_at, completed_at, duration)"
                    " SELECT 'new', agent_name, workflow_name, 'new', interaction_mode, status,"
                    " started_at, completed_at, duration FROM runs"
                )
            connection.execute("UPDATE schema_version SET version = 9, min_writer = 9")
            connection.commit()
        assert daemon.process.wait(PATIENCE_S) == 4
        assert daemon.process.stderr is not None
        error, hint = daemon.process.stderr.readlines()[-2:]
    assert error.startswith(
        f"Error: {db}: written by a later waxlocal (schema 9; writing it needs 9"
    )
    assert hint == "Try: upgrade: pip install --upgrade waxlocal\n"
    assert column(db, "SELECT count(*) FROM requests") == before
    assert column(db, "SELECT DISTINCT state FROM deliveries") == ["delivered"]


# -- files that come and go -----------------------------------------------------------------------


def test_a_file_in_place_of_the_old_one_is_taken_up(tmp_path: Path, server: FaultServer) -> None:
    """The old connection would go on with a file that nobody sees any more."""
    db, other = tmp_path / "waxlocal.db", tmp_path / "other.db"
    add_runs(db, 1, first=900)
    with running(db, server.url) as daemon:
        daemon.event("up_to_date")
        done = server.counts()["completed"]
        add_runs(other, 2, first=901)
        for end in ("-wal", "-shm"):  # first, or they would pass for those of the new one
            db.with_name(db.name + end).unlink(missing_ok=True)
        other.replace(db)
        server.wait_for(completed=done + 2)
        # A daemon that is told to end before it has read the answers leaves them to the next.
        until(db, "SELECT count(*) = 2 FROM deliveries WHERE state = 'delivered'")
        assert daemon.end() == 0
    assert arrived(server, 900, 3) == [1, 1, 1]
    assert column(db, "SELECT state FROM deliveries") == ["delivered"] * 2


def test_a_file_that_was_removed_is_waited_for(tmp_path: Path, server: FaultServer) -> None:
    """No empty one is made in its place."""
    db = tmp_path / "waxlocal.db"
    add_runs(db, 1, first=920)
    with running(db, server.url) as daemon:
        daemon.event("up_to_date")
        for path in tmp_path.glob("waxlocal.db*"):
            if not path.name.endswith(".lock"):
                path.unlink()
        daemon.event("waiting_for_file")
        assert not db.exists()
        assert daemon.end() == 0


# -- what it tells --------------------------------------------------------------------------------


def test_a_service_manager_hears_of_it(
    tmp_path: Path, socket_path: str, server: FaultServer
) -> None:
    """Ready, how far it is, alive while it is idle, reloading, ready again, stopping."""
    db, address = tmp_path / "waxlocal.db", socket_path
    add_runs(db, 1, first=940)
    with (
        manager(address) as listening,
        running(db, server.url, NOTIFY_SOCKET=address, WATCHDOG_USEC="400000") as daemon,
    ):
        assert listening.recv(4096) == b"READY=1"
        assert received(listening, "STATUS=0 pending, 0 parked; waiting")
        for _ in range(3):
            received(listening, "WATCHDOG=1")
        daemon.send(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in received(listening, "RELOADING=1")
        received(listening, "READY=1")
        daemon.send(signal.SIGTERM)
        received(listening, "STOPPING=1")
        assert daemon.process.wait(PATIENCE_S) == 0


def figures(base: str) -> dict[str, float]:
    """Return what the daemon serves."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=PATIENCE_S) as opened:
        return samples(opened.read().decode())


def test_figures_over_http_and_in_a_file(tmp_path: Path, server: FaultServer) -> None:
    """The same text in both."""
    db, file = tmp_path / "waxlocal.db", tmp_path / "waxlocal.prom"
    add_runs(db, 2, first=960)
    with running(db, server.url, "--metrics", "127.0.0.1:0", "--metrics-file", file) as daemon:
        base = f"http://127.0.0.1:{daemon.event('started')['metrics_port']}"
        daemon.event("up_to_date")
        found = figures(base)
        while found["waxlocal_pending_runs"]:  # they are counted anew each second
            found = figures(base)
        with urllib.request.urlopen(f"{base}/healthz", timeout=PATIENCE_S) as opened:
            assert opened.read() == b"ok\n"
        assert daemon.end() == 0
    assert found["waxlocal_pending_runs"] == 0
    assert found["waxlocal_uploaded_runs_total"] == 2
    assert found["waxlocal_last_success_timestamp_seconds"] > 0
    written = samples(file.read_text())
    assert written["waxlocal_uploaded_runs_total"] == 2
    assert written.keys() == found.keys()


def test_status_shows_who_uploads_and_how_far_it_is(db_path: Path, server: FaultServer) -> None:
    """With a daemon, without one, and before there is a file."""
    before = answer("daemon", "status", db=db_path, status=3)
    assert (before["running"], before["exists"], before["pending"]) == (False, False, 0)
    add_runs(db_path, 2, first=980)
    assert answer("daemon", "status", db=db_path, status=3)["pending"] == 2
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        found = answer("daemon", "status", db=db_path)
        assert found["running"]
        assert found["uploader"]["pid"] == daemon.process.pid
        assert (found["pending"], found["parked"], found["paused"]) == (0, 0, False)
        assert found["targets"][0]["delivered"] == 2
        said = spawn("daemon", "status", "--db", db_path).stdout
        assert f"process {daemon.process.pid}" in said
        daemon.end()
    stopped = spawn("daemon", "status", "--db", db_path)
    assert "not running" in stopped.stdout
    assert stopped.returncode == 3


def test_it_leaves_the_processor_to_others(db_path: Path) -> None:
    """Ten steps nicer than what started it; with `--nice 0` not."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for args, nice in (((), min(own + 10, 19)), (("--nice", "0"), own)):
        with running(db_path, NOWHERE, *args) as daemon:
            daemon.event("started")
            assert os.getpriority(os.PRIO_PROCESS, daemon.process.pid) == nice


# -- what no commit tells -------------------------------------------------------------------------

# As `waxlocal daemon run`, with little patience.
EAGER = f"""{IMPATIENT}
import functools, sys
from pathlib import Path
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.circuit import Pace
from waxlocal_daemon.file_uploader import make_uploader
from waxlocal_daemon.log import Log
from waxlocal_daemon.runner import Options, run_daemon
path = Path(sys.argv[sys.argv.index("--db") + 1])
options = Options(nice=0, look_again=0.2, first_retry=0.2)
make = functools.partial(make_uploader, pace=Pace(stop=0.2))
run_daemon(path, UploadSettings.load, options, log=Log(form="json"), make=make)
"""
RECORDER = """
import sys
import waxlocal
waxlocal.init(db=sys.argv[1])
with waxlocal.WaxellContext(agent_name="killed", session_id="sess_killed"):
    print("running", flush=True)
    sys.stdin.read()
"""


def test_a_process_killed_while_it_is_idle_is_noticed(db_path: Path, server: FaultServer) -> None:
    """kill -9 writes nothing that could wake it; it looks by itself."""
    done = server.counts()["completed"]
    with subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(db_path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as recorder:
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == "running\n"
        with running(db_path, server.url, program=(sys.executable, "-c", EAGER)) as daemon:
            until(db_path, "SELECT count(*) FROM deliveries WHERE state = 'open'")
            recorder.kill()
            server.wait_for(completed=done + 1)
            assert daemon.end() == 0
    assert column(db_path, "SELECT status FROM runs") == ["interrupted"]


def until(db: Path, sql: str) -> None:
    """Wait until a count is no longer 0."""
    deadline = time.monotonic() + PATIENCE_S
    while not (os.path.exists(db) and column(db, TABLES) == [1] and column(db, sql) != [0]):
        assert time.monotonic() < deadline, sql
        time.sleep(0.05)


def test_another_key_is_found_without_a_signal(tmp_path: Path, server: FaultServer) -> None:
    """While the server refuses the one there is, the settings are read again now and then."""
    db = tmp_path / "waxlocal.db"
    add_runs(db, 1, first=1000)
    server.demand_key("new")
    config(tmp_path, server.url, "old")
    settings = {"WAXELL_API_URL": "", "WAXELL_API_KEY": ""}
    with running(db, "", program=(sys.executable, "-c", EAGER), **settings) as daemon:
        daemon.event("paused")
        config(tmp_path, server.url, "new")
        assert daemon.event("reloaded")["changed"] == "api_key"
        daemon.event("up_to_date")
        assert daemon.end() == 0
    assert arrived(server, 1000, 1) == [1]


def test_a_file_that_is_held_is_told_of_and_tried_again(db_path: Path, server: FaultServer) -> None:
    """Somebody keeps even readers out; when that is over, the runs go."""
    add_runs(db_path, 1, first=1020)
    with closing(sqlite3.connect(db_path, isolation_level=None)) as greedy:
        greedy.execute("PRAGMA locking_mode = EXCLUSIVE")
        greedy.execute("BEGIN EXCLUSIVE")
        greedy.execute("COMMIT")
        with running(db_path, server.url, program=(sys.executable, "-c", EAGER)) as daemon:
            assert "locked" in daemon.event("file_trouble")["reason"]
            greedy.close()
            daemon.event("up_to_date")
            assert daemon.end() == 0
    assert arrived(server, 1020, 1) == [1]


def test_an_index_that_cannot_be_made_stops_no_upload(db_path: Path, server: FaultServer) -> None:
    """The daemon says why, and what to do."""
    index_path(db_path).mkdir(parents=True)
    add_runs(db_path, 1, first=1030)
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        said = daemon.event("not_indexed")
        assert "is no search index of waxlocal" in said["reason"]
        assert said["hint"]
        assert daemon.end() == 0
    assert arrived(server, 1030, 1) == [1]


def test_the_daemon_indexes_what_was_said(db_path: Path, server: FaultServer) -> None:
    """For whoever searches next."""
    add_runs(db_path, 1, first=1035)
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        assert daemon.end() == 0
    with index_reader(db_path) as index:
        assert index.ask("SELECT count(*) FROM documents") == [(1,)]


def test_a_damaged_file_is_told_of_and_does_not_end_the_daemon(
    db_path: Path, server: FaultServer
) -> None:
    """It says what to type, whenever the damage comes; after that all goes."""
    add_runs(db_path, 1, first=1040)
    index = "SELECT max(pageno) FROM dbstat WHERE name = 'sqlite_autoindex_runs_1'"
    (page,) = column(db_path, index)
    with db_path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with running(db_path, server.url) as daemon:
        assert daemon.event("file_trouble")["hint"].endswith(f"waxlocal --db {db_path} recover")
        assert "stop the programs that have it open" in invoke("recover", db=db_path).stderr
        assert daemon.end() == 0
    assert invoke("recover", db=db_path).exit_code == 0
    with running(db_path, server.url) as daemon:
        daemon.event("up_to_date")
        assert daemon.end() == 0
    assert arrived(server, 1040, 1) == [1]


# -- uploaders that fail --------------------------------------------------------------------------

PROGRAM = """
import sys, time
from pathlib import Path
from waxlocal.settings.secret import Secret
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.log import Log
from waxlocal_daemon.runner import Options, run_daemon

class Stuck:
    "Hangs, and does not hear that it is to stop."
    reason, refused = "", False
    def __init__(self, *_): pass
    def close(self): pass
    def run(self, stop):
        log.event("stuck")
        time.sleep(3600)

class Faulty(Stuck):
    "Fails with something in the words of its error that must not be shown."
    runs = 0
    def run(self, stop):
        Faulty.runs += 1
        if Faulty.runs == 1:
            raise RuntimeError("canary: what somebody recorded")
        log.event("works")
        return 300.0

log = Log(form="json")
path = Path(sys.argv[sys.argv.index("--db") + 1])
settings = UploadSettings("http://127.0.0.1:9", Secret("key"))
options = Options(nice=0, stop_within=0.5, first_retry=0.1)
run_daemon(path, lambda: settings, options, log=log, make={kind})
"""


def program(kind: str) -> tuple[str, ...]:
    """Return a command that runs the daemon with another uploader."""
    return (sys.executable, "-c", PROGRAM.replace("{kind}", kind))


def test_an_uploader_that_hangs_is_left_behind(db_path: Path) -> None:
    """The end comes in time, whatever happens; what was in flight goes again next time."""
    add_runs(db_path, 1)
    with running(db_path, NOWHERE, program=program("Stuck")) as daemon:
        daemon.event("stuck")
        assert daemon.end() == 0
    assert json.loads(daemon.said[-1])["event"] == "stop_forced"


def test_ctrl_c_twice_ends_it_at_once(db_path: Path) -> None:
    """For whoever sits at the terminal."""
    add_runs(db_path, 1)
    patient = tuple(one.replace("stop_within=0.5", "stop_within=3600") for one in program("Stuck"))
    with running(db_path, NOWHERE, program=patient) as daemon:
        daemon.event("stuck")
        daemon.send(signal.SIGINT)
        daemon.event("stopping")
        assert daemon.end(signal.SIGINT) == 130


def test_a_fault_of_our_own_is_told_and_survived(db_path: Path) -> None:
    """By its kind and place; its words may hold what was recorded."""
    add_runs(db_path, 1)
    with running(db_path, NOWHERE, program=program("Faulty")) as daemon:
        told = daemon.event("failed")
        assert told["error"] == "RuntimeError"
        assert told["at"]
        daemon.event("works")
        assert daemon.end() == 0
    assert "canary" not in "".join(daemon.said)


# As `PROGRAM`; looks every 0.05 s for what no commit announces, and the second look fails.
LOOKS = """
from waxlocal_daemon import runner
looks = 0
def look(path, stop):
    global looks
    looks += 1
    log.event("look")
    if looks == 2:
        raise ValueError("canary: what somebody recorded")
    return 0
runner.interrupt_gone = look
"""


def test_a_fault_while_it_waits_is_told_and_survived(db_path: Path) -> None:
    """What it looks for between two uploads may fail as they may."""
    add_runs(db_path, 1)
    python, option, code = program("Faulty")
    code = code.replace("runs = 0", "runs = 1").replace("path = Path", f"{LOOKS}\npath = Path")
    code = code.replace("Options(", "Options(look_again=0.05, ")
    with running(db_path, NOWHERE, program=(python, option, code)) as daemon:
        assert daemon.event("failed")["error"] == "ValueError"
        for _ in range(2):
            daemon.event("look")
        assert daemon.end() == 0
    assert "canary" not in "".join(daemon.said)
