"""A pool of worker threads with open read-only connections, for queries with a timeout."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from waxlocal.errors import StorageError
from waxlocal.storage.connection import reader
from waxlocal.storage.log_file import log_size
from waxlocal.storage.paths import FileId, file_id, may_make_index
from waxlocal.storage.readers import set_resting
from waxlocal.storage.schema import Admission
from waxlocal.storage.storage_errors import storage_error
from waxlocal.storage.transaction import roll_back
from waxlocal.web.api.problems import Problem

__all__ = ["ReadPool"]

Answer = TypeVar("Answer")
Question = Callable[[sqlite3.Connection], Answer]

# The number of threads. More would only compete for the interpreter lock and the CPUs of a small
# machine.
THREADS = 4
# The timeout in seconds for the queries of one request.
QUESTION_S = 2.0
# SQLite instructions between checks of the timeout: some tenths of a millisecond.
INSTRUCTIONS = 10_000
# The page cache per connection: small, since several stay open and the OS also caches the file.
CACHE_KIB = 1_024

_REFUSED = frozenset((sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH))


@dataclass(eq=False)
class _Open:
    """An open connection, how to close it, the file that it reads, and its current deadline.

    `admission`: whether this version may still read the file.
    """

    connection: sqlite3.Connection
    closer: AbstractContextManager[sqlite3.Connection]
    file: FileId | None
    admission: Admission
    # It does not see what is written later: it was opened without the log, as on a full disk.
    is_fixed: bool
    deadline: float = field(default=0.0)

    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def close(self) -> None:
        self.closer.__exit__(None, None, None)


class ReadPool:
    """Runs queries in worker threads; opens connections on demand."""

    def __init__(self, path: Path, *, threads: int = THREADS) -> None:
        self._path = path
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        # Reuse the last used connection first: its cache is the warmest.
        self._free: list[_Open] = []
        self._busy: set[_Open] = set()
        self._lock = threading.Lock()

    async def ask(self, question: Question[Answer], seconds: float = QUESTION_S) -> Answer:
        """Run a query in a worker thread; raises `StorageError`, and `Problem` on timeout."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="waxlocal-read")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self.answer, question, seconds)

    def answer(self, question: Question[Answer], seconds: float = QUESTION_S) -> Answer:
        """Run a query in this thread; raises as `ask` does."""
        with self._connection() as opened:
            opened.deadline = time.monotonic() + seconds
            try:
                opened.admission.look()
                return question(opened.connection)
            except (sqlite3.Error, StorageError) as error:
                if str(error) == "interrupted":
                    raise _took_too_long(seconds) from None
                raise storage_error(error, self._path) from error

    @contextmanager
    def _connection(self) -> Iterator[_Open]:
        opened = self._take() or self._open()
        self._busy.add(opened)
        try:
            yield opened
        except StorageError:
            opened.close()  # the connection may be broken
            raise
        except BaseException:
            self._give_back(opened)
            raise
        else:
            self._give_back(opened)
        finally:
            self._busy.discard(opened)

    def _take(self) -> _Open | None:
        while True:
            with self._lock:
                if not self._free:
                    return None
                opened = self._free.pop()
            set_resting(opened.connection, False)
            current = file_id(self._path)
            if opened.file == current and current is not None:
                return opened
            opened.close()  # the file was moved or deleted

    def _open(self) -> _Open:
        # Before opening: the next query then notices a file that is replaced in between.
        file = file_id(self._path)
        # So is this: whoever writes meanwhile makes a log, and then `reader` reads it.
        is_fixed = not log_size(self._path) and not may_make_index(self._path)
        closer = reader(self._path, cache_kib=CACHE_KIB)
        connection = closer.__enter__()
        opened = _Open(connection, closer, file, Admission(connection, writing=False), is_fixed)
        connection.set_progress_handler(opened.is_late, INSTRUCTIONS)
        connection.set_authorizer(_authorize)
        return opened

    def _give_back(self, opened: _Open) -> None:
        if opened.is_fixed:
            opened.close()
            return
        roll_back(opened.connection)
        set_resting(opened.connection, True)
        with self._lock:
            self._free.append(opened)

    def close(self) -> None:
        """Interrupt running queries, and close all connections."""
        if self._executor is not None:
            for opened in list(self._busy):
                opened.deadline = 0.0
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
        while self._free:
            self._free.pop().close()


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action in _REFUSED else sqlite3.SQLITE_OK


def _took_too_long(seconds: float) -> Problem:
    return Problem(
        503,
        f"the query took longer than {seconds:g} s",
        kind="too-slow",
        hint="narrow the query, for example with since",
        headers={"Retry-After": "5"},
    )
