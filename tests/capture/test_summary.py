"""The line at the end of `waxlocal run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture.programs import Start
from tests.tools.cli import invoke
from tests.tools.terminal import on_terminal

RECORDS = "from waxlocal import WaxellContext\nwith WaxellContext('a', session_id='s'): pass\n"
NO_LIBRARY = (
    "waxlocal: nothing was recorded: the program used no model library that is captured. "
    "Try: waxlocal doctor\n"
)


def run_on_terminal(place: Path, db_path: Path, text: str, *before: object) -> tuple[int, str]:
    """Run a program under `waxlocal run`; return its exit status and what the terminal shows."""
    program = place / "app.py"
    program.write_text(text)
    return on_terminal(*before, "run", program, WAXLOCAL_DB=str(db_path))


def test_a_terminal_is_told_how_much_was_recorded(tmp_path: Path, db_path: Path) -> None:
    """The runs since the start, those of child processes too, the file, and what to type."""
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {RECORDS!r}])"
    assert run_on_terminal(tmp_path, db_path, RECORDS)[0] == 0
    status, said = run_on_terminal(tmp_path, db_path, RECORDS * 2 + child)
    assert status == 0
    assert said == f"waxlocal: 3 runs into {db_path}; see: waxlocal sessions\n"


def test_runs_without_a_session_are_in_another_list(tmp_path: Path, db_path: Path) -> None:
    """What is to be typed shows what was recorded, in the file that was named."""
    other = tmp_path / "other.db"
    text = "from waxlocal import WaxellContext\nwith WaxellContext('a'): pass"
    status, said = run_on_terminal(tmp_path, db_path, text, "--db", other)
    assert status == 0
    assert said == f"waxlocal: 1 run into {other}; see: waxlocal --db {other} runs\n"


def test_a_log_is_not_told_how_much_was_recorded(start: Start) -> None:
    """Where stderr is no terminal, a program that records prints what it prints without us."""
    done = start(RECORDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_recorded_is_told_everywhere(start: Start) -> None:
    """Also in a log, and the exit status is the program's."""
    done = start("print('hi')\nraise SystemExit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "hi\n", NO_LIBRARY)


def test_nothing_recorded_is_told_of_a_file_that_was_closed(start: Start, db_path: Path) -> None:
    """To look into it makes its log anew, and that is no record of a child."""
    start(RECORDS)
    assert not db_path.with_name(f"{db_path.name}-wal").exists()
    assert start("").stderr == NO_LIBRARY


def test_a_library_that_was_not_called_is_named(start: Start) -> None:
    """The program imports it, so that it was captured: no call was made."""
    said = start("import openai").stderr
    assert said == "waxlocal: nothing was recorded: no call of openai was made\n"


@pytest.mark.parametrize("program", [("-m", "no_such_module"), (".",)])
def test_of_a_program_that_python_does_not_find_nothing_is_said(
    tmp_path: Path, db_path: Path, program: tuple[str, ...]
) -> None:
    """Python has said what is wrong; no library has to do with it."""
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "waxlocal", "--db", db_path, "run", *program],
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "waxlocal:" not in done.stderr
    assert "No module named" in done.stderr or "can't find '__main__'" in done.stderr


def test_without_instruments_the_option_is_the_reason(start: Start) -> None:
    """Nobody looks for a missing package where the command itself left the calls out."""
    assert "--no-instrument captures no calls" in start("", "--no-instrument").stderr


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet_says_nothing(start: Start, option: str) -> None:
    """What the program prints is all there is, also where a package is missing."""
    done = start("print('hi')", option)
    assert (done.stdout, done.stderr) == ("hi\n", "")


def test_a_program_that_fails_has_the_last_word(start: Start) -> None:
    """The last line of stderr is its error, where people look for it."""
    done = start("raise ValueError('deep')")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: deep\n")
    assert "waxlocal: " not in done.stderr


def test_what_a_child_records_is_not_nothing(start: Start, db_path: Path) -> None:
    """A file that has changed was recorded into, whoever did it."""
    done = start(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {RECORDS!r}])")
    assert done.stderr == ""
    assert db_path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "import os; os._exit(4)",
        "import os; os.execv('/bin/sh', ['sh', '-c', 'exit 4'])",
        "import os\nif not os.fork(): raise SystemExit(9)\nos.wait(); os._exit(4)",
    ],
)
def test_a_program_that_python_does_not_end_says_nothing(start: Start, text: str) -> None:
    """Nor does a child that it forks: the status is that of the program."""
    done = start(text)
    assert (done.returncode, done.stderr) == (4, "")


def test_a_signal_ends_it_as_without_us(start: Start) -> None:
    """The status says the signal."""
    done = start("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


def test_a_program_that_becomes_another_says_it_once(start: Start) -> None:
    """An `exec` of another Python program keeps the number of the process."""
    again = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])"
    done = start(again)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", NO_LIBRARY)


def test_a_closed_stderr_changes_nothing(start: Start) -> None:
    """Where there is nobody to tell, the program ends as it would."""
    done = start("import os; os.close(2)")
    assert done.returncode == 0


def test_a_file_that_cannot_be_used_is_the_reason(start: Start, db_path: Path) -> None:
    """Nothing would have been recorded; the program and its exit status stay as they are."""
    db_path.mkdir()
    done = start("print('hi')")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert done.stderr == (
        f"waxlocal: nothing was recorded: {db_path} is a directory. "
        "Try: choose another file with --db FILE or WAXLOCAL_DB\n"
    )


def test_what_a_child_records_beside_a_file_is_not_nothing(start: Start, db_path: Path) -> None:
    """A file that is no database is left alone, and a child records beside it."""
    db_path.write_text("the notes of somebody " * 20)
    done = start(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {RECORDS!r}])")
    assert db_path.with_name(f"{db_path.name}.side-3").exists()
    assert "nothing was recorded" not in done.stderr


def test_what_was_recorded_in_vain_is_told_once(tmp_path: Path) -> None:
    """A terminal gets the report of what was lost, and no second line."""
    status, said = run_on_terminal(tmp_path, Path(os.devnull), RECORDS)
    assert status == 0
    assert said.count("waxlocal:") == 1
    assert "records were lost" in said


def test_the_help_names_the_option() -> None:
    """`waxlocal run --help` says how to switch it off."""
    assert "--quiet" in invoke("run", "--help").stdout
