"""Many threads and tasks record at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.files import TABLES, assert_sound, count, environment, rows, run_program
from tests.tools.patience import PATIENCE_S
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder
from waxlocal.storage.record_sql import Statement

THREADS = 16
RUNS = 200


def _in_threads(number: int, work: Callable[[int], None]) -> list[BaseException]:
    raised: list[BaseException] = []
    start = threading.Barrier(number)

    def body(index: int) -> None:
        start.wait()
        try:
            work(index)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=body, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_threads_lose_no_row(recorder: Recorder, db_path: Path) -> None:
    """16 threads record 200 runs each: all rows are there, each thread's in its order."""

    def work(index: int) -> None:
        for number in range(RUNS):
            with WaxellContext(f"agent{index}", session_id=f"s{index}", inputs={"n": number}) as r:
                r.record_llm_call(model="m", tokens_in=1, tokens_out=1)
                r.record_step("step")

    assert _in_threads(THREADS, work) == []
    assert [count(db_path, table) for table in ("runs", "llm_calls", "steps")] == [3200] * 3
    for index in range(THREADS):
        asked = "SELECT json_extract(inputs, '$.n') FROM runs WHERE agent_name = ? ORDER BY id"
        assert rows(db_path, asked, (f"agent{index}",)) == list(range(RUNS))
    assert_sound(db_path)


def test_threads_record_into_one_run(recorder: Recorder, db_path: Path) -> None:
    """Two threads with the same context lose nothing, whatever positions they meet at."""
    with WaxellContext("agent") as run:

        def work(index: int) -> None:
            for number in range(300):
                run.record_step(f"{index}-{number}")
                run.record_llm_call(model="m", tokens_in=1, tokens_out=1)
                run.record_score("s", 1.0)

        assert _in_threads(2, work) == []
    assert [count(db_path, table) for table in ("steps", "llm_calls", "scores")] == [600] * 3
    everything = " UNION ALL ".join(f"SELECT position FROM {table}" for table in TABLES[1:])
    positions = rows(db_path, f"SELECT position FROM ({everything}) ORDER BY 1")
    assert len(set(positions)) == 1800


def test_spans_of_two_threads_end_as_their_own(recorder: Recorder, db_path: Path) -> None:
    """Each of two threads closes the spans that it opened in a shared run."""
    with WaxellContext("agent") as run:

        def work(index: int) -> None:
            for number in range(200):
                span = run.enter_span(f"{index}-{number}")
                run.exit_span(span, output_data={"of": f"{index}-{number}"})

        assert _in_threads(2, work) == []
    asked = "SELECT count(*) FROM spans WHERE status = 'ok' AND json_extract(output, '$.of') = name"
    assert rows(db_path, asked) == [400]


def test_runs_of_threads_are_never_children(recorder: Recorder, db_path: Path) -> None:
    """A run in another thread belongs to no run that is open in the first."""

    def work(index: int) -> None:
        with WaxellContext("inner"):
            pass

    with WaxellContext("outer", session_id="s", user_id="u"):
        assert _in_threads(4, work) == []
    asked = """SELECT DISTINCT parent_workflow_id, session_id, user_id FROM runs
      WHERE agent_name = 'inner'"""
    assert rows(db_path, asked) == [(None, None, None)]


def test_tasks_keep_their_lineage(recorder: Recorder, db_path: Path) -> None:
    """100 tasks open nested runs at once; each inner run belongs to its own outer one."""

    async def task(number: int) -> None:
        async with WaxellContext("outer", session_id=f"s{number}", inputs={"n": number}) as outer:
            await asyncio.sleep(0)
            async with WaxellContext("inner", inputs={"n": number}) as inner:
                await asyncio.sleep(0)
                inner.record_step("step", {"n": number})
            await outer.flush()

    async def everything() -> None:
        await asyncio.gather(*(task(number) for number in range(100)))

    asyncio.run(everything())
    assert count(db_path, "runs") == 200
    wrong = """
      SELECT count(*) FROM runs i LEFT JOIN runs o ON o.workflow_id = i.parent_workflow_id
      WHERE i.agent_name = 'inner' AND (o.run_id IS NULL OR o.inputs <> i.inputs
        OR o.session_id IS NOT i.session_id OR o.trace_id <> i.trace_id
        OR i.root_workflow_id <> o.workflow_id)
    """
    assert rows(db_path, wrong) == [0]
    assert rows(db_path, "SELECT DISTINCT status FROM runs") == ["success"]


def test_a_task_belongs_to_the_run_it_was_created_in(recorder: Recorder, db_path: Path) -> None:
    """A task's runs are children of the run it was created in, for as long as that one is open."""

    async def child(name: str, go: asyncio.Event) -> None:
        await go.wait()
        with WaxellContext(name):
            pass

    async def parent() -> None:
        go, late = asyncio.Event(), asyncio.Event()
        async with WaxellContext("parent"):
            task = asyncio.create_task(child("child", go))
            worker = asyncio.create_task(child("late", late))
            go.set()
            await task
        with WaxellContext("next"):
            late.set()
            await worker

    asyncio.run(parent())
    asked = """SELECT c.agent_name, p.agent_name FROM runs c
      JOIN runs p ON p.workflow_id = c.parent_workflow_id"""
    assert rows(db_path, asked) == [("child", "parent")]


# In a process of its own: coverage.py holds a lock at times, and traces what a handler calls, too.
HANDLING = """
    import signal
    from waxlocal import WaxellContext

    handled = 0

    def handler(_number, _frame):
        global handled
        handled += 1
        with WaxellContext("handler") as run:
            run.set_tag("n", str(handled))
            run.record_step("handled")

    signal.signal(signal.SIGALRM, handler)
    with WaxellContext("agent") as run:
        for number in range(3_000):
            # Once at most for each record, at another moment of it each time: a timer of its own
            # can strike faster than a slow machine writes what the handler records.
            signal.setitimer(signal.ITIMER_REAL, 0.000_01 + number % 20 * 0.000_01)
            run.set_tag("n", str(number))
            run.record_step("main", {"n": number})
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(handled)
    """


def test_a_signal_handler_may_record(db_path: Path) -> None:
    """A handler that records in the middle of another record loses neither and doubles nothing."""
    done = run_program(db_path, HANDLING)
    assert (done.returncode, done.stderr) == (0, "")
    handled = int(done.stdout)
    assert handled > 0
    asked = "SELECT count(*), count(DISTINCT output) FROM steps WHERE step_name = 'main'"
    assert rows(db_path, asked) == [(3_000, 3_000)]
    assert rows(db_path, "SELECT count(*) FROM steps WHERE step_name = 'handled'") == [handled]
    assert rows(db_path, "SELECT count(*) FROM runs WHERE tags IS NOT NULL") == [handled + 1]


class Interrupting:
    """A value that interrupts the statement it is bound to."""

    def __conform__(self, _protocol: object) -> object:
        raise KeyboardInterrupt


def test_an_interrupted_record_is_not_left_open_and_not_lost(
    recorder: Recorder, db_path: Path
) -> None:
    """Ctrl-C between the statements of one record holds up, or undoes, none of the next ones.

    It is kept and written later, without asking the value that has interrupted it again.
    """
    insert = Statement(
        "INSERT INTO events (run_id, position, recorded_at, event) VALUES (?, ?, '', ?)"
    )
    with WaxellContext("agent") as run:
        with pytest.raises(KeyboardInterrupt):
            recorder.store.write_together(
                (insert, ("a", 1, "x")), (insert, ("a", 2, Interrupting()))
            )
        run.record_step("after")
        assert count(db_path, "steps") == 1
        with pytest.raises(KeyboardInterrupt):
            recorder.store.write(insert, ("a", 3, Interrupting()))
        run.record_step("after")
        assert count(db_path, "steps") == 2
    assert rows(db_path, "SELECT position FROM events ORDER BY 1") == [1, 2, 3]
    assert recorder.health().ok


WORKER = """
import os, sys, time
from waxlocal import WaxellContext
session = sys.argv[1]
sys.stdin.readline()
until = time.monotonic() + 2.0
runs = records = 0
while time.monotonic() < until:
    with WaxellContext("agent", session_id=session) as run:
        run.record_llm_call(model="m", tokens_in=1, tokens_out=1, cost=0.5)
        run.set_tag("a", "b")
        run.record_step("step")
    runs += 1
print(runs)
"""


def test_eight_processes_flat_out(db_path: Path) -> None:
    """8 processes record into one file for two seconds: every run is there, nothing was said."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, f"s{number % 3}"],
            # Beside a busy machine one of eight may wait for longer than the usual second.
            env=environment(db_path, WAXLOCAL_WAIT="60"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert {said for _, said in answers} == {""}
    done = sum(int(runs) for runs, _ in answers)
    assert done > 0
    assert [count(db_path, table) for table in ("runs", "llm_calls", "steps")] == [done] * 3
    assert rows(db_path, "SELECT DISTINCT status, tags FROM runs") == [("success", '{"a":"b"}')]
    assert_sound(db_path)


def test_a_closed_recorder_goes_on(recorder: Recorder, db_path: Path) -> None:
    """After close() the next run opens the file again."""
    with WaxellContext("one"):
        pass
    recorder.close()
    assert not os.path.exists(f"{db_path}-wal")
    with WaxellContext("two"):
        pass
    assert count(db_path, "runs") == 2


def test_a_finalizer_may_record(recorder: Recorder, db_path: Path) -> None:
    """An object that records when it is collected does so wherever the collector runs."""

    class Resource:
        def __init__(self) -> None:
            self.circle = self

        def __del__(self) -> None:
            with WaxellContext("finalizer"):
                pass

    with WaxellContext("agent") as run:
        for number in range(2_000):
            Resource()
            run.set_tag("n", str(number))
            run.record_step("step", {"n": [{} for _ in range(20)]})
    import gc

    gc.collect()
    assert rows(db_path, "SELECT count(*) FROM steps") == [2_000]
    assert rows(db_path, "SELECT count(*) FROM runs WHERE agent_name = 'finalizer'") == [2_000]


def test_no_thread_without_a_backlog(recorder: Recorder) -> None:
    """Recording starts no thread of its own while the file takes everything."""
    before = threading.active_count()
    with WaxellContext("agent") as run:
        run.record_step("step")
        assert threading.active_count() == before
    assert sqlite3.threadsafety >= 1
