"""What `import waxlocal` costs over a bare Python, and what it must not load.

python -m benchmarks.imports [--quick]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from tempfile import TemporaryDirectory
from types import MappingProxyType

from benchmarks.measure import Samples, timed
from benchmarks.report import arguments, figure, note, table, title

__all__ = ["loaded", "starts"]

ROUNDS = 20
PROGRAMS = {
    "bare Python": "pass",
    "floor: sqlite3, json, threading": "import sqlite3, json, threading",
    "import waxlocal": "import waxlocal",
}
HEAVY = (
    "asyncio",
    "click",
    "genai_prices",
    "httpx",
    "jinja2",
    "platformdirs",
    "pydantic",
    "rich",
    "sqlite_utils",
    "starlette",
    "uvicorn",
    "watchfiles",
)


def _start(program: str, environ: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, env=environ)


def starts(
    programs: Mapping[str, str],
    rounds: int,
    environs: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> dict[str, Samples]:
    """Time how long Python takes to run each of these programs, from its start to its end.

    `environs`: the variables that a program of this name gets beside those of this process.
    """
    with TemporaryDirectory() as cache:
        # With bytecode, as pip leaves it; a shell may have told Python to write none.
        written = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": cache}
        calls = [
            (name, partial(_start, code, {**os.environ, **environs.get(name, {}), **written}))
            for name, code in programs.items()
        ]
        for _, call in calls:
            call()
        return timed(calls, rounds)


def loaded(program: str, environ: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the modules that are loaded when a program has run, with more variables if given."""
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    given = {**os.environ, **environ}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=given)
    return done.stdout.split()


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    rounds = ROUNDS // (5 if options.quick else 1)
    title(f"Import, whole processes, {rounds} rounds alternated")
    taken = starts(PROGRAMS, rounds)
    bare = taken["bare Python"].ms(0.5)
    rows: list[list[str | float]] = [
        [name, samples.ms(0.5), samples.ms(0.0), samples.ms(0.5) - bare]
        for name, samples in taken.items()
    ]
    table(("program", "median ms", "fastest ms", "over bare ms"), rows)
    modules = loaded("import waxlocal")
    heavy = [name for name in HEAVY if name in modules]
    note(f"`import waxlocal` leaves {len(modules)} modules loaded.")
    figure("import over bare Python", taken["import waxlocal"].ms(0.5) - bare, 40, " ms")
    figure(f"heavy modules loaded ({', '.join(heavy) or 'none'})", len(heavy), 0, "")


if __name__ == "__main__":
    main()
