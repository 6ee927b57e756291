"""The file that a process records into: its one writing connection, from opening to closing.

It is opened with the first record, closed before a fork, and opened anew when another file has
taken its place. Where the file is damaged or needs a later waxlocal, the one beside it is opened
instead.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waxlocal import encode
from waxlocal._version import __version__
from waxlocal.clock import Clock, monotonic, utc_text
from waxlocal.errors import (
    DiskFull,
    FileDamaged,
    FileLocked,
    FileReadOnly,
    NewerSchema,
    NotADatabase,
    StorageError,
)
from waxlocal.prices.lookup import Prices
from waxlocal.process import current_process
from waxlocal.recording.damage import Damage
from waxlocal.recording.statements import NOTE_PROCESS, UPDATES
from waxlocal.recording.transactions import Bound, Parameters, Unit
from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.storage import connection, paths, schema, side_file
from waxlocal.storage.log_keeper import LogCopier
from waxlocal.storage.paths import FileId, beside, file_id, file_size, file_to_open
from waxlocal.storage.record_sql import Statement
from waxlocal.storage.storage_errors import storage_error
from waxlocal.storage.use_locks import UseLocks

__all__ = ["OpenFile", "cold", "may_pass"]

# A file that cannot be opened is tried again after 0.1 s, then twice as long each time.
REOPEN_S = (0.1, 5.0)
# A file of SQLite's has at least a page, and pages have at least so many bytes.
_LEAST_BYTES = 512
# How often prices are read again: one may have been looked up, or set by hand.
PRICES_NS = 30_000_000_000
# How long the first record, and afterwards one record a second, may take in what an older waxlocal
# recorded beside the file. Commands, the daemon and the server do it all at once.
TAKE_IN_S = (0.1, 0.01)

_BEGIN: Bound = (Statement("BEGIN IMMEDIATE"), ())
_COMMIT: Bound = (Statement("COMMIT"), ())


class _Cold(Exception):
    """The connection is not open, or something is waiting to be written first."""


def cold(_sql: str, _parameters: Parameters = ()) -> None:
    """Take the place of `execute` while a record must not go straight to the file."""
    raise _Cold


class OpenFile:
    """A file to record into, open or not; for one thread at a time.

    `hot` executes one statement of the open connection. It raises `_Cold` while there is none, and
    between `hold_back` and `let_through`, so that the hot path of recording has no question to ask.
    `on_copying` is told, in the thread that copies the log, when it begins and when it is done;
    `notice` takes a warning, to be said when nothing is held any more.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str,
        clock: Clock,
        on_copying: Callable[[bool], object],
        notice: Callable[[str], object],
        sleep: Callable[[float], None],
    ) -> None:
        self.path = path
        self.prices = Prices()
        self._durability = durability
        self._clock = clock
        self._on_copying = on_copying
        self._notice = notice
        self._sleep = sleep
        self._told = False  # that records go beside the file
        self._looked_at_mount = False
        # Never to be closed: a stopped thread has it.
        self._left: tuple[object, ...] = ()
        self.begin_process()

    def begin_process(self) -> None:
        """Take the state of a process that has no connection yet: a new one, or a fork's child."""
        self.hot: Callable[..., object] = cold
        self._execute: Callable[..., object] = cold
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._use = UseLocks()
        # What copies its log back; None while the file is closed.
        self.log: LogCopier | None = None
        self._files: list[FileId | None] = []
        self._logs: list[FileId | None] = []
        # The side file, while the file itself is damaged or needs a later waxlocal.
        self._beside: Path | None = None
        self._damage = Damage(self.path)
        self._all_in = True
        self._priced_ns = 0
        self._reopen_at = 0.0
        self._reopen_after = REOPEN_S[0]
        self._refused: StorageError | None = None
        # Made here, not by the file: the rows of runs name it before the file could be opened.
        self.process_id = int.from_bytes(os.urandom(7), "big")

    def leave(self) -> None:
        """Leave the connection for good to a thread that Python has stopped.

        What that thread had begun is undone: it would keep the file locked. The next statement of
        another thread opens the file anew.
        """
        self._left, stopped = self.handles, self._connection
        self.begin_process()
        if stopped is not None and stopped.in_transaction:
            stopped.rollback()

    @property
    def current(self) -> Path:
        """Where records go now: `path`, or the file beside it: see the module."""
        return self._beside or self.path

    @property
    def handles(self) -> tuple[object, ...]:
        """What a forked child inherits: to be kept there, for closing it would undo locks."""
        return () if self._connection is None else (self._connection, self._cursor, self.log)

    def hold_back(self) -> None:
        """Let no record go straight to the file: something else must be written first."""
        self.hot = cold

    def let_through(self) -> None:
        """Let records go straight to the file again, if it is open."""
        self.hot = self._execute

    # -- writing and reading --------------------------------------------------------------------

    def write(self, unit: Unit) -> None:
        """Write a unit in one transaction, opening the file if need be.

        Raises `sqlite3.Error`, `StorageError`, and whatever a value raises that SQLite asks for.
        """
        opened = self._connection or self._connect()
        statements = unit if len(unit) == 1 else (_BEGIN, *unit, _COMMIT)
        try:
            for statement, parameters in statements:
                opened.execute(statement.sql, parameters)
        except BaseException:
            self.roll_back()
            raise
        self._reopen_after = REOPEN_S[0]

    def fetch(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        """Return all rows of a small query; none when the file cannot be read now."""
        with Suppress(Exception):  # also for a run id that is not text which SQLite takes
            return (self._connection or self._connect()).execute(sql, parameters).fetchall()
        return []

    def roll_back(self) -> None:
        """Undo a transaction that was left open; nothing happens without one."""
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                self.close()  # closing rolls back
                if raised_by_handler(error):
                    raise

    def close_unusable(self, error: Exception) -> Exception:
        """Close a connection that will not recover by itself; the next try opens the file anew.

        Return the error of our own tree for it, or the same one if it is the unit's fault.
        """
        if not may_pass(error):
            return error
        failure = storage_error(error, self.path)
        if self._connection is not None:
            self._note_damage(failure)
        if not isinstance(failure, DiskFull):
            self.close()
        if isinstance(failure, FileReadOnly):  # it may well be opened again, and refuse again
            self._put_off(failure)
        return failure

    # -- what happens to the file ---------------------------------------------------------------

    def look_around(self, now_ns: int) -> bool:
        """Notice a file that was replaced or upgraded, side files, and new prices.

        Return whether records may have gone where nobody finds them: the file was deleted, moved,
        replaced or cut off, or its log was, or a damaged one has changed. It is closed then; the
        next record opens what is there now.
        """
        if self._connection is None:
            return False
        if self._files != self._file_ids():
            self._notice(f"{self.path} was moved or deleted while recording; starting anew")
            self.close()
            return True
        if self._beside is None and file_size(self.path) < _LEAST_BYTES:
            self._note_damage(FileDamaged(f"{self.path} was cut off"))
            self.close()
            return True
        if self._damage.is_noted and not self._damage.stays:
            self._damage = Damage(self.path)
            self.close()
            return True
        if self._logs != self._log_ids():
            self._notice(f"the log of {self.path} was deleted while recording; starting anew")
            self._save_log(self._connection)
            self.close()
            return True
        if self._was_upgraded():
            self.close()
        else:
            if not self._all_in:  # and perhaps never, with a side file that cannot be read
                self._take_in(self._connection, TAKE_IN_S[1])
            if abs(now_ns - self._priced_ns) > PRICES_NS:
                self._load_prices(now_ns)
        return False

    def _file_ids(self) -> list[FileId | None]:
        return [file_id(path) for path in (self.path, self._beside) if path is not None]

    def _log_ids(self) -> list[FileId | None]:
        return [file_id(beside(self.current, ending)) for ending in ("-wal", "-shm")]

    def _save_log(self, opened: sqlite3.Connection) -> None:
        """Copy a deleted log into the file, as long as this process has it open.

        Not where another log is there: it belongs to others, who have not seen what is in this one,
        and the file would get pages of both.
        """
        if self._log_ids()[0] is None:
            with Suppress(sqlite3.Error):
                opened.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _was_upgraded(self) -> bool:
        """Return whether the file needs a later waxlocal since it was opened."""
        try:
            if self._connection is not None:
                schema.check(self._connection, writing=True)
        except NewerSchema:
            return True
        except (sqlite3.Error, StorageError) as error:  # the next record says what it is
            if raised_by_handler(error):
                raise
        return False

    # -- opening and closing --------------------------------------------------------------------

    def retry_now(self) -> None:
        """Do not wait any longer before a file that could not be opened is tried again."""
        self._reopen_at = 0.0

    def _connect(self) -> sqlite3.Connection:
        now = monotonic()
        if now < self._reopen_at:
            raise self._refused or FileLocked(f"{self.path} cannot be opened")
        main = file_to_open(self.path)
        try:
            opened, self._beside = self._open()
        except StorageError as error:
            if not isinstance(error, FileLocked):
                self._put_off(error)
            raise
        self._connection = opened
        self._files = [main, *self._file_ids()[1:]]  # the side file: checked when it was opened
        self.log = connection.log_copier(
            self.current, self._files[-1], on_copying=self._on_copying, sleep=self._sleep
        )
        if not self._looked_at_mount:
            self._looked_at_mount = True
            if alone := paths.mounted_alone(self.path):
                self._notice(alone)
        try:
            self._use.take(self.current)
            self._introduce(opened)
        except BaseException as error:  # also a signal handler's: half introduced, it is never hot
            if isinstance(error, sqlite3.DatabaseError) and not raised_by_handler(error):
                self._note_damage(storage_error(error, self.path))
            self.close()
            raise
        return opened

    def _note_damage(self, failure: StorageError) -> None:
        """Open the file no more where SQLite has found damage in it, but the one beside it."""
        if isinstance(failure, NotADatabase) and self._beside is None:
            self._damage.note()

    def _put_off(self, error: StorageError) -> None:
        """Open the file again a little later only; until then a record is refused as now."""
        if monotonic() < self._reopen_at:
            return  # it is the refusal of a file that was put off
        self._refused = error.with_traceback(None)
        self._reopen_at = monotonic() + self._reopen_after
        self._reopen_after = min(self._reopen_after * 2, REOPEN_S[1])

    def _open(self) -> tuple[sqlite3.Connection, Path | None]:
        """Open the file, or, where it cannot be written, the one beside it."""
        try:
            if self._damage.stays:
                raise FileDamaged(f"{self.path} is damaged")
            return connection.open_writer(self.path, durability=self._durability), None
        except (NewerSchema, NotADatabase) as refused:
            if not os.path.isfile(self.path):  # noqa: PTH113
                raise
            if not self._damage.stays:
                self._note_damage(refused)
            try:
                side = side_file.open_side_file(self.path, UPDATES, durability=self._durability)
            except OSError as error:
                raise storage_error(error, self.path) from refused
            self._tell_of(side[1], refused)
            return side

    def _tell_of(self, side: Path, refused: StorageError) -> None:
        if not self._told:
            self._told = True
            later = " of a later waxlocal" if isinstance(refused, NewerSchema) else ""
            hint = storage_error(refused, self.path).hint
            self._notice(
                f"{refused}; what this program records goes into {side} instead, and from there "
                f"into {self.path} with the first command{later} once that can be written. "
                f"Try: {hint}"
            )

    def _introduce(self, opened: sqlite3.Connection) -> None:
        """Leave this process's identity in the file, and learn its prices."""
        me = current_process()
        now_ns = self._clock.time_ns()
        program = encode.text(" ".join((sys.argv or ())[:1]))  # None as the interpreter ends
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
        self._logs = self._log_ids()  # there, for something was written above

    def _take_in(self, opened: sqlite3.Connection, seconds: float) -> None:
        """Take in what an older waxlocal recorded beside the file, as far as the time allows."""
        if self._beside is not None or not side_file.side_files(self.path):
            return
        self._all_in = False
        # A busy file, or none that can be opened, be it of Python's: the next record in a second,
        # or a command.
        with Suppress(sqlite3.Error, OSError, ImportError):
            from waxlocal.maintenance.side_files import take_in  # hardly any process needs it

            self._all_in = take_in(opened, self.path, seconds, notice=self._notice)

    def _load_prices(self, now_ns: int) -> None:
        self._priced_ns = now_ns
        if self._connection is not None:
            # They are looked up later, like unknown ones.
            with Suppress(sqlite3.Error, OSError, ImportError):
                self.prices.load(self._connection)

    def close(self) -> None:
        """Close the connection, and those that copy the log; the next record opens them again."""
        self.hot = self._execute = cold
        log, cursor, opened = self.log, self._cursor, self._connection
        self.log = self._cursor = self._connection = None
        try:
            if log is not None:
                log.close()
        finally:  # a signal handler may raise while that waits
            # Another thread's frame may still refer to it, and a connection with a live cursor
            # keeps the file open after close(): a forked child would inherit its locks.
            if cursor is not None:
                cursor.close()
            self._use.drop()
            if opened is not None:
                opened.close()
                self._use.close_deleted()


def may_pass(error: Exception) -> bool:
    """Return whether a later try with the same unit can succeed."""
    return isinstance(error, StorageError | sqlite3.OperationalError) or (
        type(error) is sqlite3.DatabaseError
    )
