"""Options that may be left out, but not be empty: an empty variable of a script is a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource

__all__ = ["filled", "filled_path"]

Value = TypeVar("Value")


def filled(ctx: click.Context, param: click.Parameter, value: Value) -> Value:
    """Return the value of an option, as its callback; an empty one that was given is wrong usage.

    It would count as left out: another file or server than was meant, or the runs of all users.
    """
    given = ctx.get_parameter_source(param.name or "") is not ParameterSource.DEFAULT
    if given and value == "":
        raise click.BadParameter("it is empty", ctx, param)
    return value


def filled_path(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """Return the file that an option names, as its callback; an empty name is wrong usage.

    It would be the current directory.
    """
    given = filled(ctx, param, value)
    return None if given is None else Path(given)
