"""One uploader for each file."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.tools.builders import FixedClock
from tests.tools.cli import environment
from tests.tools.rights import as_anybody
from waxlocal.errors import FileUnusable, UploaderRunning
from waxlocal_daemon.lock import exclusive, holder, lock_path

HOLD = """
import sys
from pathlib import Path
from waxlocal_daemon.lock import exclusive
with exclusive(Path(sys.argv[1]), command="waxlocal test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(db: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in another process until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_uploader_is_told_who_holds_the_file(db_path: Path) -> None:
    """The error names command, pid, host and time; its exit status is 3."""
    with holding(db_path) as process:
        with pytest.raises(UploaderRunning) as caught, exclusive(db_path):
            pass
        who = holder(db_path)
    assert who is not None
    assert (who.pid, who.command, who.host) == (process.pid, "waxlocal test", os.uname().nodename)
    for word in (str(process.pid), who.host, who.since, who.command):
        assert word in str(caught.value)
    assert caught.value.exit_code == 3


def test_the_lock_of_a_killed_process_is_free(db_path: Path) -> None:
    """Nothing has to be removed by hand, whatever the file still says."""
    with holding(db_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads(lock_path(db_path).read_text())["pid"] == process.pid
    assert holder(db_path) is None
    with exclusive(db_path):
        assert holder(db_path) is not None


def test_the_lock_is_free_again_after_the_block(db_path: Path) -> None:
    """Taken, released, taken: the file stays, empty, and nobody holds it."""
    for _ in range(2):
        with exclusive(db_path, clock=FixedClock(5)) as lock:
            who = holder(db_path)
            assert who is not None
            assert who.since == "2026-01-31T09:30:05.000000Z"
        assert lock.path.read_bytes() == b""
        assert holder(db_path) is None


def test_two_names_of_one_file_meet(tmp_path: Path) -> None:
    """A symbolic link to the file, or to its directory, leads to the same lock."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    real = tmp_path / "real" / "waxlocal.db"
    real.touch()
    other = tmp_path / "other.db"
    other.symlink_to(real)
    with exclusive(real):
        for name in (other, tmp_path / "link" / "waxlocal.db"):
            with pytest.raises(UploaderRunning), exclusive(name):
                pass


def test_two_files_have_two_locks(tmp_path: Path) -> None:
    """A lock is for one file and not for its directory."""
    with exclusive(tmp_path / "a.db") as a, exclusive(tmp_path / "b.db") as b:
        assert a.path != b.path


def test_the_lock_file_is_private_and_the_database_is_not_made(tmp_path: Path) -> None:
    """0600 in a directory of 0700, under any umask; the file itself is the recorder's to make."""
    before = os.umask(0)
    try:
        with exclusive(tmp_path / "new" / "waxlocal.db") as lock:
            path = lock.path
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert [one.name for one in path.parent.iterdir()] == [path.name]
    finally:
        os.umask(before)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="for root alone")
def test_what_root_makes_belongs_to_the_owner_of_the_file(db_path: Path) -> None:
    """So `sudo waxlocal sync` locks nobody out."""
    db_path.touch()
    os.chown(db_path, 54321, 54322)
    with exclusive(db_path) as lock:
        made = lock.path.stat()
    assert (made.st_uid, made.st_gid) == (54321, 54322)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="for root alone")
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_root_gives_away_no_file_that_it_has_not_made(
    db_path: Path, tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    """The owner of a directory may have put a link to anything there."""
    of_root = tmp_path / "secret"
    of_root.touch()
    db_path.write_text("no database")
    os.chown(db_path, 54321, 54322)
    for name in (lock_path(db_path), Path(f"{db_path}.side-3")):
        link(of_root, name)
    with suppress(FileUnusable), exclusive(db_path):
        pass
    program = "from waxlocal import WaxellContext as C\nwith C('a'): pass"
    subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "WAXLOCAL_DB": str(db_path),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        check=True,
    )
    assert of_root.stat().st_uid == 0


def test_a_lock_file_of_somebody_else_is_named(db_path: Path) -> None:
    """With what gives it back, and not as if the file itself could not be written."""
    db_path.touch()
    lock = lock_path(db_path)
    lock.touch()
    lock.chmod(0)
    code = (
        "import sys; from pathlib import Path; from waxlocal_daemon.lock import exclusive;"
        f"exclusive(Path({str(db_path)!r}), command='x').__enter__()"
    )
    done = subprocess.run(
        [*as_anybody(), sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{lock} belongs to another user" in done.stderr


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_plain_file_is_not_followed(db_path: Path, kind: str) -> None:
    """A link in the lock's place could lead to any file of the user; it is refused, and kept."""
    victim = db_path.with_name("victim")
    victim.write_text("precious")
    place = lock_path(db_path)
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(FileUnusable), exclusive(db_path):
        pass
    assert holder(db_path) is None
    assert victim.read_text() == "precious"


def test_a_lock_without_words_is_a_lock(db_path: Path) -> None:
    """On a full disk the holder cannot say who it is; the second is refused all the same."""
    with holding(db_path):
        lock_path(db_path).write_text("")
        with pytest.raises(UploaderRunning, match="another process"), exclusive(db_path):
            pass
        who = holder(db_path)
        assert who is not None
        assert who.pid == 0


def test_asking_who_holds_it_disturbs_nobody(db_path: Path) -> None:
    """While others ask all the time, the lock is taken each time it is free."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            holder(db_path)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(200):
            with exclusive(db_path):
                pass
    finally:
        over.set()
        for thread in asking:
            thread.join()


def test_nobody_holds_what_does_not_exist(tmp_path: Path) -> None:
    """Asking makes no file and no directory."""
    assert holder(tmp_path / "nowhere" / "waxlocal.db") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no limit to the size of files there")
def test_the_holder_is_named_once_there_is_space(tmp_path: Path) -> None:
    """A daemon that began on a full disk is known as soon as it can write its name."""
    import resource

    db = tmp_path / "waxlocal.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # no file may grow
    try:
        with exclusive(db) as lock:
            found = holder(db)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert found is not None
            assert found.pid == 0
            lock.follow()
            found = holder(db)
            assert found is not None
            assert found.pid == os.getpid()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
