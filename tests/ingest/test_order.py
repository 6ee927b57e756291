"""States of one run that arrive in any order, any number of times: the newest stays."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.bulk_lines import batch, line
from tests.tools.examples import examples
from tests.tools.ingest import Hub
from waxlocal.delivery.records import load_runs
from waxlocal.ingest.merge import merge
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import open_writer
from waxlocal.wire.bulk import Offer, batch_of, read_lines

OFFER = Offer("/bulk/", 500, 8_000_000)
TABLES = ("runs", *(table.name for table in RECORD_TABLES))
# What may happen to a run of the device, by its owner or by the commands.
CHANGES = (
    "UPDATE runs SET tags = json_object('n', :n) WHERE run_id = :run_id",
    "UPDATE runs SET metadata = NULL, result = json_object('n', :n) WHERE run_id = :run_id",
    "UPDATE runs SET status = iif(status = 'error', 'success', 'error') WHERE run_id = :run_id",
    "UPDATE llm_calls SET cost = :n / 100.0, cost_source = 'price' WHERE run_id = :run_id",
    "UPDATE llm_calls SET cost = NULL, cost_source = NULL WHERE run_id = :run_id",
    "UPDATE spans SET status = 'ok', duration_ms = :n WHERE run_id = :run_id",
    "UPDATE scores SET comment = 'second thoughts ' || :n WHERE run_id = :run_id",
    "UPDATE events SET data = json_object('n', :n) WHERE run_id = :run_id",
    "UPDATE steps SET output = json_object('n', :n) WHERE run_id = :run_id",
    "INSERT INTO scores (run_id, position, recorded_at, name, data_type, comment)"
    " VALUES (:run_id, 100 + :n, '2026-02-01T00:00:00.000000Z', 'late', 'numeric', '')",
)


def _contents(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    skip = {"id"}
    found = {}
    for table in TABLES:
        cursor = connection.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        rows = [
            tuple(value for name, value in zip(names, row, strict=True) if name not in skip)
            for row in cursor.fetchall()
        ]
        found[table] = sorted(rows, key=repr)
    found["sessions"] = connection.execute(
        "SELECT session_id, open_runs, failed_runs, llm_calls, priced_calls, total_tokens,"
        " round(total_cost, 6) FROM sessions"
    ).fetchall()
    return found


def _states(device: sqlite3.Connection, changes: list[int], ends_after: int) -> list[bytes]:
    """Return the lines of a run after each of its changes, the first while it goes on."""
    first = line(status="running", completed_at=None, duration=None)
    first["spans"][0]["status"] = "running"
    merge(device, read_lines(batch(first)), 0)
    run_id = first["run"]["run_id"]
    states = [_line(device, run_id)]
    for n, change in enumerate(changes, 1):
        if n > ends_after:
            device.execute("UPDATE runs SET status = 'success', duration = 2.5,"
                           " completed_at = '2026-02-01T00:00:00.000000Z'"
                           " WHERE run_id = ? AND status = 'running'", (run_id,))  # fmt: skip
            device.execute(CHANGES[change], {"n": n, "run_id": run_id})
        else:
            device.execute("UPDATE runs SET tags = ? WHERE run_id = ?", (f'{{"n":{n}}}', run_id))
        states.append(_line(device, run_id))
    return states


def _line(device: sqlite3.Connection, run_id: str) -> bytes:
    (run,) = load_runs(device, [run_id])
    return zlib.decompress(batch_of([run], OFFER).body, 16 + zlib.MAX_WBITS)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(st.integers(0, len(CHANGES) - 1), min_size=1, max_size=6),
    ends_after=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_the_newest_state_stays_in_whatever_order(
    tmp_path_factory: pytest.TempPathFactory, changes: list[int], ends_after: int, seed: int
) -> None:
    """Replayed, reordered, in one batch or several; once the run has ended nothing goes back."""
    directory = tmp_path_factory.mktemp("order")
    ends_after = min(ends_after, len(changes) - 1)
    with (
        closing(open_writer(directory / "device.db")) as device,
        closing(open_writer(directory / "hub.db")) as hub,
    ):
        states = _states(device, changes, ends_after)
        chance = Random(seed)
        arriving = states + chance.choices(states, k=len(states))
        chance.shuffle(arriving)
        while arriving:
            count = chance.randint(1, len(arriving))
            merge(hub, read_lines(b"".join(arriving[:count])), 0)
            del arriving[:count]
        assert _contents(hub) == _contents(device)


def _merged(hub: Hub, *lines: object) -> list[str]:
    return [result.status for result in hub.merge(batch(*lines))]


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def test_a_newer_state_of_a_run_that_has_ended_is_taken(hub: Hub) -> None:
    """Whole: what it leaves out is gone; and the session's totals follow."""
    _merged(hub, line(tags='{"a":"b"}'), line(2))
    newer = line(status="error", error="e", duration=2.0, revision=1_790_000_000_000)
    assert _merged(hub, newer, line()) == ["merged", "merged"]
    run = hub.run(newer["run"]["run_id"])
    assert (run["status"], run["error"], run["tags"], run["duration"]) == ("error", "e", None, 2.0)
    assert hub.select("SELECT failed_runs, total_duration FROM sessions") == [(1, 2.5)]


def test_a_newer_call_brings_its_cost(hub: Hub) -> None:
    """As one that was priced after its run was delivered; an older one does not take it back."""
    _merged(hub, line())
    newer = line()
    newer["llm_calls"][0] |= {"cost": 0.75, "revision": 5}
    _merged(hub, newer, line())
    assert hub.select("SELECT total_cost, llm_calls FROM sessions") == [(0.75, 1)]


def test_another_record_at_the_same_position_is_left_alone(hub: Hub) -> None:
    """One that was given here is not overwritten: the newcomer gets a place of its own."""
    _merged(hub, line())
    other = line()
    other["scores"][0] |= {"name": "another", "numeric_value": 1.0, "revision": 5}
    _merged(hub, other)
    _merged(hub, other, line())
    assert hub.select("SELECT name, numeric_value FROM scores") == [("q", 0.5), ("another", 1.0)]


@pytest.mark.parametrize("revision", [-1, 2**63, 1.5, "7", 2**62])
def test_a_revision_that_can_be_none_is_refused(hub: Hub, revision: object) -> None:
    """One far in the future would let nothing newer in."""
    (result,) = hub.merge(batch(line(revision=revision)))
    assert result.reason == "run: revision is not a revision"
