"""How a request gets at the file: `ask` for what is read, `change` for what is written."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request

from waxlocal.maintenance.side_files import take_in_all
from waxlocal.prices.table import price_pending
from waxlocal.storage.checkpoint import LogKeeper
from waxlocal.storage.connection import log_keeper
from waxlocal.web.read_pool import QUESTION_S, Readers
from waxlocal.web.write_queue import Writer

__all__ = ["Database", "ask", "change", "database_of"]

Answer = TypeVar("Answer")

# How often models that were called for the first time are looked up in the price list, and what an
# older waxlocal recorded beside the file is taken in; and how long a question waits for the latter.
UPKEEP_S = 1.0
TAKE_IN_S = 0.1


class Database:
    """The file of a server: connections for questions, and the one for changes."""

    def __init__(self, path: Path, *, durability: str = "normal") -> None:
        self.path = path
        self.readers = Readers(path)
        self.writer = Writer(path, durability=durability)
        self._keeper: LogKeeper | None = None
        self._upkeep_at = 0.0

    async def ask(
        self, question: Callable[[sqlite3.Connection], Answer], seconds: float = QUESTION_S
    ) -> Answer:
        """Answer a question as `ask` does for a request."""
        now = time.monotonic()
        if now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP_S
            await asyncio.to_thread(self._keep_up)
        return await self.readers.ask(question, seconds)

    def _keep_up(self) -> None:
        take_in_all(self.path, TAKE_IN_S)
        price_pending(self.path)

    def open(self) -> None:
        """Create or upgrade the file; raises `StorageError` where it cannot be used."""
        self.writer.change_now(lambda connection: None)
        self._keeper = self._keeper or log_keeper(self.path)

    def close(self) -> None:
        """Finish what is under way, and close the file; it is opened again by the next request."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        self.readers.close()
        self.writer.close()


def database_of(request: Request) -> Database:
    """Return the file of the server that got this request."""
    database: Database = request.app.state.database
    return database


async def ask(
    request: Request,
    question: Callable[[sqlite3.Connection], Answer],
    *,
    seconds: float = QUESTION_S,
) -> Answer:
    """Return the answer to a question, asked on a read-only connection in a worker thread.

    Rows are `sqlite3.Row`. Calls that waited for a price have got it before. Raises `StorageError`,
    and `Problem` (503) for a question whose queries take longer than `seconds`; an error of ours
    that the question raises becomes the answer of the request.
    """
    return await database_of(request).ask(question, seconds)


async def change(
    request: Request, work: Callable[[sqlite3.Connection], Answer], *, small: bool = False
) -> Answer:
    """Return what the work returned, done on the one writing connection and committed.

    The work runs in a thread of its own inside a transaction that it shares with other changes: it
    must neither begin nor end one. What it raises undoes what it did, and comes out here. Rows are
    `sqlite3.Row`. Raises `StorageError` (503 with Retry-After) when the file cannot be written now.
    `small` work, a handful of rows, is done at once where that is possible.
    """
    return await database_of(request).writer.change(work, small=small)
