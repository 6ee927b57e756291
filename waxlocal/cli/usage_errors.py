"""What a usage error says: one wording for all commands, whatever version or language click has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # generic for mypy only: click 8.1 knows no brackets here
    _Words = click.Choice[str]
else:
    _Words = click.Choice

__all__ = ["OneOf", "guess", "listed", "message_of"]


def message_of(error: click.ClickException) -> str:
    """Return what is wrong in our words; click's own depend on its version and on the locale."""
    if isinstance(error, click.MissingParameter):
        return _missing(error)
    if isinstance(error, click.BadParameter):
        of = f"invalid value for {_name(error.param)}: " if error.param else ""
        return f"{of}{error.message}"
    if isinstance(error, click.NoSuchOption):
        return f"unknown option {error.option_name}{guess(error.option_name, _options(error.ctx))}"
    if isinstance(error, click.BadOptionUsage):
        return _misused(error)
    return error.format_message()


def guess(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean sessions?` if a known name looks like this one."""
    from difflib import get_close_matches

    words = {one.lstrip("-"): one for one in known}  # dashes alone make no option look like another
    near = get_close_matches(name.lstrip("-"), words, n=1)
    return f"; did you mean {words[near[0]]}?" if near else ""


def listed(names: Sequence[str]) -> str:
    """Return `bash, zsh or fish`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


class OneOf(_Words):
    """One of a few words; the error lists them."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the word; any other is a usage error."""
        if value not in self.choices:
            self.fail(f"{value!r} is unknown; use {listed(self.choices)}", param, ctx)
        return str(value)


def _missing(error: click.MissingParameter) -> str:
    kind = "option" if isinstance(error.param, click.Option) else "argument"
    text = f"{kind} {_name(error.param)} is missing"
    choices = getattr(error.param and error.param.type, "choices", ())
    return f"{text}; use {listed(choices)}" if choices else text


def _misused(error: click.BadOptionUsage) -> str:
    """Return what is wrong with an option that has no value, or has one and takes none."""
    name = error.option_name
    for option in error.ctx.command.params if error.ctx else ():
        if isinstance(option, click.Option) and name in option.opts and not option.is_flag:
            return f"option {name} needs {'a value' if option.nargs == 1 else option.metavar}"
    return f"option {name} takes no value"


def _name(param: click.Parameter | None) -> str:
    """Return the name of an option, the long one, or of an argument as the help shows it."""
    if param is None:
        return ""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return str(param.metavar or (param.name or "").upper()).partition(" ")[0]


def _options(ctx: click.Context | None) -> list[str]:
    params = ctx.command.get_params(ctx) if ctx else []
    return [name for param in params if isinstance(param, click.Option) for name in param.opts]
