"""Changes of the file, on one writing connection: at once, or in a thread, many in one commit."""

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

from waxlocal.errors import FileLocked
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import checkpointer, open_writer, storage_error
from waxlocal.storage.paths import FileId, file_id
from waxlocal.storage.retry import is_busy, rest
from waxlocal.storage.transaction import Undone, begin, commit, part, roll_back

__all__ = ["Writer"]

Answer = TypeVar("Answer")
Work = Callable[[sqlite3.Connection], Answer]

# Changes that share a commit. They are those that arrived while the commit before was under way,
# so that nobody waits for others to come.
CHANGES_AT_ONCE = 64
# How long changes wait for a file that another process is writing to.
WAIT_S = 5.0


class _Change:
    """Some work, and where its outcome goes."""

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()
        self.answer: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            self.answer = self.work(connection)
        except BaseException as error:
            self.error = error

    def settle(self) -> None:
        # Nobody may be waiting any more: the client has gone.
        if not self.future.set_running_or_notify_cancel():
            return
        if self.error is None:
            self.future.set_result(self.answer)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Makes changes in the order of their arrival; each happens as a whole or not at all."""

    def __init__(self, path: Path, *, durability: str = "normal", wait: float = WAIT_S) -> None:
        self._path = path
        self._durability = durability
        self._wait = wait
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._log: Checkpointer | None = None
        self._file: FileId | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        # Whoever uses the connection holds it.
        self._using = threading.Lock()

    async def change(self, work: Work[Answer], *, small: bool = False) -> Answer:
        """Return what the work returned, once it is committed.

        What the work raises undoes what it did, and comes out here. Raises `StorageError` when the
        file cannot be written now. A `small` work may be done at once, in the event loop: a handful
        of rows takes a tenth of a millisecond, and to hand them to a thread and back takes longer.
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
        """Make a change without waiting; None if another process is writing to the file."""
        try:
            connection = self._connect()
            begin(connection)
        except (sqlite3.OperationalError, FileLocked) as error:
            if is_busy(error):
                return None
            raise storage_error(error, self._path) from error
        change = _Change(work)
        self._make([change], connection)
        return change

    def change_now(self, work: Work[Answer]) -> Answer:
        """Do the same from a thread without an event loop, which waits."""
        return self._submit(work).result()

    def _submit(self, work: Work[Answer]) -> Future[Answer]:
        change = _Change(work)
        self._start()
        self._queue.put(change)
        return change.future

    def _start(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="waxlocal-write")
                    self._thread.start()

    def close(self) -> None:
        """Finish the changes that were asked for, and close the file."""
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
                for change in changes:
                    change.settle()
        finally:
            self._disconnect()

    def _next(self) -> list[_Change]:
        """Wait for a change, and take with it all that wait, too; none at the end."""
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
        """Make changes in one transaction, which has begun already if there is a connection."""
        try:
            connection = connection or self._begin()
            if len(changes) == 1:
                changes[0].run(connection)
                (roll_back if changes[0].error else commit)(connection)
            else:
                self._make_many(connection, changes)
        except BaseException as error:  # nobody may wait for ever
            # What ended the transaction says more than that it has ended.
            ended = next((c.error for c in changes if isinstance(c.error, sqlite3.Error)), error)
            for change in changes:
                change.error = change.error or ended
            self._disconnect()
        if self._log is not None:
            self._log.look()  # nothing, while a `LogKeeper` keeps up
        for change in changes:
            if isinstance(change.error, sqlite3.Error):
                change.error = storage_error(change.error, self._path)

    def _make_many(self, connection: sqlite3.Connection, changes: Sequence[_Change]) -> None:
        """Make changes in one transaction, such that one that fails does not undo the others."""
        for change in changes:
            # A full disk ends the whole transaction; then the end of the part raises, and all fail.
            with part(connection):
                change.run(connection)
                if change.error is not None:
                    raise Undone
        commit(connection)

    def _begin(self) -> sqlite3.Connection:
        """Return the connection with a transaction begun that may write."""
        deadline = time.monotonic() + self._wait
        while True:
            try:
                connection = self._connect()
                begin(connection)
                return connection
            except (sqlite3.OperationalError, FileLocked) as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
            rest()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._file == file_id(self._path):
            return self._connection
        self._disconnect()  # of a file that was moved or deleted
        connection = open_writer(self._path, durability=self._durability)
        connection.row_factory = sqlite3.Row
        self._connection, self._file = connection, file_id(self._path)
        self._log = checkpointer(self._path)
        return connection

    def _disconnect(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._connection is not None:
            self._connection.close()  # which rolls back
            self._connection = None
