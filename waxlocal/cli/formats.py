"""Output formats: `--json`, `--jsonl`, `--csv` and more, and how rows are printed in them.

Every command imports this: it loads what writes Parquet only for that.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from textwrap import indent as indented
from typing import Any, TypeVar

import click

from waxlocal.cli.target_file import db_option
from waxlocal.exports import as_csv, as_json

__all__ = ["LISTS", "ROWS", "form_options", "print_json", "printed_rows"]

Command = TypeVar("Command", bound=Callable[..., Any])


_FORMS = {
    "json": "Write JSON.",
    "jsonl": "Write JSON lines: an object in each.",
    "csv": "Write CSV.",
    "parquet": "Write Parquet, into a file or a pipe. Needs: pip install 'waxlocal[parquet]'",
    "html": "Write an HTML file, which needs nothing else to be read.",
    "markdown": "Write Markdown.",
}
# Of rows; and of those of a list that is long.
ROWS = ("json", "jsonl", "csv")
LISTS = (*ROWS, "parquet")
# How many rows of Parquet are in memory at once.
_PIECE = 1_000


def form_options(*forms: str) -> Callable[[Command], Command]:
    """Add `--db` and an option for each format, by default `--json`; `ROWS` are those of rows.

    The command gets the format as `form`: `screen` without any.
    """
    forms = forms or ("json",)

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def called(*args: Any, **rest: Any) -> Any:
            chosen = [form for form in forms if rest.pop(f"as_{form}")]
            if len(chosen) > 1:
                options = " and ".join(f"--{form}" for form in chosen)
                raise click.UsageError(f"{options} cannot be combined")
            return command(*args, form=chosen[0] if chosen else "screen", **rest)

        added: Any = db_option(called)
        for form in reversed(forms):
            added = click.option(f"--{form}", f"as_{form}", is_flag=True, help=_FORMS[form])(added)
        return added  # type: ignore[no-any-return]

    return add


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Write one JSON document; without `indent` in one line."""
    click.echo(as_json(value, indent=indent))


def printed_rows(form: str, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bool:
    """Write rows if `form` is one of `LISTS`, one after the other; return whether it is.

    What the first row raises is raised before anything is written.
    """
    if form == "screen":
        return False
    rest = iter(rows)
    if form == "parquet":
        _write_parquet(columns, rest)
        return True
    first = list(islice(rest, 1))
    for line in _LINES[form](columns, chain(first, rest)):
        click.echo(line)
    return True


def _write_parquet(columns: Sequence[str], rows: Iterator[dict[str, Any]]) -> None:
    from waxlocal.parquet import ParquetRows

    out = sys.stdout.buffer
    if out.isatty():
        raise click.UsageError(
            "Parquet is not text: send it into a file, as in: --parquet > rows.parquet"
        )
    written = ParquetRows(columns)
    piece = list(islice(rows, _PIECE))
    out.write(written.begin())
    while piece:
        out.write(written.piece(piece))
        piece = list(islice(rows, _PIECE))
    out.write(written.end())
    out.flush()


def _json_lines(_columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Return the lines of a list; each row is written when it has been read."""
    before = ""
    for row in rows:
        yield before or "["
        before = indented(as_json(row, indent=2), "  ") + ","
    yield f"{before[:-1]}\n]" if before else "[]"


def _rows_of_json(_columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (as_json(row) for row in rows)


_LINES = {"json": _json_lines, "jsonl": _rows_of_json, "csv": as_csv}
