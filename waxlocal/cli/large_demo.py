"""`waxlocal demo --large`: a file of realistic conversations, to look at and to test with."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from pathlib import Path
from random import Random

from waxlocal.cli.demo_recording import ScriptedClock, make_room, recording_into
from waxlocal.cli.hints import program
from waxlocal.cli.output import ACCENT, Screen
from waxlocal.cli.scenarios.customer import customer_talks
from waxlocal.cli.scenarios.schedule import ordinary_talks
from waxlocal.cli.scenarios.talk import SECOND, Talk
from waxlocal.cli.scenarios.unusual import EXPENSIVE, digest_talks, unusual_talks
from waxlocal.cli.talk_player import WORKFLOW, Spoken, TalkPlayer
from waxlocal.clock import SYSTEM_CLOCK
from waxlocal.ids import RunIds
from waxlocal.prices.table import price_pending
from waxlocal.storage.paths import file_size

__all__ = ["record_large", "show_large"]

# No turn takes longer: all that begin before end before now.
_LONGEST_TURN = 270 * SECOND


def show_large(path: Path, sessions: int, seed: int) -> None:
    """Record the sessions, with a bar on a terminal, and say how to look at them."""
    with _shown_progress(sessions) as tell:
        runs = len(record_large(path, sessions, seed, tell=tell))
    screen = Screen()
    size = file_size(path) / 1e6
    screen.write(
        screen.text(f"{sessions:,} sessions with {runs:,} runs of the last 60 days: {size:,.0f} MB")
    )
    screen.gap()
    screen.write(screen.text(("Try these next", f"bold {ACCENT}")))
    start = f"{program()} --db {shlex.quote(str(path))}"
    for command in (
        "sessions --order cost",
        "sessions --user user-42",
        """search '"refund within 14 days"'""",
        f"session {EXPENSIVE}",
        "stats",
        "serve",
    ):
        screen.command(f"{start} {command}")


@contextmanager
def _shown_progress(sessions: int) -> Iterator[Callable[[int], None]]:
    """Show a bar if stderr is a terminal; yield the function to call."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done: None
        return
    columns = (TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TextColumn("sessions"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("record", total=sessions)
        yield lambda done: bar.update(task, completed=min(done, sessions))


def record_large(
    path: Path,
    sessions: int,
    seed: int = 1,
    now_ns: int | None = None,
    tell: Callable[[int], None] = lambda _done: None,
) -> list[Spoken]:
    """Record so many sessions of the sixty days before `now_ns` into `path`.

    The same arguments give the same ids, times and texts. `tell` is told how many sessions have
    ended. Returns what was said in each run, in the order of recording. Replaces an earlier large
    demo; raises `ConfigurationError` for a file that holds any other run, and leaves it unchanged;
    raises `StorageError`.
    """
    make_room(path, WORKFLOW, most=None)
    now_ns = SYSTEM_CLOCK.time_ns() if now_ns is None else now_ns
    clock = ScriptedClock(now_ns)
    players = [TalkPlayer(talk, clock) for talk in _talks(sessions, seed, now_ns)]
    with recording_into(path, clock, RunIds(Random(f"ids {seed}").getrandbits)):
        spoken = list(_played(players, now_ns - _LONGEST_TURN, tell))
    price_pending(path)
    return spoken


def _talks(sessions: int, seed: int, now_ns: int) -> Iterator[Talk]:
    special = [*unusual_talks(seed, now_ns), *customer_talks(seed, now_ns)]
    yield from special
    yield from digest_talks(seed, now_ns)
    yield from ordinary_talks(max(sessions - len(special), 0), seed, now_ns)


def _played(
    players: list[TalkPlayer], until_ns: int, tell: Callable[[int], None]
) -> Iterator[Spoken]:
    """Play the turns of all conversations in the order of time, as they would have arrived."""
    waiting = [(player.next_ns, number) for number, player in enumerate(players)]
    heapify(waiting)
    done = 0
    while waiting:
        at, number = heappop(waiting)
        player = players[number]
        if at <= until_ns:
            yield from player.play()
        if at > until_ns or player.is_over:
            done += 1
            tell(done)
        else:
            heappush(waiting, (player.next_ns, number))
