"""What a signal handler raises reaches the program, and the record it struck is there once."""

from __future__ import annotations

import functools
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.crash.files import assert_sound, environment, rows
from tests.tools.patience import PATIENCE_S
from tests.tools.time_limits import ERRORS, RUNS, TimeLimit
from waxlocal import WaxellContext, encode, tool
from waxlocal.recording.recorder import Recorder
from waxlocal.signal_handlers import raised_by_handler


def _function(error: type[Exception]) -> Any:
    def handler(_number: int, _frame: FrameType | None) -> None:
        raise error

    return handler


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
    return functools.partial(_function(error))


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


HANDLERS = [_function, _removed, _of_any_arguments, _partial, _object, _method]


@contextmanager
def handling(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def strike() -> None:
    signal.raise_signal(signal.SIGALRM)


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
    assert (told["lost"], told["reason"], told["drained"]) == (0, None, True)
    twice = "SELECT 1 FROM steps GROUP BY run_id, step_name HAVING count(*) > 1"
    assert rows(db_path, twice) == []
    assert_sound(db_path)


def test_an_alarm_while_a_record_waits_leaves_it_in_memory(
    recorder: Recorder, db_path: Path
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
    with handling(_function(TimeLimit)), WaxellContext("agent") as run:
        with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TimeLimit):
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


@pytest.mark.parametrize("together", [False, True])
def test_a_record_that_was_just_committed_is_not_written_again(
    recorder: Recorder, db_path: Path, together: bool
) -> None:
    """An alarm after the commit, before its caller knows of it: the record is there once."""
    with WaxellContext("agent") as run, handling(_function(TimeLimit)):
        hot = recorder.store._file.hot

        def struck(sql: str, *values: object) -> None:
            hot(sql, *values)
            if sql.startswith("COMMIT" if together else "INSERT"):
                recorder.store._file.hot = hot
                strike()

        if together:
            run.set_tag("a", "b")
        recorder.store._file.hot = struck
        with pytest.raises(TimeLimit):
            run.record_step("step")
    assert rows(db_path, "SELECT step_name, position FROM steps") == [("step", 1)]
    assert rows(db_path, "SELECT status FROM runs") == ["success"]
    assert recorder.health().reason is None


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

    with handling(_function(TimeLimit)), WaxellContext("agent") as run:
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

    with handling(_function(TimeLimit)):
        assert encode.dumps([Broken()]) == '["<unprintable Broken: TimeLimit>"]'
