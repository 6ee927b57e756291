"""Runs the command in this process or in one of its own, on a file of recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from tests.tools.builders import Builder
from tests.tools.fresh_file import lay_out
from tests.tools.patience import PATIENCE_S
from waxlocal.cli import cli
from waxlocal.cli.verbs import VERBS
from waxlocal.storage.connection import open_writer

__all__ = ["PYTHON", "answer", "commands", "environment", "invoke", "recorded", "spawn"]

PYTHON = (sys.executable, "-m", "waxlocal")
_SETTINGS = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "WAXLOCAL_DB", "WAXLOCAL_DEBUG")


def invoke(*args: object, db: Path | None = None, **env: str) -> Result:
    """Run the command in this process, as if piped."""
    settings = {name: env.get(name) for name in (*_SETTINGS, *env)}
    before = [] if db is None else ["--db", str(db)]
    return CliRunner().invoke(cli, [*before, *map(str, args)], env=settings)


def answer(*args: object, db: Path, status: int = 0) -> Any:
    """Return what a command says with `--json` that ends with this exit status."""
    result = invoke(*args, "--json", db=db)
    assert result.exit_code == status, result.stderr
    return json.loads(result.stdout)


def commands() -> dict[tuple[str, ...], click.Command]:
    """Return each command and subcommand by the words that name it, without the program itself."""
    found: dict[tuple[str, ...], click.Command] = {}
    for name in VERBS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found[name,] = command
        if isinstance(command, click.Group):
            found.update({(name, one): inner for one, inner in command.commands.items()})
    return found


def environment(**more: str) -> dict[str, str]:
    """Return an environment for a process of its own, without settings of ours but those given."""
    kept = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    root = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1", **more}


def spawn(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, its output piped."""
    return subprocess.run(
        [*PYTHON, *map(str, args)],
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextmanager
def recorded(path: Path) -> Iterator[Builder]:
    """Open a file, new or not, to add rows to."""
    lay_out(path)
    # The programs that a test has started write, too: the lock is worth waiting for.
    with closing(open_writer(path, wait=PATIENCE_S)) as connection:
        yield Builder(connection)
