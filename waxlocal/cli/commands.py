"""The classes of all commands: each usage error knows which command was typed wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from waxlocal.cli.usage_errors import guess

__all__ = ["CommandGroup", "Subcommand", "refuse_options"]


class Subcommand(click.Command):
    """A command whose usage errors carry its context, so that the hint names its own help."""

    # click refuses further arguments in words of its own.
    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, and refuse arguments that are left over."""
        with _within(ctx):
            rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            raise click.UsageError(f"unexpected argument {rest[0]!r}", ctx)
        return rest


class CommandGroup(click.Group):
    """A group of such commands."""

    command_class = Subcommand

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does."""
        with _within(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand; an unknown one is a usage error."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            raise click.UsageError(f"unknown command {name!r}{guess(name, known)}", ctx)
        return super().resolve_command(ctx, args)


@contextmanager
def _within(ctx: click.Context) -> Iterator[None]:
    """Give the usage errors of the parser their context: it raises most of them without one."""
    try:
        yield
    except click.UsageError as error:
        if error.ctx is None:
            error.ctx = ctx
        raise


def refuse_options(ctx: click.Context) -> None:
    """Refuse options in front of a subcommand, which would not see them."""
    given = click.core.ParameterSource.COMMANDLINE
    for option in ctx.command.params:
        if option.name and ctx.get_parameter_source(option.name) is given and option.name != "db":
            raise click.UsageError(
                f"{option.opts[0]} has no effect in front of '{ctx.invoked_subcommand}'", ctx
            )
