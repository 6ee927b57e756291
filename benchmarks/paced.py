"""One program that records 100 runs a second, alone and beside a daemon or a server.

python -m benchmarks.paced [--dir DIR] [--seconds 60] [--only NAME] [--quick]

Nothing here runs flat out, so the slow calls are those that met a checkpoint. The program that
records, and the raw loop, each run in a process of their own; the daemon uploads what is recorded,
in batches, to a server that does nothing. Not part of `benchmarks.all`.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from pathlib import Path

from benchmarks.floors import SameRowsLoop
from benchmarks.measure import Samples
from benchmarks.report import (
    LATENCY,
    arguments,
    directory,
    figure,
    latency_row,
    number,
    progress,
    table,
    title,
)
from benchmarks.sdk import Sdk, know_the_price
from benchmarks.serve import server
from benchmarks.sync import receiver
from benchmarks.workload import Turn, turns
from waxlocal.storage.log_file import log_size

ROOT = Path(__file__).parents[1]
Beside = Callable[[Path], AbstractContextManager[object]]
RUNS_PER_S = 100
# The first second: the file is opened, caches are cold.
WARM_UP = RUNS_PER_S
FLOOR = "floor: the same rows, raw loop"
ALONE = "waxlocal, alone"
BOUND_MS = 1.2


def _alone(_path: Path) -> AbstractContextManager[object]:
    return nullcontext()


@contextmanager
def _daemon(path: Path) -> Iterator[None]:
    """Upload the file by `waxlocal daemon`, in a process of its own."""
    with ExitStack() as open_:
        port = open_.enter_context(receiver("--bulk"))
        environment = {name: value for name, value in os.environ.items() if name[:3] != "WAX"}
        environment |= {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}",
            "WAXELL_API_KEY": "wax_sk_benchmark",
            "WAXELL_API_URL": f"http://127.0.0.1:{port}",
        }
        process = open_.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "waxlocal", "--db", str(path), "daemon", "run"],
                env=environment,
                cwd=ROOT,
                stderr=subprocess.DEVNULL,
            )
        )
        open_.callback(process.terminate)
        time.sleep(1.0)  # it imports, and gets to work
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended with exit code {process.returncode}")
        yield


def _at_pace(record: Callable[[Turn], object], seconds: float) -> list[int]:
    """Record at an even pace; return the nanoseconds that each run took."""
    work = turns(1_000)
    clock, taken = time.perf_counter_ns, array("q")
    gc.collect()
    gc.freeze()
    begin = time.perf_counter()
    for index in range(WARM_UP + round(seconds * RUNS_PER_S)):
        time.sleep(max(begin + index / RUNS_PER_S - time.perf_counter(), 0))
        before = clock()
        record(work[index % len(work)])
        taken.append(clock() - before)
    return taken[WARM_UP:].tolist()


def _child(name: str, path: Path, seconds: float) -> None:
    """Record as one variant does, and print the times."""
    if name == FLOOR:
        with closing(SameRowsLoop(path)) as loop:
            taken = _at_pace(loop.record, seconds)
    else:
        with closing(Sdk(path)) as sdk, sdk.current():
            taken = _at_pace(sdk.record, seconds)
    print(json.dumps(taken))


def _measure(name: str, beside: Beside, place: Path, seconds: float) -> tuple[Samples, float]:
    """Return the times of one variant, and the longest log in MB."""
    path = place / "paced.db"
    know_the_price(path)
    longest = 0
    with beside(path):
        command = [sys.executable, "-m", "benchmarks.paced", "--child", name, str(path)]
        with subprocess.Popen(
            [*command, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            end = time.monotonic() + seconds
            while time.monotonic() < end and process.poll() is None:
                longest = max(longest, log_size(path))
                time.sleep(0.1)
            taken = json.loads(process.stdout.read())
    return Samples(taken), longest / (1 << 20)


def main() -> None:
    """Measure and print."""
    if "--child" in sys.argv:
        name, path, child_seconds = sys.argv[sys.argv.index("--child") + 1 :]
        _child(name, Path(path), float(child_seconds))
        return
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each variant")
    parser.add_argument("--only", default="", metavar="NAME", help="part of a variant's name")
    options = parser.parse_args()
    seconds = options.seconds / (10 if options.quick else 1)
    variants: dict[str, Beside] = {
        FLOOR: _alone,
        ALONE: _alone,
        "waxlocal, beside the daemon": _daemon,
        "waxlocal, beside serve": server,
    }
    title(f"{RUNS_PER_S} runs a second for {number(seconds)} s")
    rows, bounded = [], {}
    for name, beside in variants.items():
        if options.only not in name:
            continue
        progress(name)
        with directory(options.dir) as place:
            taken, log = _measure(name, beside, place, seconds)
        rows.append([*latency_row(name, taken), log])
        if beside is not _alone:
            bounded[name] = taken.ms(0.999)
    table(("one run", *LATENCY, "longest log MB"), rows)
    print()
    for name, measured in bounded.items():
        figure(f"p99.9, {name}", measured, BOUND_MS, " ms")


if __name__ == "__main__":
    main()
