"""Where Python can load nothing any more: no file descriptor is left, or the interpreter ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.crash.files import rows, run_program
from waxlocal import WaxellContext
from waxlocal.encode import dumps, read_back
from waxlocal.maintenance import side_files
from waxlocal.recording import open_file
from waxlocal.recording.recorder import Recorder

# From `nothing_loads` on each import of a module that is not loaded fails as it does without a file
# descriptor; files that SQLite opens are no part of that.
_PROGRAM = """
import errno, os, sqlite3, sys
import waxlocal
from waxlocal import WaxellContext, propagate, shutdown, tool
from waxlocal.recording.recorder import current_recorder

class Full:
    def find_spec(self, name, *_given):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), name)

def nothing_loads():
    for name in ("json", "logging", "traceback"):  # should another one have loaded them
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Full())

with WaxellContext("first"):
    pass
"""


def test_a_runs_own_exception_reaches_the_program_without_the_module_for_tracebacks(
    db_path: Path,
) -> None:
    """And the end of the run is stored, with the places in the code."""
    done = run_program(
        db_path,
        _PROGRAM
        + """
def fail():
    raise ValueError("mine")
nothing_loads()
try:
    with WaxellContext("agent"):
        fail()
except BaseException as error:
    assert type(error) is ValueError, error
    assert error.__context__ is None
else:
    raise AssertionError
""",
    )
    assert done.returncode == 0, done.stderr
    ((status, error, traceback),) = rows(
        db_path, "SELECT status, error, traceback FROM runs WHERE agent_name = 'agent'"
    )
    assert (status, error) == ("error", "mine")
    first, *places, last = traceback.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "ValueError: mine")
    assert places[-1].endswith(", in fail")


def test_records_need_no_module_that_is_not_loaded(db_path: Path) -> None:
    """Values of every kind, generators, tags that are merged, and a file that is locked."""
    done = run_program(
        db_path,
        _PROGRAM
        + """
@tool(tool_type="t")
def plain(value):
    return value
@tool(tool_type="t")
def steps(value):
    yield value
@tool(tool_type="t")
async def later(value):
    return value
def result(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value

run = WaxellContext("agent", metadata={"a": 1})
run.__enter__()
nothing_loads()
assert plain(object) is object
assert list(steps({"n": [1]})) == [{"n": [1]}]
assert result(later(3)) == 3
assert propagate(plain)(4) == 4
run.set_metadata("b", 2)
run.record_step("values", {"bytes": b"b", "set": {1}, "object": run, "nan": float("nan")})
run.record_llm_call(model="m", tokens_in=1, tokens_out=1)
locker = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
locker.execute("BEGIN IMMEDIATE")
current_recorder().store.wait = 0.01
run.record_step("locked")
locker.close()
run.__exit__(None, None, None)
shutdown()
assert waxlocal.health().ok
""",
    )
    assert done.returncode == 0, done.stderr
    assert rows(db_path, "SELECT step_name FROM steps") == ["values", "locked"]
    assert rows(db_path, "SELECT name FROM spans") == ["plain", "steps", "later", "plain"]
    (metadata,) = rows(db_path, "SELECT metadata FROM runs WHERE agent_name = 'agent'")
    assert json.loads(metadata) == {"a": 1, "b": 2}


def test_what_is_recorded_at_the_very_end_is_written(db_path: Path) -> None:
    """After the file was closed at exit: a finalizer of an object that lives to the end."""
    done = run_program(
        db_path,
        """
        import os
        from waxlocal import WaxellContext
        class Session:
            def __init__(self):
                self.run = WaxellContext("agent")
                self.run.__enter__()
            def __del__(self):
                self.run.record_step("closing")
                os.write(1, b"went on")
        session = Session()
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on", "")
    assert rows(db_path, "SELECT step_name FROM steps") == ["closing"]


def test_a_thread_that_python_stops_in_a_record_does_not_hang_the_end(db_path: Path) -> None:
    """Nobody gets back what it holds: the finalizer's record is written without it."""
    done = run_program(
        db_path,
        """
        import atexit, gc, threading
        ends, stuck = threading.Event(), threading.Event()
        @atexit.register  # before that of waxlocal, so it is called after it
        def stop():
            ends.set()
            stuck.wait()
        from waxlocal import WaxellContext
        from waxlocal.recording.recorder import current_recorder
        def in_a_record(store):
            ends.wait()
            with store._lock, WaxellContext("unended"):
                store._file.hot("BEGIN IMMEDIATE")
                stuck.set()
                while True:
                    pass
        class Session:
            def __del__(self):
                with WaxellContext("at the end") as run:
                    run.record_step("closing")
        with WaxellContext("before"):
            pass
        store = current_recorder().store
        threading.Thread(target=in_a_record, args=(store,), daemon=True).start()
        gc.disable()  # only at the end
        session = Session()
        session.itself = session
        del session
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db_path, "SELECT agent_name || status FROM runs ORDER BY started_at") == [
        "beforesuccess",
        "unendedrunning",
        "at the endsuccess",
    ]
    assert rows(db_path, "SELECT step_name FROM steps") == ["closing"]


def test_a_side_file_waits_until_what_takes_it_in_can_be_loaded(
    recorder: Recorder, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that opens the file is written all the same."""

    def fail(*_given: object, **_named: object) -> bool:
        raise OSError("Too many open files")

    monkeypatch.setattr(open_file.side_file, "side_files", lambda _path: [(3, db_path)])
    monkeypatch.setattr(side_files, "take_in", fail)
    monkeypatch.setattr(recorder.store.prices, "load", fail)
    with WaxellContext("agent"):
        pass
    assert recorder.health().ok
    assert recorder.store._file._all_in is False
    assert rows(db_path, "SELECT agent_name FROM runs") == ["agent"]


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**70, 0.1, 1e300, 'é\ud800\n"', [], {}, {"a": [{"b": None}, "c"]}],
    ids=repr,
)
def test_what_was_written_is_read_back_as_the_module_json_does(value: object) -> None:
    """Whatever `dumps` writes."""
    written = dumps(value)
    assert read_back(written) == json.loads(written)
