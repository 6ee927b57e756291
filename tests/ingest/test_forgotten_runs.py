"""What was forgotten does not come back, by whichever way it arrives again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import FixedClock, moment, run_id
from tests.tools.bulk_lines import batch, line
from tests.tools.ingest import Hub
from waxlocal.maintenance import forgetting
from waxlocal.maintenance.chosen_runs import Choice, Kind, chosen_runs
from waxlocal.maintenance.forgetting import forget
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import open_writer

Json = dict[str, Any]
NOON = FixedClock(1_000)
TABLES = ("runs", "sessions", "processes", "model_prices", *(table.name for table in RECORD_TABLES))
BODIES: dict[str, Json] = {
    "llm-calls": {"calls": [{"model": "m", "tokens_in": 1, "tokens_out": 1}]},
    "steps": {"steps": [{"step_name": "s"}]},
    "spans": {"spans": [{"name": "x", "kind": "tool"}]},
    "scores": {"scores": [{"name": "quality", "data_type": "numeric", "value": 1}]},
    "partial": {"partial": "hello"},
    "episodic": {"slot_name": "a", "scope_key": "b"},
    "semantic": {"slot_name": "a", "scope_key": "b"},
    "complete": {"status": "success"},
}


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that has forgotten the user alice, in two sessions, one shared with bob."""
    hub = Hub(db_path)
    hub.merge(
        batch(
            line(1, user_id="alice", session_id="hers"),
            line(2, session_id="hers"),
            line(3, user_id="alice", session_id="shared"),
            line(4, user_id="bob", session_id="shared"),
        )
    )
    assert forget(db_path, Choice(Kind.USER, "alice"), clock=NOON).runs == 3
    assert here(hub) == [run_id(4)]
    return hub


def here(hub: Hub) -> list[str]:
    """Return the ids of the runs in a file, in order of arrival."""
    return [str(row[0]) for row in hub.select("SELECT run_id FROM runs ORDER BY id")]


def counts(hub: Hub) -> list[int]:
    """Return how many rows each table has."""
    return [int(hub.select(f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES]


def test_a_batch_with_it_is_accepted_and_not_stored(hub: Hub) -> None:
    """Also a later state, runs of hers that come for the first time, and those below them."""
    before = counts(hub)
    parent: Json = {
        "parent_workflow_id": f"wf_{run_id(20)}",
        "root_workflow_id": f"wf_{run_id(20)}",
    }
    lines = [
        line(1, user_id="alice", session_id="hers", revision=7),
        line(3, user_id=None, session_id="elsewhere"),  # by its id alone
        line(20, user_id="alice", session_id="new"),
        line(21, user_id="carol", session_id="new", **parent),
        line(22, user_id=None, session_id="hers"),
    ]
    results = hub.merge(batch(*lines))
    assert [(one.status, one.reason) for one in results] == [("merged", "")] * 5
    assert counts(hub) == before


def test_runs_of_others_and_later_ones_are_stored(hub: Hub) -> None:
    """A run of hers that began later, and of others in the sessions in which she took part."""
    lines = [
        line(30, user_id="alice", session_id="hers", started_at=moment(1_001)),
        line(31, user_id="bob", session_id="hers"),
        line(32, session_id="shared"),
        line(33, user_id="alicea"),
    ]
    assert [one.status for one in hub.merge(batch(*lines))] == ["stored"] * 4
    assert here(hub) == [run_id(number) for number in (4, 30, 31, 32, 33)]


@pytest.mark.parametrize("stage", BODIES)
def test_a_request_about_it_is_accepted(hub: Hub, stage: str) -> None:
    """As if the run were there: the sender has what it expects, and does not send it again."""
    before = counts(hub)
    answer = hub.post(run_id(1), stage, BODIES[stage])
    assert counts(hub) == before
    known = Hub(hub.path).post(run_id(4), stage, BODIES[stage])
    assert answer.keys() == known.keys()
    assert answer.get("recorded") == known.get("recorded")


def test_a_start_with_its_id_is_accepted(hub: Hub) -> None:
    """Exactly or not, by id, by user and by session; its records, too."""
    before = counts(hub)
    for number, user, exact in ((1, None, True), (40, "alice", True), (41, "alice", False)):
        own: Json = {"run_id": run_id(number), "started_at": moment(5)}
        if exact:
            own["run"] = {"started_at": moment(5)}
        body = {"agent_name": "a", "session_id": "s", "user_id": user}
        answer = hub.ask("start", {**body, "metadata": {"waxlocal": own}}, at=2_000)
        assert answer == {
            "run_id": run_id(number),
            "workflow_id": f"wf_{run_id(number)}",
            "started_at": moment(5),
        }
        hub.steps(run_id(number), {"step_name": "x"})
        hub.complete(run_id(number))
    assert counts(hub) == before


def test_a_child_of_it_is_accepted_and_its_own_records(hub: Hub) -> None:
    """The original SDK gets an id for it, as for every run."""
    before = counts(hub)
    child = hub.start(parent_workflow_id=f"wf_{run_id(1)}", session_id="hers", at=2_000)
    hub.steps(child, {"step_name": "x"})
    grandchild = hub.start(parent_workflow_id=f"wf_{child}", at=2_000)
    hub.complete(grandchild)
    assert counts(hub) == before


def test_events_and_decisions_that_name_it_are_not_kept_outside(hub: Hub) -> None:
    """An event of an unknown run is stored outside any run; of a forgotten one it is dropped."""
    before = counts(hub)
    events = [{"event": "x", "workflow_id": f"wf_{run_id(1)}", "metadata": {}}]
    assert hub.ask("events", {"events": events}) == {"recorded": 1}
    decision = {"workflow_id": f"wf_{run_id(1)}", "decisions": [{}, {}]}
    assert hub.ask("governance-decision", decision) == {"recorded": 2}
    assert counts(hub) == before
    hub.ask("events", {"events": [{"event": "x", "workflow_id": "wf_unknown"}]})
    assert counts(hub) != before


def test_a_session_is_barred_up_to_its_deletion(db_path: Path) -> None:
    """Whoever took part in it; a turn that begins afterwards is stored."""
    hub = Hub(db_path)
    hub.merge(batch(line(1, session_id="s"), line(2, session_id="other")))
    forget(db_path, Choice(Kind.SESSION, "s"), clock=NOON)
    late = [line(3, session_id="s"), line(4, session_id="s", started_at=moment(2_000))]
    assert [one.status for one in hub.merge(batch(*late))] == ["merged", "stored"]
    assert here(hub) == [run_id(2), run_id(4)]


def test_tombstones_hold_neither_ids_nor_names(hub: Hub) -> None:
    """Two files have other hashes of the same name: nobody can look it up in a table."""
    with closing(open_writer(hub.path)) as connection:
        rows = connection.execute("SELECT kind, digest FROM forgotten").fetchall()
        (salt,) = connection.execute("SELECT salt FROM forgetting").fetchone()
    assert sorted({kind for kind, _ in rows}) == ["part", "run", "unnamed", "user"]
    assert all(len(digest) == 64 for _, digest in rows)
    other = Hub(hub.path.with_name("other.db"))
    other.merge(batch(line(1, user_id="alice", session_id="hers")))
    forget(other.path, Choice(Kind.USER, "alice"), clock=NOON)
    assert other.select("SELECT salt FROM forgetting") != [(salt,)]
    there = {row[0] for row in other.select("SELECT digest FROM forgotten")}
    assert there.isdisjoint(digest for _, digest in rows)


def test_a_run_below_that_comes_meanwhile_goes_too(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the choice of the runs and the deletion of the one that called it."""
    hub = Hub(db_path)
    hub.merge(batch(line(1, user_id="alice"), line(2, user_id="bob")))

    def chosen(connection: Any, choice: Choice) -> Any:
        found = chosen_runs(connection, choice)
        called_by = f"wf_{run_id(1)}"
        hub.merge(batch(line(3, user_id="carol", parent_workflow_id=called_by)))
        hub.merge(batch(line(4, user_id="carol", parent_workflow_id=f"wf_{run_id(3)}")))
        return found

    monkeypatch.setattr(forgetting, "chosen_runs", chosen)
    assert forget(db_path, Choice(Kind.USER, "alice"), clock=NOON).runs == 3
    assert here(hub) == [run_id(2)]
