"""Numeric options take the numbers that make sense, and name them in the error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.tools.cli import answer, commands, invoke, recorded
from waxlocal.cli.numbers import Count, Seconds

HUGE = "99999999999999999999"
WRONG = ("-5", HUGE, f"-{HUGE}", "9" * 5_000, "1.5", "nan", "1e3", "", "٣")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A file with one session."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        file.run("sess_aa")
    return path


def _counts() -> Iterator[tuple[str, ...]]:
    """Yield each command with each of its options that takes a whole number."""
    for words, command in commands().items():
        before = (*words, "sess_aa") if words == ("session",) else words
        for option in command.params:
            if isinstance(option.type, Count):
                yield (*before, option.opts[-1])


COUNTS = tuple(_counts())


def test_every_option_that_takes_an_integer_has_limits() -> None:
    """click's own type knows none: SQLite stores 64 bits, and a negative limit means no limit."""
    assert ("sync", "parked", "--limit") in COUNTS
    for words, command in commands().items():
        for option in command.params:
            assert option.type is not click.INT, (words, option.name)


@pytest.mark.parametrize("words", COUNTS, ids=" ".join)
@pytest.mark.parametrize("value", ["-5", HUGE])
def test_a_number_that_an_option_cannot_take_is_wrong_usage(
    db: Path, words: tuple[str, ...], value: str
) -> None:
    """Exit status 2, the numbers that are allowed, and at most a piece of what was given."""
    result = invoke(*words, value, db=db)
    assert result.exit_code == 2, result.output
    first, second = result.stderr.splitlines()
    assert first.startswith(f"Error: invalid value for {words[-1]}: ")
    assert "; use " in first
    assert len(first) < 200
    assert second.startswith("Try: waxlocal ")


@pytest.mark.parametrize("given", WRONG)
def test_a_count_is_digits_within_its_limits(given: str) -> None:
    """Whatever else int() reads, and however long it is, is a usage error that stays short."""
    with pytest.raises(click.BadParameter, match=r"; use 0 to 9$") as refused:
        Count(0, 9).convert(given, None, None)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("sessions",), "1 or more"),
        (("users",), "1 or more"),
        (("session", "sess_aa"), "1 to 1,000"),
        (("sync", "parked"), "1 or more"),
    ],
)
def test_a_limit_of_nothing_is_wrong_usage(db: Path, words: tuple[str, ...], allowed: str) -> None:
    """Nobody asks for no rows."""
    assert f"'0' is out of range; use {allowed}\n" in invoke(*words, "--limit", 0, db=db).stderr


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("-1", "'-1' is out of range; use 0 or more"),
        ("x", "'x' is not a whole number; use 0 or more"),
        (HUGE, f"'{HUGE}' is out of range; use 0 to 9,223,372,036,854,775,807"),
    ],
)
def test_what_64_bits_can_count_is_said_where_more_was_given(
    db: Path, value: str, said: str
) -> None:
    """Elsewhere that number only hides what to write."""
    assert f": {said}\n" in invoke("sessions", "--offset", value, db=db).stderr


@pytest.mark.parametrize("words", [("sessions",), ("users",)])
def test_the_largest_offset_is_past_the_end(db: Path, words: tuple[str, ...]) -> None:
    """It is a number like others: nothing is found there."""
    assert answer(*words, "--offset", 2**63 - 1, db=db) == []


@pytest.mark.parametrize("value", ["nan", "-1", "-0.1", "inf", "1e400", "1e300", "soon", ""])
def test_seconds_that_cannot_be_waited_are_wrong_usage(db: Path, value: str) -> None:
    """Neither less than none, nor for ever."""
    result = invoke("sync", "--patience", value, db=db)
    assert result.exit_code == 2
    assert "invalid value for --patience: " in result.stderr
    assert "use 0 to 31,536,000 seconds" in result.stderr


@pytest.mark.parametrize(("given", "meant"), [("0", 0.0), ("0.5", 0.5), ("60", 60.0), (" 7 ", 7.0)])
def test_seconds_are_read_as_typed(given: str, meant: float) -> None:
    """With or without a fraction."""
    assert Seconds(60.0).convert(given, None, None) == meant


@pytest.mark.parametrize(("given", "meant"), [("0", 0), ("+7", 7), ("007", 7), ("9", 9)])
def test_counts_are_read_as_typed(given: str, meant: int) -> None:
    """Both limits are allowed."""
    assert Count(0, 9).convert(given, None, None) == meant
