"""What the recorder says in the program's log, and that no lock is held meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.files import rows, run_program
from waxlocal import WaxellContext
from waxlocal.errors import FileLocked
from waxlocal.recording.notices import Notices
from waxlocal.recording.recorder import Recorder

# A log handler that records, in one thread; in the other, a record that has something to say: its
# store is held until the handler's lock is, too. The log says what the program was killed for.
_BOTH = """
import faulthandler, logging, os, sqlite3, sys, threading
import waxlocal
from waxlocal import WaxellContext
from waxlocal.recording.recorder import current_recorder

in_handler, said = threading.Event(), []

class Recording(logging.Handler):
    def emit(self, record):
        if record.name == "waxlocal":
            said.append(record.getMessage())
            return
        in_handler.set()
        run.record_step("of the handler")

def wait_for_handler(*_given):
    assert in_handler.wait(60)

def log():
    logging.getLogger("program").warning("a line")

logging.getLogger().addHandler(Recording())
path, store = os.environ["WAXLOCAL_DB"], current_recorder().store
store.wait = 0.01
run = WaxellContext("agent")
run.__enter__()
@@PREPARE@@
threads = [threading.Thread(target=act, daemon=True) for act in (other, log)]
threads[0].start()
threads[1].start()
for thread in threads:
    thread.join(20)
if any(thread.is_alive() for thread in threads):
    faulthandler.dump_traceback()
    os._exit(1)
@@AFTER@@
run.__exit__(None, None, None)
waxlocal.shutdown()
(message,) = said
print(message)
"""
_LOCKED = """
def rest(_seconds):
    wait_for_handler()
store._sleep = rest
locker = sqlite3.connect(path, isolation_level=None)
locker.execute("BEGIN IMMEDIATE")
def other():
    run.record_step("of the thread")
"""
_MOVED = """
file_ids = store._file._file_ids
def wait_and_ask():
    wait_for_handler()
    return file_ids()
store._file._file_ids = wait_and_ask
os.rename(path, path + ".moved")
def other():
    store.look_around(1 << 62)
"""
_UNWRITABLE = """
def fail(unit):
    if threading.current_thread() is not threads[0]:
        return write(unit)
    wait_for_handler()
    raise ValueError("a fault")
write, store._file.write = store._file.write, fail
def other():
    store._file.hold_back()
    run.record_step("of the thread")
"""


@pytest.mark.parametrize(
    ("prepare", "after", "words"),
    [
        (_LOCKED, "locker.close(); assert store.drain(60)", "kept in memory"),
        (_MOVED, "", "was moved or deleted"),
        (_UNWRITABLE, "", "could not be written"),
    ],
    ids=["locked", "moved", "unwritable"],
)
def test_a_log_handler_that_records_never_waits_for_who_warns(
    db_path: Path, prepare: str, after: str, words: str
) -> None:
    """One thread has the handler and wants the store, one has the store and wants to warn."""
    program = _BOTH.replace("@@PREPARE@@", prepare).replace("@@AFTER@@", after)
    done = run_program(db_path, program)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert "of the handler" in rows(db_path, "SELECT step_name FROM steps")


class Recording(logging.Handler):
    """A log handler that records each warning of the recorder itself."""

    run: WaxellContext

    def emit(self, record: logging.LogRecord) -> None:
        """Record it."""
        self.run.record_step(record.getMessage())


@contextmanager
def handled_by(handler: logging.Handler) -> Iterator[None]:
    """Add a handler to the logger of waxlocal."""
    logger = logging.getLogger("waxlocal")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def test_a_warning_about_the_record_of_a_warning_waits(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be recorded in turn, and warned of, without an end."""
    handler = Recording()

    def fail(_unit: object) -> None:
        raise ValueError("a fault")

    with WaxellContext("agent") as handler.run, handled_by(handler):
        recorder.store._file.hold_back()
        monkeypatch.setattr(recorder.store._file, "let_through", lambda: None)
        monkeypatch.setattr(recorder.store._file, "write", fail)
        handler.run.record_step("step")
        assert recorder.store.backlog.lost == 2  # the step, and the warning of it
        assert len(recorder.store._notices) == 1
        monkeypatch.undo()
        recorder.store._file.let_through()


def test_what_a_signal_handler_says_waits_for_the_record_it_struck(recorder: Recorder) -> None:
    """It runs within a call that has the store; that call says it."""
    told: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    store = recorder.store
    with WaxellContext("agent"), handled_by(Listening()):
        with store._lock:
            store._notices.append("a warning")
            assert store.drain()
            assert told == []
        assert store.drain()
    assert told == ["a warning"]


def test_notices_are_said_once_and_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """Each goes to the log as a warning of waxlocal."""
    notices = Notices()
    notices.extend(("first", "second"))
    with caplog.at_level(logging.WARNING, "waxlocal"):
        notices.say_all()
        notices.say_all()
    assert caplog.record_tuples == [
        ("waxlocal", logging.WARNING, "first"),
        ("waxlocal", logging.WARNING, "second"),
    ]


def test_a_program_without_logging_reads_the_warning_on_stderr(db_path: Path) -> None:
    """As logging does where nothing is set up; and it is not loaded for that."""
    done = run_program(
        db_path,
        """
        import sys
        from waxlocal import WaxellContext
        from waxlocal.recording.recorder import current_recorder
        with WaxellContext("agent"):
            store = current_recorder().store
            store._notices.append("100% of a warning")
            # At the end of the program it is said.
        assert "logging" not in sys.modules
        """,
    )
    assert (done.returncode, done.stderr) == (0, "100% of a warning\n")


def test_a_warning_of_a_file_that_stays_locked_is_said_at_exit(db_path: Path) -> None:
    """The record has waited for a thread's turn; what it had to say comes with the loss."""
    done = run_program(
        db_path,
        """
        import os, sqlite3
        from waxlocal import WaxellContext
        from waxlocal.recording import store
        from waxlocal.recording.recorder import current_recorder
        store.EXIT_WAIT_S = current_recorder().store.wait = 0.01
        with WaxellContext("agent"):
            pass
        locker = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        WaxellContext("another").__enter__()
        """,
    )
    assert done.returncode == 0
    warning, loss = done.stderr.splitlines()
    assert str(FileLocked(f"{db_path} is locked")) in warning
    assert "kept in memory" in warning
    assert "records were lost" in loss
