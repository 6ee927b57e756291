"""`waxlocal sync`: upload by hand, and see how far the upload is."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from waxlocal import escaping, wording
from waxlocal.cli.formats import form_options, print_json, printed_rows
from waxlocal.cli.output import DIM, Column, Screen
from waxlocal.cli.target_file import db_option, need_own, place_of
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import (
    ParkedRun,
    TargetStatus,
    count_unsynced,
    delivery_status,
    list_parked,
)
from waxlocal.errors import ConfigurationError, DeliveryError, NotFound
from waxlocal.prices.table import price_pending
from waxlocal.queries import resolve_run_id
from waxlocal.storage.connection import reader, writer

if TYPE_CHECKING:
    from waxlocal.settings.upload_settings import UploadSettings
    from waxlocal_daemon.drain import Drained
    from waxlocal_daemon.uploader import Progress
    from waxlocal_daemon.verify import Verification

__all__ = ["sync"]

# How long `sync` goes on while nothing arrives.
PATIENCE_S = 30.0


def _server_options(command: Any) -> Any:
    for option in (
        click.option("--allow-http", is_flag=True, help="Send the key over plain http."),
        click.option("--key-file", type=click.Path(), default="", help="Read the key from a file."),
        click.option("--profile", default="", metavar="NAME", help="Of ~/.waxell/config."),
        click.option("--api-url", default="", metavar="URL", help="The server."),
    ):
        command = option(command)
    return command


def _settings(**given: Any) -> UploadSettings:
    from waxlocal.settings.upload_settings import UploadSettings

    settings = UploadSettings.load(**given)
    for note in settings.notes:
        click.echo(f"Note: {escaping.line(note)}", err=True)
    return settings


@click.group(invoke_without_command=True)
@_server_options
@click.option("--dry-run", is_flag=True, help="Print the requests that would leave, and send none.")
@click.option(
    "--patience",
    type=float,
    default=PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this long without progress.",
)
@form_options()
@click.pass_context
def sync(
    ctx: click.Context, /, *, dry_run: bool, patience: float, form: str, **server: Any
) -> None:
    """Upload what is pending, until nothing is.

    Ctrl-C ends it at any time; what was not answered goes again next time, and arrives once.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    path = place_of(ctx).path
    need_own(path)
    settings = _settings(**server)
    if dry_run:
        _print_requests(path, settings, form)
        return
    from waxlocal_daemon.drain import drain
    from waxlocal_daemon.log import Log

    with _interruptible() as stop, _shown_progress(form) as tell:
        done = drain(
            path,
            settings,
            log=Log.from_environment(),
            patience=patience,
            stop=stop,
            on_progress=tell,
        )
    _summarise(done, settings.api_url, form)


def _refuse_options(ctx: click.Context) -> None:
    """Refuse options that stand in front of a command that would not see them."""
    given = click.core.ParameterSource.COMMANDLINE
    for option in ctx.command.params:
        if option.name and ctx.get_parameter_source(option.name) is given and option.name != "db":
            raise click.UsageError(
                f"{option.opts[0]} has no effect on '{ctx.invoked_subcommand}' where it stands", ctx
            )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM end the upload in good order, and a second one at once."""
    stop = threading.Event()

    def end(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # Not click.echo: the handler may have interrupted a write to the same stream.
        os.write(2, b"Ending with what is on its way; again: at once.\n")

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown_progress(form: str) -> Iterator[Callable[[Progress], None] | None]:
    """Show a bar on stderr while there is a person to see it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if form != "screen" or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("uploading"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("upload", total=None)

        def tell(now: Any) -> None:
            bar.update(task, completed=now.delivered, total=now.delivered + now.pending)

        yield tell


def _summarise(done: Drained, url: str, form: str) -> None:
    now = done.progress
    parked = now.parked - done.parked_before
    if form == "json":
        print_json({**now._asdict(), "seconds": round(done.seconds, 3), "reason": done.reason})
    else:
        click.echo(
            f"{wording.counted(now.delivered, 'run')} delivered to {escaping.line(url)} "
            f"in {wording.duration(done.seconds)}; {now.pending:,} pending, {now.parked:,} parked."
        )
    if done.reason == "stopped":
        raise click.Abort
    if done.reason:
        raise DeliveryError(
            f"{wording.counted(now.pending, 'run')} could not be delivered: {done.reason}",
            hint="nothing is lost: waxlocal sync again later, or leave it to waxlocal daemon run",
        )
    if parked > 0:
        raise DeliveryError(
            f"the server refused {wording.counted(parked, 'run')}",
            hint="see why with: waxlocal sync parked",
        )


def _print_requests(path: Any, settings: UploadSettings, form: str) -> None:
    from waxlocal_daemon.dry_run import previews

    price_pending(path)  # as every command that shows costs: they go with the requests
    total = 0
    for one in previews(path, settings):
        total += 1
        headers = {"X-Wax-Key": "(the key)", **one.headers}
        body = escaping.json_text(one.body.decode())
        if form == "json":
            line = {"method": one.method, "url": one.url, "headers": headers, "body": body}
            click.echo(escaping.document(line, indent=None))
            continue
        click.echo(f"{one.method} {escaping.line(one.url)}")
        for name, value in headers.items():
            click.echo(f"{name}: {escaping.line(value)}")
        click.echo(f"\n{body}\n")
    click.echo(f"{wording.counted(total, 'request')}; none was sent.", err=True)


# -- how far it is --------------------------------------------------------------------------------


@sync.command("status", short_help="Show how far the upload is.")
@form_options()
@click.pass_context
def status(ctx: click.Context, *, form: str) -> None:
    """Show what is pending, parked and delivered, and which process uploads."""
    from waxlocal_daemon.lock import holder

    path = place_of(ctx).path
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
                "settings": settings if isinstance(settings, dict) else None,
            }
        )
        return
    if who:
        click.echo(
            f"{escaping.line(who.command) or 'Another'} (process {who.pid}) uploads this file."
        )
    screen = Screen()
    if targets:
        _show_targets(screen, targets)
    else:
        click.echo(f"{wording.counted(unsynced, 'run')}, none of them ever uploaded.")
        click.echo("Try: waxlocal sync --dry-run", err=True)
    screen.write(screen.text((_told_settings(settings), DIM)))


def _configured() -> dict[str, Any] | str:
    """Return the server of the settings and where they come from, or what is wrong with them."""
    from waxlocal.settings.upload_settings import UploadSettings

    try:
        settings = UploadSettings.load()
    except ConfigurationError as error:
        return str(error)
    return {"api_url": settings.api_url, "source": dict(settings.source)}


def _told_settings(settings: dict[str, Any] | str) -> str:
    if isinstance(settings, str):
        return f"settings: {escaping.line(settings)}"
    url, source = settings["api_url"], settings["source"]
    return escaping.line(
        f"settings: {url} from {source['api_url']}, the key from {source['api_key']}"
    )


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
            screen.write(screen.text(("  why: waxlocal sync parked", DIM)))


def _state_of(screen: Screen, target: TargetStatus) -> str:
    if target.paused_at:
        return f"paused since {screen.when(target.paused_at)}: {escaping.line(target.reason or '')}"
    if target.failures:
        return f"waiting: {escaping.line(target.reason or '')}"
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


@sync.command("parked", short_help="List what the server refused, and why.")
@click.option(
    "--limit", type=int, default=100, show_default=True, metavar="N", help="At most this many."
)
@form_options(csv=True)
@click.pass_context
def parked(ctx: click.Context, *, limit: int, form: str) -> None:
    """List what the server refused for good, and why. It stays in the file."""
    path = place_of(ctx).path
    need_own(path)
    with reader(path) as connection:
        found = list_parked(connection, limit)
    if printed_rows(form, _PARKED_COLUMNS, [asdict(one) for one in found]):
        return
    if not found:
        click.echo("Nothing is parked.")
        return
    _show_parked(Screen(), found)
    click.echo("Try: waxlocal sync retry, when the reason is gone", err=True)


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


@sync.command("retry", short_help="Make parked runs pending again.")
@click.argument("run_ids", nargs=-1, metavar="[ID]...")
@db_option
@click.pass_context
def retry(ctx: click.Context, run_ids: tuple[str, ...]) -> None:
    """Make parked runs pending again: those with these ids (or beginnings of ids), else all."""
    path = place_of(ctx).path
    need_own(path)
    with reader(path) as connection:
        chosen = [resolve_run_id(connection, one) for one in run_ids]
    with writer(path) as connection:
        count = requeue(connection, chosen or None)
    if chosen and not count:
        raise NotFound(
            f"none of these runs is parked: {' '.join(map(shlex.quote, run_ids))}",
            hint="list what is with: waxlocal sync parked",
        )
    click.echo(f"{wording.counted(count, 'run')} pending again.")


@sync.command("verify", short_help="Compare with what the server has.")
@_server_options
@form_options()
@click.pass_context
def verify(ctx: click.Context, /, *, form: str, **server: Any) -> None:
    """Ask the server for its sessions, and list those missing, doubled or different there."""
    from waxlocal_daemon.verify import verify as compare

    path = place_of(ctx).path
    need_own(path)
    result = compare(path, _settings(**server))
    if form == "json":
        print_json(asdict(result))
    else:
        _show_verification(Screen(), result)
    wrong = {one.session_id for one in (*result.missing, *result.doubled, *result.different)}
    if wrong:
        more = " or more" if result.unlisted else ""
        raise DeliveryError(
            f"{wording.counted(len(wrong), 'session')}{more} not there as here",
            hint="see what was sent: waxlocal sql \"SELECT * FROM requests WHERE run_id = '...'\"",
        )


def _show_verification(screen: Screen, result: Verification) -> None:
    for name in ("missing", "doubled", "different"):
        for one in getattr(result, name):
            there = "nothing" if one.there is None else one.there
            line = f"{one.session_id}  {one.field}: here {one.here}, there {there}"
            screen.write(screen.text((name, "bold"), f"  {escaping.line(line)}"))
    different = {one.session_id for one in result.different}
    screen.write(
        screen.text(
            f"{wording.counted(result.checked, 'session')} compared; "
            f"{len(result.missing):,} missing, {len(result.doubled):,} doubled, "
            f"{len(different):,} different; {len(result.waiting):,} still on their way."
        )
    )
    if result.unlisted:
        screen.write(
            screen.text(f"{wording.counted(result.unlisted, 'finding')} more, not listed.")
        )
