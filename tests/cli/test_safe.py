"""Recorded text can do nothing to who reads it."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.cli import invoke, recorded
from waxlocal import escaping

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m[bold red]no[/] \u202egnp.exe \r\x00=1+1\u2028end"
DANGEROUS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\u2066", "\u2028"]


@given(st.text())
def test_no_control_leaves_a_line(text: str) -> None:
    """Whatever was recorded becomes one line without control characters."""
    shown = escaping.line(text)
    assert not any(char in shown for char in DANGEROUS)


@given(st.text())
def test_a_block_has_no_control_but_line_feeds(text: str) -> None:
    """A text of several lines keeps its lines and nothing else that steers a terminal."""
    assert not any(char in escaping.block(text) for char in DANGEROUS if char != "\n")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.text(), inner)
)))  # fmt: skip
def test_json_is_the_same_value_and_shows_no_control(value: object) -> None:
    """What a program reads back is what was recorded, and a terminal can show it, too."""
    text = escaping.document(value)
    assert json.loads(text) == value
    assert not any(char in text for char in DANGEROUS if char != "\n")


def test_an_escape_is_shown_and_a_joined_emoji_is_kept() -> None:
    """Only what steers is spelled out; the joiner that makes one family of three people stays."""
    assert escaping.line("a\x1b[31mb\u202ec") == r"a\x1b[31mb\u202ec"
    assert escaping.line("👨\u200d👩\u200d👧") == "👨\u200d👩\u200d👧"


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_spreadsheet_does_not_run_a_cell(start: str) -> None:
    """Text that begins like a formula gets an apostrophe; a number stays a number."""
    assert escaping.cell(f"{start}cmd") == f"'{start}cmd"
    assert escaping.cell(-1.5) == -1.5
    assert escaping.cell(("b", "a")) == "b; a"
    assert escaping.cell(None) is None


@pytest.mark.parametrize(
    ("verb", "form"),
    [
        *product(("sessions", "users", "models", "prices"), ("screen", "terminal", "json", "csv")),
        *product(("stats", "session", "show"), ("screen", "terminal", "json")),
    ],
)
def test_no_verb_lets_a_recorded_escape_through(tmp_path: Path, verb: str, form: str) -> None:
    """A hostile text in every field reaches no output as anything but visible characters."""
    db = tmp_path / "hostile.db"
    with recorded(db) as file:
        process = file.process(alive=False)
        run = file.run(
            HOSTILE.replace("\0", ""),
            agent=HOSTILE,
            user=HOSTILE,
            status="error",
            process=process,
            error=HOSTILE,
            error_type=HOSTILE,
            traceback=HOSTILE,
            inputs={"message": HOSTILE, HOSTILE: HOSTILE},
            result={"response": HOSTILE},
            tags={HOSTILE: HOSTILE},
            metadata={HOSTILE: [HOSTILE]},
        )
        file.llm(run, model=HOSTILE, provider=HOSTILE, status=HOSTILE, error_message=HOSTILE,
                 prompt_preview=HOSTILE, response=HOSTILE)  # fmt: skip
        file.span(run, HOSTILE, name=HOSTILE, status=HOSTILE, error=HOSTILE, input=[HOSTILE])
        file.step(run, HOSTILE, kind=HOSTILE, output={HOSTILE: HOSTILE})
        file.score(run, HOSTILE, string_value=HOSTILE, data_type="categorical", comment=HOSTILE)
        file.event(run, HOSTILE, data={HOSTILE: HOSTILE})
    args = {
        "session": ["session", HOSTILE[:10]],
        "show": ["show", run],
        "prices": ["prices", "list"],
    }
    switch = [f"--{form}"] if form in ("json", "csv") else []
    env = {"FORCE_COLOR": "1", "COLUMNS": "80"} if form == "terminal" else {}
    result = invoke(*args.get(verb, [verb]), *switch, db=db, **env)
    assert result.exit_code == 0, result.stderr
    _check(result.output)


def _check(output: str) -> None:
    # Styles are ours: SGR sequences, and only those, may be there on a terminal.
    text = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert "\x1b]0;owned" not in output
    assert "\x1b[2J" not in output
    assert not any(char in text for char in DANGEROUS if char != "\n")
