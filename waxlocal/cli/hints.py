"""Hints: what to type next, with the file that the user chose; it works as it is printed."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from waxlocal import escaping
from waxlocal.cli.verbs import VERBS
from waxlocal.errors import FileMissing

__all__ = [
    "DB_KEY",
    "SERVER_KEY",
    "WITHOUT_FILE",
    "as_typed",
    "program",
    "say_beyond",
    "say_hint",
    "say_no_file",
    "say_nothing",
]

# The key in `ctx.meta` of what the user gave with `--db`; click shares `meta` between a command and
# its group.
DB_KEY = "waxlocal.db"
# The key in `ctx.meta` that is set once the user was told that there is no file yet.
_NO_FILE_KEY = "waxlocal.no_file"
# Subcommands that use no file.
WITHOUT_FILE = ("schema", "completion")
# The key in `ctx.meta` of the options, as they are typed, that say where to upload to.
SERVER_KEY = "waxlocal.server"
# `waxlocal` in front of a command that uploads, of another one, or of an option; without its path.
_PROPOSED = re.compile(
    r"(?<![\w/])waxlocal (?:"
    r"(?P<uploads>sync(?: verify| retry --missing)?(?! (?:parked|retry|status))|daemon run)\b"
    rf"|(?=(?P<next>{'|'.join(VERBS)}|--db|--help)\b))"
)


def say_hint(hint: str) -> None:
    """Print a hint on stderr."""
    click.echo(f"Try: {escaping.line(as_typed(hint))}", err=True)


def say_no_file(missing: FileMissing) -> None:
    """Say that there is no file yet, and how to begin; `say_nothing` is silent afterwards."""
    click.get_current_context().meta[_NO_FILE_KEY] = True
    click.echo(f"No recordings yet: {missing}.", err=True)
    say_hint(missing.hint)


def say_nothing(what: str, hint: str = "") -> None:
    """Say that nothing was found and what to try, unless it was said that there is no file."""
    if not click.get_current_context().meta.get(_NO_FILE_KEY):
        click.echo(what, err=True)
        if hint:
            say_hint(hint)


def say_beyond(what: str, count: int) -> None:
    """Say that a page begins after the last of `count` rows."""
    say_nothing(f"No more {what}: there are only {count:,}.", "a smaller --offset")


def as_typed(words: str) -> str:
    """Return words with each command that they propose as it is to be typed.

    It has `--db FILE` if the user gave it, and the options that say where to upload to: else it
    would work on another file, or go to another server, than the words are about.
    """
    ctx = click.get_current_context(silent=True)
    meta: dict[str, Any] = ctx.meta if ctx else {}
    given = meta.get(DB_KEY)
    file = f"--db {shlex.quote(str(given))} " if given else ""

    def command(found: re.Match[str]) -> str:
        if found["uploads"]:
            return f"{program()} {file}{found['uploads']}{meta.get(SERVER_KEY, '')}"
        about_file = found["next"] in VERBS and found["next"] not in WITHOUT_FILE
        return f"{program()} {file if about_file else ''}"

    return _PROPOSED.sub(command, words)


def program() -> str:
    """Return what to type for `waxlocal`: its path if the PATH does not lead to it.

    So it is after `make demo`, which installs it into an environment of its own.
    """
    called = Path(sys.argv[0])
    if called.name != "waxlocal" or not called.is_file():  # `python -m waxlocal`, another program
        return "waxlocal"
    found = shutil.which("waxlocal")
    return "waxlocal" if found and called.samefile(found) else shlex.quote(str(called))
