"""`waxlocal path`: print the path of the file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from waxlocal import escaping
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.target_file import target_file_of

__all__ = ["path"]


@click.command(cls=Subcommand)
@form_options()
@click.pass_context
def path(ctx: click.Context, *, form: str) -> None:
    """Print the path of the file, whether or not the file exists.

    --json adds its size, the size of its write-ahead log, its schema version, and its side files.
    An older waxlocal records into a side file while it may not write to the file itself.
    """
    target = target_file_of(ctx)
    if form == "json":
        print_json(_description(target.path))
    else:
        click.echo(escaping.block(os.fspath(target.path)))


def _description(file: Path) -> dict[str, object]:
    from waxlocal.storage.log_file import log_size
    from waxlocal.storage.paths import file_id, file_size
    from waxlocal.storage.side_file import all_side_files

    exists = file_id(file) is not None
    return {
        "path": str(file),
        "exists": exists,
        "bytes": file_size(file),
        "wal_bytes": log_size(file),
        "schema_version": _schema_version(file) if exists else None,
        "side_files": [str(side) for _version, side in all_side_files(file)],
    }


def _schema_version(file: Path) -> int | None:
    """Return the schema version; None for an empty or foreign file."""
    from waxlocal.errors import StorageError
    from waxlocal.storage.connection import reader
    from waxlocal.storage.schema import file_version

    try:
        with reader(file) as connection:
            return file_version(connection).version
    except StorageError:
        return None
