"""What the looks at the deliveries read: not the runs that were delivered long ago."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools.sync import ask, record
from waxlocal.delivery import interruption, requeue, status
from waxlocal.delivery import statements as sql

pytestmark = pytest.mark.usefixtures("recorder")

LOOKS = {
    "not delivered": sql.NOT_DELIVERED,
    "release": sql.RELEASE,
    "ended": sql.ENDED,
    "due": sql.DUE,
    "due, least failed first": sql.DUE_LEAST_FAILED,
    "next due": sql.NEXT_DUE,
    "counts": sql.COUNTS,
    "sync status": status._TARGETS,
    "sync status, version 2": status._TARGETS_OF_RUNS,
    "sync parked": status._PARKED_REQUESTS,
    "sync retry": requeue._PARKED_RUNS,
    "processes with open runs": interruption._WITH_OPEN_RUNS.format(which=interruption._OF_UPLOAD),
    "open runs": interruption._OPEN_RUNS.format(which=interruption._OF_UPLOAD),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_who_looks_for_what_waits_does_not_read_what_is_delivered(db_path: Path, look: str) -> None:
    """Each look goes by the partial index; a single run is found by its key."""
    record(1)
    values = re.sub(r":\w+", "?", look)
    marks = re.sub(r"'[^']*'", "", values).count("?")
    rows = ask(db_path, f"EXPLAIN QUERY PLAN {values}", *["1"] * marks)
    read = [row[3] for row in rows if re.search(r"\b(d|p|o|cd|deliveries)\b", row[3])]
    assert any("deliveries_waiting" in one for one in read), rows
    by_key = (
        r"USING (COVERING )?INDEX deliveries_waiting|PRIMARY KEY \(run_id=\? AND target_id=\?\)"
    )
    assert [one for one in read if not re.search(by_key, one)] == []
