"""The local server for an hour: runs come in, questions go out, and its memory stays flat.

python -m benchmarks.soak [--minutes 60] [--dir DIR] [--file FILE]

With a file that is there already, the questions alone: how much memory do they take?
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import linear_regression
from urllib.parse import urlencode

from benchmarks.measure import Samples
from benchmarks.report import arguments, directory, figure, number, progress, table, title
from benchmarks.serve import server
from benchmarks.traffic import Recorded, Runs
from waxlocal.wire import paths

# Each by a thread of its own.
RUNS_PER_S = 25
RUNS_AT_ONCE = 5
QUESTIONS_PER_S = 5
PAGES_PER_S = 1
SAMPLE_S = 15.0
# Until then, what is needed once is still being fetched.
WARM_UP_S = 600.0
MB = 1 << 20

QUESTIONS = (paths.SESSIONS, paths.RUNS, paths.SESSION_STATISTICS, paths.USERS, paths.ANALYTICS)
# What has fewer filters than the rest.
FILTERS: dict[str, tuple[str, ...]] = {
    paths.USERS: (),
    paths.ANALYTICS: ("agent", "since", "until"),
    paths.RUNS: ("user_id", "agent", "status", "since", "until"),
}
PAGES = ("/", "/analytics", "/models", "/runs", "/sync")


class Traffic:
    """What goes to the server, how long it waits for answers, and what was wrong with them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._runs = Runs(Random(7))
        self._random = Random(11)
        self.stop = threading.Event()
        self.runs = 0
        self.taken = {"questions": Samples(), "pages": Samples()}
        self.errors: list[str] = []

    def record_batches(self) -> None:
        """Send runs as another waxlocal does."""
        for connection in self._paced(RUNS_PER_S / RUNS_AT_ONCE):
            batch = self._runs.batch(RUNS_AT_ONCE)
            self._settle(connection, "POST", batch.path, batch.body, dict(batch.headers))
            self.runs += RUNS_AT_ONCE

    def record_singly(self) -> None:
        """Send runs as the original SDK does."""
        for connection in self._paced(RUNS_PER_S):
            self._record(connection, self._runs.one())
            self.runs += 1

    def _record(self, connection: http.client.HTTPConnection, run: Recorded) -> None:
        kind = {"Content-Type": "application/json"}
        path, body = run.start
        started = self._settle(connection, "POST", path, body, kind)
        for path, body in run.rest(json.loads(started)["run_id"]):
            self._settle(connection, "POST", path, body, kind)

    def ask(self) -> None:
        """Ask one question after another, each with another filter."""
        self._look("questions", QUESTIONS_PER_S, QUESTIONS)

    def leaf(self) -> None:
        """Open one page after another, each with another filter."""
        self._look("pages", PAGES_PER_S, PAGES)

    def _look(self, kind: str, per_second: float, places: Sequence[str]) -> None:
        for connection, place in zip(self._paced(per_second), itertools.cycle(places)):
            path = f"{place}?{self._filter(place)}"
            begun_ns = time.perf_counter_ns()
            self._settle(connection, "GET", path)
            self.taken[kind].add(time.perf_counter_ns() - begun_ns)

    def _filter(self, place: str) -> str:
        some = self._random
        choices: tuple[dict[str, str], ...] = (
            {},
            {"user_id": f"user_{some.randrange(500)}"},
            {"agent": some.choice(Runs.AGENTS)},
            {"status": some.choice(("success", "error"))},
            {"since": f"{some.randrange(1, 60)}m"},
            {"since": "2h", "until": f"{some.randrange(1, 20)}m"},
            {"tag": f"plan={some.choice(Runs.PLANS)}"},
        )
        chosen, known = some.choice(choices), FILTERS.get(place)
        return urlencode(
            {name: value for name, value in chosen.items() if known is None or name in known}
        )

    def _paced(self, per_second: float) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        began = time.monotonic()
        for count in itertools.count():
            if self.stop.wait(max(began + count / per_second - time.monotonic(), 0)):
                break
            try:
                yield connection
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()
        connection.close()

    def _settle(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        told = answer.read()
        if answer.status >= 300 or b'"refused"' in told:
            self.errors.append(f"{path}: {answer.status}: {told[:200]!r}")
        return told


def _memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def _watched(pid: int, minutes: float) -> list[float]:
    samples = []
    end = time.monotonic() + minutes * 60
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, SAMPLE_S))
        samples.append(_memory_mb(pid))
        if len(samples) % 20 == 0:
            progress(f"{samples[-1]:.0f} MB")
    return samples


def _slope(samples: Sequence[float]) -> tuple[float, float]:
    """Return MB per hour by least squares, and what it may be off by chance (two deviations)."""
    hours = [place * SAMPLE_S / 3600 for place in range(len(samples))]
    if len(samples) < 3:
        return 0.0, 0.0
    slope, start = linear_regression(hours, samples)
    middle = sum(hours) / len(hours)
    off = sum((start + slope * at - one) ** 2 for at, one in zip(hours, samples, strict=True))
    spread = sum((at - middle) ** 2 for at in hours)
    return slope, 2 * (off / (len(samples) - 2) / spread) ** 0.5


def _report(traffic: Traffic, samples: Sequence[float], most_mb: float) -> None:
    table(
        ("", "at the start", "in the middle", "at the end", "most"),
        [["memory, MB", samples[0], samples[len(samples) // 2], samples[-1], max(samples)]],
    )
    print()
    table(
        ("", "count", "median ms", "p99 ms", "longest ms"),
        [
            [name, float(len(taken)), taken.ms(0.5), taken.ms(0.99), taken.ms(1.0)]
            for name, taken in traffic.taken.items()
        ],
    )
    print(f"\n{traffic.runs:,} runs in.\n")
    figure("memory, most", max(samples), most_mb, " MB")
    slope, chance = _slope(samples[int(WARM_UP_S / SAMPLE_S) :])
    print(f"- memory after the first ten minutes: {slope:+.1f} MB/h, by chance ± {chance:.1f}")
    figure("longest question", traffic.taken["questions"].ms(1.0), 1_000, " ms")
    figure("errors", len(traffic.errors), 0, "")
    for error in traffic.errors[:5]:
        print(f"  - {error}")


def main() -> None:
    """Run, and print what became of it."""
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    minutes = options.minutes / 10 if options.quick else options.minutes
    title(f"The local server under load for {number(minutes)} minutes")
    with ExitStack() as open_:
        path = options.file or open_.enter_context(directory(options.dir)) / "soak.db"
        to = open_.enter_context(server(path))
        traffic = Traffic(to.port)
        work: list[Callable[[], None]] = [traffic.ask, traffic.leaf]
        if options.file is None:
            work += [traffic.record_batches, traffic.record_singly]
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        samples = _watched(to.pid, minutes)
        traffic.stop.set()
        for thread in threads:
            thread.join()
    _report(traffic, samples, 150 if options.file else 120)


if __name__ == "__main__":
    main()
