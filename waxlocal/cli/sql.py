"""`waxlocal sql`: run a read-only SQL query."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import click

from waxlocal import escaping
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import ROWS, form_options, printed_rows
from waxlocal.cli.hints import say_nothing
from waxlocal.cli.output import Column, Screen
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.errors import InvalidQuery

__all__ = ["sql"]

_HINT = "see the tables with: waxlocal schema"
_ITS_VALUE = "give its value with: -p NAME VALUE"
# How Python says that a parameter has no value.
_UNBOUND = re.compile(r"binding parameter (:\w+)")
# Pragmas whose argument says what to show. Without an argument, any pragma may show its value.
_ASKING_PRAGMAS = frozenset(
    (
        "foreign_key_check",
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "quick_check",
        "table_info",
        "table_list",
        "table_xinfo",
    )
)
# Pragmas that act without an argument.
_ACTING_PRAGMAS = frozenset(("incremental_vacuum", "optimize", "wal_checkpoint"))
# How SQLite says that the authorizer, or the file that is open for reading, refuses a statement.
_REFUSED = ("not authorized", "readonly database")


class _SqlCommand(Subcommand):
    """A command whose argument may begin with a comment, which click would take for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as usual; what begins with two dashes and a space is SQL."""
        comment = next((place for place, one in enumerate(args) if _is_comment(one)), None)
        if comment is not None and "--" not in args:
            args = [*args[:comment], *args[comment + 1 :], "--", args[comment]]
        return super().parse_args(ctx, args)


def _is_comment(argument: str) -> bool:
    return argument.startswith("--") and not re.fullmatch(r"--[\w-]*(=.*)?", argument, re.DOTALL)


@click.command(cls=_SqlCommand)
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
@form_options(*ROWS)
@click.pass_context
def sql(ctx: click.Context, *, query: str, params: tuple[tuple[str, str], ...], form: str) -> None:
    """Run a read-only SQL query on the file.

    `waxlocal schema` prints the tables. A BLOB is printed as an SQL literal, x'00ff'; for one that
    is text write CAST(body AS TEXT).
    """
    with recordings(target_file_of(ctx)) as connection:
        values = {name.removeprefix(":"): value for name, value in params}
        found = _rows(connection, query, values)
        names = list(found[0]) if found else []
        if form == "csv" and not found:  # sqlite-utils gives the names with the rows only
            names = [column[0] for column in connection.execute(query, values).description]
    if printed_rows(form, names, found):
        return
    if found:
        _show(Screen(), names, found)
    else:
        say_nothing("No rows.")


def _rows(
    connection: sqlite3.Connection, query: str, params: dict[str, str]
) -> list[dict[str, Any]]:
    from sqlite_utils import Database

    if not query.strip():
        raise InvalidQuery("the query is empty", hint=_HINT)
    database = Database(connection)  # sets a pragma of its own
    connection.set_authorizer(_allow_reading)
    bound = _Bound(params)
    try:
        found = list(database.query(query, bound))
    except UnicodeError as error:  # the shell passed bytes that are not text
        raise InvalidQuery("the query is not valid UTF-8", hint=_HINT) from error
    except ValueError as error:  # sqlite-utils: it returns no rows
        raise _only_reads() from error
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _told(str(error)) from error
    if strange := bound.keys() - bound.used:
        name = min(strange)
        raise InvalidQuery(f"the query has no parameter :{name}", hint=f"leave out: -p {name}")
    return [{name: _printable(value) for name, value in row.items()} for row in found]


class _Bound(dict[str, str]):
    """Values of parameters, and which were `used`: SQLite passes over those that it does not know.

    It asks a subclass of dict by `[]`, and a dict itself past that.
    """

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> str:
        value = super().__getitem__(name)
        self.used.add(name)
        return value


def _told(said: str) -> InvalidQuery:
    """Return the error for what SQLite says; Python's own words speak of its arguments."""
    if any(words in said for words in _REFUSED):
        return _only_reads()
    if "one statement" in said:
        return InvalidQuery(
            "the query has more than one statement", hint="give one statement at a time"
        )
    if "has no name" in said:
        return InvalidQuery(
            "the query has a parameter without a name",
            hint=f"write :NAME in place of ?, and {_ITS_VALUE}",
        )
    if unbound := _UNBOUND.search(said):
        return InvalidQuery(f"the parameter {unbound[1]} has no value", hint=_ITS_VALUE)
    return InvalidQuery(said, hint=_HINT)


def _only_reads() -> InvalidQuery:
    return InvalidQuery(
        "waxlocal sql only reads: this statement is not allowed",
        hint="write a SELECT; see the tables with: waxlocal schema",
    )


def _allow_reading(
    action: int, first: str | None, second: str | None, _database: str | None, _of: str | None
) -> int:
    """Return whether SQLite may do what a statement asks for: called while it is prepared.

    Writes to the file are refused anyway, because it is open for reading. But ATTACH and VACUUM
    INTO write other files, and a pragma that would write is answered with "disk I/O error".
    """
    if action == sqlite3.SQLITE_ATTACH:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA:
        name = (first or "").lower()
        asks = name not in _ACTING_PRAGMAS if second is None else name in _ASKING_PRAGMAS
        return sqlite3.SQLITE_OK if asks else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


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
    screen.write_rows(columns, rows)
