"""A writing connection for the upload, whose transactions a program that records hardly notices."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from waxlocal.errors import StorageError
from waxlocal.storage.checkpoint import COMMITS_PER_LOOK, Checkpointer
from waxlocal.storage.connection import checkpointer, open_writer
from waxlocal.storage.schema import Admission
from waxlocal.storage.storage_errors import storage_error
from waxlocal.storage.transaction import (
    begin,
    commit,
    commits_of_others,
    limit_cache,
    roll_back,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ALONE_AT_A_TIME", "AT_A_TIME", "DeliveryConnection"]

Parameters = Sequence[object] | Mapping[str, object]
T = TypeVar("T")

# Of so many runs rows are changed in one transaction, 0.3 ms of the write lock: a program that
# records must not notice the upload of its file.
AT_A_TIME = 4
# The same where nobody else writes: beginning and committing takes as long as noting two runs.
ALONE_AT_A_TIME = 32

# A command or a recorder never holds the file for longer.
WAIT_S = 10.0
CACHE_KIB = 4_096
# After so many seconds without a commit of anybody else, the upload stops resting between its
# transactions, and makes them larger: the rests take nearly all of the time of marking a batch. A
# program that begins to record then waits once, at most until the runs of a batch are marked: some
# 10 ms.
QUIET_S = 10.0
# How long it rests: longer than whoever has just begun to wait for the lock does between two tries,
# so that it gets its turn.
TURN_S = 0.001


class DeliveryConnection:
    """A file that exists, open for the upload. For one thread; raises `StorageError`.

    `sleep` is called with the seconds for which others may write between two transactions, where
    somebody has lately; `now` gives seconds on any clock that cannot be set.
    """

    def __init__(
        self,
        path: Path,
        sleep: Callable[[float], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._sleep = sleep
        self._seconds = now
        self._commits_to_look = COMMITS_PER_LOOK
        with ExitStack() as opened:  # closed again if what follows fails
            connection = open_writer(path, wait=WAIT_S, create=False)
            self._connection = opened.enter_context(closing(connection))
            self._admission = Admission(self._connection, writing=True)
            self._log = opened.enter_context(closing(checkpointer(path)))
            # A backlog of any length is gone through in pieces: a large cache only takes memory.
            with self._errors():
                limit_cache(self._connection, CACHE_KIB)
                self._commits_of_others = commits_of_others(self._connection)
            self._own_commits = Checkpointer.commits
            self._others_wrote_at = float("-inf")
            opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._log.close()
        self._connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for reading what is to be sent."""
        return self._connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit what happens in the block at once, or none of it.

        A block in which `note_batch` is called commits in several steps: what precedes that call is
        in the file even if the rest is undone.
        """
        with self._errors():
            begin(self._connection)
        try:
            self._check_schema()
            yield
            with self._errors():
                commit(self._connection)
        finally:
            roll_back(self._connection)
        self._committed()

    def _check_schema(self) -> None:
        """Raise `NewerSchema` if a later version has upgraded the file, and this one must stop."""
        try:
            self._admission.look()
        except (sqlite3.Error, StorageError) as error:
            raise storage_error(error, self.path) from error

    def _committed(self) -> None:
        """Keep the log short: `waxlocal sync` may be the only one who writes.

        Never within a transaction: a checkpoint takes the write lock on a connection of its own,
        and would wait for ours in vain, while everybody else waits for it, too.
        """
        self._commits_to_look -= 1
        if self._commits_to_look < 1:
            self._commits_to_look = COMMITS_PER_LOOK
            self._log.look()

    def _in_pieces(
        self,
        items: Sequence[T],
        write: Callable[[Sequence[T]], int],
        stop: threading.Event | None = None,
    ) -> int:
        """Call `write` with a few items at a time, until `stop` is set; return the sum.

        `write` makes one transaction of them. In between others may write.
        """
        written = at = 0
        while at < len(items) and not (stop is not None and stop.is_set()):
            if at:
                self._rest()
            else:
                self._look()
            some = items[at : at + self._at_a_time()]
            written += write(some)
            at += len(some)
        return written

    def _at_a_time(self) -> int:
        return AT_A_TIME if self._is_shared() else ALONE_AT_A_TIME

    def _is_shared(self) -> bool:
        """Return whether anybody else has written lately, as far as was seen."""
        return self._seconds() - self._others_wrote_at < QUIET_S

    def _let_others_write(self) -> None:
        """Commit what the transaction has so far, and go on in another one."""
        with self._errors():
            commit(self._connection)
        self._committed()
        self._rest()
        with self._errors():
            begin(self._connection)
        self._check_schema()

    def _look(self) -> None:
        """See whether anybody else has written; not in a transaction."""
        with self._errors():
            commits = commits_of_others(self._connection)
        # A checkpoint of this process commits, too, on another connection.
        if commits != self._commits_of_others and Checkpointer.commits == self._own_commits:
            self._others_wrote_at = self._seconds()
        self._commits_of_others, self._own_commits = commits, Checkpointer.commits

    def _rest(self) -> None:
        """Leave the file to others for a moment if anybody else writes; not in a transaction."""
        self._look()
        if self._is_shared():
            self._sleep(TURN_S)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error

    def _execute(self, statement: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        try:  # not `_errors`: this one is called for everything, and a context costs as much
            return self._connection.execute(statement, parameters)
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Execute a statement for each row of values; return how many rows of the file changed."""
        with self._errors():
            return self._connection.executemany(statement, rows).rowcount

    def _rows(self, statement: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        try:  # SQLite reads the rows, and finds what is wrong with them, as they are fetched
            return self._fetched(statement, parameters)
        except sqlite3.Error as error:
            raise storage_error(error, self.path) from error

    def _fetched(self, statement: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, parameters).fetchall()
