"""One line for each thing that the daemon has to say."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import pytest

from tests.tools.builders import START_NS
from waxlocal.settings.secret import Secret
from waxlocal_daemon.log import Log

AT = "ts=2026-01-31T09:30:00.000000Z"


@dataclass
class Steps:
    """A clock that is moved by hand, in seconds."""

    seconds: float = 0.0

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return START_NS

    def monotonic_ns(self) -> int:
        """Return the nanoseconds that it was moved by."""
        return int(self.seconds * 1e9)


def written(**fields: object) -> str:
    """Return the line of an event."""
    stream = io.StringIO()
    Log(stream, clock=Steps()).event("told", **fields)
    return stream.getvalue()


def test_a_line_is_logfmt() -> None:
    """Time, level, name, then the fields; None is left out, blanks are quoted."""
    line = written(file="/a/b.db", runs=3, share=0.12345, on=True, why="two words", nothing=None)
    fields = 'file=/a/b.db runs=3 share=0.123 on=true why="two words"'
    assert line == f"{AT} level=info event=told {fields}\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "no"', r'"say \"no\""'),
        ("one\nlevel=error event=forged", r'"one\nlevel=error event=forged"'),
        ("\x1b[2J\x9b\u202e", r'"\u001b[2J\u009b\u202e"'),
        ("back\\slash", r'"back\\slash"'),
        ("grün", '"grün"'),
    ],
)
def test_a_value_cannot_leave_its_place(value: str, shown: str) -> None:
    """Quotes, line ends, escape sequences and marks of direction are escaped."""
    assert written(x=value) == f"{AT} level=info event=told x={shown}\n"


def test_a_long_value_is_cut() -> None:
    """What a server says may be a page."""
    assert len(written(reason="x" * 100_000)) < 600


def test_json_has_one_object_on_a_line() -> None:
    """The same fields, for programs."""
    stream = io.StringIO()
    Log(stream, form="json", clock=Steps()).event("told", "warning", why="a\nb", runs=2)
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue()) == {
        "ts": "2026-01-31T09:30:00.000000Z",
        "level": "warning",
        "event": "told",
        "why": "a\nb",
        "runs": 2,
    }


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("error", 1), ("oops", 3)])
def test_the_threshold_comes_from_the_environment(
    level: str, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """WAXLOCAL_LOG_LEVEL; a word that is none counts as info."""
    log = Log.from_environment(environ={"WAXLOCAL_LOG_LEVEL": level})
    for one in ("debug", "info", "warning", "error"):
        log.event("told", one)
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_state_that_lasts_is_told_every_30_seconds() -> None:
    """With how often it was met; another key, or a state that was over, is told at once."""
    stream, clock = io.StringIO(), Steps()
    log = Log(stream, clock=clock)
    assert log.once("down", key="a")
    for clock.seconds in (1, 10, 29):
        assert not log.once("down", key="a")
    assert log.once("down", key="b")
    clock.seconds = 30
    assert log.once("down", key="a")
    assert "repeated=3" in stream.getvalue().splitlines()[-1]
    assert log.over("down", key="a")
    assert not log.over("down", key="a")
    assert log.once("down", key="a")
    assert "repeated" not in stream.getvalue().splitlines()[-1]


def test_a_key_does_not_print_itself() -> None:
    """Handed over by mistake, it is shown as set."""
    assert "canary" not in written(key=Secret("canary"), settings={"key": Secret("canary")})


def test_a_closed_stream_stops_nobody() -> None:
    """Whoever read the lines has gone; the daemon has not."""
    stream = io.StringIO()
    log = Log(stream)
    stream.close()
    log.event("told")
    assert stream.closed
