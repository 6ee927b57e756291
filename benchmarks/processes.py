"""Several processes writing flat out into one file: nothing lost, nobody waits for long.

python -m benchmarks.processes [--dir DIR] [--processes 8] [--seconds 4] [--quick]
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.floors import Execute, SameRowsLoop
from benchmarks.measure import Samples
from benchmarks.report import arguments, directory, figure, number, progress, table, title
from benchmarks.sdk import Sdk, know_the_price
from benchmarks.workload import AGENT, MODEL, Turn, turns
from waxlocal import WaxellContext

ROUNDS = 2
# SQLite's own waiting: what a program that opens the file by hand would set.
BUSY_TIMEOUT_S = 5.0
OURS = "waxlocal"
FLOOR = "floor: the same rows, busy_timeout 5 s"


class Outcome(NamedTuple):
    """What one process, or all of them together, did."""

    runs: array[int]
    calls: array[int]
    raised: int = 0
    # Runs that returned while some record was still in memory only.
    backlogged: int = 0

    def plus(self, other: Outcome) -> Outcome:
        """Return both together."""
        counts = (self.raised + other.raised, self.backlogged + other.backlogged)
        return Outcome(self.runs + other.runs, self.calls + other.calls, *counts)


class Stored(NamedTuple):
    """What the file holds in the end."""

    runs: int
    llm_calls: int


def _record_with_sdk(path: Path, wait_for_all: Callable[[], object], seconds: float) -> Outcome:
    work = turns(1_000)
    taken, calls = array("q"), array("q")
    raised = backlogged = 0
    with closing(Sdk(path)) as sdk, sdk.current():
        backlog = sdk.recorder.store.backlog
        wait_for_all()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            try:
                marks = _timed_run(work[len(taken) % len(work)])
            except Exception:
                raised += 1
                continue
            backlogged += bool(len(backlog))
            taken.append(marks[3] - marks[0])
            calls.extend(marks[index + 1] - marks[index] for index in range(3))
    return Outcome(taken, calls, raised, backlogged)


def _timed_run(turn: Turn) -> tuple[int, int, int, int]:
    """Record one run; return when its start, its call and its end were done, first when it began.

    The same as `Sdk.record`, but the slowest single call is what a program would notice.
    """
    clock = time.perf_counter_ns
    began = clock()
    with WaxellContext(
        agent_name=AGENT,
        session_id=turn.session_id,
        user_id=turn.user_id,
        inputs=turn.inputs,
        metadata=turn.metadata,
    ) as context:
        started = clock()
        context.record_llm_call(
            model=MODEL,
            tokens_in=turn.tokens_in,
            tokens_out=turn.tokens_out,
            task="chat_response",
        )
        called = clock()
        context.set_result(turn.result)
    return began, started, called, clock()


def _record_with_loop(path: Path, wait_for_all: Callable[[], object], seconds: float) -> Outcome:
    work = turns(1_000)
    taken, calls = array("q"), array("q")
    raised = 0

    def around(execute: Execute) -> Execute:
        def timed_execute(*arguments: Any) -> object:
            before = time.perf_counter_ns()
            try:
                return execute(*arguments)
            finally:
                calls.append(time.perf_counter_ns() - before)

        return timed_execute

    with closing(SameRowsLoop(path, wait=BUSY_TIMEOUT_S, around=around)) as loop:
        wait_for_all()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            before = time.perf_counter_ns()
            try:
                loop.record(work[len(taken) % len(work)])
            except sqlite3.OperationalError:
                raised += 1
                continue
            taken.append(time.perf_counter_ns() - before)
    return Outcome(taken, calls, raised)


_WRITERS = {OURS: _record_with_sdk, FLOOR: _record_with_loop}


def _work(name: str, path: Path, barrier: Any, seconds: float, results: Any) -> None:
    results.put(_WRITERS[name](path, barrier.wait, seconds))


def _together(name: str, path: Path, count: int, seconds: float) -> Outcome:
    """Let `count` fresh processes record at the same time."""
    know_the_price(path)
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(count), spawn.Queue()
    arguments = (name, path, barrier, seconds, results)
    processes = [spawn.Process(target=_work, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    outcome = Outcome(array("q"), array("q"))
    for _ in processes:
        outcome = outcome.plus(results.get(timeout=seconds + 120))
    for process in processes:
        process.join()
    return outcome


def _stored(path: Path) -> Stored:
    with closing(sqlite3.connect(path)) as connection:
        (runs,) = connection.execute(
            "SELECT count(*) FROM runs WHERE status = 'success'"
        ).fetchone()
        (calls,) = connection.execute("SELECT count(*) FROM llm_calls").fetchone()
    return Stored(runs, calls)


def _row(name: str, outcome: Outcome, stored: Stored, seconds: float) -> list[str | float]:
    runs, calls = Samples(outcome.runs), Samples(outcome.calls)
    acknowledged = len(runs)
    return [
        name,
        acknowledged / seconds,
        *(runs.us(quantile) for quantile in (0.5, 0.99, 0.999)),
        calls.ms(1.0),
        f"{acknowledged:,}",
        f"{stored.runs:,}",
        f"{_lost(outcome, stored):,}",
        str(outcome.raised),
        str(outcome.backlogged),
    ]


def _lost(outcome: Outcome, stored: Stored) -> int:
    # A run that raised half-way may have left rows: more stored than acknowledged is no loss.
    return max(0, len(outcome.runs) - min(stored))


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    seconds = options.seconds / (4 if options.quick else 1)
    title(f"{options.processes} processes flat out into one file, {ROUNDS} x {number(seconds)} s")
    rows: list[list[str | float]] = []
    lost = raised = 0
    slowest = 0.0
    for index in range(ROUNDS):
        for name in _WRITERS if index % 2 == 0 else reversed(_WRITERS):
            progress(f"round {index + 1}: {name}")
            with directory(options.dir) as place:
                path = place / "shared.db"
                outcome = _together(name, path, options.processes, seconds)
                stored = _stored(path)
            rows.append(_row(name, outcome, stored, seconds))
            if name == OURS:
                lost += _lost(outcome, stored)
                raised += outcome.raised
                slowest = max(slowest, Samples(outcome.calls).ms(1.0))
    header = ("one run", "runs/s", "p50 µs", "p99 µs", "p99.9 µs", "slowest call ms")
    table(
        (*header, "returned", "stored", "lost", "raised", "backlogged"),
        sorted(rows, key=_name, reverse=True),
    )
    print()
    figure("runs lost", lost, 0, "")
    figure("calls that raised", raised, 0, "")
    figure("slowest call", slowest, 300, " ms")


def _name(row: Sequence[str | float]) -> str:
    # "waxlocal" comes after "floor: ...".
    return str(row[0])


if __name__ == "__main__":
    main()
