"""How many pages the log may hold before the writer copies it back: what each choice costs.

python -m benchmarks.checkpoints [--dir DIR] [--quick]
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.floors import SameRowsLoop
from benchmarks.measure import WARM_UP, Variant, alternated
from benchmarks.report import LATENCY, arguments, directory, latency_row, progress, table, title
from benchmarks.workload import turns

RUNS = 20_000
PAGES = (1_000, 2_000, 4_000, 10_000)


def measure(place: Path, runs: int) -> None:
    """Print the latencies of the same rows at each threshold, alternated in blocks."""
    work = turns(WARM_UP + runs)
    with ExitStack() as open_:
        variants = []
        for pages in PAGES:
            raw = SameRowsLoop(place / f"{pages}.db", checkpoint_pages=pages)
            loop = open_.enter_context(closing(raw))
            variants.append(Variant(f"{pages:,} pages", loop.record, work))
        taken = alternated(variants)
    rows = [latency_row(name, samples) for name, samples in taken.items()]
    table(("wal_autocheckpoint", *LATENCY), rows)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    title("Checkpoints by the writer: the same rows by a raw loop, flat out")
    with directory(options.dir) as place:
        progress(f"{len(PAGES)} thresholds, {RUNS:,} runs each")
        measure(place, RUNS // 10 if options.quick else RUNS)


if __name__ == "__main__":
    main()
