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
from waxlocal.cli.numbers import Count
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
from waxlocal.records import LARGEST_INTEGER

__all__ = ["demo"]

FILE_NAME = "demo.db"
LARGE_FILE_NAME = "demo-large.db"
# With fewer, there would be no room for those that stand out; more take minutes.
LEAST_SESSIONS, MOST_SESSIONS = 20, 100_000


@click.command(cls=Subcommand)
@click.option("--serve", "stay", is_flag=True, help="Leave the local server running at the end.")
@click.option(
    "--large", is_flag=True, help=f"Only record: thousands of sessions, into {LARGE_FILE_NAME}."
)
@click.option(
    "--sessions",
    type=Count(LEAST_SESSIONS, MOST_SESSIONS),
    default=3_000,
    show_default=True,
    metavar="N",
    help="With --large: so many sessions.",
)
@click.option(
    "--seed",
    type=Count(0, LARGEST_INTEGER),
    default=1,
    show_default=True,
    metavar="N",
    help="With --large: another number gives other conversations.",
)
@db_option_with(f"{FILE_NAME} beside WAXLOCAL_DB, else beside the user's own file")
@click.pass_context
def demo(ctx: click.Context, *, stay: bool, large: bool, sessions: int, seed: int) -> None:
    """Record sample conversations, query them, and upload them to a local server.

    They are recorded into demo.db beside your own file, or into the file given with --db; the
    server uses demo-hub.db beside it. Your own recordings are not touched. No model is called, and
    nothing leaves the machine.

    With --large, the conversations are those of sixty days: eight agents in the forms of as many
    libraries, with sub-agents, tools, failures, scores, images and seven languages. They are
    recorded into demo-large.db, for you to look at with any command or with the dashboard.
    """
    _refuse_without_large(ctx, large)
    target = target_file_of(ctx)
    if not target.given:
        name = LARGE_FILE_NAME if large else FILE_NAME
        target = TargetFile(target.path.with_name(name), named=True, given=True)
    path = writable(target)
    if large:
        from waxlocal.cli.large_demo import show_large

        show_large(path, sessions, seed)
        return
    record_demo(path)
    screen = Screen()
    _tour(screen, target)
    with hub(path) as to:
        travel(screen, path, to)
        _what_next(screen, path, to, stay)
        if stay:
            wait_for(to)


def _refuse_without_large(ctx: click.Context, large: bool) -> None:
    given = click.core.ParameterSource.COMMANDLINE
    for name in ("sessions", "seed") if not large else ("stay",):
        if ctx.get_parameter_source(name) is given:
            option = "--serve" if large else f"--{name}"
            where = "with" if large else "without"
            raise click.UsageError(f"{option} has no effect {where} --large", ctx)


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
