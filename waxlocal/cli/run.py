"""`waxlocal run`: a program that imports `waxell_observe`, unchanged, recording here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click

import waxlocal
from waxlocal.cli.target_file import place_of
from waxlocal.errors import NotFound

__all__ = ["run"]

# Holds a package `waxell_observe` whose names are waxlocal's, and nothing else. In front of the
# path, so that it is found before one that is installed.
SHIM = Path(waxlocal.__file__).with_name("shim") / "path"
# What is read of a file to see whether the system can execute it.
HEAD_BYTES = 1024


class _Untouched(click.Command):
    """A command all of whose arguments, but a help option in the first place, are the program's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in ctx.help_option_names:
            args = ["--", *(args[1:] if args[0] == "--" else args)]
        return super().parse_args(ctx, args)


@click.command(cls=_Untouched)
@click.argument(
    "program", nargs=-1, required=True, type=click.UNPROCESSED, metavar="PROGRAM [ARGS]..."
)
@click.pass_context
def run(ctx: click.Context, *, program: tuple[str, ...]) -> None:
    """Run a program that imports waxell_observe, unchanged, and record it into the local file.

    PROGRAM is a Python file, -m MODULE, or a command such as pytest or gunicorn, by name or path.
    Everything after it is passed on as it is, and its exit status is the one of this command. A
    command of another Python records if waxlocal is installed there; if not, it says so and uses
    the original waxell_observe.
    """
    environment = dict(os.environ)
    outer = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(SHIM), *([outer] if outer else [])])
    place = place_of(ctx)
    if place.named:
        environment["WAXLOCAL_DB"] = str(place.path)
    command = _command(program)
    sys.stdout.flush()
    try:
        _become(command, environment)
    except OSError as error:
        raise NotFound(
            f"{program[0]} cannot be run: {error.strerror}", hint="waxlocal run --help"
        ) from error


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    if sys.platform == "win32":  # there, exec would return to the shell at once
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603
    os.execve(command[0], command, environment)  # noqa: S606


def _command(program: tuple[str, ...]) -> list[str]:
    first, *rest = program
    if first == "-m" and not rest:
        raise click.UsageError("-m needs the name of a module")
    if first.startswith("-m"):
        return [sys.executable, *program]
    path = Path(first)
    if path.is_file():
        by_itself = _is_executable(path)
        return [str(path.absolute()), *rest] if by_itself else [sys.executable, *program]
    found = shutil.which(first)
    if found is None and path.exists():  # a directory with a __main__.py
        return [sys.executable, *program]
    if found is None:
        raise NotFound(
            f"there is no program {first!r}",
            hint="waxlocal run FILE.py, or waxlocal run -m MODULE, or a command on the PATH",
        )
    return [found, *rest]


def _is_executable(path: Path) -> bool:
    """Return whether the system runs this file, as it does a Python of another environment.

    A Python file is ours to run, also when it may be executed: its first line may name a Python
    that has no waxlocal.
    """
    if path.suffix.lower() in (".py", ".pyw") or shutil.which(path.absolute()) is None:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:  # may be executed but not read
        return True
    return head.startswith(b"#!") or b"\0" in head
