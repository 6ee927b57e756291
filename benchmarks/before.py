"""One run on disk by this checkout, beside another one of waxlocal and both raw loops.

python -m benchmarks.before OTHER [--dir DIR] [--rounds 60] [--quick]

Ratios differ from machine to machine, and from day to day on a virtual one: whether a change made
recording slower, only a comparison with the code before it tells. Each variant records in a process
of its own, a block at a time, one after the other, the order reversed every round.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from benchmarks.report import arguments, directory, note, progress, table, title

ROOT = Path(__file__).parents[1]
BLOCK, WARM_UP_ROUNDS = 400, 2
# Only names that both checkouts have. It answers a line, the number of runs, with their median and
# mean in microseconds.
WORKER = """
import contextlib, statistics, sys, time
from pathlib import Path
from benchmarks.floors import LeanLoop, SameRowsLoop
from benchmarks.sdk import Sdk
from benchmarks.workload import turns

kind, path, clock = sys.argv[1], Path(sys.argv[2]), time.perf_counter_ns
recorder = {"sdk": Sdk, "same": SameRowsLoop, "lean": LeanLoop}[kind](path)
work, number = turns(2_000), 0
with recorder.current() if kind == "sdk" else contextlib.nullcontext():
    for line in sys.stdin:
        took = []
        for _ in range(int(line)):
            turn, number = work[number % len(work)], number + 1
            before = clock()
            recorder.record(turn)
            took.append(clock() - before)
        print(statistics.median(took) / 1e3, statistics.mean(took) / 1e3, flush=True)
"""


class Block(NamedTuple):
    """What the runs of a block took, in microseconds."""

    p50: float
    mean: float


class Worker:
    """A process that records in one way, a block when it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.blocks: list[Block] = []

    def record(self, runs: int) -> Block:
        """Let it record so many runs."""
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        pipe.write(f"{runs}\n")
        pipe.flush()
        return Block(*map(float, answers.readline().split()))


@contextmanager
def _worker(checkout: Path, kind: str, path: Path) -> Iterator[Worker]:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, kind, str(path)],
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Worker(process)


def _measure(workers: dict[str, Worker], rounds: int) -> None:
    for number in range(-WARM_UP_ROUNDS, rounds):
        for worker in list(workers.values())[:: 1 if number % 2 else -1]:
            block = worker.record(BLOCK)
            if number >= 0:
                worker.blocks.append(block)


def _row(name: str, worker: Worker, others: list[Worker]) -> list[str | float]:
    """Return the medians, and each other one's share as the median over the rounds."""
    p50, means = [one.p50 for one in worker.blocks], [one.mean for one in worker.blocks]
    row: list[str | float] = [name, median(p50), mean(means)]
    for other in others:
        pairs = zip(worker.blocks, other.blocks, strict=True)
        row.append(median(ours.p50 / theirs.p50 for ours, theirs in pairs))
        row.append(mean(means) / mean(one.mean for one in other.blocks))
    return row


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("other", type=Path, help="a checkout of waxlocal, such as the last release")
    parser.add_argument("--rounds", type=int, default=60, help="of 400 runs each")
    options = parser.parse_args()
    rounds = options.rounds // (10 if options.quick else 1)
    variants = {
        "waxlocal": (ROOT, "sdk"),
        "the other checkout": (options.other.resolve(), "sdk"),
        "floor: lean raw loop": (ROOT, "lean"),
        "floor: the same rows, raw loop": (ROOT, "same"),
    }
    title(f"One run, beside {options.other.name} ({rounds} rounds of {BLOCK} runs)")
    with ExitStack() as open_:
        place = open_.enter_context(directory(options.dir))
        workers = {}
        for number, (name, (checkout, kind)) in enumerate(variants.items()):
            progress(name)
            path = place / f"{number}.db"
            workers[name] = open_.enter_context(_worker(checkout, kind, path))
        _measure(workers, rounds)
    header = ["one run", "p50 µs", "mean µs"]
    for name in ("lean loop", "same rows"):
        header += [f"p50 x of {name}", f"mean x of {name}"]
    floors = [worker for name, worker in workers.items() if name.startswith("floor")]
    table(header, [_row(name, worker, floors) for name, worker in workers.items()])
    change = _row("", workers["waxlocal"], [workers["the other checkout"]])
    note(f"Against the other checkout: p50 {change[3]:.3f} x, mean {change[4]:.3f} x.")


if __name__ == "__main__":
    main()
