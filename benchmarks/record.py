"""One run on disk: waxlocal beside raw `sqlite3` loops and OpenTelemetry's queue, in one process.

python -m benchmarks.record [--dir DIR] [--quick]
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.floors import LeanLoop, SameRowsLoop
from benchmarks.measure import WARM_UP, Samples, Variant, after_idle, alternated
from benchmarks.peers import open_telemetry
from benchmarks.report import (
    LATENCY,
    arguments,
    directory,
    figure,
    latency_row,
    note,
    progress,
    table,
    title,
)
from benchmarks.sdk import Sdk
from benchmarks.workload import Turn, turns

RUNS = 20_000
FULL_RUNS = 3_000
IDLE_CALLS = 400

OURS = "waxlocal"
TUTORIAL = "waxlocal, the tutorial's turn"
LEAN = "floor: lean raw loop"
SAME = "floor: the same rows, raw loop"
OTEL = "OpenTelemetry batch queue, nothing kept"
OURS_FULL = "waxlocal, durability=full"
SAME_FULL = "floor: the same rows, synchronous = FULL"


def _variants(open_: ExitStack, place: Path, work: Sequence[Turn]) -> list[Variant]:
    ours = open_.enter_context(closing(Sdk(place / "ours.db")))
    tutorial = open_.enter_context(closing(Sdk(place / "tutorial.db")))
    lean = open_.enter_context(closing(LeanLoop(place / "lean.db")))
    same = open_.enter_context(closing(SameRowsLoop(place / "same.db")))
    variants = [
        Variant(OURS, ours.record, work, ours.current),
        Variant(LEAN, lean.record, work),
        Variant(SAME, same.record, work),
        Variant(TUTORIAL, tutorial.record_tutorial, work, tutorial.current),
    ]
    peer = open_telemetry()
    if peer is None:
        note("OpenTelemetry is left out: `opentelemetry-sdk` is not installed.")
    else:
        open_.enter_context(closing(peer))
        variants.append(Variant(OTEL, peer.record, work, peer.emptied))
    return variants


def _full_variants(open_: ExitStack, place: Path, work: Sequence[Turn]) -> list[Variant]:
    ours = open_.enter_context(closing(Sdk(place / "ours-full.db", durability="full")))
    same = open_.enter_context(closing(SameRowsLoop(place / "same-full.db", durability="full")))
    return [
        Variant(OURS_FULL, ours.record, work, ours.current),
        Variant(SAME_FULL, same.record, work),
    ]


def _print(taken: dict[str, Samples], floors: Sequence[str]) -> None:
    columns = [f"x of {name.partition(': ')[2]}" for name in floors]
    of = [taken[name] for name in floors]
    rows = [latency_row(name, samples, *of) for name, samples in taken.items()]
    table(("one run", *LATENCY, *columns), rows)


def _ratio(taken: dict[str, Samples], other: str) -> float:
    return taken[OURS].us(0.5) / taken[other].us(0.5)


def _flat_out(place: Path, runs: int) -> None:
    title(f"One run on disk, flat out ({runs:,} runs each)")
    with ExitStack() as open_:
        variants = _variants(open_, place, turns(WARM_UP + runs))
        progress(f"{len(variants)} variants, {runs:,} runs each")
        taken = alternated(variants)
    _print(taken, (LEAN, SAME))
    print()
    figure("p50 against a raw loop that writes the same rows", _ratio(taken, SAME), 1.08, " x")
    figure("p50 against the lean raw loop", _ratio(taken, LEAN), 1.22, " x")
    figure("p99.9", taken[OURS].ms(0.999), 8.0, " ms")
    if OTEL in taken:
        figure("p50 against OpenTelemetry's queue", _ratio(taken, OTEL), 1.6, " x")


def _full(place: Path, runs: int) -> None:
    title(f"The same, synced to the disk at each commit ({runs:,} runs each)")
    with ExitStack() as open_:
        progress(f"durability=full, {runs:,} runs each")
        taken = alternated(_full_variants(open_, place, turns(WARM_UP + runs)))
    _print(taken, (SAME_FULL,))


def _idle(place: Path, calls: int) -> None:
    title(f"One run on disk, after 10 ms of idling ({calls:,} calls each)")
    work = turns(WARM_UP + calls)
    with ExitStack() as open_:
        variants = _variants(open_, place, work)
        alternated([Variant(v.name, v.record, work[calls:], v.block) for v in variants])
        progress(f"{len(variants)} variants, {calls:,} calls each, 10 ms apart")
        taken = after_idle(variants, calls)
    _print(taken, (LEAN, SAME))
    print()
    figure("p50 after idling against the same rows", _ratio(taken, SAME), 1.3, " x")
    figure("p50 after idling against the lean raw loop", _ratio(taken, LEAN), 1.3, " x")


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    share = 10 if options.quick else 1
    for measure, count in ((_flat_out, RUNS), (_full, FULL_RUNS), (_idle, IDLE_CALLS)):
        with directory(options.dir) as place:
            measure(place, count // share)


if __name__ == "__main__":
    main()
