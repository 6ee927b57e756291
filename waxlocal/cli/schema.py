"""`waxlocal schema`: the tables of the file."""

from __future__ import annotations

import click

__all__ = ["schema"]


@click.command()
def schema() -> None:
    """Print the tables of the file as SQL, with comments that say what each column holds."""
    from waxlocal.storage.schema import schema_text

    click.echo(schema_text(), nl=False)
