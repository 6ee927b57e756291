"""Options that say where runs are uploaded to: for `sync`, `sync verify` and the daemon."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from waxlocal import escaping
from waxlocal.cli.filled import filled, filled_path
from waxlocal.cli.hints import SERVER_KEY

if TYPE_CHECKING:
    from waxlocal.settings.upload_settings import UploadSettings

__all__ = ["SERVER_OPTIONS", "load_settings", "server_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _url(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return the URL; a wrong one is said at once, and not after what else is missing."""
    from waxlocal.settings.addresses import server_url

    if filled(ctx, param, value):  # a profile or a variable may allow http
        server_url(value, allow_http=True, origin="--api-url")
    return value


# In the order of the help text.
SERVER_OPTIONS = (
    click.option(
        "--api-url", default="", callback=_url, metavar="URL", help="The URL of the server."
    ),
    click.option(
        "--profile",
        default="",
        callback=filled,
        metavar="NAME",
        help="The profile in ~/.waxell/config.",
    ),
    click.option(
        "--key-file",
        type=click.Path(readable=False),
        callback=filled_path,
        metavar="FILE",
        help="Read the key from a file.",
    ),
    click.option("--allow-http", is_flag=True, help="Send the key over plain http."),
)


def server_options(command: Command) -> Command:
    """Add the options; the command passes what it gets to `load_settings`."""
    for option in reversed(SERVER_OPTIONS):
        command = option(command)
    return command


def _as_typed(given: dict[str, Any]) -> str:
    """Return the options as they were typed, each with a space in front."""
    options = ((f"--{name.replace('_', '-')}", value) for name, value in given.items())
    return "".join(
        f" {option}" if value is True else f" {option} {shlex.quote(str(value))}"
        for option, value in options
        if value
    )


def load_settings(*, key_file: Path | None, **given: Any) -> UploadSettings:
    """Return the settings of an upload, and print their notes; raises `ConfigurationError`."""
    from waxlocal.settings.upload_settings import UploadSettings

    click.get_current_context().meta[SERVER_KEY] = _as_typed({**given, "key_file": key_file})
    settings = UploadSettings.load(key_file=key_file or "", **given)
    for note in settings.notes:
        click.echo(f"Note: {escaping.line(note)}", err=True)
    return settings
