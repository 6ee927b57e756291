"""One run into a file that already holds a million, beside one into an empty file.

python -m benchmarks.many [--dir DIR] [--quick]
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

from benchmarks.fill import RUNS, copy_file, filled, warm
from benchmarks.floors import SameRowsLoop
from benchmarks.measure import WARM_UP, Samples, Variant, after_idle, alternated
from benchmarks.report import (
    LATENCY,
    arguments,
    directory,
    figure,
    latency_row,
    progress,
    table,
    title,
)
from benchmarks.sdk import Sdk
from benchmarks.workload import Turn, into_sessions, turns

TIMED = 20_000
IDLE_CALLS = 300

EMPTY = "waxlocal, empty file"
FULL = "waxlocal, full file"
RETURNING = "waxlocal, full file, old sessions"
EMPTY_FLOOR = "floor: the same rows, empty file"
FULL_FLOOR = "floor: the same rows, full file"


def _old_sessions(path: Path, count: int) -> list[Turn]:
    """Return turns of sessions that the file has, picked at random: each touches a cold page."""
    with closing(sqlite3.connect(path)) as connection:
        ids = [row[0] for row in connection.execute("SELECT session_id FROM sessions").fetchall()]
    return list(into_sessions(Random(3).choices(ids, k=count)))


def _variants(open_: ExitStack, place: Path, full: Path, count: int) -> list[Variant]:
    new, old = turns(count), _old_sessions(full, count)
    for name in ("full.db", "full-floor.db"):
        copy_file(full, place / name)
    os.sync()  # what is still to be written of the copies must not be written meanwhile
    for name in ("full.db", "full-floor.db"):
        warm(place / name)
    sdk = {name: open_.enter_context(closing(Sdk(place / name))) for name in ("e.db", "full.db")}
    raw = {
        name: open_.enter_context(closing(SameRowsLoop(place / name)))
        for name in ("e-floor.db", "full-floor.db")
    }
    empty, million = sdk["e.db"], sdk["full.db"]
    return [
        Variant(EMPTY, empty.record, new, empty.current),
        Variant(FULL, million.record, new, million.current),
        Variant(RETURNING, million.record, old, million.current),
        Variant(EMPTY_FLOOR, raw["e-floor.db"].record, new),
        Variant(FULL_FLOOR, raw["full-floor.db"].record, new),
    ]


def _print(taken: dict[str, Samples]) -> None:
    empty, floor = taken[EMPTY], taken[EMPTY_FLOOR]
    rows: Sequence[list[str | float]] = [
        latency_row(name, samples, floor if name.startswith("floor") else empty)
        for name, samples in taken.items()
    ]
    table(("one run", *LATENCY, "x of its empty file"), rows)
    print()


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    share = 10 if options.quick else 1
    with directory(options.dir) as place, ExitStack() as open_:
        full = filled(options.dir or place, RUNS // share)
        timed, idle = TIMED // share, IDLE_CALLS // share
        variants = _variants(open_, place, full, WARM_UP + timed)
        title(f"One run into a file of {RUNS // share:,} runs, flat out ({timed:,} runs each)")
        progress(f"{len(variants)} variants, {timed:,} runs each")
        taken = alternated(variants)
        _print(taken)
        ratio = taken[FULL].us(0.5) / taken[EMPTY].us(0.5)
        figure("p50 against an empty file", ratio, 2.0, " x")
        title(f"The same after 10 ms of idling ({idle:,} calls each)")
        _print(after_idle(variants, idle))


if __name__ == "__main__":
    main()
