"""People type and read times in one zone, that of their machine; programs get UTC."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools.builders import run_id
from tests.tools.cli import answer, invoke, recorded, spawn
from tests.tools.zones import HAVANA, NEW_YORK, TOKYO, UTC, in_zone
from waxlocal.cli.local_times import LocalZone, local_time, time_of_day
from waxlocal.queries import parse_time

SCREEN = {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "100"}
DAY_S = 86_400


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A session with turns on 2026-01-31 at 18:30 in Tokyo, an hour later, and the next day."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        for seconds in (0, 3600, DAY_S):
            file.run("sess_aa", at=seconds)
    return path


def _since(text: str) -> str:
    return parse_time(text, zone=LocalZone(later=False))


def _until(text: str) -> str:
    return parse_time(text, end=True, zone=LocalZone(later=True))


def test_a_typed_time_is_local(db: Path) -> None:
    """`--since` and `--until` take the times that the terminal shows."""
    period = ("--since", "2026-01-31 18:30", "--until", "2026-01-31 18:31")
    with in_zone(TOKYO):
        (found,) = answer("runs", *period, db=db)
    assert found["run_id"] == run_id(1)
    with in_zone(UTC):
        assert answer("runs", *period, db=db) == []


@pytest.mark.parametrize("text", ["2026-01-31T09:30Z", "2026-01-31T10:30+01:00"])
def test_an_offset_says_another_zone(db: Path, text: str) -> None:
    """A time with `Z` or an offset is the same one everywhere."""
    with in_zone(TOKYO):
        found = answer("runs", "--since", text, "--until", text, db=db)
    assert [one["run_id"] for one in found] == [run_id(1)]


@pytest.mark.parametrize("command", ["sessions", "runs", "models", "stats"])
def test_a_period_that_ends_before_it_begins_is_refused(db: Path, command: str) -> None:
    """It would look like a file without recordings. One moment, or one day, is a period."""
    late, early = ("--since", "2026-02-02"), ("--until", "2026-02-01 10:00")
    with in_zone(TOKYO):
        for period in ((*late, *early), (*early, *late)):
            said = invoke(command, *period, db=db)
            assert said.exit_code == 2
            assert "--since is 2026-02-02 00:00:00+09:00" in said.stderr
            assert "--until is 2026-02-01 10:00:00+09:00" in said.stderr
        assert invoke(command, *late, "--until", "2026-02-02", db=db).exit_code == 0
    next_moment = ("--since", "2026-02-03T00:00", "--until", "2026-02-02")  # a microsecond before
    assert invoke(command, *next_moment, db=db).exit_code == 2
    for same in (("--since", "24h", "--until", "1d"), ("--until", "1d", "--since", "24h")):
        assert invoke(command, *same, db=db).exit_code == 0


def test_a_typed_date_is_a_local_day() -> None:
    """A day begins and ends at the midnights of its zone."""
    with in_zone(TOKYO):
        assert _since("2026-01-31") == "2026-01-30T15:00:00.000000Z"
        assert _until("2026-01-31") == "2026-01-31T14:59:59.999999Z"


def test_models_take_local_times_too(db: Path) -> None:
    """The options of `models` are read as those of the lists of sessions and runs."""
    with recorded(db) as file:
        file.llm(run_id(1), at=0)
    with in_zone(TOKYO):
        (found,) = answer("models", "--since", "2026-01-31T18:30", "--until", "2026-01-31", db=db)
        assert found["calls"] == 1
        assert answer("models", "--since", "2026-01-31T18:31", db=db) == []


def test_a_time_that_occurs_twice_cuts_nothing_off() -> None:
    """When the clocks are put back, `--since` takes the first reading and `--until` the second."""
    with in_zone(NEW_YORK):
        assert _since("2026-11-01 01:30") == "2026-11-01T05:30:00.000000Z"
        assert _until("2026-11-01 01:30") == "2026-11-01T06:30:00.000000Z"


def test_a_time_that_never_occurs_cuts_nothing_off() -> None:
    """When the clocks are put forward, the change itself lies between the two readings."""
    with in_zone(NEW_YORK):
        changed = "2026-03-08T07:00:00.000000Z"
        assert _since("2026-03-08 02:30") < changed < _until("2026-03-08 02:30")


def test_a_day_begins_once() -> None:
    """A midnight that occurs twice is the first one, one that is passed over is the change."""
    with in_zone(HAVANA):
        assert _since("2026-11-01") == "2026-11-01T04:00:00.000000Z"
        assert _until("2026-10-31") == "2026-11-01T03:59:59.999999Z"
        assert _since("2026-03-08") == "2026-03-08T05:00:00.000000Z"
        assert _until("2026-03-07") == "2026-03-08T04:59:59.999999Z"


def test_a_time_that_cannot_be_read_is_wrong_usage(db: Path) -> None:
    """The error says which forms can."""
    said = invoke("sessions", "--until", "yesterday", db=db)
    assert said.exit_code == 2
    assert "'yesterday' is not a valid time" in said.stderr
    assert "24h" in said.stderr


def test_the_first_day_that_a_date_can_name_has_no_zone() -> None:
    """Where a zone would lead out of the years that a date can name, the time is UTC."""
    with in_zone(TOKYO):
        assert _since("0001-01-01") == "0001-01-01T00:00:00.000000Z"


def test_a_shown_time_can_be_typed() -> None:
    """What `show` prints names its zone, and `--since` takes it anywhere."""
    stored = "2026-01-31T09:30:00.000000Z"
    with in_zone(TOKYO):
        shown = local_time(stored)
        assert shown == "2026-01-31 18:30:00+09:00"
    with in_zone(NEW_YORK):
        assert _since(shown) == stored


def test_a_time_of_day_has_a_date_where_the_day_changes() -> None:
    """The day is the local one: 15:00 UTC is midnight in Tokyo."""
    first, second = "2026-01-31T14:59:59.000000Z", "2026-01-31T15:00:00.000000Z"
    with in_zone(TOKYO):
        assert time_of_day(second, first) == "2026-02-01 00:00:00+09:00"
    with in_zone(UTC):
        assert time_of_day(second, first) == "15:00:00"


def test_a_session_of_several_days_shows_its_dates(db: Path) -> None:
    """On a terminal the first turn has date and zone, and so has the first of each other day."""
    said = spawn("--db", db, "session", "sess_aa", TZ=TOKYO, **SCREEN).stdout
    assert re.findall(r"^\d  (\S+(?: \d\d\S+)?) ·", said, re.MULTILINE) == [
        "2026-01-31 18:30:00+09:00",
        "19:30:00",
        "2026-02-01 18:30:00+09:00",
    ]


def test_a_pipe_has_times_in_utc(db: Path) -> None:
    """Programs read the same times whatever the zone is."""
    said = spawn("--db", db, "session", "sess_aa", TZ=TOKYO).stdout
    assert "2026-01-31T09:30:00.000000Z" in said
    assert "+09:00" not in said


def test_the_date_of_an_old_session_is_local(tmp_path: Path) -> None:
    """Where a list shows a date in place of a distance, it is that of the reader's zone."""
    path = tmp_path / "old.db"
    with recorded(path) as file:
        file.run("sess_old", at=-3 * 365 * DAY_S + 8 * 3600)  # 17:30 UTC on 2023-02-01
    assert "2023-02-02" in spawn("--db", path, "sessions", TZ=TOKYO, **SCREEN).stdout


@pytest.mark.parametrize("command", ["sessions", "runs", "stats", "models"])
def test_the_help_says_which_zone(command: str) -> None:
    """Nobody has to guess how a time without an offset is read."""
    assert "in local time unless it has an offset" in " ".join(
        invoke(command, "--help").stdout.split()
    )
