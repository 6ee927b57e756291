"""Access to the file for request handlers: `ask` runs queries, `change` runs writes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request

from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.errors import DiskFull, FileReadOnly, StorageError
from waxlocal.maintenance.upkeep import keep_up
from waxlocal.prices.table import price_pending
from waxlocal.storage.connection import log_keeper, reader
from waxlocal.storage.log_keeper import LogKeeper
from waxlocal.web.read_pool import QUESTION_S, ReadPool
from waxlocal.web.write_queue import WriteQueue

__all__ = ["Database", "ask", "change", "database_of"]

Answer = TypeVar("Answer")

# Seconds between upkeep, which includes pricing pending models, and merging what an older waxlocal
# recorded into a side file. A query waits at most `TAKE_IN_S` for the merge.
UPKEEP_S = 1.0
TAKE_IN_S = 0.1
# Seconds between two looks for runs that were interrupted.
INTERRUPT_S = 600.0


class Database:
    """The file of a server: a pool of reading connections and one writing connection."""

    def __init__(self, path: Path, *, durability: str = "normal") -> None:
        self.path = path
        self.read_pool = ReadPool(path)
        self.write_queue = WriteQueue(path, durability=durability)
        self._keeper: LogKeeper | None = None
        self._upkeep_at = self._interrupt_at = 0.0
        self._closing = threading.Event()

    async def ask(
        self, question: Callable[[sqlite3.Connection], Answer], seconds: float = QUESTION_S
    ) -> Answer:
        """Run a query, as `ask` does for a request."""
        now = time.monotonic()
        if now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP_S
            await asyncio.to_thread(self._keep_up)
        if now >= self._interrupt_at:
            self._interrupt_at = now + INTERRUPT_S
            asyncio.get_running_loop().run_in_executor(None, self._note_interrupted)
        return await self.read_pool.ask(question, seconds)

    def _keep_up(self) -> None:
        keep_up(self.path, TAKE_IN_S)
        price_pending(self.path)

    def _note_interrupted(self) -> None:
        """Write down which runs were interrupted, which may take seconds; nobody waits for it."""
        with suppress(StorageError):  # a file that may not be written: readers show it so, too
            interrupt_gone(self.path, self._closing, all_runs=True)

    def open(self) -> None:
        """Create or upgrade the file; raises `StorageError` if it cannot be used.

        On a full disk, or where the file may only be read, what is there is served, and writes are
        refused until they are possible.
        """
        try:
            self.write_queue.change_now(lambda connection: None)
        except (DiskFull, FileReadOnly):
            with reader(self.path):
                pass
        self._keeper = self._keeper or log_keeper(self.path)
        self._closing.clear()

    def close(self) -> None:
        """Finish pending work and close the file; the next request opens it again."""
        self._closing.set()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        self.read_pool.close()
        self.write_queue.close()


def database_of(request: Request) -> Database:
    """Return the file of the server that received this request."""
    database: Database = request.app.state.database
    return database


async def ask(
    request: Request,
    question: Callable[[sqlite3.Connection], Answer],
    *,
    seconds: float = QUESTION_S,
) -> Answer:
    """Run a query function on a read-only connection in a worker thread; return its result.

    Rows are `sqlite3.Row`. Pending calls are priced first. Raises `StorageError`, and `Problem`
    (503) if the queries take longer than `seconds`; a waxlocal error that the function raises
    becomes the response.
    """
    return await database_of(request).ask(question, seconds)


async def change(
    request: Request, work: Callable[[sqlite3.Connection], Answer], *, small: bool = False
) -> Answer:
    """Run a write function on the writing connection, commit, and return its result.

    The function runs in a separate thread, in a transaction shared with other writes: it must
    neither begin nor end one. If it raises, its changes are rolled back and the exception is raised
    here. Rows are `sqlite3.Row`. Raises `StorageError` (503 with Retry-After) if the file cannot be
    written now. `small` work (a few rows) runs at once in the event loop if possible.
    """
    return await database_of(request).write_queue.change(work, small=small)
