"""Every error is one line with a hint, has its own exit status, and leaves the file as it was."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import run_id
from tests.tools.cli import (
    PYTHON,
    environment,
    invoke,
    recorded,
)
from tests.tools.file_versions import make_newer
from tests.tools.patience import PATIENCE_S
from tests.tools.rights import as_anybody
from tests.tools.short_waits import impatient_commands
from waxlocal import errors

READING = (
    ("sessions",),
    ("session", "x"),
    ("show", "x"),
    ("stats",),
    ("users",),
    ("models",),
    ("prices", "list"),
)
WRITING = (
    ("prices", "set", "m", "--input", "1", "--output", "1"),
    ("prices", "unset", "m"),
    ("prices", "reprice"),
    ("demo",),
)
OTHERS = (
    ("sql", "SELECT 1"),
    ("tail", "-n", "0"),
    ("serve", "--port", "0"),
    ("sync",),
    ("sync", "--dry-run"),
    ("sync", "status"),
    ("sync", "parked"),
    ("sync", "retry"),
    ("sync", "verify"),
    ("daemon", "run"),
    ("daemon", "status"),
)
SERVER = {"WAXELL_API_URL": "http://127.0.0.1:9", "WAXELL_API_KEY": "wax_sk_canary_2f8c"}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A file with two sessions whose ids begin alike."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        file.run("sess_aa")
        file.run("sess_ab")
    return path


def _fails(*args: object, db: Path, status: int, **env: str) -> str:
    result = invoke(*args, db=db, **env)
    lines = result.stderr.splitlines()
    assert result.exit_code == status, result.stderr
    assert result.stdout == ""
    assert lines[0].startswith("Error: ")
    assert lines[1].startswith("Try: ")
    assert len(lines) == 2
    return result.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("sessions", "--order", "age"), "unknown ordering 'age'"),
        (("sessions", "--since", "yesterday"), "'yesterday' is not a valid time"),
        (("stats", "--until", "2026-13-01"), "'2026-13-01' is not a valid time"),
        (("models", "--since", "soon"), "'soon' is not a valid time"),
        (("sessions", "--status", "odd"), "unknown status 'odd'"),
        (("sessions", "--order", "-cost"), "unknown ordering '-cost'"),
        (("users", "--by", "-sessions"), "for ascending order: session_count"),
        (("sessions", "--db", ""), "invalid value for --db: it is empty"),
        (("demo", "--db", ""), "invalid value for --db: it is empty"),
        (("prices", "set", "m", "--input", "1", "--output", "1e300"), "price is 1e+300"),
        (("prices", "set", "m", "--input", "1e400", "--output", "1"), "price is inf"),
        (("sessions", "--user", ""), "invalid value for --user: it is empty"),
        (("stats", "--search", ""), "invalid value for --search: it is empty"),
        (("models", "--since", ""), "invalid value for --since: it is empty"),
        (("sync", "--api-url", ""), "invalid value for --api-url: it is empty"),
        (("sync", "verify", "--profile", ""), "invalid value for --profile: it is empty"),
        (("daemon", "run", "--metrics", ""), "invalid value for --metrics: it is empty"),
        (("users", "--order", "age"), "unknown ordering 'age'"),
        (("session", "sess_a"), "'sess_a' matches several sessions: sess_aa, sess_ab"),
        (("show", "0194"), "'0194' matches several runs"),
        (("session", ""), "the session id is empty"),
        (("prices", "set", "m", "--input", "-1", "--output", "2"), "price is -1.0"),
        (("serve", "--host", ""), "invalid value for --host: it is empty"),
        (("sync", "--api-url", "nope"), "(--api-url) does not begin with https://"),
        (("sync", "verify", "--api-url", "http://x/?k"), "(--api-url) contains ?"),
        (("daemon", "run", "--api-url", "ftp://x"), "(--api-url) does not begin with https://"),
        (("daemon", "run", "--metrics", "foo"), "'foo' is not a valid address for metrics"),
        (("daemon", "run", "--metrics-file", "/"), "/ is a directory"),
        (("sync", "--patience", "-1"), "invalid value for --patience: '-1' is out of range"),
        (("prices", "set", "m", "--input", "nan", "--output", "2"), "price is nan"),
        (("sessions", "--json", "--csv"), "--json and --csv cannot be combined"),
        (("sessions", "--frobnicate"), "unknown option --frobnicate"),
        (("session",), "argument ID is missing"),
        (("frobnicate",), "unknown command 'frobnicate'"),
        (("completion", "tcsh"), "'tcsh' is unknown; use bash, zsh or fish"),
        (("run",), "argument PROGRAM is missing"),
        (("run", "-m"), "-m needs the name of a module"),
        (("run", ""), "the name of the program is empty"),
        (("run", "--frobnicate", "app.py"), "unknown option --frobnicate"),
        (("run", "--frobnicate=1", "app.py"), "unknown option --frobnicate"),
        (("run", "--session=one", "--frobnicate"), "unknown option --frobnicate"),
        (("run", "--no-instrument=1", "app.py"), "option --no-instrument takes no value"),
        (("run", "--db", "x.db", "app.py"), "--db stands before run"),
        (("run", "--db=x.db", "app.py"), "--db stands before run"),
        (("daemon",), "a command is missing; use run, install, uninstall or status"),
        (("run", "--session", "", "app.py"), "invalid value for --session: it is empty"),
        (("run", "--user=", "app.py"), "invalid value for --user: it is empty"),
        (("run", "--agent", " ", "app.py"), "invalid value for --agent: it is empty"),
        (("prices", "set", "", "--input", "1", "--output", "1"), "the name of the model is empty"),
        (("prices", "unset", ""), "the name of the model is empty"),
        (("prices", "reprice", ""), "the name of the model is empty"),
        (("prices", "unset", "m", "--provider", ""), "invalid value for --provider: it is empty"),
    ],
)
def test_a_question_without_sense_exits_2(db: Path, args: tuple[str, ...], said: str) -> None:
    """Usage, ranges, ambiguous ids: what is wrong, and what to do."""
    assert said in _fails(*args, db=db, status=2)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("session", "nothing"), "no session 'nothing'"),
        (("show", "nothing"), "no run 'nothing'"),
        (("prices", "unset", "m"), "no price was set for m"),
        (("prices", "reprice", "nothing"), "no call of the model 'nothing' is recorded"),
        (("run", "nothing.py"), "program 'nothing.py' not found"),
    ],
)
def test_what_is_not_there_exits_5(db: Path, args: tuple[str, ...], said: str) -> None:
    """A missing session, run, price or program."""
    assert said in _fails(*args, db=db, status=5)


@pytest.mark.parametrize("args", READING + WRITING[:3])
def test_a_named_file_must_exist(tmp_path: Path, args: tuple[str, ...]) -> None:
    """With `--db` or WAXLOCAL_DB a missing file is an error, and is not made."""
    missing = tmp_path / "missing.db"
    assert f"{missing} does not exist" in _fails(*args, db=missing, status=5)
    result = invoke(*args, WAXLOCAL_DB=str(missing))
    assert result.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def _text(path: Path) -> None:
    path.write_text("Dear diary, this is certainly no database.\n" * 200)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE runs (id)")


def _newer(path: Path) -> None:
    with recorded(path) as file:
        file.run("sess_aa")
    make_newer(path, min_writer=99, min_reader=99)


def _damaged(path: Path) -> None:
    with recorded(path) as file:
        file.run("sess_aa")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100] + b"\xa5" * (size - 100))


@pytest.mark.parametrize("args", READING + WRITING)
@pytest.mark.parametrize("make", [_text, _foreign, _newer, _damaged])
def test_a_file_that_is_not_ours_exits_4_and_stays_as_it_was(
    tmp_path: Path, make: object, args: tuple[str, ...]
) -> None:
    """Not one byte changes, neither by a question nor by a command that would write."""
    path = tmp_path / "other.db"
    make(path)  # type: ignore[operator]
    before = path.read_bytes()
    _fails(*args, db=path, status=4)
    assert path.read_bytes() == before


@pytest.mark.parametrize("args", READING + WRITING + OTHERS)
def test_a_directory_is_no_file(tmp_path: Path, args: tuple[str, ...]) -> None:
    """Every command says that the path is a directory, and makes nothing beside it."""
    place = tmp_path / "place"
    place.mkdir()
    assert f"{place} is a directory" in _fails(*args, db=place, status=4, **SERVER)
    assert list(tmp_path.rglob("*")) == [place]


def test_a_price_can_be_set_before_the_first_run(tmp_path: Path) -> None:
    """The user's own file counts as empty while it is missing; a price makes it."""
    env = {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    assert invoke(*WRITING[0], **env).exit_code == 0
    assert "override" in invoke("prices", "list", **env).stdout


def test_a_file_without_recordings_is_as_good_as_none(tmp_path: Path) -> None:
    """What a recorder leaves that was killed before its first row is not an error of format."""
    empty = tmp_path / "empty.db"
    empty.touch()
    assert "holds no recordings yet" in _fails("sessions", db=empty, status=5)


def test_a_recording_is_never_replaced_by_a_demonstration(db: Path) -> None:
    """`demo` refuses a file with anything else in it."""
    before = db.read_bytes()
    assert "holds more than a demo" in _fails("demo", db=db, status=2)
    assert db.read_bytes() == before


def _without_rights(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user who may not write where root may."""
    return subprocess.run(
        [*as_anybody(), *PYTHON, *map(str, args)],
        env=environment(PYTHONDONTWRITEBYTECODE="1", **env),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def readable(tmp_path: Path) -> Path:
    """A directory that may be entered and read; the test takes away the right to write."""
    place = tmp_path / "readable"
    place.mkdir()
    return place


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights as on POSIX")
def test_a_read_only_directory_can_be_read_and_not_written(readable: Path) -> None:
    """Questions are answered there; commands that write exit 6 and change nothing."""
    path = readable / "waxlocal.db"
    with recorded(path) as file:
        file.run("sess_aa")
    path.chmod(0o444)
    readable.chmod(0o555)
    before = path.read_bytes()
    try:
        asked = _without_rights("--db", path, "sessions")
        assert asked.returncode == 0, asked.stderr
        assert "sess_aa" in asked.stdout
        new = ("--db", readable / "new.db")
        for args in (WRITING[0], (*new, "demo"), ("doctor",), (*new, "doctor")):
            refused = _without_rights("--db", path, *args)
            assert refused.returncode == 6, refused.stderr
            assert refused.stderr.startswith("Error: ")
            assert len(refused.stderr.splitlines()) == 2
        assert path.read_bytes() == before
        assert list(readable.iterdir()) == [path]
    finally:
        readable.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights as on POSIX")
@pytest.mark.parametrize("closed", ["file", "directory"])
def test_what_may_not_be_read_exits_4_with_every_command(readable: Path, closed: str) -> None:
    """Whether the file itself is closed, or the directory that it lies in."""
    path = readable / "waxlocal.db"
    with recorded(path) as file:
        file.run("sess_aa")
    place = path if closed == "file" else readable
    place.chmod(0)
    try:
        for args in (READING[0], *WRITING[::3], *OTHERS[:4], *OTHERS[-2:]):
            refused = _without_rights("--db", path, *args, **SERVER)
            assert refused.returncode == 4, (args, refused.stderr)
            error, hint = refused.stderr.splitlines()
            assert error.startswith(f"Error: {path} ")
            assert " may not be " in error
            assert hint.startswith("Try: ask its owner for the right to read it")
    finally:
        place.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights as on POSIX")
def test_a_demo_that_may_not_be_replaced_exits_6(readable: Path) -> None:
    """An earlier demo in a directory that has become read-only stays as it was."""
    path = readable / "demo.db"
    with recorded(path):
        pass
    readable.chmod(0o555)
    try:
        refused = _without_rights("--db", path, "demo")
        assert refused.returncode == 6, refused.stderr
        assert refused.stderr.startswith(
            f"Error: {path}: Permission denied\nTry: choose a writable"
        )
    finally:
        readable.chmod(0o755)


def test_a_locked_file_exits_3(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that cannot get the file within its bound says who to look for."""
    impatient_commands(monkeypatch)
    with closing(sqlite3.connect(db, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert "is locked by another process" in _fails(*WRITING[0], db=db, status=3)


@pytest.mark.parametrize(
    "path", ["/a/b-1.db", "/with space/a.db", "/it's/a.db", "/ünï.db", "/$HOME/`x`;&.db", "~a.db"]
)
def test_the_file_in_a_hint_can_be_pasted(path: str) -> None:
    """As a shell takes it; the text for others does not name it."""
    error = errors.FileDamaged("malformed")
    error.name_file(path)
    assert shlex.split(error.hint)[-3:] == ["--db", path, "recover"]
    assert error.hint.endswith(f" --db {shlex.quote(path)} recover")
    assert error.hint_without_path.endswith("waxlocal --db FILE recover")


def test_a_fault_of_ours_is_one_line_too(db: Path) -> None:
    """The traceback comes only when it is asked for."""
    with recorded(db) as file:
        file.conn.execute("UPDATE runs SET started_at = 7")
        file.conn.execute("UPDATE sessions SET agents = 'no JSON'")
    said = _fails("sessions", db=db, status=1)
    assert "WAXLOCAL_DEBUG=1" in said
    raised = invoke("sessions", db=db, WAXLOCAL_DEBUG="1").exception
    assert isinstance(raised, Exception)
    assert not isinstance(raised, SystemExit | errors.ObserveError)


def test_ids_in_errors_are_made_harmless(db: Path) -> None:
    """What a person pasted is shown back without its escapes."""
    assert "\\x1b[31m" in _fails("session", "\x1b[31mred", db=db, status=5)
    assert run_id(1) in invoke("show", run_id(1), db=db).stdout
