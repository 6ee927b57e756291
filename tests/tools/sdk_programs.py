"""Runs programs of their own, with a stand-in for the `openai` package on their path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import waxlocal
from tests.tools.patience import PATIENCE_S

__all__ = ["ROOT", "SHIM", "add_openai", "program_environment", "run_python"]

ROOT = Path(waxlocal.__file__).parents[1]
SHIM = Path(waxlocal.__file__).with_name("shim") / "path"

OPENAI = """
class _Named:
    def __init__(self, **fields):
        vars(self).update(fields)


class _Completions:
    def create(self, *, model, messages):
        asked = messages[-1]["content"]
        usage = _Named(prompt_tokens=100 * len(messages), completion_tokens=50)
        answer = _Named(message=_Named(content=f"About: {asked}"))
        return _Named(choices=[answer], usage=usage)


class OpenAI:
    def __init__(self, **settings):
        self.chat = _Named(completions=_Completions())
"""


def add_openai(directory: Path) -> None:
    """Write a package `openai` whose model answers at once."""
    package = directory / "openai"
    package.mkdir()
    (package / "__init__.py").write_text(OPENAI)


def program_environment(path: Sequence[Path] = ()) -> dict[str, str]:
    """Return an environment without settings of ours, with these directories first on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAX")}
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}


def run_python(*args: object, db: Path, path: tuple[Path, ...] = ()) -> str:
    """Run Python with these directories first on its path; return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        env={**program_environment(path), "WAXLOCAL_DB": str(db)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
