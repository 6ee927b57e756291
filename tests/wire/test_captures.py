"""What is made of a file against what the original SDK sent for the same program.

The captures in `data/captures` are requests of waxell-observe 0.1.10. Each program runs again with
waxlocal; from its file the bodies of all stages are made and compared, field by field. How the two
are brought into one form first: see `wire_bodies`.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tests.tools.wire_programs_more  # noqa: F401 (adds its programs)
import waxlocal
from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_programs import ROOT, run_python
from tests.tools.wire_bodies import (
    CAPTURES,
    captured,
    differences,
    made,
)
from tests.tools.wire_programs import OPEN_AT_EXIT, OPEN_WHEN_KILLED, PROGRAMS
from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.prices.table import set_price
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings
from waxlocal.storage.connection import writer

NAMES = sorted(capture.stem for capture in CAPTURES.glob("*.jsonl"))


class Difference(NamedTuple):
    """A place at which the bodies may differ, and why."""

    capture: str
    path: str
    why: str


# Patterns that must match the whole of the capture's name and of the place:
# `number of the run.stage.field`. Each must be needed somewhere.
ALLOWED = (
    Difference(
        r".*",
        r"\d+\.(llm-calls|steps|spans|scores|events|episodic|semantic)\.\d+\.waxlocal(\..*)?|"
        r"\d+\.complete\.waxlocal\..*",
        "what the API has no place for: where a record lies in its run, exact times, ...",
    ),
    Difference(
        r".*",
        r"\d+\.start\.trace_id",
        "the original leaves the field empty; the file has a trace id for each chain of runs",
    ),
    Difference(
        r"s14_.*",
        r"\d+\.complete\.(trace_id|root_span_id)",
        "ids of OpenTelemetry spans, which waxlocal does not make; the start has its trace id",
    ),
    Difference(
        r"s01_.*",
        r"\d+\.start\.metadata(\.turn_number)?",
        "set_metadata reaches no JSON body of the original; the file knows it when the run starts "
        "over the wire",
    ),
    Difference(
        r"s13_.*",
        r"0\.start\.interaction_mode",
        "the file has a mode for every run, whoever made it",
    ),
    Difference(
        r"s13_.*",
        r"0\.llm-calls\.0\.(cost|task|prompt_preview|response_preview|status|error_(type|message))",
        "the low-level client sends what it is given; a row has all columns",
    ),
    Difference(
        r"s13_.*",
        r"0\.steps\.0\.position",
        "the program's own number of a step is not kept; the file counts calls and steps together",
    ),
    Difference(
        r"s13_.*",
        r"0\.(spans\..*|complete\.conversation_state\.tools_used\.0)",
        "the file does not tell a run of the low-level client from one of a context, so it gets "
        "the spans and the state that a context sends",
    ),
    Difference(
        r"s20_.*",
        r"0\.complete\.error",
        "at exit waxlocal says `(atexit)`: it has no handler of SIGTERM",
    ),
    Difference(
        r"s21_.*",
        r"0\.complete\.error",
        "waxlocal does not handle SIGTERM: the end is written down by whoever finds the run open "
        "and its process gone",
    ),
    Difference(
        r"x02_.*|x06_.*",
        r"(3\.spans\.5|0\.spans\.(18|19))\.parent_position",
        "of steps the file does not keep which span they were inside of",
    ),
)


def is_allowed(allowed: Difference, name: str, place: str) -> bool:
    """Return whether a difference is one of these."""
    return bool(re.fullmatch(allowed.capture, name) and re.fullmatch(allowed.path, place))


def found(name: str, folder: Path) -> dict[str, tuple[Any, Any]]:
    """Run the program of a capture; return all that differs."""
    path = folder / "waxlocal.db"
    if name == "s20_atexit":
        leave_open(path)
    elif name == "s21_sigterm":
        kill(path)
    else:
        run(name, path)
    return differences(made(path), captured(CAPTURES / f"{name}.jsonl"))


def run(name: str, path: Path) -> None:
    """Run a program with waxlocal, at the prices that the original knew."""
    recorder = Recorder(Settings(db=path))
    before = use_recorder(recorder)
    PROGRAMS[name](waxlocal)
    use_recorder(before)
    recorder.close()
    set_price(path, "gpt-4o", input_per_mtok=2.5, output_per_mtok=10.0)
    set_price(path, "gpt-4o-mini", input_per_mtok=0.15, output_per_mtok=0.6)


def leave_open(path: Path) -> None:
    """Record a run that its process never ends."""
    script = path.with_name("program.py")
    script.write_text(OPEN_AT_EXIT)
    run_python(script, db=path)


def kill(path: Path) -> None:
    """Record a run, kill its process with SIGTERM, and let it be found."""
    script = path.with_name("program.py")
    script.write_text(OPEN_WHEN_KILLED)
    with subprocess.Popen(
        [sys.executable, script],
        env={"PYTHONPATH": str(ROOT), "WAXLOCAL_DB": str(path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "recorded\n"
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)
    with writer(path) as connection:
        connection.execute("INSERT INTO targets (target_id, url) VALUES (1, 'http://x')")
        connection.execute(
            "INSERT INTO deliveries (run_id, target_id, state) SELECT run_id, 1, 'open' FROM runs"
        )
    assert interrupt_gone(path) == 1


@pytest.mark.parametrize("name", NAMES)
def test_bodies_are_those_of_the_original(name: str, tmp_path: Path) -> None:
    """For the same program the same bodies leave, but for what the table above lists."""
    assert {
        place: both
        for place, both in found(name, tmp_path).items()
        if not any(is_allowed(allowed, name, place) for allowed in ALLOWED)
    } == {}


def test_each_allowed_difference_is_needed(tmp_path: Path) -> None:
    """The table lists nothing that does not differ any more."""
    needed: set[Difference] = set()
    for name in NAMES:
        if any(re.fullmatch(allowed.capture, name) for allowed in ALLOWED[2:]):
            folder = tmp_path / name
            folder.mkdir()
            for place in found(name, folder):
                needed |= {allowed for allowed in ALLOWED if is_allowed(allowed, name, place)}
    assert set(ALLOWED) - needed == set()


def test_every_capture_is_compared() -> None:
    """A capture without a program would prove nothing, and neither would the reverse."""
    assert {*PROGRAMS, "s20_atexit", "s21_sigterm"} == set(NAMES)
