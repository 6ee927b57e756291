"""Hints: what to type next, with the file that the user chose."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click

from waxlocal import escaping
from waxlocal.cli.verbs import VERBS

__all__ = ["DB_KEY", "WITHOUT_FILE", "say_hint", "with_file"]

# The key in `ctx.meta` of what the user gave with `--db`; click shares `meta` between a command and
# its group.
DB_KEY = "waxlocal.db"
# Subcommands that use no file.
WITHOUT_FILE = ("schema", "completion")
# `waxlocal` in front of a subcommand: `--db FILE` may stand between them.
_PROPOSED = re.compile(rf"\bwaxlocal (?=(?:{'|'.join({*VERBS} - {*WITHOUT_FILE})})\b)")


def say_hint(hint: str) -> None:
    """Print a hint on stderr."""
    click.echo(f"Try: {escaping.line(with_file(hint))}", err=True)


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
