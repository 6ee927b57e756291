"""Output formats: `--json` and `--csv`, and how rows are printed in them."""

from __future__ import annotations

import csv as csv_module
import functools
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from waxlocal import encode, escaping
from waxlocal.cli.target_file import db_option

__all__ = ["form_options", "print_json", "printed_rows"]

Command = TypeVar("Command", bound=Callable[..., Any])


def form_options(*, csv: bool = False) -> Callable[[Command], Command]:
    """Add `--db`, `--json` and (with `csv`) `--csv`; the command gets the format as `form`."""

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def called(*args: Any, as_json: bool, as_csv: bool = False, **rest: Any) -> Any:
            if as_json and as_csv:
                raise click.UsageError("--json and --csv cannot be combined")
            form = "json" if as_json else "csv" if as_csv else "screen"
            return command(*args, form=form, **rest)

        added: Any = db_option(called)
        if csv:
            added = click.option("--csv", "as_csv", is_flag=True, help="Write CSV.")(added)
        return click.option("--json", "as_json", is_flag=True, help="Write JSON.")(added)  # type: ignore[no-any-return]

    return add


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Write one JSON document; without `indent` in one line.

    A figure that JSON has no number for is as in the API: `{"$float": "inf"}`.
    """
    try:
        text = escaping.document(value, indent=indent)
    except ValueError:
        text = escaping.document(encode.snapshot(value), indent=indent)
    click.echo(text)


def printed_rows(form: str, columns: Sequence[str], rows: list[dict[str, Any]]) -> bool:
    """Write rows if `form` is json or csv; return whether it is."""
    if form == "json":
        print_json(rows)
    elif form == "csv":
        _print_csv(columns, rows)
    return form != "screen"


def _print_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as CSV with a header line; None becomes an empty cell."""
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([escaping.cell(row[name]) for name in columns])
    click.echo(out.getvalue(), nl=False)
