"""Files and places that cannot be recorded into: the program runs on, the place is left alone."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.files import count, rows, run_program
from tests.tools.rights import HOMELESS, as_anybody, as_homeless
from waxlocal import WaxellContext
from waxlocal.recording.open_file import PRICES_NS
from waxlocal.recording.recorder import Recorder
from waxlocal.storage.side_file import side_path

PROGRAM = """
import sys
from waxlocal import WaxellContext
for number in range(3):
    with WaxellContext("agent", session_id="s", inputs={"n": number}) as run:
        run.set_tag("a", "b")
        run.record_llm_call(model="m", tokens_in=1, tokens_out=1)
        run.record_step("step")
        run.flush_sync()
print("the program's own work is done")
"""
# Start, call, note of the model, step, end; the model is noted once.
LOST = 3 * 4 + 1


def _text(path: Path) -> None:
    path.write_text("# notes\nnot a database\n" * 200, encoding="utf-8")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE customers (name)")
        conn.execute("INSERT INTO customers VALUES ('Ada')")
        conn.commit()


def _foreign_in_wal_mode(path: Path) -> None:
    _foreign(path)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA application_id = 42")


def _damaged(path: Path) -> None:
    run_program(path, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    with open(path, "r+b") as file:
        file.seek(0)
        file.write(b"\0" * 4096)


def _check(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (0, "the program's own work is done\n")
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("waxlocal:")]
    for word in (f"{LOST} records were lost", "Try:", *words):
        assert word in line
    # Beside it, one warning at the time when it happened.
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_foreign, "of another program"),
        (_foreign_in_wal_mode, "of another program"),
    ],
)
def test_a_file_of_another_kind_is_left_alone(
    db_path: Path, make: Callable[[Path], None], said: str
) -> None:
    """The program ends with exit code 0, one line says why, and no byte of the file changed."""
    make(db_path)
    before = hashlib.sha256(db_path.read_bytes()).digest()
    done = run_program(db_path, PROGRAM)
    _check(done, said)
    assert done.stderr.splitlines()[-1].count(str(db_path)) <= 2
    assert hashlib.sha256(db_path.read_bytes()).digest() == before
    assert not os.path.exists(f"{db_path}-journal")


@pytest.mark.parametrize("make", [_text, _damaged])
def test_what_cannot_be_read_is_left_alone_and_records_go_beside_it(
    db_path: Path, make: Callable[[Path], None]
) -> None:
    """One warning says where, no record is lost, and no byte of the file changed."""
    make(db_path)
    before = hashlib.sha256(db_path.read_bytes()).digest()
    done = run_program(db_path, PROGRAM)
    assert (done.returncode, done.stdout) == (0, "the program's own work is done\n")
    (line,) = done.stderr.splitlines()
    assert "not a database" in line
    beside = db_path.with_name("waxlocal.db.side-3")
    assert str(beside) in line
    assert hashlib.sha256(db_path.read_bytes()).digest() == before
    assert [count(beside, table) for table in ("runs", "llm_calls", "steps")] == [3, 3, 3]
    assert not os.path.exists(f"{db_path}-journal")


def test_a_directory_as_the_file(db_path: Path) -> None:
    """A directory in the file's place stays empty."""
    db_path.mkdir()
    done = run_program(db_path, PROGRAM)
    _check(done)
    assert done.stderr.splitlines()[-1].count(str(db_path)) == 1  # once is enough
    assert list(db_path.iterdir()) == []


def test_a_file_as_the_directory(tmp_path: Path) -> None:
    """A path that leads through a file is reported, too."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    _check(run_program(tmp_path / "file" / "waxlocal.db", PROGRAM))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x"


def test_a_directory_without_permission(tmp_path: Path) -> None:
    """A directory that may not be written is reported with a hint, and stays empty."""
    directory = tmp_path / "readonly"
    directory.mkdir(mode=0o555)
    done = run_program(directory / "waxlocal.db", PROGRAM, before=as_anybody())
    _check(done, "WAXLOCAL_DB=")
    assert list(directory.iterdir()) == []


def test_a_file_without_permission(tmp_path: Path) -> None:
    """A file that may be read but not written is reported, and stays as it was."""
    path = tmp_path / "waxlocal.db"
    run_program(path, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    before = path.read_bytes()
    _check(run_program(path, PROGRAM, before=as_anybody()), "WAXLOCAL_DB=")
    assert path.read_bytes() == before


REFUSING = """
import time
from waxlocal import WaxellContext
from waxlocal.storage import connection
opened, usual = [], connection.open_writer
def counted(*given, **more):
    opened.append(time.monotonic())
    return usual(*given, **more)
connection.open_writer = counted
for number in range(200):
    with WaxellContext("agent"): pass
# The second wait is 0.1 s long, and each is twice as long as the one before.
most = 2 + (opened[-1] - opened[0]) / 0.1
print(len(opened) <= most, len(opened) > 0)
"""


def test_a_file_that_opens_and_refuses_the_first_write_is_not_opened_for_each_record(
    tmp_path: Path,
) -> None:
    """Opening takes tens of milliseconds behind a long log, which the program would wait for."""
    path = tmp_path / "waxlocal.db"
    run_program(path, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    path.chmod(0o444)
    done = run_program(path, REFUSING, before=as_anybody())
    assert done.stdout == "True True\n"
    assert "or its directory, may not be written" in done.stderr


def test_no_home(tmp_path: Path) -> None:
    """A user without a home directory and without any setting harms nothing."""
    code = HOMELESS + "del os.environ['WAXLOCAL_DB']\n" + PROGRAM
    done = run_program(tmp_path / "unused.db", code, before=as_homeless())
    _check(done, "WAXLOCAL_DB=")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    """A relative path is one of that directory still, and of no other, the root least of all."""
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os\nos.chdir({str(gone)!r})\nos.rmdir({str(gone)!r})\n"
    code += "os.environ['WAXLOCAL_DB'] = 'w.db'\n"
    done = run_program(tmp_path / "unused.db", code + PROGRAM)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path("/w.db").exists()
    if sys.platform == "linux":
        assert count(gone / "w.db", "runs") == 3


def test_an_empty_file_is_a_new_one(db_path: Path) -> None:
    """A file of no bytes is filled, as SQLite itself would."""
    db_path.touch(mode=0o600)
    done = run_program(db_path, PROGRAM)
    assert (done.returncode, done.stderr) == (0, "")
    assert count(db_path, "runs") == 3


def test_a_place_that_becomes_writable(tmp_path: Path, db_path: Path) -> None:
    """Runs recorded while the place could not be used are in the file when it can be."""
    db_path.mkdir()
    done = run_program(
        db_path,
        """
        import os, time
        from waxlocal import WaxellContext
        for number in range(3):
            with WaxellContext("agent", inputs={"n": number}):
                pass
        os.rmdir(os.environ["WAXLOCAL_DB"])
        """,
    )
    assert done.returncode == 0
    assert "lost" not in done.stderr
    assert rows(db_path, "SELECT count(*) FROM runs WHERE status = 'success'") == [3]


def test_stderr_that_is_closed(db_path: Path) -> None:
    """The line at exit does not harm a program without stderr."""
    _text(db_path)
    done = run_program(db_path, "import sys\nsys.stderr.close()\nsys.stderr = None\n" + PROGRAM)
    assert (done.returncode, done.stdout) == (0, "the program's own work is done\n")


def test_a_file_with_the_longest_name_is_recorded_into(tmp_path: Path) -> None:
    """Though the system takes no name as long as those of its side files would be."""
    path = tmp_path / ("n" * (255 - len("-journal")))
    done = run_program(path, PROGRAM)
    assert (done.returncode, done.stderr) == (0, "")
    assert count(path, "steps") == 3


def test_prices_are_read_again_beside_a_side_file_that_cannot_be_taken_in(
    recorder: Recorder, db_path: Path
) -> None:
    """Which may lie there for ever."""
    _text(side_path(db_path))
    with WaxellContext("agent"):
        pass
    with closing(sqlite3.connect(db_path)) as other:
        other.execute(
            "INSERT INTO model_prices VALUES ('m', '', 1, 1, NULL, NULL, NULL, 'set', NULL, '')"
        )
        other.commit()
    assert recorder.store.prices.cost("m", "", 1_000_000, 0) is None
    recorder.store.look_around(time.time_ns() + 2 * PRICES_NS)
    assert recorder.store.prices.cost("m", "", 1_000_000, 0) == 1.0
