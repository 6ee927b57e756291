"""`waxlocal run`: run an unchanged program, and record it and its model calls locally."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

import waxlocal
from waxlocal.capture.libraries import LIBRARIES
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.filled import filled
from waxlocal.cli.hints import as_typed
from waxlocal.cli.target_file import target_file_of
from waxlocal.clock import SYSTEM_CLOCK
from waxlocal.errors import NotFound
from waxlocal.process import FIRST_VARIABLE

__all__ = ["run"]

Command = TypeVar("Command", bound=Callable[..., Any])

# Holds a package `waxell_observe` with waxlocal's names, and a `sitecustomize` that captures calls.
# It comes first in the path, so that Python finds them before installed ones.
SHIM = Path(waxlocal.__file__).with_name("shim") / "path"
# The bytes to read of a file, to check whether the system can execute it.
HEAD_BYTES = 1024


class _Untouched(Subcommand):
    """A command whose options end where the program begins: the rest is passed on unchanged."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = self._program_at(args)
        if at == len(args) or args[at] not in ctx.help_option_names:
            program = args[at + 1 :] if args[at : at + 1] == ["--"] else args[at:]
            # Without a program no `--`: an option without its value would take it for the value.
            args = [*args[:at], "--", *program] if program else args[:at]
        return super().parse_args(ctx, args)

    def _program_at(self, args: list[str]) -> int:
        """Return where the program begins: after the options, each with its value."""
        at = 0
        while at < len(args):
            name, joined, _ = args[at].partition("=")
            if name not in self._options:
                break
            at += 1 if joined else 1 + self._options[name]
        return min(at, len(args))

    @cached_property
    def _options(self) -> dict[str, bool]:
        """Each of the options, and whether a value follows it."""
        options = [option for option in self.params if isinstance(option, click.Option)]
        return {name: not option.is_flag for option in options for name in option.opts}


def _filled(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a name without the spaces around it, as the program takes it; none may be empty."""
    return filled(ctx, param, value and value.strip())


def _name(option: str, help_: str) -> Callable[[Command], Command]:
    return click.option(option, callback=_filled, metavar="NAME", help=help_)


@click.command(cls=_Untouched)
@_name("--session", "Session of all runs that name none.")
@_name("--user", "User of all runs that name none.")
@_name("--agent", "Record all in one run of an agent of this name.")
@click.option("--no-instrument", is_flag=True, help="Capture no calls of model libraries.")
@click.option(
    *("-q", "--quiet"),
    is_flag=True,
    help="Do not say at the end how much was recorded, or why nothing was.",
)
@click.argument(
    "program", nargs=-1, required=True, type=click.UNPROCESSED, metavar="PROGRAM [ARGS]..."
)
@click.pass_context
def run(
    ctx: click.Context,
    *,
    program: tuple[str, ...],
    session: str | None,
    user: str | None,
    agent: str | None,
    no_instrument: bool,
    quiet: bool,
) -> None:
    """Run an unchanged program, recording it and its model calls into the local file.

    PROGRAM is a Python file, -m MODULE, or a command such as pytest or gunicorn, by name or path.
    All arguments after it go to the program, and its exit status becomes that of this command. A
    command of another Python records only if waxlocal is installed there; otherwise it prints a
    note and goes on without.
    """
    environment = dict(os.environ)
    outer = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(SHIM), *([outer] if outer else [])])
    modules = () if no_instrument else (library.module for library in LIBRARIES.values())
    environment["WAXLOCAL_CAPTURE"] = ",".join(modules)
    named = {"WAXLOCAL_SESSION": session, "WAXLOCAL_USER": user, "WAXELL_AGENT_NAME": agent}
    environment |= {name: value for name, value in named.items() if value is not None}
    environment.pop(FIRST_VARIABLE, None)  # of a program that runs this command
    target = target_file_of(ctx)
    if target.named:
        environment["WAXLOCAL_DB"] = str(target.path)
    command = _command(program)
    environment["WAXLOCAL_SUMMARY"] = "off" if quiet else _summary()
    sys.stdout.flush()
    try:
        _become(command, environment)
    except OSError as error:
        raise NotFound(
            f"{program[0]} cannot be run: {error.strerror}", hint="waxlocal run --help"
        ) from error


def _summary() -> str:
    """Return what the process that this one becomes is to say at its end: see `capture.summary`.

    Its number tells it from what it starts: an `exec` keeps it.
    """
    typed = as_typed("waxlocal sessions").removesuffix(" sessions")
    return f"{os.getpid()} {SYSTEM_CLOCK.time_ns()} {typed}"


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    if sys.platform == "win32":  # exec would return to the shell at once
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603
    os.execve(command[0], command, environment)  # noqa: S606


def _command(program: tuple[str, ...]) -> list[str]:
    first, *rest = program
    if not first:  # to Path, the current directory
        raise click.UsageError("the name of the program is empty")
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
    if found is None and first.partition("=")[0] == "--db":
        raise click.UsageError("--db stands before run: waxlocal --db FILE run app.py")
    if found is None and first.startswith("-"):
        raise click.NoSuchOption(first.partition("=")[0])
    if found is None:
        raise NotFound(
            f"program {first!r} not found",
            hint="name a file, -m MODULE, or a command on the PATH: waxlocal run app.py",
        )
    return [found, *rest]


def _is_executable(path: Path) -> bool:
    """Return whether the system executes this file, such as the Python of another environment.

    A Python file is run by this Python even if it is executable: its first line may name a Python
    without waxlocal.
    """
    if path.suffix.lower() in (".py", ".pyw") or shutil.which(path.absolute()) is None:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:  # executable but not readable
        return True
    return head.startswith(b"#!") or b"\0" in head
