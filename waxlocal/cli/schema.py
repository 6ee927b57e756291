"""`waxlocal schema`: print the tables of the file as SQL."""

from __future__ import annotations

import click

from waxlocal.cli.commands import Subcommand

__all__ = ["schema"]


@click.command(cls=Subcommand)
def schema() -> None:
    """Print the tables of the file as SQL, with a comment on each column."""
    from waxlocal.storage.schema import schema_text

    click.echo(schema_text(), nl=False)
