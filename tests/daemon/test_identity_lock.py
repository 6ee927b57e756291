"""One uploader for each database, by whatever name it is opened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.test_lock import holding
from tests.tools.cli import recorded
from waxlocal.errors import UploaderRunning
from waxlocal.storage.connection import reader
from waxlocal_daemon.byte_lock import byte_is_locked, take_byte
from waxlocal_daemon.identity_lock import IdentityLock, Take, named_is_locked, take_named
from waxlocal_daemon.lock import exclusive, holder, lock_path


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


@pytest.fixture
def file(db_path: Path) -> Path:
    """Return a file with one run."""
    with recorded(db_path) as file:
        file.run()
    return db_path


@pytest.fixture
def link(file: Path) -> Path:
    """Return another name of that file, in another directory."""
    link = file.parent / "elsewhere" / "other.db"
    link.parent.mkdir()
    link.hardlink_to(file)
    return link


def test_a_hard_link_is_the_same_file(file: Path, link: Path) -> None:
    """Another process that has the file under its other name is met, though it has no name here."""
    with holding(file):
        with pytest.raises(UploaderRunning, match="another process"), exclusive(link):
            pass
        who = holder(link)
        assert who is not None
        assert who.pid == 0
    with exclusive(link):
        who = holder(file)
        assert who is not None


def test_a_lock_file_that_is_removed_frees_nothing(file: Path) -> None:
    """Whoever tidies up lets no second uploader in."""
    with holding(file):
        lock_path(file).unlink()
        with pytest.raises(UploaderRunning), exclusive(file):
            pass
        assert holder(file) is not None
    with exclusive(file):
        pass
    assert holder(file) is None


def test_a_killed_holder_frees_every_name(file: Path, link: Path) -> None:
    """Nothing has to be removed by hand."""
    with holding(file) as process:
        process.kill()
        process.wait()
        with exclusive(link):
            pass


def test_one_process_does_not_hold_a_file_twice(file: Path, link: Path) -> None:
    """Two threads of one process meet like two processes."""
    with exclusive(file), pytest.raises(UploaderRunning), exclusive(link):
        pass


MOUNT = """
set -e
mkdir {there}
touch {there}/mounted.db
mount --bind {file} {there}/mounted.db
exec {python} -c '
from pathlib import Path
from waxlocal.errors import UploaderRunning
from waxlocal_daemon.lock import exclusive
try:
    with exclusive(Path("{there}/mounted.db")): print("held")
except UploaderRunning: print("refused")
'
"""


def test_a_file_mounted_alone_is_the_same_file(file: Path, tmp_path: Path) -> None:
    """As a container sees it that was given the file, and not its directory."""
    if not shutil.which("unshare"):
        pytest.skip("unshare is not here")
    script = MOUNT.format(there=tmp_path / "there", file=file, python=sys.executable)
    mounting = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def ask() -> str:
        done = subprocess.run(mounting, env=environ, capture_output=True, text=True, check=False)
        shutil.rmtree(tmp_path / "there", ignore_errors=True)
        if "unshare" in done.stderr or "mount" in done.stderr:
            pytest.skip("this user may not mount")
        assert done.stderr == ""
        return done.stdout

    assert ask() == "held\n"
    with holding(file):
        assert ask() == "refused\n"


@pytest.fixture(params=[take_byte, take_named], ids=["byte", "named"])
def take(request: pytest.FixtureRequest) -> Take:
    """Return each way to lock: that of Linux, and that of the other systems."""
    way: Take = request.param
    return way


@pytest.fixture
def asked(take: Take) -> Callable[[Path, tuple[int, int]], bool]:
    """Return how to ask about such a lock."""
    return byte_is_locked if take is take_byte else named_is_locked


def test_the_lock_goes_where_the_path_leads(
    file: Path, link: Path, take: Take, asked: Callable[[Path, tuple[int, int]], bool]
) -> None:
    """Another file at the path is locked in place of the first, which is free again."""
    first = _identity(file)
    lock = IdentityLock(file, take)
    assert lock.take()
    assert lock.take()
    assert asked(link, first)
    assert not IdentityLock(link, take).take()
    file.unlink()
    assert lock.take()
    assert not asked(link, first)
    with recorded(file) as other:
        other.run()
    assert lock.take()
    assert asked(file, _identity(file))
    assert IdentityLock(link, take).take()
    lock.release()
    assert not asked(file, _identity(file))


def test_a_file_that_is_held_is_taken_when_it_is_free(file: Path, link: Path, take: Take) -> None:
    """The second tries again, and has it when the first let go."""
    first, second = IdentityLock(file, take), IdentityLock(link, take)
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    assert not first.take()
    second.release()


def test_no_file_is_no_failure(tmp_path: Path, take: Take) -> None:
    """An uploader may wait for its file; nothing is made meanwhile."""
    lock = IdentityLock(tmp_path / "none.db", take)
    assert lock.take()
    lock.release()
    assert not (tmp_path / "none.db").exists()


def test_a_system_without_locks_is_no_failure(file: Path) -> None:
    """Then the lock file is all there is."""

    def refused(db: Path, identity: tuple[int, int]) -> Callable[[], None]:
        raise OSError(95, "Operation not supported")

    lock = IdentityLock(file, refused)
    assert lock.take()
    lock.release()


def _posix_locks(path: Path) -> list[str]:
    """Return the locks of this process on a file, of those that closing a descriptor drops."""
    found = path.stat()
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    mine = [line for line in lines if device in line and f" {os.getpid()} " in line]
    return [line.partition(":")[2] for line in mine]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Have a connection to the file."""
    with reader(path) as connection:
        connection.execute("SELECT count(*) FROM runs").fetchone()
        yield


def test_sqlite_keeps_its_locks(file: Path, link: Path) -> None:
    """To take, to ask, to be refused and to let go closes no descriptor of the database."""
    with reading(file):
        before = _posix_locks(file)
        assert before
        with exclusive(file):
            assert holder(link) is not None
            with pytest.raises(UploaderRunning), exclusive(link):
                pass
        holder(file)
        assert _posix_locks(file) == before


def test_a_deleted_file_takes_no_space(file: Path) -> None:
    """Its descriptor is closed with the next look: nobody else can open it any more."""
    inode = file.stat().st_ino
    lock = IdentityLock(file)
    assert lock.take()
    file.unlink()
    assert lock.take()
    opened = [os.stat(fd.path) for fd in os.scandir("/proc/self/fd") if os.path.exists(fd.path)]
    assert inode not in {one.st_ino for one in opened}


def test_asking_disturbs_no_taker(file: Path) -> None:
    """Nothing is taken in order to ask."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            holder(file)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            lock = IdentityLock(file)
            assert lock.take()
            lock.release()
    finally:
        over.set()
        asking.join()
