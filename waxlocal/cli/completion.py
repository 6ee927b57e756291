"""`waxlocal completion`: print the completion script for a shell."""

from __future__ import annotations

import click

from waxlocal.cli.commands import Subcommand
from waxlocal.cli.usage_errors import OneOf

__all__ = ["completion"]

_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Subcommand)
@click.argument("shell", type=OneOf(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the script with which a shell completes subcommands, options, and ids.

    \b
    bash:  waxlocal completion bash >> ~/.bashrc
    zsh:   waxlocal completion zsh >> ~/.zshrc
    fish:  waxlocal completion fish > ~/.config/fish/completions/waxlocal.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click does not support {shell}")
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "waxlocal", "_WAXLOCAL_COMPLETE").source())
