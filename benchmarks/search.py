"""Full-text search of a million runs, and what recording costs while its index is made.

python -m benchmarks.search [--dir DIR] [--quick]
"""

from __future__ import annotations

import http.client
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.fill import RUNS, filled
from benchmarks.measure import Samples
from benchmarks.report import arguments, directory, figure, number, progress, table, title
from benchmarks.sdk import Sdk
from benchmarks.serve import server
from benchmarks.workload import turns
from waxlocal.search.building import bring_up_to_date
from waxlocal.search.index_file import index_path
from waxlocal.wire import paths

ROUNDS = 30
LINES = (
    "the",
    "cheaper our",
    '"cheaper our"',
    "nowhere",
    "user:user_0131 the",
    "agent:coder model:gpt-4o slow",
    "the -slow",
    "cost:>0.05 the",
    "turns:>27",
    "turns:>1000",
    "after:2020-01-01 before:2020-02-01 the",
    "status:error",
)
# Runs in one go with somebody who makes the index, and then without.
BLOCK = 500
BLOCKS = 20


def _ask(port: int, path: str, rounds: int) -> dict[str, Samples]:
    """Return how long the first page of each line takes, from the request to the last byte."""
    taken = {line: Samples() for line in LINES}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for count in range(rounds + 1):
            for line, samples in taken.items():
                before = time.perf_counter_ns()
                connection.request("GET", f"{path}?{urlencode({'q': line})}")
                answer = connection.getresponse()
                told = answer.read()
                assert answer.status == 200, told
                if count:  # the first is not warm
                    samples.add(time.perf_counter_ns() - before)
    return taken


def _index(path: Path) -> None:
    _remove_index(path)
    before = time.monotonic()
    bring_up_to_date(path)
    took = time.monotonic() - before
    share = index_path(path).stat().st_size / path.stat().st_size
    print(f"The index is made in {number(took)} s; it takes {share:.0%} of the file.\n")


def _measure_questions(path: Path, rounds: int) -> None:
    with server(path) as served:
        pages = _ask(served.port, "/search", rounds)
        api = _ask(served.port, paths.SEARCH, rounds)
    rows: list[list[str | float]] = [
        [f"`{line}`", pages[line].ms(0.5), pages[line].ms(0.95), api[line].ms(0.5)]
        for line in LINES
    ]
    table(("first page, warm", "page: median ms", "p95 ms", "API: median ms"), rows)
    print()
    figure("slowest line, page, median", max(one.ms(0.5) for one in pages.values()), 50, " ms")


def _remove_index(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{index_path(path)}{ending}").unlink(missing_ok=True)


def _make_anew(path: Path, begun: Event) -> None:
    while True:
        _remove_index(path)
        bring_up_to_date(path, 0.1)
        begun.set()
        bring_up_to_date(path)


@contextmanager
def _made(path: Path) -> Iterator[None]:
    """Have another process make the index in the block."""
    processes = multiprocessing.get_context("spawn")
    begun = processes.Event()
    process = processes.Process(target=_make_anew, args=(path, begun))
    process.start()
    begun.wait()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _measure_recording(path: Path, blocks: int) -> None:
    without, meanwhile = Samples(), Samples()
    with closing(Sdk(path)) as sdk, sdk.current():
        sdk.record(turns(1)[0])
        for count in range(blocks):
            progress(f"block {count + 1} of {blocks}")
            without.time(sdk.record, turns(BLOCK))
            with _made(path):
                meanwhile.time(sdk.record, turns(BLOCK))
    rows: list[list[str | float]] = [
        [name, one.us(0.5), one.us(0.95), one.us(0.99)]
        for name, one in (("without", without), ("while the index is made", meanwhile))
    ]
    table(("one run", "p50 µs", "p95 µs", "p99 µs"), rows)
    print()
    ratio = meanwhile.us(0.5) / without.us(0.5)
    figure("recording while the index is made, p50", ratio, 1.1, " x")


def main() -> None:
    """Measure, and print the tables."""
    options = arguments(__doc__).parse_args()
    runs = RUNS // 50 if options.quick else RUNS
    with directory(options.dir) as place:
        path = filled(place, runs)
        title(f"Search in {runs:,} runs")
        _index(path)
        _measure_questions(path, 3 if options.quick else ROUNDS)
        title("Recording while the index is made")
        _measure_recording(path, 2 if options.quick else BLOCKS)


if __name__ == "__main__":
    main()
