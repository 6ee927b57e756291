"""The file that a command works on: `--db`, checks before use, and opening it for queries."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from waxlocal.cli.filled import filled
from waxlocal.cli.hints import DB_KEY, say_hint, say_no_file
from waxlocal.errors import FileMissing, NewerSchema, NotFound, StorageError
from waxlocal.storage.connection import COMMAND_CACHE_KIB, reader, writer
from waxlocal.storage.paths import database_path
from waxlocal.storage.schema import check

__all__ = [
    "TargetFile",
    "db_option",
    "db_option_with",
    "existing",
    "need_own",
    "recordings",
    "target_file_of",
    "writable",
]

# Of SQLite's machine, between two moments in which Ctrl-C is heard: some milliseconds.
INSTRUCTIONS = 100_000

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class TargetFile:
    """The path; `named` if the user chose it, `given` if with `--db`."""

    path: Path
    named: bool
    given: bool


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if filled(ctx, param, value) is not None:
        ctx.meta[DB_KEY] = value


def db_option_with(default: str) -> Callable[[Command], Command]:
    """Return the option `--db` for a command that has a default of its own."""
    return click.option(
        "--db",
        metavar="FILE",
        expose_value=False,
        callback=_remember,
        # Whoever opens it says what is wrong with it, with the exit status of that.
        type=click.Path(readable=False),
        help=f"The file to use (default: {default}).",
    )


db_option = db_option_with("WAXLOCAL_DB, else the user's own file")


def target_file_of(ctx: click.Context) -> TargetFile:
    """Return the file from `--db` (before or after the subcommand), else the default."""
    given: Any = ctx.meta.get(DB_KEY)
    named = bool(given or os.environ.get("WAXLOCAL_DB"))
    return TargetFile(database_path(given), named, bool(given))


def need_own(path: Path) -> None:
    """Raise `StorageError` unless waxlocal created the file. Call it before any write."""
    with reader(path):
        pass


def writable(target: TargetFile) -> Path:
    """Return the path for a command that makes the file; it may be missing, but not foreign."""
    with suppress(FileMissing):
        need_own(target.path)
    return target.path


def existing(target: TargetFile) -> Path:
    """Return the path for a command that changes the file: one that the user named must exist.

    The user's own file may be missing: it counts as empty, and is made. Raises `StorageError`.
    """
    if target.named:
        need_own(target.path)
    return writable(target)


@contextmanager
def recordings(target: TargetFile) -> Iterator[sqlite3.Connection]:
    """Open the file for reading, after pricing the calls that still wait for a price.

    If the default file does not exist, open an empty file instead, and say so on stderr
    afterwards; `FileMissing` takes the place of `NotFound`. A file that the user named must exist.
    Raises `StorageError`.
    """
    from waxlocal.maintenance.side_files import take_in_all, waiting
    from waxlocal.prices.priced_copy import priced

    try:
        need_own(target.path)
        take_in_all(target.path)
    except FileMissing as missing:
        if waiting(target.path):
            missing.hint = "waxlocal recover"
        if target.named:
            raise
        with _nothing() as connection, _stoppable(connection):
            try:
                yield connection
            except NotFound:
                raise missing from None
        say_no_file(missing)
        return
    finally:
        _tell_of_side_files(target.path)
    with priced(target.path) as found:
        _tell_of_prices(target.path, found.unpriced)
        opened = reader(found.path, cache_kib=COMMAND_CACHE_KIB)
        with opened as connection, _stoppable(connection):
            yield connection


@contextmanager
def _stoppable(connection: sqlite3.Connection) -> Iterator[None]:
    """Let Ctrl-C end a query: Python hears of it only when its own code runs.

    It does in the handler; what it raises there ends the query, and is not heard of again.
    """
    connection.set_progress_handler(lambda: 0, INSTRUCTIONS)
    try:
        yield
    except Exception as error:
        said = error if isinstance(error, sqlite3.Error) else error.__cause__
        if isinstance(said, sqlite3.OperationalError) and str(said) == "interrupted":
            raise KeyboardInterrupt from error
        raise


def _tell_of_side_files(path: Path) -> None:
    """Say what is not in the answers, because it is not in the file yet."""
    from waxlocal.maintenance.side_files import waiting

    for side in waiting(path):
        changes = "" if side.changes is None else f" ({side.changes:,} changes)"
        why, hint = _why_beside(path)
        click.echo(
            f"Note: {side.path} holds records that are not shown here{changes}: {why}", err=True
        )
        if hint:
            say_hint(hint)


def _why_beside(path: Path) -> tuple[str, str]:
    """Return why what was recorded beside a file stays there, and what to do: empty if nothing."""
    try:
        with reader(path) as connection:
            check(connection, writing=True)
    except NewerSchema:
        why = f"an older waxlocal wrote them, as it may not write to {path}; a newer one adds them"
        return why, "pip install --upgrade waxlocal"
    except FileMissing:
        return f"{path}, which they belong to, is gone", ""
    except StorageError:  # the command says why, and what to do
        pass
    return f"they are added to {path} as soon as it can be written", ""


def _tell_of_prices(path: Path, why: str) -> None:
    """Say why calls have no cost though the price list has their models."""
    if why:
        click.echo(
            f"Note: {path} may not be written, so that some calls have no cost here: {why}",
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
