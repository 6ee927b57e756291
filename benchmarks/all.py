"""Runs every benchmark and keeps what they print in benchmarks/results/latest.md.

python -m benchmarks.all [--dir DIR] [--python PATH] [--quick]
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.report import arguments, directory, machine

PROGRAMS = (
    "record",
    "messages",
    "many",
    "processes",
    "original",
    "imports",
    "queries",
    "checkpoints",
    "upgrade",
    "sync",
    "serve",
    "search",
)
WITH_ORIGINAL = ("original", "sync", "serve")
RESULTS = Path(__file__).with_name("results")


def _run(program: str, options: list[str]) -> str:
    """Run one program in a process of its own, show what it prints, and return it."""
    command = [sys.executable, "-m", f"benchmarks.{program}", *options]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        lines.append(f"\n{program} FAILED with exit code {process.returncode}.\n")
    return "".join(lines)


def _head(quick: bool) -> str:
    today = datetime.now(timezone.utc).date()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    warning = "\nA quick run, a tenth of the work: not to be quoted.\n" if quick else ""
    return f"# Figures of {today}\n{warning}\n{machine()}; load at the start {load}.\n"


def main() -> None:
    """Run all, write the results."""
    parser = arguments(__doc__)
    parser.add_argument("--python", default=sys.executable, help="a Python with waxell-observe")
    options = parser.parse_args()
    parts = [_head(options.quick)]
    print(parts[0])
    with directory(options.dir) as place:
        # The file of a million runs is made once, for the two programs that need it; one that is
        # to outlive this run lies in the directory that was named.
        shared = ["--dir", str(options.dir or place), *(["--quick"] if options.quick else [])]
        for program in PROGRAMS:
            python = ["--python", options.python] if program in WITH_ORIGINAL else []
            parts.append(_run(program, [*shared, *python]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
