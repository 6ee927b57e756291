"""Writes to the file on one connection: at once, or queued and committed in groups."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from waxlocal.clock import monotonic
from waxlocal.errors import InvalidQuery, StorageError
from waxlocal.storage.checkpoint import LOOK_S, Checkpointer
from waxlocal.storage.connection import checkpointer, open_writer
from waxlocal.storage.log_keeper import STOP_BYTES
from waxlocal.storage.paths import FileId, file_id, file_to_open
from waxlocal.storage.retry import is_busy, while_busy
from waxlocal.storage.schema import Admission
from waxlocal.storage.storage_errors import storage_error
from waxlocal.storage.transaction import Undone, begin, commit, part, roll_back
from waxlocal.storage.value_errors import is_of_value

__all__ = ["WriteQueue"]

Answer = TypeVar("Answer")
Work = Callable[[sqlite3.Connection], Answer]

# The maximum number of writes per commit. A group consists of the writes that arrived during the
# previous commit; the queue never waits for more.
CHANGES_AT_ONCE = 64
# Seconds that writes wait for a file that another process is writing to.
WAIT_S = 5.0


class _Change:
    """A write function and its result, with a future if somebody waits for it in another thread."""

    def __init__(self, work: Work[Any], future: Future[Any] | None = None) -> None:
        self.work = work
        self.future = future
        self.answer: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            self.answer = self.work(connection)
        except BaseException as error:
            self.error = error

    def settle(self) -> None:
        # The future may be cancelled already: the client disconnected.
        if self.future is None or not self.future.set_running_or_notify_cancel():
            return
        if self.error is None:
            self.future.set_result(self.answer)
        else:
            self.future.set_exception(self.error)


class WriteQueue:
    """Runs writes in order of arrival; each is applied completely or not at all."""

    def __init__(self, path: Path, *, durability: str = "normal", wait: float = WAIT_S) -> None:
        self._path = path
        self._durability = durability
        self._wait = wait
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        # Whether this version may still write to the file.
        self._admission: Admission | None = None
        self._log: Checkpointer | None = None
        self._look_at = 0.0
        self._file: FileId | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        # Held while the connection is in use.
        self._using = threading.Lock()

    async def change(self, work: Work[Answer], *, small: bool = False) -> Answer:
        """Run a write and return its result once it is committed.

        If the work raises, its changes are rolled back and the exception is raised here. Raises
        `StorageError` if the file cannot be written now. `small` work may run at once in the event
        loop: a few rows take 0.1 ms, less than handing them to a thread and back.
        """
        if small and self._durability == "normal" and self._using.acquire(blocking=False):
            try:
                made = self._made_now(work)
            finally:
                self._using.release()
            if made is not None and made.error is not None:
                raise made.error
            if made is not None:
                answer: Answer = made.answer
                return answer
        return await asyncio.wrap_future(self._submit(work))

    def _made_now(self, work: Work[Any]) -> _Change | None:
        """Run a write without waiting; None if another process is writing to the file."""
        try:
            connection = self._begun()
        except (sqlite3.Error, StorageError) as error:
            if is_busy(error):
                return None
            raise storage_error(error, self._path) from error
        change = _Change(work)
        self._make([change], connection)
        self._look()
        return change

    def change_now(self, work: Work[Answer]) -> Answer:
        """Run a write from a thread without an event loop; blocks."""
        return self._submit(work).result()

    def _submit(self, work: Work[Answer]) -> Future[Answer]:
        future: Future[Answer] = Future()
        self._start()
        self._queue.put(_Change(work, future))
        return future

    def _start(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="waxlocal-write")
                    self._thread.start()

    def close(self) -> None:
        """Finish queued writes, and close the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._disconnect()

    def _work(self) -> None:
        try:
            while changes := self._next():
                with self._using:
                    self._make(changes)
                    if self._log is not None:
                        self._log.look()  # does nothing while a `LogKeeper` keeps up
                for change in changes:
                    change.settle()
        finally:
            self._disconnect()

    def _next(self) -> list[_Change]:
        """Wait for a write, and return it with all others in the queue; empty at the end."""
        first = self._queue.get()
        if first is None:
            return []
        changes = [first]
        with suppress(queue.Empty):
            while len(changes) < CHANGES_AT_ONCE:
                further = self._queue.get_nowait()
                if further is None:
                    self._queue.put(None)
                    break
                changes.append(further)
        return changes

    def _make(
        self, changes: Sequence[_Change], connection: sqlite3.Connection | None = None
    ) -> None:
        """Run writes in one transaction, already begun if a connection is given."""
        try:
            connection = connection or self._begin()
            if len(changes) == 1:
                changes[0].run(connection)
                (roll_back if changes[0].error else commit)(connection)
            else:
                self._make_many(connection, changes)
        except BaseException as error:  # every future must get a result
            # The error that ended the transaction says more than the one that follows.
            ended = next((c.error for c in changes if isinstance(c.error, sqlite3.Error)), error)
            for change in changes:
                change.error = change.error or ended
            self._disconnect()
        for change in changes:
            change.error = self._told(change.error)

    def _look(self) -> None:
        """Copy the log back in the event loop, which waits: only where no keeper keeps up."""
        if self._log is not None and (now := monotonic()) >= self._look_at:
            self._look_at = now + LOOK_S
            self._log.look(STOP_BYTES)

    def _told(self, error: BaseException | None) -> BaseException | None:
        """Return the error that the caller of a write gets."""
        if error is not None and is_of_value(error):
            # The file is intact, and the same write would fail again.
            return InvalidQuery(f"a value that cannot be stored: {error}")
        if isinstance(error, sqlite3.Error | StorageError):
            return storage_error(error, self._path)
        return error

    def _make_many(self, connection: sqlite3.Connection, changes: Sequence[_Change]) -> None:
        """Run writes in one transaction, each in a savepoint: one that fails affects no other."""
        for change in changes:
            # A full disk ends the whole transaction: releasing the savepoint raises, all fail.
            with part(connection):
                change.run(connection)
                if change.error is not None:
                    raise Undone
        commit(connection)

    def _begin(self) -> sqlite3.Connection:
        """Return the connection, with a write transaction begun."""
        return while_busy(self._begun, time.monotonic() + self._wait)

    def _begun(self) -> sqlite3.Connection:
        connection = self._connect()
        begin(connection)
        try:
            if self._admission is not None:
                self._admission.look()
        except BaseException:
            self._disconnect()  # closing rolls back; the next write opens the file anew
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._file == file_id(self._path):
            return self._connection
        self._disconnect()  # the file was moved or deleted
        file = file_to_open(self._path)
        connection = open_writer(self._path, durability=self._durability)
        connection.row_factory = sqlite3.Row
        self._connection, self._file = connection, file
        self._admission = Admission(connection, writing=True)
        self._log = checkpointer(self._path, file=file)
        return connection

    def _disconnect(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._connection is not None:
            self._connection.close()  # closing rolls back
            self._connection = None
