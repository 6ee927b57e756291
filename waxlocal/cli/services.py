"""What `daemon install` and `serve install` share: options, the unit, the commands to run next."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from waxlocal import escaping
from waxlocal.cli.filled import filled
from waxlocal.cli.service_checks import check_user, warn_of_unit
from waxlocal.errors import ConfigurationError
from waxlocal.storage.paths import make_private_directory

if TYPE_CHECKING:
    from waxlocal_daemon.service_units import Service

__all__ = [
    "absolute",
    "install_unit",
    "uninstall_unit",
    "unit_options",
    "user_of",
    "user_option",
    "words_of",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def unit_options(name: str) -> Callable[[Command], Command]:
    """Return a decorator that adds the options of a unit, which is called `name` by default."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option("--now", is_flag=True, help="Run the commands instead of printing them."),
            click.option(
                "--print",
                "only_print",
                is_flag=True,
                help="Print what would be done, and do nothing.",
            ),
            click.option(
                "--name",
                default=name,
                show_default=True,
                metavar="NAME",
                help="The name of the service; each file needs its own.",
            ),
            click.option(
                "--system", is_flag=True, help="The service of the whole machine; needs root."
            ),
        ):
            command = option(command)
        return command

    return decorate


def user_option(command: Command) -> Command:
    """Add the option that says whom a service of the machine runs as."""
    return click.option(
        "--user",
        default="",
        callback=filled,
        metavar="USER",
        help="With --system: the user that the service runs as.",
    )(command)


def user_of(path: Path, user: str, *, system: bool) -> str:
    """Return the user that a service runs as: by default the owner of the file, as SQLite has it.

    A log that root creates beside it would lock its recorders out. Raises `click.UsageError`.
    """
    if user and not system:
        raise click.UsageError("--user needs --system")
    return user or (_owner(path) if system else "")


def _owner(path: Path) -> str:
    place = path if path.exists() else path.parent
    if sys.platform == "win32" or not place.exists():
        return os.environ.get("SUDO_USER", "")
    try:
        return place.owner()
    except KeyError:  # an id without a name here, as in a container
        return str(place.stat().st_uid)


def absolute(path: Path | None) -> Path | None:
    """Return the path as a service needs it, which starts in another directory."""
    return path and Path.cwd() / path.expanduser()


def words_of(options: Sequence[click.Parameter], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return those options that differ from their defaults, as they are typed; not the key."""
    words: list[str] = []
    for option in options:
        value = given.get(option.name or "")
        if option.name == "key_file" or value in (None, "", False, (), option.default):
            continue
        for one in value if isinstance(value, tuple) else (value,):
            word = absolute(one) if isinstance(one, Path) else one
            words += [option.opts[0]] if one is True else [option.opts[0], str(word)]
    return tuple(words)


def install_unit(
    service: Service, secret: list[str], *, user: str, only_print: bool, now: bool
) -> None:
    """Write a unit and say what to run next, or only print it.

    `secret` names what of the shell is left out of it; `user` is the one that was asked for. Raises
    `ConfigurationError`.
    """
    from waxlocal_daemon.service_units import make_unit, write_unit

    check_user(user, runs_here=not only_print)
    warn_of_unit(service, secret)
    unit = make_unit(service)
    if only_print:
        click.echo(unit.text, nl=False)
        click.echo(f"Would be written to {escaping.line(str(unit.path))}", err=True)
        return
    if not service.system:
        make_private_directory(service.db.parent)
    write_unit(unit)
    click.echo(f"Wrote {escaping.line(str(unit.path))}")
    _next("Start it with", unit.start, now)
    _next("Check its status with", unit.look, False)


def uninstall_unit(service: Service, *, only_print: bool, now: bool) -> None:
    """Remove the unit of a service, by its name; raises `ConfigurationError`."""
    from waxlocal_daemon.service_units import make_unit, remove_unit

    unit = make_unit(service)
    if only_print:
        click.echo("\n".join((*unit.stop, f"rm {unit.path}")))
        return
    if now:
        _next("", unit.stop, True)
    if remove_unit(unit):
        click.echo(f"Removed {escaping.line(str(unit.path))}")
    else:
        click.echo(f"{escaping.line(str(unit.path))} does not exist")
    if not now:
        _next("If it still runs, stop it with", unit.stop_removed, False)


def _next(title: str, commands: tuple[str, ...], now: bool) -> None:
    if not now:
        click.echo(f"{title}:\n" + "\n".join(f"  {command}" for command in commands))
        return
    for command in commands:
        click.echo(f"+ {command}")
        # Runs in a shell because of `$(id -u)`. The only inputs are a validated name and a quoted
        # path.
        done = subprocess.run(command, shell=True, check=False)  # noqa: S602
        if done.returncode:
            raise ConfigurationError(
                f"{command}: exit status {done.returncode}", hint="see its output above"
            )
