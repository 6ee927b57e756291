"""`waxlocal sync retry`: send again what the server refused, or what it has lost."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from waxlocal import wording
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.filled import filled
from waxlocal.cli.hints import say_hint
from waxlocal.cli.local_times import TIME_FORMS, local_period
from waxlocal.cli.server_options import load_settings, server_options
from waxlocal.cli.target_file import db_option, need_own, target_file_of
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.resend import Resend
from waxlocal.errors import NotFound
from waxlocal.queries import resolve_run_id, resolve_session_id
from waxlocal.storage.connection import reader, writer

__all__ = ["retry"]

_LIST_PARKED = "list the parked runs with: waxlocal sync parked"
_LOST = "what the server has lost is sent again with --session, --since, --missing or --all"
_SERVER = ("api_url", "profile", "key_file", "allow_http")


@click.command("retry", cls=Subcommand, short_help="Send parked or lost runs again.")
@click.argument("run_ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--missing",
    is_flag=True,
    help="Ask the server, and send the sessions again that it lacks, in whole or in part.",
)
@click.option(
    "--session",
    "session_id",
    callback=filled,
    metavar="ID",
    help="Send the delivered runs of this session again.",
)
@click.option(
    "--since",
    callback=filled,
    metavar="TIME",
    help=f"Send again what was delivered since: {TIME_FORMS}",
)
@click.option("--all", "everything", is_flag=True, help="Send all delivered runs again.")
@server_options
@db_option
@click.pass_context
def retry(ctx: click.Context, /, *, run_ids: tuple[str, ...], **chosen: Any) -> None:
    """Make parked runs pending again: the ones given by id or its beginning, otherwise all.

    With an option, runs that the server has lost: those that were delivered, to the server of
    --api-url or else to every one.
    """
    chosen["since"], _ = local_period(chosen["since"], None)
    path = target_file_of(ctx).path
    need_own(path)
    server = {name: chosen.pop(name) for name in _SERVER}
    kinds = [name for name, value in chosen.items() if value]
    if len(kinds) > 1 or (kinds and run_ids):
        raise click.UsageError(
            "give only one of these: ids, --missing, --session, --since, --all", ctx
        )
    if not kinds:
        count = _parked(path, run_ids)
    elif chosen["missing"]:
        count = _missing(path, server)
    else:
        url = server["api_url"] or None
        count = _lost(path, url, session_id=chosen["session_id"], since=chosen["since"])
    click.echo(f"{wording.counted(count, 'run')} pending again.")


def _parked(path: Path, run_ids: Sequence[str]) -> int:
    with reader(path) as connection:
        try:
            chosen = [resolve_run_id(connection, one) for one in run_ids]
        except NotFound as error:
            raise NotFound(str(error), hint=_LIST_PARKED) from error
    with writer(path) as connection:
        count = requeue(connection, chosen or None)
    if chosen and not count:
        raise NotFound(
            f"none of these runs is parked: {' '.join(map(shlex.quote, run_ids))}",
            hint=f"{_LIST_PARKED}; {_LOST}",
        )
    return count


def _lost(path: Path, url: str | None, *, session_id: str | None, since: str | None) -> int:
    """Make the runs of a session pending, or those delivered since a time, or all."""
    with Resend(path, url) as resend:
        if session_id:
            return resend.sessions([resolve_session_id(resend.connection, session_id)])
        return resend.since(since) if since else resend.all()


def _missing(path: Path, server: dict[str, Any]) -> int:
    from waxlocal_daemon.verify import verify

    settings = load_settings(**server)
    found = verify(path, settings)
    with Resend(path, settings.api_url, found.account) as resend:
        count = resend.sessions(found.lacking)
    if found.unlisted:
        click.echo("Note: the server lacks more than is sent at once", err=True)
        say_hint("once these are delivered: waxlocal sync retry --missing")
    return count
