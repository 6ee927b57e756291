"""`waxlocal sync status` and `parked`: what is not uploaded yet, and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from waxlocal import escaping, wording
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import ROWS, form_options, print_json, printed_rows
from waxlocal.cli.hints import as_typed, say_hint
from waxlocal.cli.numbers import Count
from waxlocal.cli.output import DIM, Column, Screen
from waxlocal.cli.target_file import need_own, target_file_of
from waxlocal.delivery.accounts import current_status
from waxlocal.delivery.status import (
    ParkedRun,
    TargetStatus,
    count_unsynced,
    delivery_status,
    list_parked,
)
from waxlocal.errors import ConfigurationError
from waxlocal.queries.filters import MAX_OFFSET
from waxlocal.storage.connection import reader

if TYPE_CHECKING:
    from waxlocal.settings.upload_settings import UploadSettings

__all__ = ["parked", "status"]


@click.command("status", cls=Subcommand, short_help="Show how far the upload is.")
@form_options()
@click.pass_context
def status(ctx: click.Context, *, form: str) -> None:
    """Show what is pending, parked and delivered, and which process uploads."""
    from waxlocal_daemon.lock import holder

    path = target_file_of(ctx).path
    need_own(path)
    with reader(path) as connection:
        targets, unsynced = delivery_status(connection), count_unsynced(connection)
    who, settings = holder(path), _configured()
    if form == "json":
        print_json(
            {
                "targets": [asdict(target) for target in targets],
                "never_synced": unsynced if not targets else 0,
                "uploader": asdict(who) if who else None,
                "settings": _described(settings),
            }
        )
        return
    if who:
        name = escaping.line(who.command) or "Another program"
        process = f" (process {who.pid})" if who.pid else ""
        click.echo(f"{name}{process} uploads this file.")
    screen = Screen()
    if targets:
        _show_targets(screen, targets)
    else:
        click.echo(f"{wording.counted(unsynced, 'run')}, none uploaded yet.")
    screen.write(screen.text((_told_settings(settings), DIM)))
    if hint := _next(settings, targets):
        say_hint(hint)


def _configured() -> UploadSettings | ConfigurationError:
    """Return the settings, or why they cannot be used."""
    from waxlocal.settings.upload_settings import UploadSettings

    try:
        return UploadSettings.load()
    except ConfigurationError as error:
        return error


def _described(settings: UploadSettings | ConfigurationError) -> dict[str, Any] | None:
    """Return the server in the settings and where each comes from, without the key."""
    if isinstance(settings, ConfigurationError):
        return None
    return {"api_url": settings.api_url, "source": dict(settings.source)}


def _told_settings(settings: UploadSettings | ConfigurationError) -> str:
    if isinstance(settings, ConfigurationError):
        return f"settings: {escaping.line(str(settings))}"
    url, source = settings.api_url, settings.source
    return escaping.line(
        f"settings: {url} from {source['api_url']}, the key from {source['api_key']}"
    )


def _next(settings: UploadSettings | ConfigurationError, targets: tuple[TargetStatus, ...]) -> str:
    """Return what to do next, empty where nothing is to be done."""
    if isinstance(settings, ConfigurationError):
        return settings.hint
    if not targets:
        return "waxlocal sync --dry-run"
    found = current_status(targets, settings.api_url)
    return settings.key_hint if found is not None and found.paused_at else ""


def _show_targets(screen: Screen, targets: tuple[TargetStatus, ...]) -> None:
    for target in targets:
        screen.write(
            screen.text((escaping.line(target.url), "bold"), "  ", _state_of(screen, target))
        )
        facts = screen.facts(
            f"{target.pending:,} pending",
            f"{target.open:,} still running" if target.open else "",
            f"{target.parked:,} parked" if target.parked else "",
            f"{target.delivered:,} delivered",
        )
        screen.write(screen.text(f"  {facts}"))
        when = screen.facts(
            f"oldest pending {screen.when(target.oldest_pending_at)}"
            if target.pending and target.oldest_pending_at
            else "",
            f"last success {screen.when(target.last_success_at)}"
            if target.last_success_at
            else "never delivered",
        )
        screen.write(screen.text((f"  {when}", DIM)))
        if target.parked:
            screen.command(as_typed("why: waxlocal sync parked"))


def _state_of(screen: Screen, target: TargetStatus) -> str:
    if target.paused_at:
        return f"paused since {screen.when(target.paused_at)}: {escaping.line(target.reason or '')}"
    if target.failures:
        return f"waiting: {escaping.line(target.reason or '')}"
    if target.pending_reason:
        return f"tried again later: {escaping.line(target.pending_reason)}"
    return "" if target.pending else "up to date"


_PARKED_COLUMNS = (
    "run_id",
    "session_id",
    "agent_name",
    "started_at",
    "url",
    "stage",
    "part",
    "status",
    "reason",
    "records",
    "bytes",
    "attempts",
    "last_attempt_at",
)


@click.command(
    "parked", cls=Subcommand, short_help="List the runs that the server refused, and why."
)
@click.option(
    "--limit",
    type=Count(1, MAX_OFFSET),
    default=100,
    show_default=True,
    metavar="N",
    help="At most this many.",
)
@form_options(*ROWS)
@click.pass_context
def parked(ctx: click.Context, *, limit: int, form: str) -> None:
    """List the runs that the server refused for good, and why. They stay in the file."""
    path = target_file_of(ctx).path
    need_own(path)
    with reader(path) as connection:
        found = list_parked(connection, limit)
    if printed_rows(form, _PARKED_COLUMNS, [asdict(one) for one in found]):
        return
    if not found:
        click.echo("Nothing is parked.")
        return
    _show_parked(Screen(), found)
    say_hint("waxlocal sync retry, once the cause is fixed")


def _show_parked(screen: Screen, found: list[ParkedRun]) -> None:
    columns = [
        Column("Run"),
        Column("Started"),
        Column("Request"),
        Column("Records", right=True),
        Column("Bytes", right=True),
        Column("Reason", least=20),
    ]
    rows = [
        (
            one.run_id or "(no run)",
            screen.when(one.started_at) if one.started_at else "",
            one.stage or "run",
            f"{one.records:,}",
            f"{one.bytes:,}",
            escaping.line(one.reason),
        )
        for one in found
    ]
    screen.write(screen.table(columns, rows))
