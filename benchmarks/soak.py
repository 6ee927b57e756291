"""The local server for an hour: runs come in, questions go out, and its memory stays flat.

python -m benchmarks.soak [--minutes 60] [--dir DIR]
"""

from __future__ import annotations

import http.client
import itertools
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.report import arguments, directory, figure, number, progress, table, title
from benchmarks.serve import server
from waxlocal.clock import utc_text
from waxlocal.ids import RunIds, generate_session_id, trace_id_of
from waxlocal.wire import paths
from waxlocal.wire.bulk import Offer, batch_of
from waxlocal.wire.recorded_run import RecordedRun

RUNS_PER_S = 100
QUESTIONS_PER_S = 10
RUNS_AT_ONCE = 10
SAMPLE_S = 15.0
OFFER = Offer(paths.BULK, 500, 2 * 1024 * 1024)
QUESTIONS = (
    f"{paths.SESSIONS}?limit=20",
    f"{paths.SESSIONS}?limit=20&ordering=-total_cost",
    f"{paths.RUNS}?limit=20",
    paths.SESSION_STATISTICS,
    "/",
    "/analytics",
    "/sync",
)


class Traffic:
    """What goes to the server, and what was wrong with the answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.stop = threading.Event()
        self.runs = self.questions = 0
        self.errors: list[str] = []

    def record(self) -> None:
        """Send batches at the rate that was promised."""
        ids = RunIds()
        for connection in self._paced(RUNS_PER_S / RUNS_AT_ONCE):
            session = generate_session_id()
            batch = batch_of([_run(ids, session) for _ in range(RUNS_AT_ONCE)], OFFER)
            connection.request("POST", batch.path, batch.body, dict(batch.headers))
            self._settle(connection, batch.path)
            self.runs += RUNS_AT_ONCE

    def ask(self) -> None:
        """Ask one question after another."""
        questions = itertools.cycle(QUESTIONS)
        for connection in self._paced(QUESTIONS_PER_S):
            question = next(questions)
            connection.request("GET", question)
            self._settle(connection, question)
            self.questions += 1

    def _paced(self, per_second: float) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        began = time.monotonic()
        for count in itertools.count():
            if self.stop.wait(max(began + count / per_second - time.monotonic(), 0)):
                break
            try:
                yield connection
            except OSError as error:
                self.errors.append(repr(error))
                connection.close()
        connection.close()

    def _settle(self, connection: http.client.HTTPConnection, path: str) -> None:
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or b'"refused"' in body:
            self.errors.append(f"{path}: {answer.status}: {body[:200]!r}")


def _run(ids: RunIds, session_id: str) -> RecordedRun:
    now = time.time_ns()
    run_id = ids.next(now)
    run = {
        "run_id": run_id,
        "agent_name": "chatbot",
        "workflow_name": "default",
        "session_id": session_id,
        "user_id": f"user_{now % 500}",
        "trace_id": trace_id_of(run_id),
        "interaction_mode": "interactive",
        "status": "success",
        "started_at": utc_text(now - 1_000_000_000),
        "completed_at": utc_text(now),
        "duration": 1.0,
        "inputs": '{"message":"Is the reading room open on Sunday?"}',
        "result": '{"response":"From ten to four."}',
    }
    call = {
        "position": 1,
        "recorded_at": utc_text(now),
        "model": "gpt-4o",
        "provider": "openai",
        "task": "answer",
        "tokens_in": 200,
        "tokens_out": 30,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "is_streaming": 0,
        "status": "ok",
        "cost": 0.0008,
        "cost_source": "call",
    }
    return RecordedRun(run, None, [call], [], [], [], [])


def _memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _watched(pid: int, minutes: float) -> list[float]:
    samples = []
    end = time.monotonic() + minutes * 60
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, SAMPLE_S))
        samples.append(_memory_mb(pid))
        if len(samples) % 20 == 0:
            progress(f"{samples[-1]:.0f} MB")
    return samples


def _slope(samples: Sequence[float]) -> float:
    """Return MB per hour by least squares over the second half."""
    half = samples[len(samples) // 2 :]
    middle = (len(half) - 1) / 2
    mean = sum(half) / len(half)
    above = sum((index - middle) * (value - mean) for index, value in enumerate(half))
    below = sum((index - middle) ** 2 for index in range(len(half)))
    return above / below * 3600 / SAMPLE_S if below else 0.0


def main() -> None:
    """Run, and print what became of it."""
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    minutes = options.minutes / 10 if options.quick else options.minutes
    title(f"The local server under load for {number(minutes)} minutes")
    with directory(options.dir) as place, server(place / "soak.db") as to:
        traffic = Traffic(to.port)
        threads = [threading.Thread(target=work) for work in (traffic.record, traffic.ask)]
        for thread in threads:
            thread.start()
        samples = _watched(to.pid, minutes)
        traffic.stop.set()
        for thread in threads:
            thread.join()
    table(
        ("", "at the start", "in the middle", "at the end", "most"),
        [["memory, MB", samples[0], samples[len(samples) // 2], samples[-1], max(samples)]],
    )
    print(f"\n{traffic.runs:,} runs in, {traffic.questions:,} questions answered.\n")
    figure("memory, second half", _slope(samples), 10, " MB/h")
    figure("errors", len(traffic.errors), 0, "")
    for error in traffic.errors[:5]:
        print(f"  - {error}")


if __name__ == "__main__":
    main()
