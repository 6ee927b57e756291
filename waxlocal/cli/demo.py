"""`waxlocal demo`: everything at a glance, on made-up conversations."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from waxlocal.cli.breakdown import show_money, show_timing
from waxlocal.cli.output import ACCENT, DIM, Screen
from waxlocal.cli.place import Place, db_option, place_of, recordings, writable
from waxlocal.cli.session import show_session
from waxlocal.cli.sessions import show_sessions
from waxlocal.cli.stats import show_statistics
from waxlocal.demo import MAIN_SESSION, record_demo
from waxlocal.queries import get_session, list_sessions, money, statistics, timing

__all__ = ["demo"]

FILE_NAME = "demo.db"


@click.command()
@db_option
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Record made-up conversations into a file of their own, and show what can be seen of them.

    The file is demo.db beside your own, or the one named by --db; your recordings are not touched.
    No model is called and nothing is sent anywhere.
    """
    place = place_of(ctx)
    if not place.given:
        place = Place(place.path.with_name(FILE_NAME), named=True, given=True)
    path = writable(place)
    record_demo(path)
    screen = Screen()
    _tour(screen, place)
    _what_next(screen, path)


def _tour(screen: Screen, place: Place) -> None:
    with recordings(place) as connection:
        found = list_sessions(connection)
        detail = get_session(connection, MAIN_SESSION)
        spent, took = money(connection, MAIN_SESSION), timing(connection, MAIN_SESSION)
        figures = statistics(connection)
        dearest = list_sessions(connection, ordering="-total_cost", limit=3)
        slowest = list_sessions(connection, ordering="-total_duration", limit=3)
    _step(screen, "Eight conversations, recorded just now", "sessions")
    show_sessions(screen, found)
    _step(screen, "One of them, turn by turn", f"session {MAIN_SESSION}")
    show_session(screen, detail)
    show_money(screen, spent)
    show_timing(screen, took)
    _step(screen, "What is normal, and what is not", "stats")
    show_statistics(screen, figures, dearest, slowest)


def _step(screen: Screen, title: str, command: str) -> None:
    screen.gap()
    screen.write(screen.text((title, f"bold {ACCENT}"), (f"    waxlocal {command}", DIM)))
    screen.gap()


def _what_next(screen: Screen, path: Path) -> None:
    start = f"waxlocal --db {shlex.quote(str(path))}"
    screen.gap()
    screen.write(screen.text(("Go on yourself", f"bold {ACCENT}")))
    for command in (
        "sessions --order cost",
        "session sess_00000000000de307",
        "session sess_00000000000de305",
        "prices list",
        "sessions --status error",
    ):
        screen.write(screen.text(f"  {start} {command}"))
