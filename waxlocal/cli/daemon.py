"""`waxlocal daemon`: upload in the background, in the foreground of a shell or as a service."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from waxlocal import escaping, wording
from waxlocal.cli.commands import CommandGroup
from waxlocal.cli.filled import filled, filled_path
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.hints import say_hint
from waxlocal.cli.numbers import Count
from waxlocal.cli.output import DIM, Screen
from waxlocal.cli.server_options import SERVER_OPTIONS
from waxlocal.cli.service_checks import check_variables, warn_of_settings
from waxlocal.cli.services import (
    UnitRequest,
    absolute,
    add_uninstall,
    install_unit,
    unit_options,
    words_of,
)
from waxlocal.cli.target_file import db_option, need_own, target_file_of
from waxlocal.cli.usage_errors import OneOf, listed
from waxlocal.errors import FileMissing

if TYPE_CHECKING:
    from waxlocal.delivery.status import TargetStatus
    from waxlocal_daemon.lock import Holder

# Of the service.
NAME = "waxlocald"
# As `systemctl status` has it.
NOT_RUNNING = 3

__all__ = ["daemon"]

Command = TypeVar("Command", bound=Callable[..., Any])
# In the order of the help text; `daemon install` passes each on to `daemon run`.
_RUN_OPTIONS = (
    *SERVER_OPTIONS,
    click.option(
        "--metrics",
        default="",
        callback=filled,
        metavar="ADDR",
        help="Serve Prometheus metrics on HOST:PORT, or on PORT of loopback.",
    ),
    click.option(
        "--metrics-file",
        type=click.Path(readable=False),
        callback=filled_path,
        metavar="FILE",
        help="Write the metrics to a file, for node_exporter (*.prom).",
    ),
    click.option(
        "--log-format",
        type=OneOf(("logfmt", "json")),
        default="logfmt",
        show_default=True,
        help="The format of log lines on stderr.",
    ),
    click.option(
        "--nice",
        type=Count(0, 19),
        default=10,
        show_default=True,
        metavar="N",
        help="The nice value: how readily to yield the CPU; 0 keeps the normal priority.",
    ),
)


def _run_options(command: Command) -> Command:
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


@click.group(cls=CommandGroup, invoke_without_command=True)
@db_option
@click.pass_context
def daemon(ctx: click.Context) -> None:
    """Upload in the background: run the daemon, install it as a service, show its status."""
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"a command is missing; use {listed([*daemon.commands])}")


@daemon.command("run", short_help="Upload until stopped.")
@_run_options
@db_option
@click.pass_context
def run(
    ctx: click.Context,
    *,
    api_url: str,
    profile: str,
    key_file: Path | None,
    allow_http: bool,
    metrics: str,
    metrics_file: Path | None,
    log_format: str,
    nice: int,
) -> None:
    """Upload runs as they end, until SIGTERM or Ctrl-C. SIGHUP reloads the settings.

    Only one daemon uploads a file at a time. It logs to stderr. `waxlocald` is the same command.
    """
    from waxlocal.settings.upload_settings import UploadSettings
    from waxlocal_daemon.log import Log
    from waxlocal_daemon.runner import Options, run_daemon

    load = functools.partial(
        UploadSettings.load,
        api_url=api_url,
        profile=profile,
        key_file=key_file or "",
        allow_http=allow_http,
    )
    run_daemon(
        target_file_of(ctx).path,
        load,
        Options(metrics, metrics_file, nice),
        log=Log.from_environment(log_format),
    )


# -- as a service ---------------------------------------------------------------------------------


@daemon.command("install", short_help="Install a systemd or launchd service.")
@unit_options(NAME, installs=True)
@_run_options
@db_option
@click.pass_context
def install(ctx: click.Context, /, *, asked: UnitRequest, **given: Any) -> None:
    """Write a systemd unit (on macOS a launchd job) that runs the daemon with these options.

    The unit belongs to this user, or with --system to the machine. Prints the commands to run next.
    """
    from waxlocal_daemon.runner import Options, check_options, refuse_unusable
    from waxlocal_daemon.service_environment import handed_on
    from waxlocal_daemon.service_units import Service

    path = target_file_of(ctx).path
    check_options(Options(given["metrics"], given["metrics_file"]), path)
    if not asked.system:  # the machine's service may read what this user may not
        refuse_unusable(path)
    variables, secret = handed_on()
    check_variables(given, variables)
    service = Service(
        path,
        asked.name,
        asked.system,
        asked.runs_as(path),
        absolute(given["key_file"]),
        words_of(run.params, given),
        tuple(file.parent for file in (absolute(given["metrics_file"]),) if file),
        variables,
    )
    if not asked.system and not asked.only_print:
        warn_of_settings(given, variables)
    install_unit(service, secret, asked)


add_uninstall(daemon, NAME)


# -- how it is ------------------------------------------------------------------------------------


@daemon.command("status", short_help="Show whether the daemon is running, and what is pending.")
@form_options()
@click.pass_context
def status(ctx: click.Context, *, form: str) -> None:
    """Show which process uploads this file, since when, and how many runs are pending.

    For a service with a name of its own, give the file that it uploads with --db. The exit status
    is 3 if none does, as that of `systemctl status`.
    """
    from waxlocal.delivery.status import count_unsynced, delivery_status
    from waxlocal.storage.connection import reader
    from waxlocal_daemon.lock import holder

    path = target_file_of(ctx).path
    targets: tuple[TargetStatus, ...] = ()
    unsynced = 0
    exists = True
    try:
        need_own(path)
        with reader(path) as connection:
            targets, unsynced = delivery_status(connection), count_unsynced(connection)
    except FileMissing:
        exists = False  # the daemon may be waiting for the file to appear
    who = holder(path)
    if form == "json":
        print_json(_document(path, exists, who, targets, unsynced))
    else:
        _show(Screen(), path, exists, who, targets, unsynced)
    if who is None:
        ctx.exit(NOT_RUNNING)


def _document(
    path: Path, exists: bool, who: Holder | None, targets: tuple[TargetStatus, ...], unsynced: int
) -> dict[str, object]:
    return {
        "path": str(path),
        "exists": exists,
        "running": who is not None,
        "uploader": asdict(who) if who else None,
        "pending": sum(one.pending for one in targets) if targets else unsynced,
        "parked": sum(one.parked for one in targets),
        "paused": any(one.paused_at for one in targets),
        "targets": [asdict(one) for one in targets],
    }


def _show(
    screen: Screen,
    path: Path,
    exists: bool,
    who: Holder | None,
    targets: tuple[TargetStatus, ...],
    unsynced: int,
) -> None:
    if who:
        of = f"process {who.pid} on {escaping.line(who.host)}" if who.pid else "unknown process"
        since = f"since {screen.when(who.since)}" if who.since else ""
        screen.write(screen.text(screen.facts(escaping.line(who.command) or "running", of, since)))
    else:
        screen.write(screen.text("not running"))
    if not exists:
        screen.write(screen.text((f"{escaping.line(str(path))} does not exist yet.", DIM)))
    elif not targets:
        screen.write(screen.text(f"{wording.counted(unsynced, 'run')}, none uploaded yet"))
    for one in targets:
        screen.write(screen.text((escaping.line(one.url), "bold")))
        screen.write(screen.text("  " + _facts(screen, one)))
    if not who:
        say_hint("waxlocal daemon run, or: waxlocal daemon install")


def _facts(screen: Screen, one: TargetStatus) -> str:
    reason = escaping.line(one.reason or "")
    return screen.facts(
        f"{one.pending:,} pending",
        f"{one.parked:,} parked" if one.parked else "",
        f"{one.delivered:,} delivered",
        f"paused: {reason}" if one.paused_at else f"waiting: {reason}" if one.failures else "",
        f"last success {screen.when(one.last_success_at)}" if one.last_success_at else "",
    )
