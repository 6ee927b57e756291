"""What goes wrong with the file is not a fault of the runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.server import fault_server
from tests.tools.sync import (
    ask,
    record,
    upload,
    uploading,
)
from waxlocal.errors import StorageError

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
