"""Which file a command is about, opened for its questions."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from waxlocal.errors import FileMissing, NotADatabase
from waxlocal.storage.connection import reader, writer
from waxlocal.storage.paths import database_path

__all__ = ["Place", "db_option", "need_own", "place_of", "recordings", "writable"]

_KEY = "waxlocal.db"


@dataclass(frozen=True)
class Place:
    """A path; `named` when the person chose it, `given` when they did so on the command line."""

    path: Path
    named: bool
    given: bool


def _remember(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value:
        ctx.meta[_KEY] = value  # one dictionary for the command and the group above it


db_option = click.option(
    "--db",
    metavar="FILE",
    expose_value=False,
    callback=_remember,
    type=click.Path(),
    help="The file to use (default: WAXLOCAL_DB, else the user's own).",
)


def place_of(ctx: click.Context) -> Place:
    """Return the file meant: `--db`, before or after the verb, else `WAXLOCAL_DB`, else the own."""
    given: Any = ctx.meta.get(_KEY)
    named = bool(given or os.environ.get("WAXLOCAL_DB"))
    return Place(database_path(given), named, bool(given))


def need_own(path: Path) -> None:
    """Raise `StorageError` unless the file is one of ours, before anything writes to it."""
    if path.is_dir():  # SQLite would speak of an I/O error
        raise NotADatabase(f"{path} is a directory")
    with reader(path):
        pass


def writable(place: Place) -> Path:
    """Return the path for a command that writes; the file may be missing, but not another's."""
    with suppress(FileMissing):
        need_own(place.path)
    return place.path


@contextmanager
def recordings(place: Place) -> Iterator[sqlite3.Connection]:
    """Open the file for reading, after calls that waited for a price have got it.

    Where nobody has recorded yet, an empty file answers instead, and stderr says so; a file that
    the person named must exist. Raises `StorageError`.
    """
    from waxlocal.maintenance.side_files import take_in_all
    from waxlocal.prices.table import price_pending

    try:
        need_own(place.path)
        take_in_all(place.path)
    except FileMissing as missing:
        if place.named:
            raise
        click.echo(f"No recordings yet: {missing}.\nTry: {missing.hint}", err=True)
        with _nothing() as connection:
            yield connection
        return
    finally:
        _tell_of_side_files(place.path)
    price_pending(place.path)
    with reader(place.path) as connection:
        yield connection


def _tell_of_side_files(path: Path) -> None:
    """Say what is not in the answers, because it is not in the file yet."""
    from waxlocal.maintenance.side_files import waiting

    for side in waiting(path):
        changes = "" if side.changes is None else f" ({side.changes:,} changes)"
        click.echo(
            f"Note: {side.path} holds records that are not shown here{changes}: an older waxlocal "
            f"wrote them, as it may not write to {path}. A waxlocal that may adds them to it.\n"
            "Try: pip install --upgrade waxlocal",
            err=True,
        )


@contextmanager
def _nothing() -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(prefix="waxlocal-") as directory:
        path = Path(directory) / "empty.db"
        with writer(path):
            pass
        with reader(path) as connection:
            yield connection
