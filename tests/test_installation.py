"""The wheel, installed without its dependencies, and modules as other systems see them."""

from __future__ import annotations

import importlib.util
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest

from tests.tools.cli import environment
from tests.tools.file_versions import old_file

ROOT = Path(__file__).parents[1]
DEADLINE_S = 240

RECORD = """
import asyncio, os, sys
import waxlocal
from waxlocal import WaxellContext, waxell_agent, tool, score, user_message

@tool(tool_type="function")
def look(word): return word.upper()

@waxell_agent(agent_name="async")
async def answer(word):
    user_message(word)
    score("helpful", 1.0)
    return look(word)

with waxlocal.session("sess_bare"):
    with WaxellContext(agent_name="plain", inputs={"message": "hello"}) as run:
        run.record_llm_call(model="gpt-4o", tokens_in=10, tokens_out=5)
        run.record_step("step", output={"a": 1})
        run.set_result({"output": "done"})
    asyncio.run(answer("bare"))
waxlocal.flush_sync()
extra = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(sorted(extra - {"waxlocal", "__main__", "sitecustomize", "_virtualenv"}))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a fresh environment in which the wheel is all there is."""
    place = tmp_path_factory.mktemp("bare")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place), cwd=ROOT)
    (wheel,) = place.glob("*.whl")
    _run(sys.executable, "-m", "venv", "--without-pip", str(place / "venv"), cwd=place)
    python = place / "venv" / "bin" / "python"
    install = ("-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index")
    _run(sys.executable, *install, str(wheel), cwd=place)
    return python.parent


def _run(*command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    done = _tried(*command, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return done


def _tried(*command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    environ = environment(**env)
    if "PYTHONPATH" not in env:
        del environ["PYTHONPATH"]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_recording_needs_the_standard_library_alone(bare: Path, db_path: Path) -> None:
    """`pip install --no-deps waxlocal` records all the same, and asks for nothing else."""
    python = str(bare / "python")
    done = _run(python, "-c", RECORD, cwd=db_path.parent, WAXLOCAL_DB=str(db_path))
    assert (done.stdout, done.stderr) == ("[]\n", "")
    with closing(sqlite3.connect(db_path)) as file:
        counts = [
            file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("runs", "llm_calls", "steps", "scores")
        ]
        runs = file.execute("SELECT agent_name, status FROM runs ORDER BY 1").fetchall()
    assert counts == [2, 1, 1, 1]
    assert runs == [("async", "success"), ("plain", "success")]


@pytest.mark.parametrize("before", [None, 1, 2])
def test_a_program_records_with_the_package_in_a_zip(
    bare: Path, db_path: Path, before: int | None
) -> None:
    """As some services are deployed; a wheel is one. It upgrades files of older versions, too."""
    (wheel,) = bare.parents[1].glob("*.whl")
    if before is not None:
        old_file(db_path, before)
    program = f"{RECORD}\nassert '.whl' in waxlocal.__file__"
    done = _run(
        sys.executable, "-c", program, cwd=bare, PYTHONPATH=str(wheel), WAXLOCAL_DB=str(db_path)
    )
    assert done.stderr == ""
    with closing(sqlite3.connect(db_path)) as conn:
        found = conn.execute("SELECT count(*) FROM runs WHERE session_id = 'sess_bare'").fetchone()
    assert found == (2,)


def test_without_a_path_it_finds_its_place_on_every_system(bare: Path, tmp_path: Path) -> None:
    """Where the file lives is known without a library, also on macOS and Windows."""
    program = (
        "import sys; from waxlocal.storage.paths import state_directory\n"
        "print(*(state_directory(one) for one in ('linux', 'darwin', 'win32', 'freebsd14')))"
    )
    home = {"HOME": "/h", "XDG_STATE_HOME": "", "LOCALAPPDATA": ""}
    said = _run(str(bare / "python"), "-c", program, cwd=tmp_path, **home).stdout.split(" /")
    assert said == [
        "/h/.local/state/waxlocal",
        "h/Library/Application Support/waxlocal",
        "h/AppData/Local/waxlocal",
        "h/.local/state/waxlocal\n",
    ]


@pytest.mark.parametrize(
    "command", [("waxlocal", "sessions"), ("waxlocal", "--help"), ("waxlocald",)]
)
def test_a_command_without_click_says_what_to_type(
    bare: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Two lines, and no traceback."""
    done = _tried(str(bare / command[0]), *command[1:], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "Error: the command line needs the package click, which is not installed\n"
        f"Try: {bare / 'python'} -m pip install waxlocal\n"
    )


@pytest.mark.parametrize("command", ["serve", "sessions", "sql"])
def test_a_command_without_its_library_names_it(
    bare: Path, tmp_path: Path, db_path: Path, command: str
) -> None:
    """With click alone, `path` works, and every other command says what it lacks."""
    (tmp_path / "libraries").mkdir()
    click_here = Path(click.__file__).parent
    (tmp_path / "libraries" / "click").symlink_to(click_here)
    env = {"PYTHONPATH": str(tmp_path / "libraries"), "WAXLOCAL_DB": str(db_path)}
    assert _run(str(bare / "waxlocal"), "path", cwd=tmp_path, **env).stdout == f"{db_path}\n"
    _run(str(bare / "python"), "-c", RECORD, cwd=tmp_path, **env)
    arguments = ("SELECT 1",) if command == "sql" else ()
    done = _tried(str(bare / "waxlocal"), command, *arguments, cwd=tmp_path, **env)
    assert done.returncode == 2, done.stderr
    error, hint = done.stderr.splitlines()
    named = re.fullmatch(
        r"Error: this command needs the package (\w+), which is not installed", error
    )
    assert named is not None
    assert importlib.util.find_spec(named[1]) is not None  # one of those that the wheel asks for
    assert hint == f"Try: {bare / 'python'} -m pip install waxlocal"


# Modules that Windows does not have, and names that it lacks in those it has.
ELSEWHERE = """
import importlib, os, pkgutil, signal, sys, types

def modules():
    import waxlocal, waxlocal_daemon
    for package in (waxlocal, waxlocal_daemon):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name != "waxlocal.__main__":
                yield found.name

# Everything once as here, so that the libraries are loaded: they look at the system, too.
for name in modules():
    importlib.import_module(name)
for name in list(sys.modules):
    if name.partition(".")[0] in ("waxlocal", "waxlocal_daemon"):
        del sys.modules[name]
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog", "posix",
             "watchfiles", "httptools", "uvloop"):
    sys.modules[name] = None
for name in ("register_at_fork", "fork", "getuid", "geteuid", "nice", "pread", "pwrite", "fchmod",
             "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "uname", "setsid", "killpg", "chown"):
    delattr(os, name)
for name in ("SIGHUP", "SIGPIPE", "SIGUSR1", "pthread_sigmask", "pthread_kill", "sigwait",
             "sigpending"):
    delattr(signal, name)
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.LK_UNLCK = 1, 0
locked = set()
def locking(descriptor, mode, length):
    place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
    if mode == msvcrt.LK_UNLCK:
        locked.discard(place)
    elif place in locked:
        raise PermissionError(13, "Permission denied")
    else:
        locked.add(place)
msvcrt.locking = locking
sys.modules["msvcrt"] = msvcrt
sys.platform = "win32"
for name in modules():
    importlib.import_module(name)
"""

WORK = """
import io, threading
from pathlib import Path
import waxlocal
from waxlocal.errors import UploaderRunning
from waxlocal_daemon.lock import exclusive, holder
from waxlocal_daemon.log import Log
from waxlocal_daemon.signals import Signals
from waxlocal_daemon.watch import Watch

db = Path(os.environ["WAXLOCAL_DB"])
with waxlocal.WaxellContext(agent_name="there") as run:
    run.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1)
with exclusive(db, command="test"):
    print(holder(db).command)
    try:
        with exclusive(db):
            print("twice")
    except UploaderRunning as error:
        print("refused")
print(holder(db))
came = threading.Event()
with Signals(lambda number: came.set()):
    signal.raise_signal(signal.SIGTERM)
    print(came.wait(60))
said = io.StringIO()
with Watch(db, threading.Event(), log=Log(said), poll=0.05, rest=0.0) as watch:
    print(watch.wait(0.2))
    with waxlocal.WaxellContext(agent_name="later"):
        pass
    print(watch.wait(60))
print("watch_unavailable" in said.getvalue())
from waxlocal.web.engine import best_engine
print(*best_engine())
"""


def test_no_module_needs_what_windows_lacks(db_path: Path) -> None:
    """Every module imports there; recording, the lock, signals and the poll work."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "daemon")))
    env = {"PYTHONPATH": path, "WAXLOCAL_DB": str(db_path), "LOCALAPPDATA": str(db_path.parent)}
    done = _run(sys.executable, "-c", ELSEWHERE + WORK, cwd=db_path.parent, **env)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "test",
        "refused",
        "None",
        "True",
        "False",
        "True",
        "True",
        "h11 asyncio",
    ]
