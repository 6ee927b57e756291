"""The only door to the file: what it sets, what it raises, and that there is no other."""

from __future__ import annotations

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.crash.files import environment, rows, run_program
from tests.tools.rights import as_anybody
from waxlocal import WaxellContext
from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.delivery.outbox import Outbox
from waxlocal.errors import (
    DiskFull,
    FileDamaged,
    FileLocked,
    FileMissing,
    FileReadOnly,
    FileUnusable,
    NotADatabase,
    StorageError,
)
from waxlocal.prices.table import unset_price
from waxlocal.recording.recorder import Recorder
from waxlocal.storage import readers
from waxlocal.storage.connection import (
    open_writer,
    reader,
    writer,
)
from waxlocal.storage.retry import is_busy
from waxlocal.storage.storage_errors import storage_error

PACKAGE = Path(waxlocal.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_pragmas(db_path: Path, durability: str, level: int) -> None:
    """WAL, the asked-for durability, no checkpoints by SQLite, a log that is cut, autocommit."""
    with closing(open_writer(db_path, durability=durability)) as conn:
        (mode,) = conn.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = conn.execute("PRAGMA synchronous").fetchone()
        (pages,) = conn.execute("PRAGMA wal_autocheckpoint").fetchone()
        (limit,) = conn.execute("PRAGMA journal_size_limit").fetchone()
        assert conn.isolation_level is None
    assert (mode, synchronous) == ("wal", level)
    assert pages == 0
    assert limit == 48 * 1024 * 1024


def test_who_opens_a_new_file_waits_for_who_creates_it(db_path: Path) -> None:
    """Several commands may be the first on one file: SQLite itself would not wait there."""
    db_path.touch()
    with closing(sqlite3.connect(db_path, isolation_level=None)) as first:
        first.execute("BEGIN IMMEDIATE")

        class Second(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                try:
                    return super().execute(sql, *values)
                except sqlite3.OperationalError:
                    refused.append(sql)
                    if first.in_transaction:
                        first.execute("ROLLBACK")
                    raise

        refused: list[str] = []
        with closing(open_writer(db_path, wait=60, factory=Second)) as conn:
            assert conn.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    assert refused == ["PRAGMA journal_mode = WAL"]


def test_a_reader_cannot_write(recorder: Recorder, db_path: Path) -> None:
    """A reading connection refuses every change."""
    with WaxellContext("agent"):
        pass
    with pytest.raises(FileReadOnly), reader(db_path) as conn:
        conn.execute("DELETE FROM runs")
    assert rows(db_path, "SELECT count(*) FROM runs") == [1]


def test_a_reader_makes_no_file(db_path: Path) -> None:
    """Asking a file that is not there creates nothing."""
    with pytest.raises(FileMissing), reader(db_path):
        pass
    assert not db_path.exists()


def test_a_reader_sees_what_was_just_recorded(recorder: Recorder, db_path: Path) -> None:
    """Committed means visible, to any other connection, at once."""
    with WaxellContext("agent") as run:
        for number in range(1, 20):
            run.record_step("step")
            with reader(db_path) as conn:
                assert conn.execute("SELECT count(*) FROM steps").fetchone()[0] == number


ADD_EVENT = (
    "INSERT INTO events (run_id, position, recorded_at, event, data) VALUES ('', ?, '', 'e', NULL)"
)


def _add(path: Path, *positions: int, then: Exception | None = None) -> None:
    with writer(path) as conn:
        for position in positions:
            conn.execute(ADD_EVENT, (position,))
        if then is not None:
            raise then


def test_a_writer_commits_or_rolls_back(db_path: Path) -> None:
    """All of the block, or nothing of it; an error of SQLite comes out as one of ours."""
    _add(db_path, 1)
    with pytest.raises(KeyError):
        _add(db_path, 2, then=KeyError())
    with pytest.raises(StorageError):
        _add(db_path, 3, 3)
    assert rows(db_path, "SELECT position FROM events") == [1]


def test_a_read_only_directory_can_be_read(recorder: Recorder, db_path: Path) -> None:
    """A finished file is readable where SQLite may not create anything."""
    with WaxellContext("agent"):
        pass
    recorder.close()
    code = """
import os, sys
from pathlib import Path
from waxlocal.storage.connection import reader
path = Path(os.environ["WAXLOCAL_DB"])
with reader(path) as conn:
    print(conn.execute("SELECT count(*) FROM runs").fetchone()[0])
"""
    db_path.chmod(0o444)
    db_path.parent.chmod(0o555)
    done = run_program(db_path, code, before=as_anybody())
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite3.OperationalError("database is locked"), FileLocked),
        (sqlite3.OperationalError("database table is locked"), FileLocked),
        (sqlite3.OperationalError("database or disk is full"), DiskFull),
        (OSError(28, "No space left on device"), DiskFull),
        (sqlite3.OperationalError("attempt to write a readonly database"), FileReadOnly),
        (sqlite3.OperationalError("unable to open database file"), FileReadOnly),
        (PermissionError(13, "Permission denied"), FileReadOnly),
        (OSError(30, "Read-only file system"), FileReadOnly),
        (sqlite3.DatabaseError("file is not a database"), NotADatabase),
        (sqlite3.OperationalError("malformed JSON"), StorageError),
        (sqlite3.DatabaseError("database disk image is malformed"), FileDamaged),
        (sqlite3.OperationalError("disk I/O error"), StorageError),
    ],
)
def test_errors_of_our_own(error: Exception, kind: type[StorageError], db_path: Path) -> None:
    """Each of SQLite's errors becomes one of ours, with the path and a hint."""
    said = storage_error(error, db_path)
    assert type(said) is kind
    assert str(said).startswith(str(db_path))
    assert said.hint
    assert is_busy(error) == (kind is FileLocked)
    assert storage_error(said, db_path) is said


def test_a_path_that_is_too_long_for_sqlite_is_told_as_such(tmp_path: Path) -> None:
    """The system takes it, and the directory is writable: another one like it is no way out."""
    long = tmp_path.joinpath(*["d" * 200] * 3, "waxlocal.db")
    with pytest.raises(FileUnusable, match="the path is too long for SQLite") as caught:
        open_writer(long)
    assert caught.value.hint.startswith("choose a shorter path")
    with pytest.raises(FileUnusable, match="the path is too long for SQLite"), reader(long):
        pass


def test_an_old_log_beside_a_copy_is_named(recorder: Recorder, db_path: Path) -> None:
    """SQLite takes it for the log of the copy that was moved there, and finds it damaged."""
    with WaxellContext("agent"):
        pass
    recorder.close()
    copy = shutil.copy(db_path, db_path.with_name("copy.db"))
    with writer(db_path) as connection:
        connection.execute("CREATE TABLE more AS SELECT randomblob(90000) AS x")
    with closing(open_writer(db_path)) as connection:
        connection.execute("CREATE TABLE last AS SELECT 1 AS x")
        log = shutil.copy(f"{db_path}-wal", f"{db_path}.old")
    os.replace(copy, db_path)
    os.replace(log, f"{db_path}-wal")
    with pytest.raises(NotADatabase, match="malformed") as caught, reader(db_path) as connection:
        connection.execute("SELECT * FROM more").fetchall()
    assert f"waxlocal --db {db_path} recover" in caught.value.hint


def test_real_lock_is_busy(db_path: Path) -> None:
    """What SQLite really says of a held file is known as such."""
    with closing(open_writer(db_path)) as one, closing(open_writer(db_path)) as two:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            two.execute("BEGIN IMMEDIATE")
        assert is_busy(caught.value)
        one.execute("ROLLBACK")


def _calls(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def _imports(module: Path) -> Iterator[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    only_types = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if node in only_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_one_module_opens_sqlite() -> None:
    """Only `connection` calls `sqlite3.connect`: no connection escapes the care for forks."""
    callers = {module.name for module in MODULES if "sqlite3.connect" in _calls(module)}
    assert callers == {"connection.py"}


# A second SQLite library, or a connection of another kind, would not know of the first one's locks.
def test_no_other_sqlite_library() -> None:
    """No module imports another SQLite library."""
    for module in MODULES:
        assert not {"pysqlite3", "apsw", "sqlean"} & set(_imports(module))


OPENING = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "copy", "copyfile"}
# What these open is not the database, or (paths) is one that nobody has open yet.
ALLOWED = {
    "storage/log_file.py": {"os.open", "open"},  # the log, on which SQLite has no locks; a method
    "capture/conversations.py": {"copy"},  # of a digest
    "capture/calls.py": {"copy"},  # of a deque
    "capture/open_calls.py": {"copy"},  # of a set
    "capture/captured_span.py": {"copy"},  # of a dict
    "cli/app.py": {"os.open"},  # /dev/null
    "cli/run.py": {"open"},  # a program
    # Before anybody here has it open; copies; a directory.
    "maintenance/recovery.py": {"open", "os.open", "shutil.copyfile"},
    "search/index_file.py": {"open"},  # an index that SQLite cannot read
    "sdk/propagation.py": {"copy"},  # a context
    "storage/kept_files.py": {"os.open"},  # and never closed
    "storage/lock_support.py": {"os.open"},  # a file of its own
    "storage/paths.py": {"os.open"},
    "process.py": {"read_text"},  # /proc
    "settings/profiles.py": {"open"},  # ~/.waxell/config
    "storage/schema.py": {"read_text"},  # schema.sql, migrations
    "settings/secret.py": {"open"},  # a key file
    "web/app.py": {"open"},  # a method of ours
    "web/pages/files.py": {"read_bytes"},  # what the pages are made of
}


def test_nobody_opens_the_file_by_its_path() -> None:
    """Closing any descriptor of the file drops SQLite's locks: no module opens a file at all."""
    found = {}
    for module in MODULES:
        calls = {
            call if call.startswith(("os.", "shutil.")) else call.rpartition(".")[2]
            for call in _calls(module)
            if call.rpartition(".")[2] in OPENING
        }
        name = str(module.relative_to(PACKAGE))
        if calls - ALLOWED.get(name, set()):
            found[name] = calls
    assert found == {}


def test_importing_waxlocal_is_light() -> None:
    """`import waxlocal` loads nothing heavy."""
    heavy = "httpx click sqlite_utils rich pydantic genai_prices asyncio dataclasses logging"
    code = f"import sys, waxlocal; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(Path("unused")),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_readers_are_counted_only_while_open(recorder: Recorder, db_path: Path) -> None:
    """A reader that failed to open, or has closed, keeps no fork waiting."""
    with WaxellContext("agent"):
        pass
    with reader(db_path):
        assert len(readers._uses) == 1
    assert len(readers._uses) == 0
    with pytest.raises(FileMissing), reader(db_path.with_name("none.db")):
        pass
    assert len(readers._uses) == 0


def _command(path: Path) -> None:
    with writer(path, create=False):
        pass


@pytest.mark.parametrize(
    "open_",
    [
        _command,
        lambda path: open_writer(path, create=False).close(),
        lambda path: Outbox(path, "https://acme.example").close(),
        interrupt_gone,
        lambda path: unset_price(path, "gpt-4o"),
    ],
    ids=["command", "writer", "outbox", "interruption", "prices"],
)
def test_a_file_that_vanished_is_not_made_again(
    db_path: Path, open_: Callable[[Path], object]
) -> None:
    """Whoever looks after an existing file, as the daemon does, must not put an empty one there."""
    with pytest.raises(FileMissing):
        open_(db_path)
    assert list(db_path.parent.glob("waxlocal.db*")) == []


FULL = """
set -e
mkdir {there}
mount -t tmpfs -o size=1m none {there}
cp {file} {there}/full.db
dd if=/dev/zero of={there}/fill bs=4k status=none 2>/dev/null || true
exec {python} -c '
from pathlib import Path
from waxlocal.errors import StorageError
from waxlocal.storage.connection import open_writer, reader
path = Path("{there}/full.db")
for opened in (lambda: reader(path).__enter__(), lambda: open_writer(path)):
    try: opened()
    except StorageError as error: print(type(error).__name__, error.hint)
'
"""


def test_a_full_disk_without_the_shared_memory_is_told_as_full(
    db_path: Path, tmp_path: Path
) -> None:
    """SQLite calls it a disk I/O error where it makes the `-shm` file; a reader does without."""
    if not shutil.which("unshare"):
        pytest.skip("unshare is not here")
    open_writer(db_path).close()
    script = FULL.format(there=tmp_path / "there", file=db_path, python=sys.executable)
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this user may not mount")
    assert done.stderr == ""
    assert done.stdout == "DiskFull free some space; recording resumes by itself\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in its file system")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """SQLite opens it, and waits until somebody writes to it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotADatabase, match="not a plain file"), reader(tmp_path / "pipe"):
        pass
    with pytest.raises(NotADatabase, match="not a plain file"):
        open_writer(tmp_path / "pipe", create=False)


@pytest.mark.skipif(sys.platform == "win32", reason="its devices have no such names")
def test_a_device_is_refused_and_gets_no_journal(tmp_path: Path) -> None:
    """SQLite takes the null device for an empty file, and writes a journal beside it."""
    with pytest.raises(NotADatabase, match="not a plain file"), reader(Path(os.devnull)):
        pass
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (Path(os.devnull), tmp_path / "link"):
        with pytest.raises(NotADatabase, match="not a plain file"):
            open_writer(path)
    assert not Path(f"{os.devnull}-journal").exists()
