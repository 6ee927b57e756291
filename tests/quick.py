"""Runs the tests of what was touched: of the modules that differ from main, within half a minute.

    python -m tests.quick            # make quick
    python -m tests.quick --base HEAD~3

`tests/` mirrors the packages: for a module of `waxlocal/queries/` these are the tests in
`tests/queries/`, first those of the same name. Tests that differ themselves come before all others.
What does not begin within the time is counted, and left to `make check`; so are the tests that kill
processes and those in a browser. Exit status: pytest's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
SECONDS = 25.0
# Nothing in there is quick.
LEFT_OUT = ("browser", "crash", "faults")
# Where the tests of a package or module are that has no folder, or few, of its own.
ELSEWHERE = {
    "delivery": "daemon/test_sync_*.py",
    "escaping": "cli/test_safe.py",
    "known_types": "test_encode.py",
    "shim": "sdk/test_shim.py",
    "wording": "*/**/test_format.py",
}
# What every module rests on.
ALWAYS = ("test_exports.py", "test_records.py")


def changed(base: str) -> list[str]:
    """Return the paths that differ from where this branch left `base`, and those not yet added."""
    left = _git("merge-base", base, "HEAD").strip() or "HEAD"
    named = _git("diff", "--name-only", left) + _git("ls-files", "-o", "--exclude-standard")
    return sorted(set(named.splitlines()))


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout


def nearest(path: str) -> list[Path]:
    """Return the tests of a file, those of its own first."""
    parts = Path(path).parts
    if parts[0] == "tests":
        own = ROOT / path
        if own.name.startswith("test_"):
            return [own] if own.exists() else []
        return [] if own.parent == TESTS else sorted(own.parent.glob("test_*.py"))
    if parts[0] == "daemon":
        return _mirrored(("daemon", *parts[2:]))
    if parts[0] == "waxlocal":
        return _mirrored(parts[1:])
    if path.endswith((".sql", "records.py")):
        return sorted((TESTS / "storage").glob("test_*.py"))
    return sorted(TESTS.rglob("test_docs.py")) if parts[0] == "docs" else []


def _mirrored(parts: tuple[str, ...]) -> list[Path]:
    """Return the tests of a module: those in its package's folder, its own first, and others."""
    *folders, module = parts
    named = ELSEWHERE.get(folders[0] if folders else Path(module).stem, "")
    elsewhere = sorted(TESTS.glob(named)) if named else []
    return [*_in_its_folder(folders, module), *elsewhere]


def _in_its_folder(folders: list[str], module: str) -> list[Path]:
    if not folders:
        return sorted(TESTS.glob(f"test_{Path(module).stem}.py"))
    stem = Path(module).stem.rstrip("s")
    for depth in range(len(folders), 0, -1):
        place = TESTS.joinpath(*folders[:depth])
        if place.is_dir():
            return sorted(place.glob("test_*.py"), key=lambda one: _distance(one.stem, stem))
    return []


def _distance(test: str, stem: str) -> tuple[bool, bool, str]:
    return test not in (f"test_{stem}", f"test_{stem}s"), stem not in test, test


def chosen(paths: Iterable[str]) -> list[str]:
    """Return the tests to run, each once, in the order of their nearness."""
    everything = [one for path in paths for one in nearest(path)]
    touched = {str(ROOT / path) for path in paths}
    everything.sort(key=lambda one: str(one) not in touched)
    everything += [TESTS / name for name in ALWAYS]
    quick = (one for one in everything if one.relative_to(TESTS).parts[0] not in LEFT_OUT)
    return list(dict.fromkeys(str(one) for one in quick if one.exists()))


class Budget:
    """Begins no test so many seconds after the first; what it leaves out is counted and said."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self.left_out = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        """Pass over a test for which there is no time."""
        now = time.monotonic()
        if self._until is None:  # collecting them takes long on a busy machine
            self._until = now + self._seconds
        if now < self._until:
            return None
        self.left_out += 1
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was left out."""
        if self.left_out:
            terminalreporter.write_line(
                f"{self.left_out} more tests did not fit into the time: make check runs them"
            )


def main() -> int:
    """Run the tests of what was touched."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="origin/main", help="what to compare with")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    asked = parser.parse_args()
    paths = changed(asked.base)
    files = chosen(paths)
    nearest_one = Path(files[0]).relative_to(ROOT)
    print(
        f"{len(paths)} files differ from {asked.base}: {len(files)} files of tests, "
        f"for {asked.seconds:.0f} s, first {nearest_one}",
        flush=True,
    )
    arguments = ["-q", "-x", "-r", "fE", "-m", "not crash", "-p", "no:xdist", *files]
    return int(pytest.main(arguments, plugins=[Budget(asked.seconds)]))


if __name__ == "__main__":
    sys.exit(main())
