"""Runs inside of runs that name each other in ways that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.server import fault_server
from tests.tools.sync import change, record, upload

pytestmark = pytest.mark.usefixtures("recorder")


@pytest.mark.parametrize("circle", [(0,), (0, 1), (0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("bulk", [False, True])
def test_a_circle_of_parents_is_delivered(
    db_path: Path, circle: tuple[int, ...], bulk: bool
) -> None:
    """A row that somebody else wrote may name its own child as its parent: none waits for it."""
    run_ids = record(4)
    for child, parent in zip(circle, (*circle[1:], circle[0]), strict=True):
        change(
            db_path,
            "UPDATE runs SET parent_workflow_id = ? WHERE run_id = ?",
            f"wf_{run_ids[parent]}",
            run_ids[child],
        )
    with fault_server(bulk=bulk) as server:
        assert upload(db_path, server.url, bulk=bulk).delivered == 4
        assert audit(server).completed == 4
        assert not audit(server).doubled
