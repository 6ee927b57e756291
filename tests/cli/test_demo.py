"""The demonstration: what it records, what it shows, what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.builders import START_NS, moment
from tests.tools.cli import answer, invoke
from waxlocal.cli.demo_conversations import MAIN_SESSION
from waxlocal.cli.demo_recording import record_demo
from waxlocal.recording.recorder import current_recorder


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A demonstration of the day before the start of all tests."""
    path = tmp_path / "demo.db"
    record_demo(path, START_NS)
    return path


def test_the_demonstration_has_one_of_each_kind(db: Path) -> None:
    """Turns, users, a failure, expensive, slow, of an unknown price, partly known."""
    sessions = {one["session_id"]: one for one in answer("sessions", db=db)}
    assert len(sessions) == 8
    assert sessions[MAIN_SESSION]["run_count"] == 3
    assert len({one["user_id"] for one in sessions.values()}) >= 6
    assert [one["status"] for one in sessions.values()].count("error") == 1
    assert [one["total_cost"] for one in sessions.values()].count(None) == 1
    assert any(0 < one["priced_share"] < 1 for one in sessions.values())
    assert max(one["total_cost"] or 0 for one in sessions.values()) > 1
    assert answer("stats", db=db)["abandoned"] == 2


def test_its_times_lie_within_the_day_before(db: Path) -> None:
    """The clock is scripted: nothing happened later than now or earlier than a day ago."""
    for one in answer("sessions", db=db):
        assert moment(-86_400) < one["first_run_at"] <= one["last_activity_at"] < moment(0)


def test_its_slow_session_has_the_causes_of_slowness(db: Path) -> None:
    """Retries, refused calls and tools one after another are found again by the query."""
    causes = {"retries", "rate_limit", "sequential_tools"}
    timing = answer("session", "sess_00000000000de305", db=db)["timing"]
    assert causes <= {flag["kind"] for flag in timing["flags"]}


def test_its_expensive_session_sends_its_past_again(db: Path) -> None:
    """Most of the input tokens are resent ones."""
    money = answer("session", "sess_00000000000de307", db=db)["money"]
    assert money["reason"] == "expensive_model"
    assert money["resent_tokens"] > money["new_tokens"]


def test_the_verb_shows_everything_and_how_to_go_on(tmp_path: Path) -> None:
    """List, timeline, statistics, and commands that work as they are printed."""
    own = tmp_path / "waxlocal.db"
    said = invoke("demo", WAXLOCAL_DB=str(own))
    assert said.exit_code == 0, said.stderr
    assert said.stderr == ""
    for part in (MAIN_SESSION, "\nCost\n", "\nTime\n", "Abandonment"):
        assert part in said.stdout
    for part in ("kill -9", "20 on the server, each exactly once", "0 missing, 0 doubled"):
        assert part in said.stdout
    commands = [
        line.split() for line in said.stdout.splitlines() if line.startswith("  waxlocal --db")
    ]
    assert len(commands) == 5
    for command in commands:
        again = invoke(*command[1:])
        assert again.exit_code == 0, again.stderr
        assert again.stdout
    assert not own.exists()
    assert (tmp_path / "demo.db").exists()


def test_its_commands_begin_with_the_path_where_the_PATH_does_not_lead_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `make demo` they work as they are printed, from an environment of its own."""
    program = tmp_path / "bin" / "waxlocal"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program), "demo"])
    said = invoke("demo", WAXLOCAL_DB=str(tmp_path / "waxlocal.db"))
    assert said.stdout.count(f"{program} --db ") == 6
    found = invoke("demo", WAXLOCAL_DB=str(tmp_path / "waxlocal.db"), PATH=str(program.parent))
    assert found.stdout.count("waxlocal --db ") == 6
    assert str(program) not in found.stdout


def test_a_second_demonstration_replaces_the_first(db: Path) -> None:
    """Running it again leaves eight sessions, not sixteen."""
    record_demo(db, START_NS)
    assert len(answer("sessions", db=db)) == 8


def test_the_recorder_of_the_process_is_given_back(tmp_path: Path) -> None:
    """A program that records a demonstration goes on recording where it did before."""
    before = current_recorder()
    record_demo(tmp_path / "demo.db")
    assert current_recorder() is before
