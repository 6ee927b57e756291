"""Hints: what to type next, with the file that the user chose."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click

from waxlocal import escaping
from waxlocal.cli.verbs import VERBS
from waxlocal.errors import FileMissing

__all__ = [
    "DB_KEY",
    "WITHOUT_FILE",
    "say_beyond",
    "say_hint",
    "say_no_file",
    "say_nothing",
    "with_file",
]

# The key in `ctx.meta` of what the user gave with `--db`; click shares `meta` between a command and
# its group.
DB_KEY = "waxlocal.db"
# The key in `ctx.meta` of whether the user was told that there is no file yet.
_NO_FILE_KEY = "waxlocal.no_file"
# Subcommands that use no file.
WITHOUT_FILE = ("schema", "completion")
# `waxlocal` in front of a subcommand: `--db FILE` may stand between them.
_PROPOSED = re.compile(rf"\bwaxlocal (?=(?:{'|'.join({*VERBS} - {*WITHOUT_FILE})})\b)")


def say_hint(hint: str) -> None:
    """Print a hint on stderr."""
    click.echo(f"Try: {escaping.line(with_file(hint))}", err=True)


def say_no_file(missing: FileMissing) -> None:
    """Say that there is no file yet, and how to begin; why a command finds nothing is said then."""
    click.get_current_context().meta[_NO_FILE_KEY] = True
    click.echo(f"No recordings yet: {missing}.", err=True)
    say_hint(missing.hint)


def say_nothing(what: str, hint: str) -> None:
    """Say that nothing was found and what to try, unless it was said that there is no file."""
    if not click.get_current_context().meta.get(_NO_FILE_KEY):
        click.echo(what, err=True)
        say_hint(hint)


def say_beyond(what: str, count: int) -> None:
    """Say that a page begins after the last of `count` rows."""
    say_nothing(f"No more {what}: there are only {count:,}.", "a smaller --offset")


def with_file(words: str) -> str:
    """Return words with `--db FILE` in each command that they propose, if the user gave `--db`.

    Without it the command would work on another file than the one that the words are about.
    """
    ctx = click.get_current_context(silent=True)
    given: Any = ctx and ctx.meta.get(DB_KEY)
    if not given:
        return words
    command = f"waxlocal --db {shlex.quote(str(given))} "
    return _PROPOSED.sub(lambda _: command, words)
