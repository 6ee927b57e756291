"""`waxlocal schema`: print the tables of the file as SQL."""

from __future__ import annotations

import click

__all__ = ["schema"]


@click.command()
def schema() -> None:
    """Print the tables of the file as SQL, with a comment on each column."""
    from waxlocal.storage.schema import schema_text

    click.echo(schema_text(), nl=False)
