"""The captured calls of a run, whoever reports them, in which thread or process."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.crash.files import assert_sound, rows, run_program
from tests.tools.patience import PATIENCE_S, wait_until
from waxlocal import WaxellContext
from waxlocal.capture import outside_calls
from waxlocal.capture.call_rows import row_of_call
from waxlocal.capture.calls import CapturedCalls, _guard
from waxlocal.capture.facts import CallFacts
from waxlocal.capture.outside_calls import keep_outside, run_outside
from waxlocal.capture.pairing import Report
from waxlocal.recording.recorder import Recorder
from waxlocal.token_counts import TokenCounts

# From Python 3.12 on a fork beside threads is warned of. This program does it on purpose.
MEANT = "ignore:This process:DeprecationWarning"


@pytest.mark.usefixtures("recorder")
def test_what_only_the_program_has_of_a_call_is_kept(db_path: Path) -> None:
    """Where nothing was captured of what was said, that which is handed over by hand stays."""
    asked = [{"role": "user", "content": "hi"}]
    captured = CallFacts(model="m", tokens=TokenCounts(5, 7))
    with WaxellContext("bot") as run:
        report = Report("openai", 0, 1, row_of_call(captured, 3, "openai"))
        CapturedCalls.of(run).record(report, [])
        run.record_llm_call(
            model="m", tokens_in=5, tokens_out=7, full_messages=asked, full_response="Hello."
        )
    (call,) = stored(db_path).calls
    assert (call["response"], call["messages"]) == ("Hello.", '[{"role":"user","content":"hi"}]')


def test_without_content_settings_are_numbers_and_words_of_the_vendor(
    db_path: Path, recorder: Recorder
) -> None:
    """Bedrock's instrumentation takes the whole body of a request for settings."""
    recorder.capture_content = False
    settings = {
        "temperature": 0.5,
        "reasoning_effort": "low",
        "inputText": "dear diary",
        "chat_history": [{"message": "dear diary"}],
        "stop": "dear",
    }
    row = row_of_call(CallFacts(model="m", config=settings), 3, "bedrock")
    with WaxellContext("bot") as run:
        CapturedCalls.of(run).record(Report("bedrock", 0, 1, row), [])
    (call,) = stored(db_path).calls
    assert json.loads(call["details"])["config"] == {"temperature": 0.5, "reasoning_effort": "low"}


@pytest.mark.usefixtures("recorder")
def test_a_call_that_two_report_has_the_time_of_the_outer_report(db_path: Path) -> None:
    """It is how long the program waited."""
    inner, outer = (
        Report(scope, 0, 1, row_of_call(CallFacts(model="m"), lasted_ms, scope))
        for scope, lasted_ms in (("openai", 3), ("langchain", 9))
    )
    with WaxellContext("bot") as run:
        both = CapturedCalls.of(run)
        both.record(outer, [both.record(inner, [])])
    (call,) = stored(db_path).calls
    assert call["duration_ms"] == 9


@pytest.mark.usefixtures("recorder")
def test_a_call_by_hand_is_one_captured_outside_any_run_only_soon_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Later it is another call with the same counts."""
    captured = CallFacts(model="m", tokens=TokenCounts(5, 7))
    by_hand = {"model": "m", "tokens_in": 5, "tokens_out": 7}
    with WaxellContext("auto:m") as run:
        report = Report("openai", 0, 1, row_of_call(captured, 3, "openai"))
        calls = CapturedCalls.of(run)
        calls.record(report, [])
        keep_outside(run, calls)
        assert run_outside(by_hand) is run
        monkeypatch.setattr(outside_calls, "SOON_NS", -1)
        assert run_outside(by_hand) is None


def test_a_child_records_that_was_forked_while_another_thread_did(db_path: Path) -> None:
    """The thread is not in the child, and what it held must not be held there for ever."""
    done = run_program(
        db_path,
        """
        import os, signal, threading
        from waxlocal import WaxellContext
        from waxlocal.capture.call_rows import row_of_call
        from waxlocal.capture.calls import CapturedCalls
        from waxlocal.capture.facts import CallFacts
        from waxlocal.capture.pairing import Report

        inside, forked = threading.Event(), threading.Event()

        class Run(WaxellContext):
            def _add_llm_call(self, **columns):
                if threading.current_thread() is not threading.main_thread():
                    inside.set()
                    forked.wait()
                return super()._add_llm_call(**columns)

        def record(run, model):
            row = row_of_call(CallFacts(model=model), 1, "openai")
            CapturedCalls.of(run).record(Report("openai", 0, 1, row), [])

        with Run("bot") as run:
            thread = threading.Thread(target=record, args=(run, "thread"))
            thread.start()
            inside.wait()
            child = os.fork()
            if not child:
                signal.alarm(60)  # ends a child that hangs
                record(run, "child")
                os._exit(0)
            _, status = os.waitpid(child, 0)
            forked.set()
            thread.join()
        print(status)
        """,
        PYTHONWARNINGS=MEANT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    assert rows(db_path, "SELECT model FROM llm_calls ORDER BY 1") == ["child", "thread"]
    assert_sound(db_path)


def test_a_log_handler_that_records_calls_waits_for_nobody_who_waits_for_it(db_path: Path) -> None:
    """What is said of a locked file is said when the calls of other threads can go on."""
    done = run_program(
        db_path,
        """
        import faulthandler, logging, os, sqlite3, threading
        from waxlocal import WaxellContext
        from waxlocal.capture.call_rows import row_of_call
        from waxlocal.capture.calls import CapturedCalls
        from waxlocal.capture.facts import CallFacts
        from waxlocal.capture.pairing import Report
        from waxlocal.recording.recorder import current_recorder

        in_handler, said = threading.Event(), []

        def record(model):
            report = Report("test", 0, 1, row_of_call(CallFacts(model=model), 3, "test"))
            CapturedCalls.of(run).record(report, [])

        class Recording(logging.Handler):
            def emit(self, line):
                if line.name == "waxlocal":
                    said.append(line.getMessage())
                else:
                    in_handler.set()
                    record("handler")

        def rest(_seconds):
            assert in_handler.wait(60)

        logging.getLogger().addHandler(Recording())
        with WaxellContext("agent") as run:
            store = current_recorder().store
            store.wait, store._sleep = 0.01, rest
            locker = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
            locker.execute("BEGIN IMMEDIATE")
            acts = (record, ("thread",)), (logging.getLogger("program").warning, ("a line",))
            threads = [threading.Thread(target=act, args=given, daemon=True) for act, given in acts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            if any(thread.is_alive() for thread in threads):
                faulthandler.dump_traceback()
                os._exit(1)
            locker.execute("COMMIT")
        print(len(said))
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert rows(db_path, "SELECT model FROM llm_calls ORDER BY 1") == ["handler", "thread"]


@pytest.mark.usefixtures("recorder")
def test_a_signal_handler_that_records_waits_for_no_other_thread(db_path: Path) -> None:
    """It runs within a record of its thread, for whose end a thread that is captured waits."""
    facts = CallFacts(model="m", tokens=TokenCounts(5, 7))
    done = threading.Event()
    with WaxellContext("bot") as run:
        calls = CapturedCalls.of(run)
        store = run._recorder.store
        report = Report("openai", 0, 1, row_of_call(facts, 3, "openai"))
        captured = threading.Thread(target=calls.record, args=(report, []))

        def within_a_record() -> None:
            with store._lock:
                captured.start()
                wait_until(lambda: not _is_free(_guard.lock))
                run.record_llm_call(model="other", tokens_in=1, tokens_out=1)
                done.set()

        thread = threading.Thread(target=within_a_record, daemon=True)
        thread.start()
        assert done.wait(PATIENCE_S)
        thread.join(PATIENCE_S)
        captured.join(PATIENCE_S)
    assert sorted(call["model"] for call in stored(db_path).calls) == ["m", "other"]


def _is_free(lock: Any) -> bool:
    if lock.acquire(blocking=False):
        lock.release()
        return True
    return False
