"""Forks wait for open connections, and nobody waits for one that is only being opened."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.crash.files import run_program
from tests.tools.patience import wait_until
from waxlocal.errors import FileLocked
from waxlocal.storage import readers
from waxlocal.storage.connection import open_writer, reader
from waxlocal.storage.readers import registered, set_resting

NOWHERE = Path("no file")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait without end for what must come by itself."""
    monkeypatch.setattr(readers, "FORK_WAIT_S", 3_600.0)
    monkeypatch.setattr(readers, "OPENING_WAIT_S", 3_600.0)


def _in_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False)


def _fork() -> None:
    """Do what is done around a fork; each may be called again."""
    for act in (readers._before_fork, readers._after_fork_in_parent):
        act()
        act()


@contextmanager
def _in_a_thread(act: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    yield thread
    thread.join()


def _noted() -> list[object]:
    return [*readers._uses, *readers._forking, *readers._forks]


class _Slow:
    """A connection in a thread of its own, which opens and closes when it may."""

    def __init__(self) -> None:
        self.may_open, self.may_close = threading.Event(), threading.Event()

    def use(self) -> None:
        with registered(NOWHERE, self._open):
            self.may_close.wait()

    def _open(self) -> sqlite3.Connection:
        self.may_open.wait()
        return _in_memory()


def test_who_opens_waits_for_nobody_who_is_opening() -> None:
    """The other one may wait seconds for a locked file."""
    slow = _Slow()
    with _in_a_thread(slow.use) as thread:
        wait_until(lambda: len(readers._uses) == 1)
        with registered(NOWHERE, _in_memory) as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
            assert len(readers._uses) == 2
        assert thread.is_alive()
        slow.may_open.set()
        slow.may_close.set()
    assert not readers._uses


def test_a_fork_waits_for_who_is_opening_and_until_that_is_closed() -> None:
    """Its child would inherit a file that is half open, and a mutex of SQLite held by nobody."""
    slow, order = _Slow(), list[str]()
    with _in_a_thread(slow.use):
        wait_until(lambda: len(readers._uses) == 1)
        with _in_a_thread(lambda: (_fork(), order.append("forked"))) as forking:
            wait_until(lambda: bool(readers._forking))
            forking.join(0.05)
            order.append("opens")
            slow.may_open.set()
            wait_until(lambda: any(use.is_open for use in readers._uses))
            forking.join(0.05)
            order.append("closes")
            slow.may_close.set()
    assert order == ["opens", "closes", "forked"]


def test_who_opens_during_a_fork_goes_on_when_it_is_done() -> None:
    """Not before, and not a moment later than the last of those who forked."""
    opened = threading.Event()

    def use() -> None:
        with registered(NOWHERE, _in_memory):
            opened.set()

    readers._before_fork()
    with _in_a_thread(use):
        assert not opened.wait(0.05)
        readers._after_fork_in_parent()
    assert opened.is_set()
    assert _noted() == []


def test_a_signal_handler_forks_while_its_thread_opens() -> None:
    """It would wait for itself."""

    def interrupted() -> sqlite3.Connection:
        _fork()
        return _in_memory()

    with registered(NOWHERE, interrupted) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    with readers._gate:
        _fork()
        assert readers._has_gate()
    assert not readers._has_gate()
    assert _noted() == []


@pytest.mark.parametrize("opens", [False, True])
def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, opens: bool) -> None:
    """A connection that stays open, or never opens, keeps no program from forking."""
    monkeypatch.setattr(readers, "FORK_WAIT_S" if opens else "OPENING_WAIT_S", 0.02)
    slow = _Slow()
    with _in_a_thread(slow.use):
        if opens:
            slow.may_open.set()
        wait_until(lambda: [use.is_open for use in readers._uses] == [opens])
        _fork()
        assert len(readers._uses) == 1
        slow.may_open.set()
        slow.may_close.set()


def test_a_failed_open_is_not_waited_for() -> None:
    """Nothing is left of it."""
    with pytest.raises(ZeroDivisionError), registered(NOWHERE, lambda: 1 // 0):  # type: ignore[arg-type, return-value]
        pass
    assert not readers._uses
    _fork()


@pytest.mark.crash
def test_a_child_knows_nothing_of_what_its_parent_was_opening(db_path: Path) -> None:
    """Neither its own forks nor its own connections wait for threads that it does not have."""
    done = run_program(
        db_path,
        """
        import os, sqlite3, sys, threading
        from pathlib import Path
        from waxlocal import WaxellContext
        from waxlocal.storage import readers
        from waxlocal.storage.connection import reader
        path = Path(os.environ["WAXLOCAL_DB"])
        with WaxellContext("agent"):
            pass
        opening, go_on = threading.Event(), threading.Event()
        def slowly():
            opening.set()
            go_on.wait()
            return sqlite3.connect(":memory:", check_same_thread=False)
        def use():
            with readers.registered(path, slowly):
                pass
        thread = threading.Thread(target=use)
        thread.start()
        opening.wait()
        readers.OPENING_WAIT_S = 0.02
        child = os.fork()
        if child == 0:
            readers.OPENING_WAIT_S = 3600.0
            with reader(path) as connection:
                found = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
            if os.fork() == 0:
                os._exit(0)
            os._exit(os.wait()[1] + found - 1)
        go_on.set()
        thread.join()
        with reader(path):
            pass
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        PYTHONWARNINGS="ignore:This process:DeprecationWarning",
    )
    assert (done.returncode, done.stderr) == (0, "")


def _made(path: Path, name: str) -> Path:
    """Make a file with a table of this name."""
    with closing(open_writer(path)) as connection:
        connection.execute(f"CREATE TABLE {name} (x)")
    return path


def _read(path: Path, found: list[object]) -> None:
    """Read the table of the new file."""
    with reader(path) as connection:
        found.extend(connection.execute("SELECT count(*) FROM new").fetchone())


def test_a_new_file_waits_for_what_reads_the_one_before_it(tmp_path: Path) -> None:
    """They would share the log and the memory beside the path, which belong to the new one."""
    path, other = _made(tmp_path / "a.db", "old"), _made(tmp_path / "b.db", "new")
    found: list[object] = []
    with reader(path) as connection:
        other.rename(path)
        thread = threading.Thread(target=_read, args=(path, found), daemon=True)
        thread.start()
        for _ in range(100):
            assert connection.execute("SELECT count(*) FROM old").fetchone()[0] == 0
        assert found == []
    thread.join()
    assert found == [0]


def test_a_connection_that_rests_is_in_nobodys_way(tmp_path: Path) -> None:
    """It reads nothing; whoever takes it up looks at its file first."""
    path, other = _made(tmp_path / "a.db", "old"), _made(tmp_path / "b.db", "new")
    found: list[object] = []
    with reader(path) as connection:
        set_resting(connection, True)
        other.rename(path)
        with _in_a_thread(lambda: _read(path, found)):
            pass
        assert found == [0]


def test_a_new_file_that_waits_in_vain_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says why; once the old one is closed, it can be opened."""
    monkeypatch.setattr(readers, "REPLACED_WAIT_S", 0.01)
    path, other = _made(tmp_path / "a.db", "old"), _made(tmp_path / "b.db", "new")
    caught: list[FileLocked] = []

    def read() -> None:
        try:
            with reader(path):
                pass
        except FileLocked as error:
            caught.append(error)

    with reader(path):
        other.rename(path)
        with _in_a_thread(read):
            pass
    with _in_a_thread(read):
        pass
    (error,) = caught
    assert "was replaced" in str(error)
    assert _noted() == []
