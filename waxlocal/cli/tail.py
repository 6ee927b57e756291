"""`waxlocal tail`: print runs as they end."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from waxlocal import escaping, wording
from waxlocal.cli import figures as format
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.local_times import time_of_day
from waxlocal.cli.numbers import Count
from waxlocal.cli.output import DIM, ERROR, Screen, status_style
from waxlocal.cli.target_file import need_own, target_file_of
from waxlocal.clock import SYSTEM_CLOCK, utc_text
from waxlocal.errors import FileMissing
from waxlocal.prices.table import price_pending
from waxlocal.queries import (
    RunSummary,
    as_dict,
    last_runs,
    recent_runs,
    reread_runs,
    short_run_id,
)
from waxlocal.records import RunStatus
from waxlocal.storage.connection import reader
from waxlocal.storage.paths import file_id
from waxlocal.storage.transaction import commits_of_others

__all__ = ["tail"]

# Cheap: asking SQLite for new commits takes microseconds.
POLL_S = 0.25
# Between commits, look this often for what no commit announces: a killed process.
LOOK_AGAIN_S = 1.0
_PAGE = 1_000
_INDENT = 10

Print = Callable[[sqlite3.Connection, RunSummary], None]


@click.command(cls=Subcommand)
@click.option(
    "-n",
    "--lines",
    type=Count(0, _PAGE),
    default=10,
    show_default=True,
    metavar="N",
    help="First show the last N runs.",
)
@click.option(
    "--session",
    "session_id",
    metavar="ID",
    default="",
    help="Only runs of the session whose id is this, or begins so.",
)
@form_options()
@click.pass_context
def tail(ctx: click.Context, *, lines: int, session_id: str, form: str) -> None:
    """Print each run when it ends, until Ctrl-C; `waxlocal show RUN_ID` shows all of one.

    Waits for the file if it does not exist yet. --json prints one JSON object per line.
    """
    path = target_file_of(ctx).path
    printed = _print_json if form == "json" else _printer(Screen())
    try:
        _follow(path, lines, printed, session_id)
    except KeyboardInterrupt:
        return


def _follow(path: Path, lines: int, show: Print, session_id: str) -> None:
    # If the file appears later, all of its runs are new.
    first: int | None = lines if file_id(path) else None
    waiting = False
    while True:
        try:
            need_own(path)
            price_pending(path)
            with reader(path) as connection:
                _Follower(connection, path, show, session_id).run(first)
            first = None
        except FileMissing:
            if not waiting:
                click.echo(f"Waiting for {escaping.line(str(path))}", err=True)
            waiting = True
        time.sleep(POLL_S)


class _Follower:
    """Follows one file until another file replaces it."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, show: Print, session_id: str = ""
    ) -> None:
        self._connection = connection
        self._path = path
        self._show = show
        self._session_id = session_id
        self._file = file_id(path)
        self._cursor = 0
        self._open: set[str] = set()

    def run(self, lines: int | None) -> None:
        """Show the last `lines` runs (None: all), then each run that ends."""
        if lines is not None:
            self._start(lines)
        version, looked = None, 0.0
        while self._file == file_id(self._path):
            now, seen = time.monotonic(), self._version()
            if seen != version or (self._open and now - looked >= LOOK_AGAIN_S):
                price_pending(self._path)
                self._look()
                version, looked = seen, now
            time.sleep(POLL_S)

    def _version(self) -> int:
        return commits_of_others(self._connection)

    def _start(self, lines: int) -> None:
        found = last_runs(self._connection, limit=_PAGE)
        self._cursor = found[-1].id if found else 0
        self._open = {run.run_id for run in found if run.status == RunStatus.RUNNING}
        ended = [run for run in found if run.status != RunStatus.RUNNING and self._is_wanted(run)]
        self._print(ended[len(ended) - lines :] if lines < len(ended) else ended)

    def _look(self) -> None:
        known = reread_runs(self._connection, self._open)
        ended = [run for run in known if run.status != RunStatus.RUNNING]
        self._open.difference_update(run.run_id for run in ended)
        while found := recent_runs(self._connection, after_id=self._cursor, limit=_PAGE):
            self._cursor = found[-1].id
            self._open.update(run.run_id for run in found if run.status == RunStatus.RUNNING)
            ended += [run for run in found if run.status != RunStatus.RUNNING]
        self._print(run for run in ended if self._is_wanted(run))

    def _is_wanted(self, run: RunSummary) -> bool:
        # Not looked up in the file: the session may be yet to come.
        return not self._session_id or (run.session_id or "").startswith(self._session_id)

    def _print(self, runs: Iterable[RunSummary]) -> None:
        for run in sorted(runs, key=lambda run: run.completed_at or run.started_at):
            self._show(self._connection, run)
        sys.stdout.flush()


def _print_json(_connection: sqlite3.Connection, run: RunSummary) -> None:
    print_json(as_dict(run), indent=None)


def _printer(screen: Screen) -> Print:
    before = utc_text(SYSTEM_CLOCK.time_ns())  # the times of today need no date

    def show(connection: sqlite3.Connection, run: RunSummary) -> None:
        nonlocal before
        ended = run.completed_at or run.started_at
        when = ended if screen.plain else time_of_day(ended, before)
        before = ended
        figures = screen.facts(
            format.duration(run.duration),
            *format.spent(run),
        )
        session = escaping.line(run.session_id) or "no session"
        status = (f"  {run.status}  ", status_style(run.status))
        screen.write(screen.text((f"{when}  ", DIM), session, status, figures))
        shown = run.run_id if screen.plain else short_run_id(connection, run.run_id)
        line = _second_line(screen, f"run {escaping.line(shown)}", run)
        screen.write(screen.text(" " * _INDENT, (line, _style(run))))

    return show


def _second_line(screen: Screen, name: str, run: RunSummary) -> str:
    """Return the run, its agent, and its error or else its message, cut on a terminal."""
    error = wording.failure(run.error_type, run.error)
    agent, words = escaping.line(run.agent_name), escaping.line(error or run.message)
    line = screen.facts(name, agent, words)
    most = screen.width - _INDENT
    return line if screen.plain or len(line) <= most else line[: most - 1].rstrip() + "…"


def _style(run: RunSummary) -> str:
    return ERROR if run.error or run.error_type else DIM
