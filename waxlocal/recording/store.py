"""The write side: every record is one committed statement, and nothing is dropped on the way.

A `Store` owns the process's one writing connection behind one lock. A record that meets a locked
file waits a bounded while; what still cannot be written goes to a bounded backlog in memory, and
from there into the file with the next record, by a thread that lives only as long as there is a
backlog, or at exit.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

from waxlocal import encode
from waxlocal._version import __version__
from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.errors import DiskFull, FileLocked, NewerSchema, StorageError
from waxlocal.prices.lookup import Prices
from waxlocal.process import current_process
from waxlocal.recording.backlog import Backlog
from waxlocal.recording.statements import NOTE_PROCESS, UPDATES
from waxlocal.recording.transactions import (
    Bound,
    Parameters,
    Storable,
    Unit,
    keys,
    moved,
)
from waxlocal.storage import connection, schema, side_file
from waxlocal.storage.checkpoint import (
    ALONE_BYTES,
    COMMITS_PER_LOOK,
    CONTENDED_BYTES,
    Checkpointer,
)
from waxlocal.storage.paths import FileId, file_id
from waxlocal.storage.record_sql import LAST_POSITION, Statement
from waxlocal.storage.retry import is_busy, rest

__all__ = ["Store"]

# A record call that meets a locked or full file waits at most this long.
WAIT_S = 1.0
# So much longer if it is locked because another process reads its log after a crash. A program that
# goes on with its records in memory, and is killed, has lost them.
RECOVERY_WAIT_S = 10.0
# Most locks are held for some 20 µs: let the holder run before sleeping five times as long.
YIELDS = 3
# For how many looks at the log a record that met a locked file is remembered.
CONTENDED_LOOKS = 32
# While there is a backlog: how often the thread tries to write it.
BACKLOG_RETRY_S = 0.25
# How many records of the backlog go into one transaction.
DRAIN_RECORDS = 500
# A file that cannot be opened is tried again after 0.1 s, then twice as long each time.
REOPEN_S = (0.1, 5.0)
# At exit the backlog is worth a little patience; a program that hangs at its end is not.
EXIT_WAIT_S = 2.0
# How often a new run looks whether the file is still the one that was opened.
CHECK_NS = 1_000_000_000
# How often prices are read again: one may have been looked up, or set by hand.
PRICES_NS = 30_000_000_000
# How long the first record, and afterwards one record a second, may take in what an older waxlocal
# recorded beside the file. Commands, the daemon and the server do it all at once.
TAKE_IN_S = (0.1, 0.01)
# One warning about an unwritable file in this time; the summary comes at exit.
WARN_S = 30.0

_BEGIN: Bound = (Statement("BEGIN IMMEDIATE"), ())
_COMMIT: Bound = (Statement("COMMIT"), ())


class _Cold(Exception):
    """The connection is not open, or something is waiting to be written first."""


def _cold(_sql: str, _parameters: Parameters = ()) -> None:
    raise _Cold


class Store:
    """The writing half of one file, for all threads of this process.

    `write` and `write_together` return when their statements are committed (`durability="full"`:
    and synced to the disk) or kept in the backlog; they raise nothing. Safe from any thread and
    over `fork`: before a fork the connection is closed, and parent and child each open their own
    with their next record. Safe from signal handlers and finalizers, too: what they record in the
    middle of another record is written right after that one.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str = "normal",
        wait: float = WAIT_S,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], None] = time.sleep,
        backlog: Backlog | None = None,
    ) -> None:
        self.path = path
        self.durability = durability
        self.wait = wait
        self.prices = Prices()
        self.backlog = Backlog() if backlog is None else backlog
        self._clock = clock
        self._sleep = sleep
        self._told = False  # that the file needs a later waxlocal
        self._begin_process()
        _stores.add(self)

    def _begin_process(self) -> None:
        """Take the state of a process that has no connection yet: a new one, or a fork's child."""
        # Reentrant: a signal handler or a finalizer may record while this thread is recording.
        self._lock = threading.RLock()
        self._writing = False
        self._later: list[Unit] = []
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        # `_execute` is the open connection's; `_hot` is that, too, unless a backlog goes first.
        self._hot: Callable[..., object] = _cold
        self._execute: Callable[..., object] = _cold
        self._log: Checkpointer | None = None
        # How many commits from now the log's size is looked at.
        self._commits_to_look = COMMITS_PER_LOOK
        # For how many looks the file still counts as one that others are writing to, too.
        self._contended = 0
        self._drainer: threading.Thread | None = None
        self._closing = threading.Event()
        self._files: list[FileId | None] = []
        # The side file, while the file itself needs a later waxlocal.
        self._beside: Path | None = None
        self._all_in = True
        self._checked_ns = 0
        self._priced_ns = 0
        self._reopen_at = 0.0
        self._reopen_after = REOPEN_S[0]
        self._warn_at = 0.0
        # Made here, not by the file: the rows of runs name it before the file could be opened.
        self.process_id = int.from_bytes(os.urandom(7), "big")
        self.backlog.clear()

    @property
    def file(self) -> Path:
        """Where records go now: `path`, or the file beside it if that needs a later waxlocal."""
        return self._beside or self.path

    # -- the hot path ---------------------------------------------------------------------------

    def write(self, statement: Statement, parameters: Parameters) -> None:
        """Execute one statement and commit it."""
        with self._lock:
            if self._writing:
                self._later.append(((statement, parameters),))
                return
            self._writing = True
            try:
                self._hot(statement.sql, parameters)
            except Exception:  # whatever it is: the cold path tells, keeps, or counts it as lost
                self._write_cold(((statement, parameters),))
            finally:
                self._writing = False
            self._commits_to_look -= 1
            if self._commits_to_look < 1:
                self._look_at_log()
            if self._later:
                self._write_later()

    def write_together(self, *unit: Bound) -> None:
        """Execute several statements in one transaction."""
        with self._lock:
            if self._writing:
                self._later.append(unit)
                return
            self._writing = True
            hot = self._hot
            try:
                hot("BEGIN IMMEDIATE")
                for statement, parameters in unit:
                    hot(statement.sql, parameters)
                hot("COMMIT")
            except Exception:  # as in `write`
                self._write_cold(unit)
            except BaseException:
                # Ctrl-C between two statements: what follows must not land in this transaction.
                self._roll_back()
                raise
            finally:
                self._writing = False
            self._commits_to_look -= 1
            if self._commits_to_look < 1:
                self._look_at_log()
            if self._later:
                self._write_later()

    # -- everything else ------------------------------------------------------------------------

    def look_around(self, now_ns: int) -> None:
        """Notice a replaced file and new prices; a cheap comparison most of the times.

        Called once for each run. A deleted or moved file would go on accepting rows that nobody
        can reach; within a second of it the next run goes to a new file.
        """
        if -CHECK_NS < now_ns - self._checked_ns < CHECK_NS:
            return
        self._checked_ns = now_ns
        with self._alone() as alone:
            if not alone or self._connection is None:
                return
            if self._files != self._file_ids():
                _warn(f"{self.path} was moved or deleted while recording; starting anew")
                self._disconnect()
            elif self._was_upgraded():
                self._disconnect()
            elif not self._all_in:
                self._take_in(self._connection, TAKE_IN_S[1])
            elif abs(now_ns - self._priced_ns) > PRICES_NS:
                self._load_prices(now_ns)

    def _look_at_log(self) -> None:
        """Copy the log back if it is long; what signal handlers record meanwhile is kept apart."""
        self._writing = True
        try:
            self._commits_to_look = COMMITS_PER_LOOK
            if self._log is not None:
                self._log.look(self._log_limit())
        finally:
            self._writing = False

    def _log_limit(self) -> int:
        """Return at which size the log is copied back: later while writers wait for each other."""
        if not self._contended:
            return ALONE_BYTES
        self._contended -= 1
        return CONTENDED_BYTES

    def _file_ids(self) -> list[tuple[int, int] | None]:
        return [file_id(path) for path in (self.path, self._beside) if path is not None]

    def _was_upgraded(self) -> bool:
        """Return whether the file needs a later waxlocal since it was opened."""
        try:
            if self._connection is not None:
                schema.check(self._connection, writing=True)
        except NewerSchema:
            return True
        except (sqlite3.Error, StorageError):  # the next record says what it is
            pass
        return False

    def drain(self, wait: float = 0.0) -> bool:
        """Write what is waiting; return whether nothing waits any more."""
        with self._alone() as alone:
            return alone and self._drain(time.monotonic() + wait)

    def fetch(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a small query; none when the file cannot be read now."""
        with self._alone() as alone:
            return self._fetch(sql, parameters) if alone else []

    def _fetch(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        try:
            return (self._connection or self._connect()).execute(sql, parameters).fetchall()
        except Exception:  # also a run id that is not text which SQLite takes
            return []

    def next_position(self, run_id: str) -> int:
        """Return a position after every record of the run; 1 when it has none or none is known."""
        with self._alone() as alone:
            return self._free_position(run_id) if alone else 1

    def _free_position(self, run_id: str) -> int:
        rows = self._fetch(LAST_POSITION, {"run_id": run_id})
        last = rows[0][0] if rows else None
        return 1 if last is None else int(last) + 1

    def close(self) -> None:
        """Write what is waiting, then close the file; a later record opens it again.

        What cannot be written within two seconds is lost, and said so once on stderr.
        """
        self._closing.set()
        with self._alone() as alone:
            if alone:
                self._reopen_at = 0.0
                if not self._drain(time.monotonic() + EXIT_WAIT_S):
                    self.backlog.give_up()
                self._disconnect()
            self._closing.clear()
            report = self.backlog.report()
        if report:
            _say(f"waxlocal: {report} ({self.path}).")

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the file; False inside a signal handler that found this thread using it."""
        with self._lock:
            if self._writing:
                yield False
                return
            self._writing = True
            try:
                yield True
            finally:
                self._writing = False
            self._write_later()

    def _write_later(self) -> None:
        """Write what a signal handler or a finalizer recorded in the middle of another record."""
        while self._later:
            self._writing = True
            try:
                while self._later:
                    self._write_cold(self._later.pop(0))
            finally:
                self._writing = False

    def _write_cold(self, unit: Unit) -> None:
        """Get a unit into the file, into the backlog, or into the count of what was lost."""
        if self._hot is not _cold:  # the file was locked, nearly always
            self._contended = CONTENDED_LOOKS
        self._roll_back()
        try:
            failure = self._write_patiently(unit)
        except Exception as unexpected:  # a fault of ours must not become the program's
            failure = unexpected
        if failure is None:
            self._hot = self._execute
            return
        if not _may_pass(failure):
            self.backlog.lose(unit, failure)
            _warn(f"a record could not be written: {failure}")
            return
        self.backlog.keep(unit, failure)
        self._warn(failure)
        self._hot = _cold
        self._start_drainer()

    def _write_patiently(self, unit: Unit) -> Exception | None:
        """Try until the wait is over; return why it is still not written."""
        # The first to meet a locked file waits; while a backlog exists everyone tries just once.
        wait = 0.0 if self.backlog else self.wait
        deadline = time.monotonic() + wait
        if not self._drain(deadline):
            return self.backlog.reason or FileLocked(f"{self.path} is locked")
        return self._attempt(unit, deadline, RECOVERY_WAIT_S if wait else 0.0)

    def _attempt(self, unit: Unit, deadline: float, recovery: float = 0.0) -> Exception | None:
        """Write a unit, trying again while the file is busy; return why it could not be.

        While the file is being recovered, `recovery` seconds are added to the deadline.
        """
        tries, fenced = 0, False
        while True:
            try:
                self._apply(self._connection or self._connect(), unit)
                return None
            except Exception as error:
                failure = error
            self._roll_back()
            if not fenced and schema.is_fence(failure):
                fenced = True
                self._disconnect()
                continue
            fitting = self._made_fit(unit, failure)
            if fitting is not None:
                unit = fitting
            elif not is_busy(failure):
                return self._unusable(failure)
            elif not self._worth_waiting(failure, deadline, recovery):
                return connection.storage_error(failure, self.path)
            elif (tries := tries + 1) <= YIELDS:
                self._sleep(0)
            else:
                rest(self._sleep)

    def _worth_waiting(self, failure: Exception, deadline: float, recovery: float) -> bool:
        late = time.monotonic() - deadline
        if late < 0:
            return True
        return late < recovery and connection.is_recovering(failure, self.path)

    def _made_fit(self, unit: Unit, failure: Exception) -> Unit | None:
        """Return the unit with what SQLite refused in it put right, None if nothing can be."""
        if isinstance(failure, sqlite3.IntegrityError):
            elsewhere = self._moved(unit)
            if keys(elsewhere) != keys(unit):
                return elsewhere
        if _may_pass(failure) or isinstance(unit, Storable):
            return None
        return Storable(unit)

    def _apply(self, opened: sqlite3.Connection, unit: Unit) -> None:
        statements = unit if len(unit) == 1 else (_BEGIN, *unit, _COMMIT)
        try:
            for statement, parameters in statements:
                opened.execute(statement.sql, parameters)
        except BaseException:
            self._roll_back()
            raise

    def _moved(self, unit: Unit) -> Unit:
        """Give records whose position is taken the next free one.

        Two processes can record into one run: the parent that opened it and a forked child.
        """
        free: dict[str, Iterator[int]] = {}

        def next_position(run_id: object) -> int:
            name = str(run_id)
            if name not in free:
                free[name] = count(self._free_position(name))
            return next(free[name])

        return moved(unit, next_position)

    def _drain(self, deadline: float) -> bool:
        while self.backlog:
            failure = self._attempt(self.backlog.first()[0], deadline)
            if failure is not None and _may_pass(failure):
                self.backlog.note(failure)
                return False
            self.backlog.remove_first(failure)
            self._drain_many()
            if self._log is not None:
                self._log.look(CONTENDED_BYTES)
        self._hot = self._execute
        return True

    def _drain_many(self) -> None:
        """Write the oldest units in one transaction; none of them if one fails.

        With `durability="full"` ten thousand commits would hold up the caller for seconds.
        """
        units = self.backlog.first(DRAIN_RECORDS)
        if not units:
            return
        try:
            self._apply(self._connection or self._connect(), tuple(chain.from_iterable(units)))
        except Exception:  # the next try with the first of them says what it is
            return
        for _ in units:
            self.backlog.remove_first(None)

    # -- the connection -------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        now = time.monotonic()
        if now < self._reopen_at:
            raise self.backlog.reason or FileLocked(f"{self.path} cannot be opened")
        try:
            opened, self._beside = self._open()
        except StorageError as error:
            if not isinstance(error, FileLocked):
                self._reopen_at = now + self._reopen_after
                self._reopen_after = min(self._reopen_after * 2, REOPEN_S[1])
            raise
        self._reopen_after = REOPEN_S[0]
        self._connection = opened
        self._files = self._file_ids()
        self._log = connection.checkpointer(self._beside or self.path, self._sleep)
        try:
            self._introduce(opened)
        except sqlite3.Error:
            self._disconnect()
            raise
        return opened

    def _open(self) -> tuple[sqlite3.Connection, Path | None]:
        """Open the file, or, where it needs a later waxlocal, the one beside it."""
        try:
            return connection.open_writer(self.path, durability=self.durability), None
        except NewerSchema as newer:
            try:
                beside = side_file.open_side_file(self.path, UPDATES, durability=self.durability)
            except OSError as error:
                raise connection.storage_error(error, self.path) from newer
            self._tell_of(beside[1], newer)
            return beside

    def _tell_of(self, side: Path, newer: NewerSchema) -> None:
        if not self._told:
            self._told = True
            _warn(
                f"{newer}; what this program records goes into {side} instead, and from there into "
                f"{self.path} with the first command of a later waxlocal. Try: {newer.hint}"
            )

    def _take_in(self, opened: sqlite3.Connection, seconds: float) -> None:
        """Take in what an older waxlocal recorded beside the file, as far as the time allows."""
        if self._beside is not None or not side_file.side_files(self.path):
            return
        from waxlocal.maintenance.side_files import take_in  # hardly any process needs it

        self._all_in = False
        with suppress(sqlite3.Error):  # a busy file: the next record in a second, or a command
            self._all_in = take_in(opened, self.path, seconds)

    def _introduce(self, opened: sqlite3.Connection) -> None:
        """Leave this process's identity in the file, and learn its prices."""
        me = current_process()
        now_ns = self._clock.time_ns()
        program = encode.text(" ".join(sys.argv[:1]))
        python = ".".join(map(str, sys.version_info[:3]))
        row = {
            **me._asdict(),
            "process_id": self.process_id,
            "program": program,
            "python": python,
            "waxlocal": __version__,
            "first_seen_at": utc_text(now_ns),
        }
        opened.execute(NOTE_PROCESS, row)
        self._take_in(opened, TAKE_IN_S[0])
        self._load_prices(now_ns)
        # One cursor for all: `Connection.execute` would make a new one for each record.
        self._cursor = opened.cursor()
        self._execute = self._cursor.execute

    def _load_prices(self, now_ns: int) -> None:
        self._priced_ns = now_ns
        if self._connection is not None:
            with suppress(sqlite3.Error):  # they are looked up later, like unknown ones
                self.prices.load(self._connection)

    def _disconnect(self) -> None:
        self._hot = self._execute = _cold
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._cursor is not None:
            # Another thread's frame may still refer to it, and a connection with a live cursor
            # keeps the file open after close(): a forked child would inherit its locks.
            self._cursor.close()
            self._cursor = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _unusable(self, error: Exception) -> Exception:
        """Drop a connection that will not recover by itself; the next try opens the file anew."""
        failure = connection.storage_error(error, self.path)
        if not _may_pass(error):
            return error
        if not isinstance(failure, DiskFull):
            self._disconnect()
        return failure

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()  # closing rolls back

    def _warn(self, failure: Exception) -> None:
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARN_S
            said = connection.storage_error(failure, self.path)
            _warn(f"{said}; runs are kept in memory meanwhile. Try: {said.hint}")

    # -- the backlog's thread -------------------------------------------------------------------

    def _start_drainer(self) -> None:
        if self._drainer is not None or self._closing.is_set():
            return
        self._drainer = threading.Thread(
            target=self._drain_until_empty, name="waxlocal-backlog", daemon=True
        )
        try:
            self._drainer.start()
        except RuntimeError:  # the interpreter is shutting down; close() will try
            self._drainer = None
        _close_with_multiprocessing(self.close)

    def _drain_until_empty(self) -> None:
        while not self._closing.wait(BACKLOG_RETRY_S):
            with self._alone() as alone:
                if alone and self._drain(time.monotonic()):
                    self._drainer = None
                    return
        with self._lock:
            self._drainer = None


def _may_pass(error: Exception) -> bool:
    """Return whether a later try with the same unit can succeed."""
    return isinstance(error, StorageError | sqlite3.OperationalError) or (
        type(error) is sqlite3.DatabaseError
    )


def _warn(message: str) -> None:
    import logging  # 5 ms to import, and most processes never warn

    with suppress(Exception):  # of the program's own handlers
        logging.getLogger("waxlocal").warning(message)


def _close_with_multiprocessing(close: Callable[[], None]) -> None:
    """Have what waits written at the end of a multiprocessing child, which runs no atexit."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=0)


def _say(line: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # stderr closed, or no stderr at all
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_held: list[Store] = []
# Connections that could not be closed before a fork. The child must not close them either: it
# would undo, in the shared memory of the WAL, what the parent is just writing.
_inherited: list[sqlite3.Connection | Checkpointer | None] = []
# A fork waits for the record that another thread is writing; should that thread never finish,
# the fork goes on, and the child starts with nothing of this store.
FORK_WAIT_S = 2.0


def _before_fork() -> None:
    for store in list(_stores):
        if store._lock.acquire(timeout=FORK_WAIT_S):
            store._disconnect()
            _held.append(store)


def _after_fork_in_parent() -> None:
    for store in _held:
        store._lock.release()
    _held.clear()


def _after_fork_in_child() -> None:
    _held.clear()
    for store in list(_stores):
        if store._connection is not None:
            _inherited.extend((store._connection, store._log))
        store._begin_process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
