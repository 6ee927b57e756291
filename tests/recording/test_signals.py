"""What a signal handler raises reaches the program, and the record it struck is there once."""

from __future__ import annotations

import functools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.crash.files import assert_sound, environment, rows
from tests.tools.alarms import handling, raising, strike, strike_in
from tests.tools.patience import PATIENCE_S
from tests.tools.time_limits import ERRORS, RUNS, TimeLimit
from waxlocal import WaxellContext, encode, tool
from waxlocal.prices.lookup import Prices
from waxlocal.recording import open_file
from waxlocal.recording.recorder import Recorder
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage import schema, side_file


def _removed(error: type[Exception]) -> Any:
    def handler(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        raise error

    return handler


def _of_any_arguments(error: type[Exception]) -> Any:
    def handler(*_given: object) -> None:
        raise error

    return handler


def _partial(error: type[Exception]) -> Any:
    return functools.partial(raising(error))


def _object(error: type[Exception]) -> Any:
    class Handler:
        def __call__(self, *given: object) -> None:
            raise error

    return Handler()


def _method(error: type[Exception]) -> Any:
    class Guard:
        def expired(self, number: int, frame: FrameType | None) -> None:
            del number, frame
            raise error

    return Guard().expired


HANDLERS = [raising, _removed, _of_any_arguments, _partial, _object, _method]


@pytest.mark.parametrize("make", HANDLERS)
def test_a_handler_is_known_by_what_it_is(make: Callable[[type[Exception]], Any]) -> None:
    """However a handler is written, and also when it has removed itself."""
    with handling(make(TimeLimit)):
        with pytest.raises(TimeLimit) as raised:
            strike()
        assert raised_by_handler(raised.value)
    with pytest.raises(TimeLimit) as raised:
        _raise()
    assert not raised_by_handler(raised.value)


def _raise() -> None:
    raise TimeLimit


@pytest.mark.parametrize("error", ERRORS)
def test_a_time_limit_is_never_swallowed(db_path: Path, error: str) -> None:
    """Each alarm reaches the program; no record is there twice, none is called lost."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.time_limits", error],
        env=environment(db_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["fired"] == RUNS - told["undisturbed"] > 0
    assert (told["lost"], told["drained"]) == (0, True)
    # A thread that copies the log has the file locked for a moment; who is interrupted while it
    # waits for that leaves its record for later.
    assert told["reason"] in (None, f"{db_path} is locked")
    twice = "SELECT 1 FROM steps GROUP BY run_id, step_name HAVING count(*) > 1"
    assert rows(db_path, twice) == []
    assert_sound(db_path)


# What strikes, by its handler: a time limit, the end of the program, Ctrl-C.
STRIKES = [
    (TimeLimit, raising(TimeLimit)),
    (SystemExit, raising(SystemExit)),
    (KeyboardInterrupt, signal.default_int_handler),
]
struck_by = pytest.mark.parametrize(
    ("error", "handler"), STRIKES, ids=[error.__name__ for error, _ in STRIKES]
)


@struck_by
@pytest.mark.parametrize("together", [False, True])
def test_a_record_that_is_struck_before_its_commit_is_in_the_file(
    recorder: Recorder, db_path: Path, error: type[BaseException], handler: Any, together: bool
) -> None:
    """At once or a moment later, once, and before what is recorded next."""
    with WaxellContext("agent") as run, handling(handler):
        run.record_step("first")
        hot = recorder.store._file.hot

        def struck(sql: str, *values: object) -> None:
            if sql.startswith("INSERT"):
                recorder.store._file.hot = hot
                strike()
            hot(sql, *values)

        if together:
            run.set_tag("a", "b")
        recorder.store._file.hot = struck
        with pytest.raises(error):
            run.record_step("struck")
        run.record_step("last")
    found = rows(db_path, "SELECT step_name FROM steps ORDER BY position")
    assert found == ["first", "struck", "last"]
    assert rows(db_path, "SELECT status FROM runs") == ["success"]
    assert recorder.health().ok


@struck_by
def test_what_is_kept_gets_its_thread_though_its_start_is_struck(
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    db_path: Path,
    error: type[BaseException],
    handler: Any,
) -> None:
    """Nothing more is recorded, and still it is written as soon as the file can be."""
    recorder.store.wait = 0.0
    with WaxellContext("agent") as run, handling(handler):
        with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            os.utime(f"{db_path}-wal", (1, 1))  # as if nobody had committed for long
            # Python goes on listing a thread whose start was broken off, for all tests to come.
            monkeypatch.setattr(threading, "_limbo", {})
            begin = "_start_joinable_thread"  # since Python 3.13
            known = hasattr(threading, begin)
            strike_in(monkeypatch, threading, begin if known else "_start_new_thread")
            with pytest.raises(error):
                run.record_step("step")
            assert recorder.health().in_memory == 1
            other.execute("ROLLBACK")
        for thread in threading.enumerate():
            if thread.name == "waxlocal-backlog" and thread.is_alive():
                thread.join(PATIENCE_S)
        assert recorder.health().in_memory == 0
    assert rows(db_path, "SELECT step_name FROM steps") == ["step"]


@struck_by
def test_an_alarm_while_a_record_waits_leaves_it_in_memory(
    recorder: Recorder, db_path: Path, error: type[BaseException], handler: Any
) -> None:
    """It is written as soon as the file can be; what comes next is not held up."""
    struck = False

    def once(_seconds: float) -> None:
        nonlocal struck
        if not struck:
            struck = True
            strike()

    recorder.store._sleep = once
    recorder.store.wait = 30.0
    with handling(handler), WaxellContext("agent") as run:
        with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(error):
                run.record_step("while locked")
            assert recorder.health().in_memory == 1
            other.execute("ROLLBACK")
        assert recorder.store.drain(wait=30)
        run.record_step("after")
    assert rows(db_path, "SELECT step_name FROM steps ORDER BY position") == [
        "while locked",
        "after",
    ]
    assert recorder.health().ok


@struck_by
@pytest.mark.parametrize("together", [False, True])
def test_an_alarm_while_a_record_waits_for_another_thread_leaves_it_in_memory(
    recorder: Recorder, db_path: Path, error: type[BaseException], handler: Any, together: bool
) -> None:
    """It counts as in memory until the other thread writes it, or the one of the backlog."""
    store = recorder.store

    class Struck:
        def __enter__(self) -> None:
            store._lock = lock
            strike()

        def __exit__(self, *_given: object) -> None:
            raise AssertionError("not entered")

    with WaxellContext("agent") as run, handling(handler):
        run.record_step("before")
        if together:
            run.set_tag("a", "b")
        lock, store._lock = store._lock, Struck()  # type: ignore[assignment]
        with lock:
            with pytest.raises(error):
                run.record_step("struck")
            assert recorder.health().in_memory == 1
        deadline = time.monotonic() + PATIENCE_S
        while not recorder.health().ok and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rows(db_path, "SELECT step_name FROM steps") == ["before", "struck"]


def test_what_a_signal_handler_records_while_a_record_waits_counts_as_in_memory(
    recorder: Recorder, db_path: Path
) -> None:
    """Its call has returned, and the file does not have it; also while it is being written."""
    counts: list[int] = []
    beats = iter((1, 2, 3))

    def beat(_number: int, _frame: FrameType | None) -> None:
        heart.record_step("beat")
        counts.append(recorder.health().in_memory)

    def rest(_seconds: float) -> None:
        # The thread of the backlog rests, too, even when the handler has gone: then a fourth strike
        # would end this process.
        if next(beats, None):
            strike()

    def write_slow(unit: Any) -> None:
        counts.append(recorder.health().in_memory)
        slow(unit)

    slow, recorder.store._sleep, recorder.store.wait = recorder.store._slow.write, rest, 0.05
    with WaxellContext("heart") as heart, WaxellContext("agent") as run, handling(beat):
        with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            run.record_step("waits")
            assert counts == [1, 2, 3]
            assert recorder.health().in_memory == 4
            other.execute("ROLLBACK")
        assert recorder.store.drain(wait=30)
        assert recorder.health().ok
        counts.clear()
        recorder.store._later.append(_one_more(recorder, heart))
        recorder.store._slow.write = write_slow  # type: ignore[method-assign]
        assert recorder.store.drain()
        assert counts == [1]
    assert sorted(rows(db_path, "SELECT step_name FROM steps")) == ["beat"] * 3 + ["later", "waits"]


def _one_more(recorder: Recorder, run: WaxellContext) -> Any:
    """Return the unit of a record, which has not been written."""
    written: list[Any] = []
    store = recorder.store
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "write", lambda *bound: written.append(bound))
        run.record_step("later")
    return tuple(written)


@struck_by
@pytest.mark.parametrize("together", [False, True])
def test_a_record_that_was_just_committed_is_not_written_again(
    recorder: Recorder, db_path: Path, error: type[BaseException], handler: Any, together: bool
) -> None:
    """An alarm after the commit, before its caller knows of it: the record is there once."""
    with WaxellContext("agent") as run, handling(handler):
        hot = recorder.store._file.hot

        def struck(sql: str, *values: object) -> None:
            hot(sql, *values)
            if sql.startswith("COMMIT" if together else "INSERT"):
                recorder.store._file.hot = hot
                strike()

        if together:
            run.set_tag("a", "b")
        recorder.store._file.hot = struck
        with pytest.raises(error):
            run.record_step("step")
    assert rows(db_path, "SELECT step_name, position FROM steps") == [("step", 1)]
    assert rows(db_path, "SELECT status FROM runs") == ["success"]
    assert recorder.health().ok


@pytest.mark.parametrize("error", ERRORS.values())
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (schema, "prepare"),
        (open_file, "current_process"),
        (side_file, "side_files"),
        (Prices, "load"),
    ],
)
def test_an_alarm_while_the_file_is_opened_reaches_the_program(
    recorder: Recorder,
    db_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: type[Exception],
) -> None:
    """The record is written later, and what comes next is written as fast as ever."""
    with handling(raising(error)):
        strike_in(monkeypatch, owner, name)
        with pytest.raises(error), WaxellContext("struck"):
            pass
        with WaxellContext("next"):
            pass
        assert recorder.store.drain(wait=PATIENCE_S)
    of_this_process = "SELECT agent_name, status FROM runs JOIN processes USING (process_id)"
    assert set(rows(db_path, of_this_process)) == {("struck", "error"), ("next", "success")}
    assert recorder.store._file.hot is not open_file.cold
    assert recorder.health().ok


@pytest.mark.parametrize("error", ERRORS.values())
@pytest.mark.parametrize(("owner", "name"), [(schema, "check"), (Prices, "load")])
def test_an_alarm_while_the_open_file_is_looked_at_reaches_the_program(
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: type[Exception],
) -> None:
    """Whether it needs a later waxlocal by now, and whether its prices have changed."""
    with WaxellContext("agent"), handling(raising(error)):
        strike_in(monkeypatch, owner, name)
        later = time.time_ns() + 2 * open_file.PRICES_NS
        with pytest.raises(error):
            recorder.store.look_around(later)
        recorder.store.look_around(later + open_file.PRICES_NS)
    assert recorder.health().ok


class Striking:
    """A value at whose printing the alarm goes off."""

    def __repr__(self) -> str:
        strike()
        return "Striking"


def test_an_alarm_in_a_value_is_not_the_values_own(recorder: Recorder) -> None:
    """Where the error of a value becomes a label or a TypeError, that of a handler goes on."""

    class StrikingNumber:
        def __float__(self) -> float:
            strike()
            return 1.0

    @tool()
    def used(value: object) -> object:
        return value

    with handling(raising(TimeLimit)), WaxellContext("agent") as run:
        for act in (
            lambda: encode.dumps({"a": [Striking()]}),
            lambda: encode.as_text(Striking()),
            lambda: encode.shown(Striking()),
            lambda: run.record_step("step", {"value": Striking()}),
            lambda: run.record_score("score", StrikingNumber()),  # type: ignore[arg-type]
            lambda: used(Striking()),
        ):
            with pytest.raises(TimeLimit):
                act()


def test_an_error_of_a_value_is_still_no_handlers(recorder: Recorder) -> None:
    """A value that raises is labelled, also while a handler is installed."""

    class Broken:
        def __repr__(self) -> str:
            raise TimeLimit

    with handling(raising(TimeLimit)):
        assert encode.dumps([Broken()]) == '["<unprintable Broken: TimeLimit>"]'
