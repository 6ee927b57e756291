"""Waking when others commit, and only then."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.tools.builders import Builder
from tests.tools.cli import environment, recorded
from tests.tools.patience import PATIENCE_S
from waxlocal.storage.connection import open_writer
from waxlocal_daemon.log import Log
from waxlocal_daemon.watch import Watch

# Longer than any test: what wakes then is not the poll, and not the end of the wait.
NEVER = 3600.0
GUARD_S = PATIENCE_S

COMMIT = """
import sys
from pathlib import Path
from tests.tools.cli import recorded
with recorded(Path(sys.argv[1])) as file:
    for line in sys.stdin:
        file.insert("events", run_id="", position=int(line), recorded_at="", event="x")
        print("committed", flush=True)
"""


class Committer:
    """Another process that commits a row when told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._rows = 0

    def commit(self) -> None:
        """Commit, and return when that is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._rows += 1
        self._process.stdin.write(f"{self._rows}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "committed\n"


@pytest.fixture
def other(db_path: Path) -> Iterator[Committer]:
    """Another process with the file open."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMIT, str(db_path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        committer = Committer(process)
        committer.commit()
        yield committer
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def watching(path: Path, *, poll: float = NEVER, rest: float = 0.0) -> Iterator[Watch]:
    """Watch a file; a wait that hangs is interrupted, and then returns False."""
    interrupt = threading.Event()
    guard = threading.Timer(GUARD_S, interrupt.set)
    guard.start()
    try:
        with Watch(path, interrupt, log=Log(io.StringIO()), poll=poll, rest=rest) as watch:
            yield watch
    finally:
        guard.cancel()
        guard.join()


@contextmanager
def meanwhile(action: threading.Timer) -> Iterator[None]:
    """Do something while the block waits."""
    action.start()
    yield
    action.join()


def test_a_commit_of_another_process_wakes(db_path: Path, other: Committer) -> None:
    """By an event of the file system: the poll is an hour away."""
    with watching(db_path) as watch:
        for _ in range(3):
            with meanwhile(threading.Timer(0.3, other.commit)):
                assert watch.wait(NEVER)


def test_nothing_new_is_no_wake(db_path: Path, other: Committer) -> None:
    """The wait ends when its time is over."""
    with watching(db_path) as watch:
        assert not watch.wait(0.5)


def test_what_was_committed_between_two_waits_is_not_lost(db_path: Path, other: Committer) -> None:
    """No event comes for it any more; the next wait sees it at once, and only once."""
    with watching(db_path) as watch:
        other.commit()
        assert watch.wait(NEVER)
        other.commit()
        other.commit()
        assert watch.wait(NEVER)
        assert not watch.wait(0.3)


def test_own_writes_wake_once(db_path: Path, other: Committer) -> None:
    """A cycle that wrote is followed by one more look; that one writes nothing, and then sleeps."""
    with watching(db_path) as watch, closing(open_writer(db_path)) as connection:
        for _ in range(100):
            Builder(connection).run(None)
            connection.execute("DELETE FROM runs")
        assert watch.wait(NEVER)
        assert not watch.wait(0.5)


def test_readers_do_not_wake(db_path: Path, other: Committer) -> None:
    """Opening and closing the file makes events, but no commit."""

    def read() -> None:
        for _ in range(20):
            with recorded(db_path) as file:
                file.conn.execute("SELECT count(*) FROM runs").fetchone()

    with watching(db_path) as watch, meanwhile(threading.Timer(0.1, read)):
        assert not watch.wait(1.0)


def test_other_files_do_not_wake(db_path: Path, other: Committer) -> None:
    """A busy directory: events all the time, and not one commit."""
    over = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not over.is_set():
            written.append(db_path.with_name(f"note-{len(written) % 50}").write_text("x"))

    with watching(db_path) as watch, meanwhile(threading.Timer(0.0, write)):
        try:
            assert not watch.wait(1.5)
        finally:
            over.set()
    assert written


def test_a_poll_comes_through_a_storm_of_other_events(db_path: Path, other: Committer) -> None:
    """Events without end of other files do not keep the wait from its end."""
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            db_path.with_name("note").write_text("x")

    storm = threading.Thread(target=write)
    storm.start()
    try:
        with watching(db_path, poll=0.2) as watch:
            assert not watch.wait(1.0)
            with meanwhile(threading.Timer(0.3, other.commit)):
                assert watch.wait(NEVER)
    finally:
        over.set()
        storm.join()


def test_many_commits_are_few_wakes(db_path: Path) -> None:
    """Thousands of commits while others rest between their wakes: one wake for each rest."""
    over = threading.Event()
    commits = 0

    def write() -> None:
        nonlocal commits
        with recorded(db_path) as file:
            while not over.is_set():
                commits += 1
                file.insert("events", run_id="", position=commits, recorded_at="", event="x")

    with recorded(db_path):
        pass
    writing = threading.Thread(target=write)
    writing.start()
    try:
        with watching(db_path, rest=0.2) as watch:
            wakes = [watch.wait(NEVER) for _ in range(5)]
    finally:
        over.set()
        writing.join()
    assert all(wakes)
    assert commits > 20 * len(wakes)


def test_a_file_that_appears_wakes(db_path: Path) -> None:
    """The daemon may start before the first run is recorded."""

    def appear() -> None:
        with recorded(db_path) as file:
            file.run()

    with watching(db_path) as watch, meanwhile(threading.Timer(0.3, appear)):
        assert watch.wait(NEVER)


def test_a_directory_that_appears_is_found_by_the_poll(tmp_path: Path) -> None:
    """Where there is no directory there are no events."""
    path = tmp_path / "later" / "waxlocal.db"

    def appear() -> None:
        with recorded(path) as file:
            file.run()

    with watching(path, poll=0.1) as watch, meanwhile(threading.Timer(0.3, appear)):
        assert watch.wait(NEVER)


def test_a_directory_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    """Gone is new, back is new; between them nothing is."""
    path = tmp_path / "place" / "waxlocal.db"
    with recorded(path) as file:
        file.run()
    with watching(path, poll=0.1) as watch:
        with meanwhile(threading.Timer(0.3, shutil.rmtree, (path.parent,))):
            assert watch.wait(NEVER)
        assert not watch.wait(0.3)
        with recorded(path) as file:
            file.run()
        assert watch.wait(NEVER)


def test_a_file_that_is_replaced_wakes(db_path: Path, tmp_path: Path) -> None:
    """Another file at the same path has other runs, whatever its counters say."""
    for path in (db_path, tmp_path / "new.db"):
        with recorded(path) as file:
            file.run()
    with watching(db_path) as watch:
        with meanwhile(threading.Timer(0.3, (tmp_path / "new.db").replace, (db_path,))):
            assert watch.wait(NEVER)
        assert not watch.wait(0.3)


def test_a_link_is_watched_where_it_leads(db_path: Path, other: Committer, tmp_path: Path) -> None:
    """The log is beside the real file, in another directory."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "waxlocal.db"
    link.symlink_to(db_path)
    with watching(link) as watch, meanwhile(threading.Timer(0.3, other.commit)):
        assert watch.wait(NEVER)


@pytest.mark.parametrize("rest", [0.0, NEVER])
def test_an_interrupt_ends_the_wait(db_path: Path, other: Committer, rest: float) -> None:
    """Also while it rests after a wake."""
    interrupt = threading.Event()
    with Watch(db_path, interrupt, log=Log(io.StringIO()), poll=NEVER, rest=rest) as watch:
        other.commit()
        assert watch.wait(NEVER)
        with meanwhile(threading.Timer(0.3, interrupt.set)):
            assert not watch.wait(NEVER)


WITHOUT_INOTIFY = """
import sys, threading
from pathlib import Path
from waxlocal_daemon.log import Log
from waxlocal_daemon.watch import Watch
Path("/proc/sys/user/max_inotify_instances").write_text("0")
watch = Watch(Path(sys.argv[1]), threading.Event(), log=Log(), poll=0.1, rest=0.0)
print("ready", flush=True)
print([watch.wait(600) for _ in range(3)], flush=True)
Path("/proc/sys/user/max_inotify_instances").write_text("10")
print(watch.wait(0.3), flush=True)
watch.close()
"""


def test_without_inotify_it_polls_and_says_so_once(db_path: Path, other: Committer) -> None:
    """The limit of instances is reached: one line, and every commit is found by the poll."""
    own = ("unshare", "--user", "--map-root-user")
    if not shutil.which("unshare") or subprocess.run([*own, "true"], check=False).returncode:
        pytest.skip("no user namespace of our own here, in which to lower the limit")
    with subprocess.Popen(
        [*own, sys.executable, "-c", WITHOUT_INOTIFY, str(db_path)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        over = threading.Event()

        def commit() -> None:
            while not over.wait(0.2):
                other.commit()

        committing = threading.Thread(target=commit)
        committing.start()
        try:
            woken = process.stdout.readline()
        finally:
            over.set()
            committing.join()
        said, told = process.communicate(timeout=PATIENCE_S)
    assert woken == "[True, True, True]\n"
    assert said.splitlines()[-1] in ("True", "False")
    assert told.count("event=watch_unavailable") == 1
    assert told.count("event=watch_available") == 1
    assert "Too many open files" in told


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of descriptors here")
def test_the_database_is_opened_by_sqlite_alone(db_path: Path, other: Committer) -> None:
    """No descriptor of the file but those that SQLite made: closing another would drop locks."""
    with watching(db_path) as watch:
        before = _descriptors(db_path)
        with meanwhile(threading.Timer(0.3, other.commit)):
            assert watch.wait(NEVER)
        assert _descriptors(db_path) == before


def _descriptors(path: Path) -> int:
    with os.scandir("/proc/self/fd") as entries:
        names = [entry.name for entry in entries]
    return [_target(name) for name in names].count(str(path))


def _target(descriptor: str) -> str:
    with suppress(FileNotFoundError):  # another thread has closed it since
        return os.readlink(f"/proc/self/fd/{descriptor}")
    return ""
