"""`waxlocal demo`: a tour of the commands on sample conversations."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from waxlocal.cli.commands import Subcommand
from waxlocal.cli.cost_and_time import show_money, show_timing
from waxlocal.cli.demo_conversations import MAIN_SESSION
from waxlocal.cli.demo_delivery import (
    Hub,
    hub,
    travel,
    wait_for,
)
from waxlocal.cli.demo_recording import record_demo
from waxlocal.cli.hints import program
from waxlocal.cli.output import ACCENT, DIM, Screen
from waxlocal.cli.session import show_session
from waxlocal.cli.sessions import show_sessions
from waxlocal.cli.stats import show_statistics
from waxlocal.cli.target_file import (
    TargetFile,
    db_option_with,
    recordings,
    target_file_of,
    writable,
)
from waxlocal.queries import get_session, list_sessions, money, statistics, timing

__all__ = ["demo"]

FILE_NAME = "demo.db"


@click.command(cls=Subcommand)
@click.option("--serve", "stay", is_flag=True, help="Leave the local server running at the end.")
@db_option_with(f"{FILE_NAME} beside WAXLOCAL_DB, else beside the user's own file")
@click.pass_context
def demo(ctx: click.Context, *, stay: bool) -> None:
    """Record sample conversations, query them, and upload them to a local server.

    They are recorded into demo.db beside your own file, or into the file given with --db; the
    server uses demo-hub.db beside it. Your own recordings are not touched. No model is called, and
    nothing leaves the machine.
    """
    target = target_file_of(ctx)
    if not target.given:
        target = TargetFile(target.path.with_name(FILE_NAME), named=True, given=True)
    path = writable(target)
    record_demo(path)
    screen = Screen()
    _tour(screen, target)
    with hub(path) as to:
        travel(screen, path, to)
        _what_next(screen, path, to, stay)
        if stay:
            wait_for(to)


def _tour(screen: Screen, target: TargetFile) -> None:
    with recordings(target) as connection:
        found = list_sessions(connection)
        detail = get_session(connection, MAIN_SESSION)
        spent, took = money(connection, MAIN_SESSION), timing(connection, MAIN_SESSION)
        figures = statistics(connection)
        costliest = list_sessions(connection, ordering="-total_cost", limit=3)
        slowest = list_sessions(connection, ordering="-total_duration", limit=3)
    _step(screen, "Eight conversations, recorded just now", "sessions")
    show_sessions(screen, found)
    _step(screen, "One of them, turn by turn", f"session {MAIN_SESSION}")
    show_session(screen, detail)
    show_money(screen, spent)
    show_timing(screen, took)
    _step(screen, "What is typical, and what is not", "stats")
    show_statistics(screen, figures, costliest, slowest)


def _step(screen: Screen, title: str, command: str) -> None:
    screen.gap()
    screen.write(screen.text((title, f"bold {ACCENT}"), (f"    waxlocal {command}", DIM)))
    screen.gap()


def _what_next(screen: Screen, path: Path, to: Hub, stay: bool) -> None:
    start = f"{program()} --db {shlex.quote(str(path))}"
    screen.gap()
    screen.write(screen.text(("Try these next", f"bold {ACCENT}")))
    for command in (
        "sessions --order cost",
        "session sess_00000000000de307",
        "session sess_00000000000de305",
        "prices list",
        "sessions --status error",
    ):
        screen.command(f"{start} {command}")
    if stay:
        screen.write(screen.text(f"  the dashboard: {to.url}  (Ctrl-C stops it)"))
    else:
        again = f"{program()} --db {shlex.quote(str(to.path))} serve"
        screen.command(f"the dashboard: {again}")
    sys.stdout.flush()
