"""`waxlocal sync`: upload by hand; its subcommands have modules of their own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waxlocal import escaping, wording
from waxlocal.cli.commands import CommandGroup, refuse_options
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.hints import say_hint
from waxlocal.cli.numbers import Seconds
from waxlocal.cli.server_options import load_settings, server_options
from waxlocal.cli.sync_retry import retry
from waxlocal.cli.sync_status import parked, status
from waxlocal.cli.sync_verify import verify
from waxlocal.cli.target_file import need_own, target_file_of
from waxlocal.delivery.accounts import current_status
from waxlocal.delivery.status import delivery_status, last_refusal
from waxlocal.errors import DeliveryError
from waxlocal.prices.table import price_pending
from waxlocal.storage.connection import reader

if TYPE_CHECKING:
    from waxlocal.settings.upload_settings import UploadSettings
    from waxlocal_daemon.drain import Drained
    from waxlocal_daemon.uploader import Progress

__all__ = ["sync"]

# How long `sync` keeps trying while the server takes nothing.
PATIENCE_S = 30.0
# How a server answers that has no Waxell API at this URL.
_NO_SUCH_PATH = (404, 405)
LONGEST_PATIENCE_S = 365 * 24 * 3600.0


@click.group(cls=CommandGroup, invoke_without_command=True)
@server_options
@click.option("--dry-run", is_flag=True, help="Print the requests without sending any.")
@click.option(
    "--patience",
    type=Seconds(LONGEST_PATIENCE_S),
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
    """Upload runs until none is pending.

    Ctrl-C stops the upload. Requests that were not answered are sent again next time, and each run
    arrives once.
    """
    if ctx.invoked_subcommand is not None:
        refuse_options(ctx)
        return
    path = target_file_of(ctx).path
    need_own(path)
    settings = load_settings(**server)
    if dry_run:
        _print_requests(path, settings, form)
        return
    from waxlocal_daemon.drain import drain
    from waxlocal_daemon.log import Log

    with _interruptible() as stop, _shown_progress(form) as tell:
        done = drain(
            path,
            settings,
            log=Log.from_environment(without=("parked",)),  # the summary counts them
            patience=patience,
            stop=stop,
            on_progress=tell,
        )
    _summarise(done, path, settings, form)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM end the upload after its current requests; the second one, at once."""
    stop = threading.Event()

    def end(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # Not click.echo: the handler may have interrupted a write to the same stream.
        os.write(2, b"Stopping after the current requests; once more to stop at once.\n")

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown_progress(form: str) -> Iterator[Callable[[Progress], None] | None]:
    """Show a progress bar if stderr is a terminal; yield the function to call."""
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


def _summarise(done: Drained, path: Path, settings: UploadSettings, form: str) -> None:
    now = done.progress
    parked = now.parked - done.parked_before
    if form == "json":
        print_json({**now._asdict(), "seconds": round(done.seconds, 3), "reason": done.reason})
    else:
        url = escaping.line(settings.api_url)
        click.echo(
            f"{wording.counted(now.delivered, 'run')} delivered to {url} "
            f"in {wording.duration(done.seconds)}; {now.pending:,} pending, {now.parked:,} parked."
        )
    if done.reason == "stopped":
        raise click.Abort
    refused = _refused(parked, path, settings) if parked > 0 else None
    if done.reason:
        if refused is not None:
            click.echo(f"Note: {escaping.line(str(refused))}", err=True)
            say_hint(refused.hint)
        left = wording.counted(now.pending, "run") if now.pending else "what is pending"
        raise DeliveryError(
            f"{left} could not be delivered: {done.reason}",
            hint=_hint_for_pending(done, path, settings),
        )
    if refused is not None:
        raise refused


def _hint_for_pending(done: Drained, path: Path, settings: UploadSettings) -> str:
    from waxlocal_daemon.tls import hint_for
    from waxlocal_daemon.verdicts import NOT_JSON

    if done.key_refused:
        return settings.key_hint
    if NOT_JSON in done.reason and _never_accepted(path, settings):
        return f"{settings.url_hint}; no Waxell API answers there"
    later = "nothing is lost; run waxlocal sync again later, or waxlocal daemon run"
    return hint_for(done.reason) or later


def _refused(count: int, path: Path, settings: UploadSettings) -> DeliveryError:
    """Return the error for runs that were parked: the last reason, and what to do."""
    from waxlocal_daemon.verdicts import NOT_JSON

    with reader(path) as connection:
        last = last_refusal(connection, settings.api_url)
    why = "" if last is None else f": {last.reason}"
    hint = "see why with: waxlocal sync parked"
    foreign = last is not None and (last.status in _NO_SUCH_PATH or NOT_JSON in last.reason)
    if foreign and _never_accepted(path, settings):
        hint = f"{settings.url_hint}; once it is right: waxlocal sync retry"
    return DeliveryError(f"the server refused {wording.counted(count, 'run')}{why}", hint=hint)


def _never_accepted(path: Path, settings: UploadSettings) -> bool:
    with reader(path) as connection:
        targets = delivery_status(connection)
    found = current_status(targets, settings.api_url)
    return found is None or not found.last_success_at


def _print_requests(path: Any, settings: UploadSettings, form: str) -> None:
    from waxlocal_daemon.dry_run import PLACEHOLDERS, previews

    price_pending(path, wait=None)  # the requests contain costs
    total, placeholders = 0, False
    for one in previews(path, settings):
        total += 1
        placeholders |= one.has_placeholders
        headers = {"X-Wax-Key": "(the key)", **one.headers}
        body = escaping.json_text(one.body.decode())
        if form == "json":
            line = {"method": one.method, "url": one.url, "headers": headers, "body": body}
            print_json(line, indent=None)
            continue
        click.echo(f"{one.method} {escaping.line(one.url)}")
        for name, value in headers.items():
            click.echo(f"{name}: {escaping.line(value)}")
        click.echo(f"\n{body}\n")
    click.echo(f"{wording.counted(total, 'request')}; none was sent.", err=True)
    if placeholders:
        click.echo(
            f"{' and '.join(PLACEHOLDERS)} stand for what the server will assign to a run.",
            err=True,
        )


for _command in (status, parked, retry, verify):
    sync.add_command(_command)
