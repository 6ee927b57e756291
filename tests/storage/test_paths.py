"""The file is where it was asked for, and nobody else's to read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.crash.files import run_program
from tests.tools.alarms import handling, raising, strike_in
from waxlocal.storage.paths import database_path, make_private


def _mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("durability", ["normal", "full"])
def test_everything_is_private(tmp_path: Path, umask: int, durability: str) -> None:
    """File, WAL and shared memory are 0600 and new directories 0700, whatever the umask."""
    path = tmp_path / "new" / "deeper" / "waxlocal.db"
    done = run_program(
        path,
        f"""
        import os, signal, stat
        os.umask({umask})
        from waxlocal import WaxellContext
        with WaxellContext("agent"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)  # so that all three files stay
        """,
        WAXLOCAL_DURABILITY=durability,
    )
    assert done.stderr == ""
    assert [_mode(f"{path}{end}") for end in ("", "-wal", "-shm")] == [0o600] * 3
    assert _mode(path.parent) == 0o700
    assert _mode(path.parent.parent) == 0o700


def test_existing_modes_are_kept(tmp_path: Path) -> None:
    """A directory or a file that a person has opened to others stays so."""
    tmp_path.chmod(0o755)
    path = tmp_path / "waxlocal.db"
    path.touch()
    path.chmod(0o640)
    make_private(path)
    assert (_mode(path), _mode(tmp_path)) == (0o640, 0o755)


def test_a_given_path_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Argument before environment before the user's state directory."""
    assert database_path() == tmp_path / "state" / "waxlocal" / "waxlocal.db"
    monkeypatch.setenv("WAXLOCAL_DB", str(tmp_path / "b.db"))
    assert database_path() == tmp_path / "b.db"
    assert database_path(tmp_path / "a.db") == tmp_path / "a.db"


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path is one of the current directory, `~` is the user's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert database_path("x.db") == tmp_path / "x.db"
    assert database_path("a/../x.db") == tmp_path / "x.db"
    assert database_path("~/x.db") == tmp_path / "home" / "x.db"


def test_a_symbolic_link_is_followed_only_by_the_system(tmp_path: Path) -> None:
    """The path stays the one that the user knows."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert database_path(tmp_path / "link" / "x.db") == tmp_path / "link" / "x.db"


def test_without_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without XDG_STATE_HOME it is `.local/state` in the home."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert database_path() == tmp_path / ".local" / "state" / "waxlocal" / "waxlocal.db"


def test_an_unknown_user_is_no_error() -> None:
    """`~nobody-of-that-name` is taken as it stands."""
    assert database_path("~no-such-user-here/x.db").name == "x.db"


@pytest.mark.parametrize("name", ["a b.db", "ä?#%.db", "a&mode=ro.db"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    """A path may hold what a URI may not."""
    path = tmp_path / name
    done = run_program(path, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path)) == [name]


@pytest.mark.parametrize(
    ("error", "owner", "name"),
    [(TimeoutError, os.path, "abspath"), (RuntimeError, Path, "home")],
)
def test_an_alarm_while_the_path_is_found_reaches_the_program(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], owner: object, name: str
) -> None:
    """It is not taken for a directory that was deleted, or a user without a home."""
    for variable in ("WAXLOCAL_DB", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    with handling(raising(error)):
        strike_in(monkeypatch, owner, name)
        with pytest.raises(error):
            database_path()
