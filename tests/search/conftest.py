"""A file with what was said in it, and its index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools.builders import Builder, recording
from waxlocal.search.building import Progress, bring_up_to_date
from waxlocal.search.hits import Hits, search
from waxlocal.search.index_file import index_reader
from waxlocal.search.line import parse_line


class Searched:
    """A file that is written to, indexed and searched."""

    def __init__(self, path: Path, to: Builder, main: sqlite3.Connection) -> None:
        self.path = path
        self.to = to
        self.main = main

    def bring_up(self) -> Progress:
        """Add to the index what has come."""
        done = bring_up_to_date(self.path)
        assert done is not None
        assert done.is_complete
        return done

    def ask(self, line: str, *, limit: int = 1_000, below: int | None = None) -> Hits:
        """Search what is in the index."""
        with index_reader(self.path) as index:
            found = search(self.main, index, parse_line(line), limit=limit, below=below)
        assert found is not None
        return found

    def runs(self, line: str) -> list[str]:
        """Bring the index up to date, and return the runs that match, without words that go on."""
        self.bring_up()
        return [hit.run_id for hit in self.ask(line).hits if not hit.is_loose]

    def documents(self) -> int:
        """Return how many runs the index has."""
        with index_reader(self.path) as index:
            return int(index.ask("SELECT count(*) FROM documents")[0][0])


@contextmanager
def searched_in(directory: Path) -> Iterator[Searched]:
    """Yield a new file in a directory."""
    with recording(directory) as (to, main):
        yield Searched(directory / "waxlocal.db", to, main)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Searched]:
    """Yield a new file."""
    with searched_in(tmp_path) as found:
        yield found
