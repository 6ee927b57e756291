"""A command that lists rows: all of them to a program, one page as a table."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

from waxlocal.cli.formats import printed_rows
from waxlocal.cli.numbers import Count
from waxlocal.cli.output import DIM, Screen
from waxlocal.queries import as_dict
from waxlocal.queries.filters import MAX_LIMIT, MAX_OFFSET
from waxlocal.queries.snapshot import snapshot
from waxlocal.records import LARGEST_INTEGER

__all__ = ["LIMIT", "OFFSET", "count_all", "page_options", "rows_to_show", "say_more"]

Command = TypeVar("Command", bound=Callable[..., Any])
Row = TypeVar("Row")
# Gets the size of a page, and how many rows to skip.
Ask = Callable[[int, int], Sequence[Row]]

# How many to list, and how many to skip first.
LIMIT = Count(1, MAX_LIMIT)
OFFSET = Count(0, MAX_OFFSET)
# How many rows a table has without --limit.
ON_SCREEN = 20


def page_options(command: Command) -> Command:
    """Add `--limit`, which is None without it, and `--offset`."""
    limit = click.option(
        "--limit",
        type=Count(1, LARGEST_INTEGER),
        metavar="N",
        help=f"Show at most this many: {ON_SCREEN} as a table, else all.",
    )
    offset = click.option(
        "--offset", type=OFFSET, default=0, metavar="N", help="Skip this many first."
    )
    return limit(offset(command))


def rows_to_show(
    connection: sqlite3.Connection,
    ask: Ask[Row],
    page: tuple[int | None, int],
    form: str,
    columns: Sequence[str],
) -> list[Row] | None:
    """Write the rows of a page in a form for programs, and return None; else those of a table.

    `page`: `--limit` and `--offset`. Programs get all rows without a limit, written as they are
    read, all of one state of the file: whatever is recorded meanwhile, no row comes twice.
    """
    limit, offset = page
    with snapshot(connection):
        if form == "screen":
            return list(_every(ask, limit or ON_SCREEN, offset))
        printed_rows(form, columns, map(as_dict, _every(ask, limit or LARGEST_INTEGER, offset)))
        return None


def _every(ask: Ask[Row], limit: int, offset: int) -> Iterator[Row]:
    """Return rows page by page, so that memory for one is enough."""
    while limit > 0:
        size = min(limit, MAX_LIMIT)
        found = ask(size, offset)
        yield from found
        if len(found) < size:
            return
        limit, offset = limit - size, offset + size


def count_all(shown: int, page: tuple[int | None, int], count: Callable[[], int]) -> int:
    """Return how many rows there are in all; `count` is asked only if this page does not tell."""
    limit, offset = page
    is_last = shown < (limit or ON_SCREEN) and (shown > 0 or offset == 0)
    return offset + shown if is_last else count()


def say_more(screen: Screen, noun: str, offset: int, shown: int, whole: int) -> None:
    """Say on a terminal which of all rows these are, if they are not the last."""
    end = offset + shown
    if not screen.plain and whole > end:
        screen.gap()
        more = f"{offset + 1:,} to {end:,} of {whole:,} {noun}; more with --offset {end}"
        screen.write(screen.text((more, DIM)))
