"""The large demonstration: what is in it, that it is the same each time, that it can be read."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import START_NS, moment
from tests.tools.cli import answer, invoke
from tests.tools.examples import NOTHING_LEFT_OUT
from tests.tools.readable import why_unreadable
from tests.tools.terminal import on_terminal
from waxlocal.cli.large_demo import record_large
from waxlocal.cli.scenarios.schedule import AGENTS, STORY_USER
from waxlocal.cli.scenarios.talk import DAY
from waxlocal.cli.scenarios.unusual import (
    EXPENSIVE,
    FAILED_SUB_AGENT,
    LONG,
    LONG_TURNS,
    SHARED,
    unusual_talks,
)
from waxlocal.cli.talk_player import Spoken
from waxlocal.queries import RunSummary, list_sessions
from waxlocal.queries.run_list import list_runs
from waxlocal.records import RunStatus
from waxlocal.storage.connection import reader

SESSIONS = 120
_TABLES = ("runs", "llm_calls", "steps", "spans", "scores", "events", "sessions", "session_users")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set with every shape in it, of the days before the start of all tests."""
    path = tmp_path_factory.mktemp("large") / "demo-large.db"
    record_large(path, SESSIONS, now_ns=START_NS)
    return path


def _rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        names = ", ".join(name for name in columns if name != "process_id")
        return connection.execute(f"SELECT {names} FROM {table} ORDER BY 1, 2").fetchall()


def _runs(path: Path) -> Iterator[RunSummary]:
    with reader(path) as connection:
        offset = 0
        while page := list_runs(connection, limit=1_000, offset=offset):
            yield from page
            offset += len(page)


def _titles(path: Path) -> list[str]:
    with reader(path) as connection:
        found: list[str] = []
        while page := list_sessions(connection, limit=1_000, offset=len(found)):
            found += [one.title for one in page]
        return found


def test_the_same_seed_and_time_give_the_same_records(small: Path, tmp_path: Path) -> None:
    """All ids, times and texts; another seed gives others."""
    again, other = tmp_path / "again.db", tmp_path / "other.db"
    record_large(again, SESSIONS, now_ns=START_NS)
    record_large(other, SESSIONS, seed=2, now_ns=START_NS)
    for table in _TABLES:
        assert _rows(again, table) == _rows(small, table), table
    assert _rows(other, "runs") != _rows(small, "runs")


def test_it_lies_in_the_sixty_days_before(small: Path) -> None:
    """Nothing happened later than now; some conversations go on."""
    sessions = answer("sessions", "--limit", "1000", db=small)
    assert len(sessions) == SESSIONS
    for one in sessions:
        assert moment(-61 * 86_400) < one["first_run_at"] <= one["last_activity_at"] < moment(0)
    assert any(one["last_activity_at"] > moment(-1_800) for one in sessions)


def test_it_has_each_agent_status_and_kind_of_score(small: Path) -> None:
    """Failures, runs without a session or a user; steps, and spans of several kinds."""
    runs = list(_runs(small))
    assert {one.name for one in AGENTS} <= {run.agent_name for run in runs}
    assert {run.status for run in runs} >= {RunStatus.SUCCESS, RunStatus.ERROR}
    assert any(run.session_id is None for run in runs)
    assert any(run.user_id is None and run.session_id for run in runs)
    kinds = {row[4] for row in _rows(small, "scores")}
    assert kinds == {"numeric", "boolean", "categorical"}
    assert {"tool", "retriever", "retry", "decision"} <= {row[6] for row in _rows(small, "spans")}
    assert _rows(small, "steps")
    assert answer("session", SHARED, db=small)["user_count"] == 3


def test_one_session_is_by_far_the_most_expensive(small: Path) -> None:
    """Of last week; the reason is the log that is sent again and again."""
    first, second = answer("sessions", "--order", "cost", "--limit", "2", db=small)
    assert first["session_id"] == EXPENSIVE
    assert first["total_cost"] > 3 * second["total_cost"]
    assert moment(-7 * 86_400) < first["first_run_at"] < moment(0)
    money = answer("session", EXPENSIVE, db=small)["money"]
    assert money["resent_tokens"] > 10 * money["new_tokens"]


def test_one_is_long_and_one_has_a_sub_agent_that_failed(small: Path) -> None:
    """120 turns; and a failed run inside a turn that succeeded."""
    assert answer("session", LONG, db=small)["turn_count"] == LONG_TURNS
    runs = answer("session", FAILED_SUB_AGENT, db=small)["runs"]
    (failed,) = [run for run in runs if run["status"] == "error"]
    assert failed["agent_name"] == "hotel-finder"
    assert failed["nested"]
    assert "ToolTimeout" in failed["error_type"]


def test_the_story_of_a_customer_can_be_followed(small: Path) -> None:
    """From the broken lamp to the thanks, in four conversations."""
    sessions = answer("sessions", "--user", STORY_USER, "--order", "recent", db=small)
    assert [one["session_id"] for one in sessions] == [f"order-51842-{n}" for n in (4, 3, 2, 1)]
    assert "broken shade" in sessions[-1]["title"]


def test_the_command_says_how_to_go_on(tmp_path: Path) -> None:
    """Its proposals work as they are printed, on a file beside the user's own."""
    own = tmp_path / "waxlocal.db"
    said = invoke("demo", "--large", "--sessions", "30", WAXLOCAL_DB=str(own))
    assert said.exit_code == 0, said.stderr
    assert said.stderr == ""
    assert said.stdout.startswith("30 sessions with ")
    assert (tmp_path / "demo-large.db").exists()
    assert not own.exists()
    assert f"session {EXPENSIVE}" in said.stdout


def test_it_replaces_its_own_kind_alone(tmp_path: Path, small: Path) -> None:
    """Twice gives as many sessions as once; a file with other runs is refused, unchanged."""
    path = tmp_path / "again.db"
    for _ in range(2):
        assert invoke("demo", "--large", "--sessions", "20", db=path).exit_code == 0
    assert len(_titles(path)) == 20
    said = invoke("demo", db=path)
    assert said.exit_code == 2
    assert "holds more than a demo" in said.stderr
    assert len(_titles(path)) == 20


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    """By a bar, which is gone at the end."""
    path = tmp_path / "demo-large.db"
    status, shown = on_terminal("demo", "--large", "--sessions", 20, "--db", path)
    assert status == 0
    assert "recording" in shown
    assert "20 sessions with " in shown


def test_a_file_that_cannot_grow_is_an_error(tmp_path: Path) -> None:
    """As on a full disk: it does not claim to have recorded what is not there."""
    path = tmp_path / "demo-large.db"
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000));"
        "import runpy; runpy.run_module('waxlocal', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", limited, "--db", str(path), "demo", "--large"]
    command += ["--sessions", "30"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "records are not in the file" in said.stderr
    assert "sessions with" not in said.stdout


def test_no_other_command_loads_it() -> None:
    """Not even the small demonstration."""
    code = "import sys, waxlocal.cli.demo; print('waxlocal.cli.scenarios' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--sessions", "30"), "--sessions has no effect without --large"),
        (("--seed", "3"), "--seed has no effect without --large"),
        (("--large", "--serve"), "--serve has no effect with --large"),
        (("--large", "--sessions", "3"), "use 20 to 100,000"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    """Nothing is written."""
    said = invoke("demo", *arguments, db=tmp_path / "demo.db")
    assert said.exit_code == 2
    assert why in said.stderr
    assert list(tmp_path.iterdir()) == []


def _unread(path: Path, spoken: list[Spoken]) -> list[tuple[str, ...]]:
    """Return what a page would not show as it was said, and what does not read as words."""
    said = {one.run_id: one for one in spoken}
    found = [("title", why, text) for text in _titles(path) if (why := why_unreadable(text))]
    for run in _runs(path):
        truth = said.pop(run.run_id)
        for shown, wanted in ((run.message, truth.message), (run.answer, truth.answer)):
            if _without_images(shown) != wanted:
                found.append((run.agent_name, "other words", shown, wanted))
            elif wanted and (why := why_unreadable(shown)):
                found.append((run.agent_name, why, shown))
    assert not said
    return found


def _without_images(text: str) -> str:
    lines = (line for line in text.split("\n") if line not in ("[image]", "![photo]([image])"))
    return "\n".join(lines).strip("\n")


def test_every_title_message_and_answer_of_the_whole_set_reads_as_words(tmp_path: Path) -> None:
    """Each shape is read as exactly what was said; no id, JSON, or base64."""
    path = tmp_path / "demo-large.db"
    sessions = 3_000 if NOTHING_LEFT_OUT else 300
    spoken = record_large(path, sessions, now_ns=START_NS)
    assert len(_titles(path)) == sessions
    assert _unread(path, spoken) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"answer": "Yes"}',
        '```json\n{"answer": "Yes"}\n```',
        "{'answer': 'Yes'}",
        "Answer(text='Yes')",
        "content='Yes' additional_kwargs={}",
        "<agents.Answer object at 0x7f3a>",
        "9f86d081-884c-4d65-9a2f-eaa0c55ad015",
        "sess_84baf7018e860fc4",
        "see iVBORw0KGgoAAAANSUhEUgAAADAAAAAwCAIAAADYYG7QAAAAXklEQVR4nO3OQQ0AIBDAMMC",
        "***",
    ],
)
def test_the_check_finds_what_is_no_words(text: str) -> None:
    """It would not pass over what pages must never show."""
    assert why_unreadable(text)


def test_its_last_week_is_the_calendars_too() -> None:
    """On each day of a week the expensive session is of the last seven days, and before Monday."""
    for day in range(7):
        now = START_NS + day * DAY
        (talk,) = [one for one in unusual_talks(1, now) if one.session_id == EXPENSIVE]
        monday = now - now % DAY - (now // DAY + 3) % 7 * DAY
        assert now - 7 * DAY <= talk.starts_ns <= monday
