"""The command as a process: pipes, colours, signals, and the programs that it starts."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools.builders import run_id
from tests.tools.cli import (
    PYTHON,
    answer,
    environment,
    recorded,
    spawn,
)
from tests.tools.patience import PATIENCE_S, killed_if_late, wait_until
from tests.tools.terminal import on_terminal
from tests.tools.zones import TOKYO

ESCAPE = "\x1b["


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A file with one session of a hostile message."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        run = file.run("sess_aa", user="alice", inputs={"message": "a \x1b[2J b"})
        file.llm(run, cost=0.001, at=0.5)
    return path


def test_a_pipe_gets_plain_text(db: Path) -> None:
    """No colour, nothing cut, whatever the width is said to be."""
    said = spawn("--db", db, "sessions", COLUMNS="40")
    assert said.returncode == 0, said.stderr
    assert ESCAPE not in said.stdout
    assert r"a \x1b[2J b" in said.stdout


def test_colour_can_be_forced_and_forbidden(db: Path) -> None:
    """FORCE_COLOR colours a pipe; NO_COLOR wins over it."""
    assert ESCAPE in spawn("--db", db, "sessions", FORCE_COLOR="1").stdout
    assert ESCAPE not in spawn("--db", db, "sessions", FORCE_COLOR="1", NO_COLOR="1").stdout


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colour_unless_forbidden(db: Path, no_color: str, coloured: bool) -> None:
    """On a terminal tables have colour; NO_COLOR takes every escape away."""
    status, said = on_terminal(
        "--db", db, "sessions", TERM="xterm-256color", COLUMNS="80", NO_COLOR=no_color
    )
    assert status == 0
    assert "sess_aa" in said
    assert (ESCAPE in said) == coloured


def test_a_closed_pipe_ends_the_command_silently(db: Path) -> None:
    """`waxlocal ... | head` leaves no traceback."""
    with recorded(db) as file:
        for number in range(2, 400):
            file.insert("model_prices", model=f"m{number}" + "x" * 500, provider="",
                        source="unknown", updated_at="2099-01-31T09:30:00.000000Z")  # fmt: skip
    process = subprocess.Popen(
        [*PYTHON, "--db", str(db), "prices", "list"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(PATIENCE_S) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device without space")
def test_output_that_finds_no_space_is_told(db: Path) -> None:
    """With what to do, once, and not by Python at its exit."""
    with open("/dev/full", "wb") as full:
        said = subprocess.run(
            [*PYTHON, "--db", str(db), "sessions"],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert said.returncode == 6
    assert said.stderr == (
        "Error: the output cannot be written: No space left on device\n"
        "Try: free some space there, or send the output to another place\n"
    )


def test_a_command_without_stdout_does_its_work(db: Path) -> None:
    """As a job may start it, with all streams closed."""
    command = 'exec "$@" >&-'
    said = subprocess.run(
        ["sh", "-c", command, "sh", *PYTHON, "--db", str(db), "sessions"],
        env=environment(),
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, b"")


def test_a_terminal_of_another_alphabet_gets_something(db: Path) -> None:
    """Where the encoding has no such character, it is spelled out."""
    said = spawn("--db", db, "session", "sess_aa", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert said.returncode == 0, said.stderr
    assert said.stdout.isascii()


@contextmanager
def _tail(*args: object, db: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*PYTHON, "--db", str(db), "tail", *map(str, args)],
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    # Not select(): a line that came together with the one before is in Python's buffer already.
    with killed_if_late(process):
        line = process.stdout.readline()
    assert line, "tail said nothing"
    return line


def test_tail_shows_the_last_runs_then_each_as_it_ends(db: Path) -> None:
    """A run that is going on is told when it has ended, not before."""
    with recorded(db) as file, _tail("--json", "-n", 1, db=db) as process:
        assert json.loads(_line(process))["message"] == "a \x1b[2J b"
        file._runs = 1
        going_on = file.run("sess_ab", seconds=None, process=file.process(alive=True))
        file.run("sess_ac", status="error", error="no")
        told = json.loads(_line(process))
        assert (told["session_id"], told["status"]) == ("sess_ac", "error")
        file.conn.execute(
            "UPDATE runs SET status = 'success', duration = 2.5, completed_at = ? WHERE run_id = ?",
            ("2026-01-31T09:40:00.000000Z", going_on),
        )
        told = json.loads(_line(process))
        assert (told["session_id"], told["duration"]) == ("sess_ab", 2.5)


def test_tail_is_harmless_text_without_json(db: Path) -> None:
    """Figures on one line, the first words on the next, escapes spelled out."""
    with _tail(db=db) as process:
        assert re.search(r"sess_aa  success  1\.0 s · 150 tokens · \$0\.0010", _line(process))
        assert _line(process) == f"{' ' * 10}run {run_id(1)} · chatbot · a \\x1b[2J b\n"


def test_tail_shows_on_a_terminal_as_much_of_an_id_as_show_needs(db: Path) -> None:
    """What is typed from there shows that run, and no other."""
    with _tail("-n", 1, db=db, FORCE_COLOR="1", NO_COLOR="1", COLUMNS="80") as process:
        _line(process)
        found = re.search(r"run (\S+) · chatbot", _line(process))
    assert found
    shown = spawn("--db", db, "show", found[1], "--json")
    assert json.loads(shown.stdout)["run_id"] == run_id(1)


def test_tail_shows_a_date_where_the_day_changes(tmp_path: Path) -> None:
    """The first run of each day has its local date; the runs of today need none."""
    path, screen = tmp_path / "days.db", {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "80"}
    with recorded(path) as file:
        for seconds in (0, 3600, 86_400):  # from 2026-01-31 at 18:30 in Tokyo
            file.run("sess_aa", at=seconds)
    with _tail("-n", 3, db=path, TZ=TOKYO, **screen) as process:
        shown = [_line(process).partition("  ")[0] for _ in range(6)][::2]
    assert shown == ["2026-01-31 18:30:01+09:00", "19:30:01", "2026-02-01 18:30:01+09:00"]


def test_tail_of_a_session_leaves_out_the_others(db: Path) -> None:
    """By its id or the beginning of that, before it has any run, and over another file."""
    with recorded(db) as file, _tail("--json", "--session", "sess_b", db=db) as process:
        file._runs = 1
        file.run("sess_ac")
        file.run(None)
        file.run("sess_bc")
        assert json.loads(_line(process))["session_id"] == "sess_bc"
        other = db.with_name("other.db")
        with recorded(other) as another:
            another.run("sess_ad")
            another.run("sess_bd")
        for end in ("", "-wal", "-shm"):
            db.with_name(db.name + end).unlink(missing_ok=True)
        other.rename(db)
        assert json.loads(_line(process))["session_id"] == "sess_bd"


def test_tail_waits_for_a_file_and_ends_well_with_ctrl_c(tmp_path: Path) -> None:
    """A file that comes later is followed from its first run; Ctrl-C is not a failure."""
    path = tmp_path / "later.db"
    with _tail("--json", db=path) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"Waiting for {path}\n"
        with recorded(path) as file:
            file.run("sess_first")
        assert json.loads(_line(process))["session_id"] == "sess_first"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""


COUNTED = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
MANY = f"{COUNTED} SELECT x FROM c LIMIT 300000"
ENDLESS = f"{COUNTED} SELECT count(*) FROM c"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_fits_in_part_is_an_error(tmp_path: Path, db: Path, unbuffered: str) -> None:
    """As one that does not fit at all; a container sets PYTHONUNBUFFERED."""
    out = tmp_path / "out"
    command = f"ulimit -f 4; exec {shlex.join([*PYTHON, 'schema'])} > {shlex.quote(str(out))}"
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment(PYTHONUNBUFFERED=unbuffered),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert done.stderr.startswith("Error: the output cannot be written: File too large")
    assert out.stat().st_size == 4096


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_is_closed_half_way_ends_the_command(db: Path, unbuffered: str) -> None:
    """With the status that a shell gives; not 0, for not all was read."""
    command = shlex.join([*PYTHON, "--db", str(db), "sql", MANY])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        env=environment(PYTHONUNBUFFERED=unbuffered),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("form", ["--jsonl", "--json", "--csv"])
def test_rows_that_nobody_reads_on_end_the_command(tmp_path: Path, form: str) -> None:
    """The pages that were not read yet, too, without a traceback."""
    path = tmp_path / "many.db"
    with recorded(path) as file:
        for number in range(1500):  # more than a page, and than a pipe holds
            file.run(None, at=number, inputs={"message": "m" * 200})
    command = shlex.join([*PYTHON, "--db", str(path), "runs", form])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -c 100; exit ${{PIPESTATUS[0]}}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("named", [True, False], ids=["a-file", "no-file"])
def test_ctrl_c_ends_a_query(db: Path, tmp_path: Path, named: bool) -> None:
    """At once, and as a shell expects it; SQLite alone would go on until it has the answer."""
    command = [*PYTHON, *(("--db", str(db)) if named else ()), "sql", ENDLESS]
    env = environment(HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path / "state"))
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        # All else of the command takes a small part of that.
        wait_until(lambda: _processor_s(process.pid) > 2)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read().strip() == b""
        assert process.wait(PATIENCE_S) == 130


def _processor_s(pid: int) -> float:
    """Return how long a process has run, in user mode: the 14th field of its `stat`."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def test_tail_goes_on_with_a_file_that_was_replaced(db: Path) -> None:
    """A new file in place of the old one is followed from its beginning."""
    with _tail("--json", "-n", 1, db=db) as process:
        assert json.loads(_line(process))["message"] == "a \x1b[2J b"
        other = db.with_name("other.db")
        with recorded(other) as file:
            file._runs = 5
            file.run("sess_new")
        for suffix in ("-wal", "-shm"):  # first, or they would pass for those of the new one
            db.with_name(db.name + suffix).unlink(missing_ok=True)
        other.replace(db)
        assert json.loads(_line(process))["session_id"] == "sess_new"


PROGRAM = """
import sys
from waxell_observe import WaxellContext
from waxell_observe.context import generate_session_id
with WaxellContext(agent_name="unchanged", session_id="sess_run", inputs={"message": sys.argv[1]}):
    pass
print(sys.argv[1:], __name__)
sys.exit(7)
"""


def test_run_starts_a_program_unchanged(tmp_path: Path) -> None:
    """Its imports resolve here, its arguments are its own, and so is its exit status."""
    db, program = tmp_path / "run.db", tmp_path / "program.py"
    program.write_text(PROGRAM)
    said = spawn("--db", db, "run", program, "--json", "-h", "--", "--db", "x")
    assert said.returncode == 7, said.stderr
    assert said.stdout == "['--json', '-h', '--', '--db', 'x'] __main__\n"
    assert answer("session", "sess_run", db=db)["title"] == "--json"


def test_run_starts_a_module_and_a_command(tmp_path: Path) -> None:
    """`-m MODULE` and commands on the path see the same imports."""
    db = tmp_path / "run.db"
    (tmp_path / "program.py").write_text(PROGRAM)
    env = environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}")
    said = spawn("--db", db, "run", "-m", "program", "--help", **env)
    assert (said.returncode, said.stdout) == (7, "['--help'] __main__\n")
    command = Path(sys.executable).name
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    said = spawn("run", command, tmp_path / "program.py", "again", WAXLOCAL_DB=str(db), PATH=path)
    assert (said.returncode, said.stdout) == (7, "['again'] __main__\n")
    assert answer("session", "sess_run", db=db)["run_count"] == 2


def test_help_and_path_load_nothing_heavy() -> None:
    """`--help`, `path` and completion answer at once: rich and the price list stay unread.

    So do the queries, by commands that ask none.
    """
    script = (
        "import sys\n"
        "from waxlocal.cli import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'genai_prices', 'sqlite_utils', 'httpx', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), 'waxlocal.queries' in sys.modules)\n"
    )
    for args in (["--help"], ["path"], ["sessions", "--help"]):
        said = subprocess.run(
            [sys.executable, "-c", script, *args],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        assert said.stdout.splitlines()[-1] == f"[] {args[0] == 'sessions'}", args
