"""What goes wrong with the file is not a fault of the runs."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.faults.audit import audit
from tests.faults.server import fault_server
from tests.tools.sync import (
    ask,
    change,
    record,
    upload,
    uploading,
)
from waxlocal.delivery import connection
from waxlocal.delivery.outbox import Outbox
from waxlocal.errors import StorageError
from waxlocal.storage.connection import open_writer

pytestmark = pytest.mark.usefixtures("recorder")


@pytest.mark.parametrize("bulk", [False, True])
def test_a_run_that_cannot_be_read_now_is_not_parked(db_path: Path, bulk: bool) -> None:
    """An error of SQLite ends the upload; the next one goes on as if nothing had been."""
    record(5)

    def at(point: str) -> None:
        if point == "marked":
            uploader._outbox.connection.set_progress_handler(lambda: 1, 1)

    with fault_server(bulk=bulk) as server:
        with (
            uploading(db_path, server.url, bulk=bulk, at=at) as uploader,
            pytest.raises(StorageError, match="interrupted"),
        ):
            uploader.run(threading.Event())
        assert ask(db_path, "SELECT DISTINCT state FROM deliveries") == [("sending",)]
        assert upload(db_path, server.url, bulk=bulk).delivered == 5
        audit(server).assert_sound(at_most=1)


def test_an_uploader_that_does_not_start_leaves_nothing_open(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row about the server that nobody can read: the connection is closed, the error is ours."""
    opened: list[sqlite3.Connection] = []

    def opening(path: Path, **how: Any) -> sqlite3.Connection:
        opened.append(open_writer(path, **how))
        return opened[-1]

    monkeypatch.setattr(connection, "open_writer", opening)
    record(1)
    with uploading(db_path, "http://127.0.0.1:9"):
        pass
    change(db_path, "UPDATE targets SET not_before = CAST(x'ff' AS TEXT)")
    with pytest.raises(StorageError), uploading(db_path, "http://127.0.0.1:9"):
        pass
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[-1].execute("SELECT 1")


def test_what_is_found_as_rows_are_fetched_is_an_error_of_the_file(db_path: Path) -> None:
    """Not one of SQLite, which nobody here expects."""
    record(2)
    with Outbox(db_path, "http://x") as box:
        box.admit()
        change(db_path, "UPDATE deliveries SET remote_run_id = CAST(x'ff' AS TEXT)")
        with pytest.raises(StorageError):
            box.due(5, horizon="9")
