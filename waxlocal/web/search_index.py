"""The search index of a server: kept up to date in the background, and asked."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from starlette.requests import Request

from waxlocal.errors import FileLocked, FileMissing, StorageError
from waxlocal.search.building import Progress, bring_up_to_date
from waxlocal.search.hits import Hits, search
from waxlocal.search.index_file import IndexDamaged, index_reader, remove_index
from waxlocal.search.line import Line
from waxlocal.web.db import ask

__all__ = ["Indexing", "ask_index", "indexing_of"]

# Of each second, while there is much to do: whoever asks has the rest of the processor.
WORK_S, REST_S = 0.3, 0.7
# Seconds between two looks for new runs.
LOOK_S = 2.0


class Indexing:
    """Adds to the index of a file in the background; for one event loop.

    `progress` is how far it is, None at first; `problem` why it cannot go on. Whoever finds it
    damaged sets `is_damaged`: it is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.progress: Progress | None = None
        self.problem: StorageError | None = None
        self.is_damaged = False

    async def go_on(self) -> None:
        """Add what comes, again and again; ends when cancelled."""
        while True:
            await asyncio.to_thread(self._add)
            behind = self.progress is not None and not self.progress.is_complete
            await asyncio.sleep(REST_S if behind and self.problem is None else LOOK_S)

    def _add(self) -> None:
        try:
            if self.is_damaged:
                remove_index(self.path)
                self.is_damaged = False
            self.progress = bring_up_to_date(self.path, WORK_S) or self.progress
            self.problem = None
        except FileLocked:  # another process adds to it
            pass
        except StorageError as error:
            self.problem = error
        except Exception as error:
            # A bug. The next runs may not meet it; the pages say it until then.
            said = f"the search index cannot be made: {type(error).__name__}: {error}"
            self.problem = StorageError(said, hint="delete the index: docs/search.md")


def indexing_of(request: Request) -> Indexing:
    """Return what keeps the index of the server that received this request."""
    indexing: Indexing = request.app.state.indexing
    return indexing


async def ask_index(
    request: Request, line: Line, *, limit: int, below: int | None = None
) -> Hits | None:
    """Return a page of the turns that match; None while there is no index to ask.

    Raises `StorageError`: the reason where there cannot be one.
    """
    indexing = indexing_of(request)

    def question(main: sqlite3.Connection) -> Hits | StorageError | None:
        try:
            with index_reader(indexing.path) as index:
                return search(main, index, line, limit=limit, below=below)
        except IndexDamaged:
            indexing.is_damaged = True
        except FileMissing:
            return indexing.problem
        except StorageError as error:  # of the index: not for who asks the file to explain
            return error
        return None

    found = await ask(request, question)
    if isinstance(found, StorageError):
        raise found
    return found
