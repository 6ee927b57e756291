"""The local server: what programs wait for that record to it or ask it, and its pages.

python -m benchmarks.serve [--python PATH] [--dir DIR] [--runs 1000000] [--quick]

PATH is a Python that has `waxell-observe` 0.1.10; without it the one that runs this is tried.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from benchmarks.fill import RUNS, copy_file, filled, warm
from benchmarks.measure import Samples
from benchmarks.original import VERSION, Original, version_of
from benchmarks.report import arguments, directory, figure, note, progress, table, title
from benchmarks.sdk import Sdk
from benchmarks.sync import receiver, record
from benchmarks.workload import turns
from waxlocal.delivery.records import load_runs
from waxlocal.queries import list_sessions, recent_runs
from waxlocal.storage.connection import reader
from waxlocal.wire import paths
from waxlocal.wire.bulk import Batch, Offer, batch_of

ROOT = Path(__file__).parents[1]
ROUNDS = 8
BLOCK = 40
BULK_RUNS = 20_000
ASKED = 600
WRITTEN_PER_S = 200
API = paths.SESSIONS
LISTS = {
    "newest": f"{API}?limit=20",
    "of a user": f"{API}?limit=20&user_id=user_0042",
    "most_expensive": f"{API}?limit=20&ordering=-total_cost",
}


class Served(NamedTuple):
    """A server in a process of its own."""

    port: int
    pid: int


@contextmanager
def server(path: Path) -> Iterator[Served]:
    """Serve a file from a process of its own."""
    command = [sys.executable, "-m", "waxlocal", "--db", str(path), "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}"}
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = urlsplit(process.stdout.readline().strip()).port or 0
            yield Served(port, process.pid)
        finally:
            process.terminate()


def _recording(place: Path, rounds: int, python: str) -> None:
    """Measure what the original SDK waits for, at our server and at one that does nothing."""
    taken = {name: Samples() for name in ("null server", "waxlocal serve")}
    with ExitStack() as open_:
        ports = (
            open_.enter_context(receiver()),
            open_.enter_context(server(place / "sdk.db")).port,
        )
        sdks = {
            name: open_.enter_context(closing(Original(python, port, place)))
            for name, port in zip(taken, ports, strict=True)
        }
        for sdk in sdks.values():
            sdk.record(turns(BLOCK), enforce_policy=True, with_step_and_score=True)
        for index in range(rounds):
            progress(f"round {index + 1} of {rounds}")
            block = turns(BLOCK)
            for name in list(taken)[:: 1 if index % 2 else -1]:
                times = sdks[name].record(block, enforce_policy=True, with_step_and_score=True)
                taken[name].values.extend(times)
    _print_times(f"waxell-observe {VERSION}, one run", taken)
    ratio = taken["waxlocal serve"].us(0.5) / taken["null server"].us(0.5)
    figure("the original SDK at our server, against a null server", ratio, 1.25, " x")


def _print_times(what: str, taken: dict[str, Samples]) -> None:
    rows = [[name, one.ms(0.5), one.ms(0.99), one.max_us / 1_000] for name, one in taken.items()]
    table((what, "p50 ms", "p99 ms", "max ms"), rows)
    print()


def _batches(path: Path) -> list[Batch]:
    offer = Offer(paths.BULK, 500, 2 * 1024 * 1024)
    batches, after = [], 0
    with reader(path) as connection:
        while page := recent_runs(connection, after_id=after, limit=500):
            after = page[-1].id
            runs = load_runs(connection, [run.run_id for run in page])
            while runs:
                batches.append(batch_of(runs, offer))
                runs = runs[len(batches[-1].sizes) :]
    return batches


def _bulk(place: Path, count: int) -> None:
    progress(f"recording {count} runs")
    record(place / "source.db", count)
    batches = _batches(place / "source.db")
    with server(place / "bulk.db") as to:
        began = time.perf_counter()
        halves = [
            threading.Thread(target=_post, args=(to.port, batches[first::2])) for first in (0, 1)
        ]
        for half in halves:
            half.start()
        for half in halves:
            half.join()
        rate = count / (time.perf_counter() - began)
    with reader(place / "bulk.db") as connection:
        sessions = list_sessions(connection, limit=1000)
    if sum(session.run_count for session in sessions) != min(count, 10_000) and count <= 10_000:
        note("NOT VALID: not all runs are in the file.")
    figure("bulk ingest, one process", rate, 10_000, " runs/s", at_least=True)


def _post(port: int, batches: Sequence[Batch]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for batch in batches:
        connection.request("POST", batch.path, batch.body, dict(batch.headers))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or b"refused" in body:
            raise RuntimeError(f"{answer.status}: {body[:500]!r}")
    connection.close()


def _write(path: Path, stop: multiprocessing.synchronize.Event) -> None:
    """Record so many runs a second until told to stop."""
    work = turns(2_000)
    with closing(Sdk(path)) as sdk, sdk.current():
        begin = time.perf_counter()
        for index in range(1_000_000):
            sdk.record(work[index % len(work)])
            if stop.wait(max(begin + index / WRITTEN_PER_S - time.perf_counter(), 0)):
                return


def _asking(path: Path, count: int) -> None:
    """Measure lists over HTTP while others record into the same file."""
    stop = multiprocessing.Event()
    writing = multiprocessing.Process(target=_write, args=(path, stop))
    taken = {name: Samples() for name in LISTS}
    with server(path) as to:
        writing.start()
        connection = http.client.HTTPConnection("127.0.0.1", to.port)
        for _ in range(3):
            for target in LISTS.values():
                _get(connection, target)
        random = Random(1)
        for _ in range(count):
            for name, target in LISTS.items():
                time.sleep(random.uniform(0, 0.02))
                taken[name].add(_get(connection, target))
        connection.close()
        stop.set()
        writing.join()
    _print_times(f"list of sessions, {WRITTEN_PER_S} runs/s being recorded", taken)
    figure("newest sessions, p50", taken["newest"].ms(0.5), 10, " ms")
    figure("newest sessions, p99", taken["newest"].ms(0.99), 50, " ms")


def _get(connection: http.client.HTTPConnection, target: str) -> int:
    before = time.perf_counter_ns()
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    took = time.perf_counter_ns() - before
    if answer.status != 200:
        raise RuntimeError(f"{target}: {answer.status}: {body[:500]!r}")
    return took


def _pages(path: Path) -> None:
    with reader(path) as connection:
        session = list_sessions(connection, limit=1)[0].session_id
        run = recent_runs(connection, limit=1)[0].run_id
    targets = {
        "Sessions": "/",
        "Sessions, most expensive first": "/?ordering=-total_cost",
        "Session": f"/sessions/{quote(session, safe='')}",
        "Run": f"/runs/{run}",
        "Analytics": "/analytics",
        "Models": "/models",
        "Sync": "/sync",
    }
    taken = {name: Samples() for name in targets}
    with server(path) as to:
        connection = http.client.HTTPConnection("127.0.0.1", to.port)
        first = {name: _get(connection, target) / 1e6 for name, target in targets.items()}
        for _ in range(10):
            for name, target in targets.items():
                taken[name].add(_get(connection, target))
        connection.close()
    rows = [[name, first[name], one.ms(0.5), one.max_us / 1_000] for name, one in taken.items()]
    table(("page, to full HTML", "first ms", "p50 ms", "max ms"), rows)
    print()
    slowest = max(taken, key=lambda name: max(first[name], taken[name].ms(0.5)))
    worst = max(first[slowest], taken[slowest].ms(0.5))
    figure(f"slowest page ({slowest})", worst, 150, " ms")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--python", default=sys.executable, help="a Python with waxell-observe")
    parser.add_argument("--runs", type=int, default=RUNS, help="in the file that is asked")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    title("The local server")
    with directory(options.dir) as place:
        if version_of(options.python) == VERSION:
            _recording(place, max(ROUNDS // part, 1), options.python)
        else:
            note(f"Left out: it takes a Python with `waxell-observe` {VERSION}.")
        _bulk(place, BULK_RUNS // part)
        source = filled(options.dir or place, options.runs // part)
        path = place / "served.db"
        copy_file(source, path)
        warm(path)
        print(f"\nA file of {options.runs // part:,} runs:\n")
        _asking(path, ASKED // part)
        _pages(path)


if __name__ == "__main__":
    main()
