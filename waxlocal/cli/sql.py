"""`waxlocal sql`: run a read-only SQL query."""

from __future__ import annotations

import sqlite3
from typing import Any

import click

from waxlocal import escaping
from waxlocal.cli.formats import form_options, printed_rows
from waxlocal.cli.output import Column, Screen
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.errors import InvalidQuery

__all__ = ["sql"]


@click.command()
@click.argument("query")
@click.option(
    "-p",
    "--param",
    "params",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Bind VALUE to :NAME in the query. Repeatable.",
)
@form_options(csv=True)
@click.pass_context
def sql(ctx: click.Context, *, query: str, params: tuple[tuple[str, str], ...], form: str) -> None:
    """Run a read-only SQL query on the file.

    `waxlocal schema` prints the tables. A BLOB is printed as an SQL literal, x'00ff'; for one that
    is text write CAST(body AS TEXT).
    """
    with recordings(target_file_of(ctx)) as connection:
        found = _rows(connection, query, dict(params))
    names = list(found[0]) if found else []
    if printed_rows(form, names, found):
        return
    if found:
        _show(Screen(), names, found)
    else:
        click.echo("No rows.", err=True)


def _rows(
    connection: sqlite3.Connection, query: str, params: dict[str, str]
) -> list[dict[str, Any]]:
    from sqlite_utils import Database

    try:
        found = list(Database(connection).query(query, params))
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise InvalidQuery(str(error), hint="see the tables with: waxlocal schema") from error
    return [{name: _printable(value) for name, value in row.items()} for row in found]


def _printable(value: Any) -> Any:
    """Return the value, a BLOB as SQL writes it: neither JSON nor a terminal has such values."""
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value


def _show(screen: Screen, names: list[str], found: list[dict[str, Any]]) -> None:
    numbers = {name for name in names if all(isinstance(row[name], int | float) for row in found)}
    columns = [Column(escaping.line(name), right=name in numbers, least=8) for name in names]
    rows = [
        ["" if row[name] is None else escaping.line(str(row[name])) for name in names]
        for row in found
    ]
    screen.write(screen.table(columns, rows))
