"""`waxlocal serve`: serve the API and the dashboard from one file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from waxlocal import escaping
from waxlocal.cli.commands import CommandGroup, refuse_options
from waxlocal.cli.filled import filled, filled_path
from waxlocal.cli.hints import say_hint
from waxlocal.cli.numbers import Count
from waxlocal.cli.service_checks import check_variables
from waxlocal.cli.services import (
    UnitRequest,
    absolute,
    add_uninstall,
    install_unit,
    unit_options,
    words_of,
)
from waxlocal.cli.target_file import (
    db_option,
    need_own,
    target_file_of,
    writable,
)
from waxlocal.errors import DiskFull, FileReadOnly
from waxlocal.settings.config import Settings
from waxlocal.storage.paths import file_id, mounted_alone
from waxlocal.web.server import DEFAULT_HOST, DEFAULT_PORT
from waxlocal.web.supervisor import Supervisor

__all__ = ["serve"]

Command = TypeVar("Command", bound=Callable[..., Any])
# Of the service.
NAME = "waxlocal-serve"
_KEY_VARIABLE = "WAXLOCAL_SERVE_KEY"

# Loopback alone needs no key. A proxy is how others reach it; but it may ask for a password itself.
_NO_KEY = "Note: no key is set: whoever reaches the proxy can read and change the file (--key-file)"


# In the order of the help text; `serve install` passes each on.
_OPTIONS = (
    click.option(
        "--host",
        default=DEFAULT_HOST,
        callback=filled,
        show_default=True,
        metavar="ADDRESS",
        help="The address to listen on. Any address but loopback needs a key.",
    ),
    click.option(
        "--port",
        type=Count(0, 65_535),
        default=DEFAULT_PORT,
        show_default=True,
        metavar="N",
        help="The port to listen on; 0 picks a free one.",
    ),
    click.option(
        "--key-file",
        type=click.Path(readable=False),
        callback=filled_path,
        metavar="FILE",
        help="The file with the key that clients must send (default: WAXLOCAL_SERVE_KEY_FILE).",
    ),
    click.option(
        "--allow-host",
        "allowed_hosts",
        multiple=True,
        metavar="NAME[:PORT]",
        help="Accept this Host header too, for example behind a proxy. Repeatable.",
    ),
    click.option(
        "--trusted-proxy",
        "trusted_proxies",
        multiple=True,
        metavar="ADDRESS",
        help="Believe the X-Forwarded- headers of this IP address or network. Repeatable.",
    ),
    click.option(
        "--root-path",
        default="",
        callback=filled,
        metavar="/PATH",
        help="The path below which a proxy has this server.",
    ),
    click.option("--daemon", is_flag=True, help="Also run the upload daemon."),
    click.option("--access-log", is_flag=True, help="Log each request to stderr."),
)


def _options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(cls=CommandGroup, invoke_without_command=True)
@_options
@db_option
@click.pass_context
def serve(
    ctx: click.Context,
    *,
    host: str,
    port: int,
    key_file: Path | None,
    allowed_hosts: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    root_path: str,
    daemon: bool,
    access_log: bool,
) -> None:
    """Serve the Waxell API, the query API and the dashboard.

    Prints its URL and runs until SIGTERM or Ctrl-C.
    """
    if ctx.invoked_subcommand is not None:
        refuse_options(ctx)
        return
    from waxlocal.web import server

    server.check_host(host)
    key = server.key_from(key_file, os.environ)
    server.check_key(host, key)
    # Afterwards: to load the pages takes longer than all of that.
    from waxlocal.web.app import create_app
    from waxlocal.web.middleware.request_log import log_to

    path = writable(target_file_of(ctx))
    app = create_app(
        path,
        key=key,
        allowed_hosts=(*_named(host), *allowed_hosts),
        trusted_proxies=trusted_proxies,
        root_path=root_path,
        durability=Settings.from_environment().durability,
        log=log_to() if access_log else None,
    )
    with closing(server.listen(host, port)) as listener:  # first: without it, no file is made
        _make(path)
        if trusted_proxies and not key:
            click.echo(_NO_KEY, err=True)
        address = server.address_of(listener, root_path)
        with _supervised(daemon, path):
            server.serve(app, listener, started=lambda: click.echo(address))


def _make(path: Path) -> None:
    """Make the file if there is none, and say so; raise `StorageError` if it cannot be used."""
    from waxlocal.storage.connection import writer

    new = file_id(path) is None
    try:
        with writer(path):
            pass
    except (DiskFull, FileReadOnly) as error:
        need_own(path)  # one that is not there yet cannot be made
        click.echo(f"Note: {escaping.line(str(error))}; it is read, and takes nothing in", err=True)
    if new:  # it may be the path that is wrong, and not the file that is missing
        click.echo(f"Note: {escaping.line(str(path))} did not exist; it is a new file", err=True)
    if alone := mounted_alone(path):
        click.echo(f"Note: {escaping.line(alone)}", err=True)
    need_own(path)


def _named(host: str) -> Iterator[str]:
    """Yield the host if it is a name, not an IP address: clients will send it as Host header."""
    if any(one.isalpha() for one in host) and ":" not in host:
        yield host


@contextmanager
def _supervised(wanted: bool, path: Path) -> Iterator[None]:
    if not wanted:
        yield
        return

    def say(line: str) -> None:
        click.echo(line, err=True)

    command = (sys.executable, "-m", "waxlocal", "--db", str(path), "daemon", "run")
    supervisor = Supervisor(command, say=say)
    supervisor.start()
    try:
        yield
    finally:
        supervisor.stop()


# -- as a service ---------------------------------------------------------------------------------


@serve.command("install", short_help="Install a systemd or launchd service.")
@unit_options(NAME, installs=True)
@_options
@db_option
@click.pass_context
def install(ctx: click.Context, /, *, asked: UnitRequest, **given: Any) -> None:
    """Write a systemd unit (on macOS a launchd job) that serves the file with these options.

    The unit belongs to this user, or with --system to the machine. Prints the commands to run next.
    """
    from waxlocal_daemon.runner import refuse_unusable
    from waxlocal_daemon.service_environment import of_server
    from waxlocal_daemon.service_units import SERVE, Service

    path = target_file_of(ctx).path
    named = os.environ.get(f"{_KEY_VARIABLE}_FILE")
    given["key_file"] = key_file = absolute(given["key_file"] or (Path(named) if named else None))
    if key_file is None and os.environ.get(_KEY_VARIABLE):
        click.echo(f"Note: {_KEY_VARIABLE} is not in the unit, which everybody may read", err=True)
        say_hint("write the key into a file (chmod 600), and give --key-file FILE")
    _check(path, given, key_file if key_file and key_file.exists() and not asked.system else None)
    if not asked.system:  # the machine's service may read what this user may not
        refuse_unusable(path)
    variables, secret = of_server(uploads=given["daemon"])
    if given["daemon"]:
        check_variables({"api_url": "", "allow_http": False}, variables)
    service = Service(
        path,
        asked.name,
        asked.system,
        asked.runs_as(path),
        key_file,
        words_of(serve.params, given),
        variables=variables,
        work=SERVE,
    )
    install_unit(service, secret, asked)


def _check(path: Path, given: dict[str, Any], key_file: Path | None) -> None:
    """Raise `ConfigurationError` for what `serve` would refuse; the key may come later."""
    from waxlocal.web import server
    from waxlocal.web.app import create_app

    if not given["port"]:
        raise click.UsageError("a service needs a port that others know: --port N")
    server.check_host(given["host"])
    if key_file is not None or given["key_file"] is None:  # else it may be read later
        server.check_key(given["host"], server.key_from(key_file, {}))
    create_app(
        path,
        allowed_hosts=(*_named(given["host"]), *given["allowed_hosts"]),
        trusted_proxies=given["trusted_proxies"],
        root_path=given["root_path"],
    )


add_uninstall(serve, NAME)
