"""A program that reads the database like any other file, as an agent that searches a directory.

Closing it drops SQLite's locks on it: what others do beside it must not harm what is recorded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, rows, run_program
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings
from waxlocal.storage import use_locks
from waxlocal.storage.connection import reader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these locks")

_PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from waxlocal import WaxellContext

def record(name):
    with WaxellContext(name) as run:
        run.record_step(name)

def read_all():
    for path in Path(os.environ["WAXLOCAL_DB"]).parent.iterdir():
        path.read_bytes()

def forked():
    if not (child := os.fork()):
        record("child")
        read_all()
        os._exit(0)
    os.waitpid(child, 0)

record("before")
if FORK:
    forked()
    record("after the fork")
for number in range(3):
    read_all()
    subprocess.run([sys.executable, *BESIDE], check=True, stdout=subprocess.DEVNULL)
    assert os.path.exists(os.environ["WAXLOCAL_DB"] + "-wal"), "the log was deleted"
    record(f"after {number}")
"""
_RECORDS = ["-c", "from waxlocal import WaxellContext as C\nwith C('beside') as r: pass"]
# What SQLite asks, before it deletes the log or cuts the index.
_ASKS = [
    "-c",
    """
import fcntl, os, struct
for end, start, length in ("", 0x40000002, 510), ("-shm", 128, 1):
    file = open(os.environ["WAXLOCAL_DB"] + end, "r+b")
    asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    found = fcntl.fcntl(file, fcntl.F_GETLK, asked)
    assert struct.unpack_from("h", found)[0] == fcntl.F_RDLCK, end
""",
]


@pytest.mark.parametrize("fork", [False, True], ids=["alone", "forks"])
@pytest.mark.parametrize("beside", [_RECORDS, _ASKS], ids=["records", "asks"])
def test_a_program_that_reads_all_files_goes_on(
    db_path: Path, beside: list[str], fork: bool
) -> None:
    """Nobody beside it deletes its log, or cuts the index that it has in its memory."""
    done = run_program(db_path, f"FORK = {fork}\nBESIDE = {beside!r}\n{_PROGRAM}")
    assert (done.returncode, done.stderr) == (0, "")
    expected = ["before", *["child", "after the fork"] * fork, *(f"after {n}" for n in range(3))]
    assert rows(db_path, "SELECT step_name FROM steps ORDER BY run_id") == expected
    assert_sound(db_path)


def test_the_last_one_to_close_deletes_the_log(db_path: Path) -> None:
    """Our own locks are not in SQLite's way."""
    done = run_program(db_path, f"FORK = True\nBESIDE = {_RECORDS!r}\n{_PROGRAM}")
    assert done.returncode == 0
    assert [path.name for path in db_path.parent.iterdir()] == [db_path.name]


def test_a_descriptor_that_the_program_has_closed_is_not_taken_for_ours(db_path: Path) -> None:
    """A program that becomes a daemon closes all it finds; what it opens next has the number."""
    done = run_program(
        db_path,
        """
        import os, tempfile
        from waxlocal import WaxellContext, init
        from waxlocal.storage import kept_files

        def record(name):
            with WaxellContext(name) as run:
                run.record_step(name)

        record("before")
        lost = set(kept_files._descriptors.values())
        for number in lost:
            os.close(number)
        taken = [tempfile.TemporaryFile() for _ in range(8)]  # deleted, and open
        assert lost <= {file.fileno() for file in taken}
        os.fork() or os._exit(0)
        record("after")
        init(db=os.environ["WAXLOCAL_DB"] + ".other")
        for file in taken:
            file.write(b"x")
            file.flush()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db_path, "SELECT step_name FROM steps ORDER BY run_id") == ["before", "after"]


def test_one_recorder_of_two_that_closes_leaves_the_other_its_locks(db_path: Path) -> None:
    """Two of one process share a descriptor, and so its locks, until the last one is closed."""
    others = set(use_locks._holders)  # what another test has left open

    def held() -> list[int]:
        return [count for file, count in use_locks._holders.items() if file not in others]

    made = [Recorder(Settings(db=db_path)) for _ in range(2)]
    before = use_recorder(None)
    try:
        for recorder in made:
            recorder.store.fetch("SELECT 1", ())
        assert held() == [2, 2]  # the file and the index of its log
        made[0].close()
        assert held() == [1, 1]
        with reader(db_path) as other:
            assert other.execute("SELECT count(*) FROM runs").fetchone()[0] == 0
        made[1].close()
        assert not held()
        assert not os.path.exists(f"{db_path}-wal")
    finally:
        use_recorder(before)
