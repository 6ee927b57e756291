"""What `daemon install` and `serve install` share: options, the unit, the commands to run next."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from waxlocal import escaping
from waxlocal.cli.filled import filled
from waxlocal.cli.service_checks import check_user, warn_of_unit
from waxlocal.cli.target_file import db_option, target_file_of
from waxlocal.errors import ConfigurationError
from waxlocal.storage.paths import make_private_directory

if TYPE_CHECKING:
    from waxlocal_daemon.service_units import Service

__all__ = [
    "UnitRequest",
    "absolute",
    "add_uninstall",
    "install_unit",
    "unit_options",
    "words_of",
]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class UnitRequest:
    """What was typed of a unit; `user` is the one that a service of the machine is to run as."""

    system: bool
    name: str
    only_print: bool
    now: bool
    user: str = ""

    def runs_as(self, path: Path) -> str:
        """Return the user that the service runs as: by default the owner of the file.

        A log that root creates beside it would lock its recorders out.
        """
        return self.user or (_owner(path) if self.system else "")


_OPTIONS = (
    click.option("--system", is_flag=True, help="The service of the whole machine; needs root."),
    click.option(
        "--print", "only_print", is_flag=True, help="Print what would be done, and do nothing."
    ),
    click.option("--now", is_flag=True, help="Run the commands instead of printing them."),
)
_USER = click.option(
    "--user",
    default="",
    callback=filled,
    metavar="USER",
    help="With --system: the user that the service runs as.",
)


def unit_options(name: str, *, installs: bool = False) -> Callable[[Command], Command]:
    """Return a decorator that adds the options of a unit, which is called `name` by default.

    The command gets them as `asked`.
    """
    named = click.option(
        "--name",
        default=name,
        show_default=True,
        metavar="NAME",
        help="The name of the service; each file needs its own.",
    )
    system, *others = _OPTIONS
    options = (system, named, *others, *((_USER,) if installs else ()))

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def called(
            *args: Any,
            system: bool,
            name: str,
            only_print: bool,
            now: bool,
            user: str = "",
            **rest: Any,
        ) -> Any:
            if user and not system:
                raise click.UsageError("--user needs --system")
            return command(*args, asked=UnitRequest(system, name, only_print, now, user), **rest)

        added: Any = called
        for option in reversed(options):
            added = option(added)
        return added  # type: ignore[no-any-return]

    return add


def add_uninstall(group: click.Group, name: str) -> None:
    """Add the command that removes what `install` wrote; `name` as in `unit_options`."""

    @group.command("uninstall", short_help="Remove the service.")
    @unit_options(name)
    @db_option
    @click.pass_context
    def uninstall(ctx: click.Context, *, asked: UnitRequest) -> None:
        """Remove the unit that `install` wrote, by its name. Recordings and the key file stay."""
        from waxlocal_daemon.service_units import Service, make_unit, remove_unit

        unit = make_unit(Service(target_file_of(ctx).path, asked.name, asked.system))
        if asked.only_print:
            click.echo("\n".join((*unit.stop, f"rm {unit.path}")))
            if not unit.path.exists():
                click.echo(f"Note: {escaping.line(str(unit.path))} does not exist", err=True)
            return
        if asked.now:
            _next("", unit.stop, True)
        if remove_unit(unit):
            click.echo(f"Removed {escaping.line(str(unit.path))}")
        else:
            click.echo(f"{escaping.line(str(unit.path))} does not exist")
        if not asked.now:
            _next("If it still runs, stop it with", unit.stop_removed, False)


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


def install_unit(service: Service, secret: list[str], asked: UnitRequest) -> None:
    """Write a unit and say what to run next, or only print it; raises `ConfigurationError`.

    `secret` names what of the shell is left out of it.
    """
    from waxlocal_daemon.service_units import make_unit, write_unit

    check_user(asked.user, runs_here=not asked.only_print)
    warn_of_unit(service, secret)
    unit = make_unit(service)
    if asked.only_print:
        click.echo(unit.text, nl=False)
        click.echo(f"Would be written to {escaping.line(str(unit.path))}", err=True)
        return
    if not service.system:
        make_private_directory(service.db.parent)
    write_unit(unit)
    click.echo(f"Wrote {escaping.line(str(unit.path))}")
    _next("Start it with", unit.start, asked.now)
    _next("Check its status with", unit.look, False)


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
