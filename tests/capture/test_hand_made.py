"""A call that was captured in another run than the program hands it over in is one row."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.crash.files import assert_sound
from tests.tools.cli import invoke
from tests.tools.patience import PATIENCE_S
from tests.vendors import clients
from tests.vendors.replies import Reply, Usage
from tests.vendors.server import VendorServer, vendor_server
from waxlocal import WaxellContext, WaxellObserveClient, session
from waxlocal.capture import hand_made
from waxlocal.capture.call_rows import row_of_call
from waxlocal.capture.calls import CapturedCalls
from waxlocal.capture.engines import instrument, uninstrument
from waxlocal.capture.facts import CallFacts
from waxlocal.capture.outside_calls import keep_outside, take_outside
from waxlocal.capture.pairing import Report
from waxlocal.sdk.scope import outermost
from waxlocal.storage.record_sql import Statement
from waxlocal.token_counts import TokenCounts

pytestmark = pytest.mark.usefixtures("recorder")

MODEL = "gpt-4o"
IN, OUT = 1234, 56
MEANT = "ignore:This process:DeprecationWarning"


@pytest.fixture
def vendors() -> Iterator[VendorServer]:
    with vendor_server() as server:
        for _ in range(4):
            server.answer(Reply(text="It is.", usage=Usage(IN, OUT)))
        assert instrument(["openai"]) == {"openai": True}
        yield server
        uninstrument()


def _ask(server: VendorServer, asked: str = "what is it?") -> Any:
    messages: Any = [{"role": "user", "content": asked}]
    with clients.openai_client(server.url) as client:
        return client.chat.completions.create(model=MODEL, messages=messages)


def _hand_over(run: WaxellContext, tokens_in: int = IN, **more: Any) -> None:
    run.record_llm_call(model=MODEL, tokens_in=tokens_in, tokens_out=OUT, task="judge", **more)


def _in_thread(function: Any, *args: Any) -> None:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join(PATIENCE_S)


def _merged(path: Path, agent_name: str) -> dict[str, Any]:
    """Return the only call of a file, which lies in the run of this agent, with both reports."""
    found = stored(path)
    (call,) = found.calls
    assert call["run_id"] == found.run(agent_name)["run_id"]
    assert (call["task"], call["tokens_in"], call["response"]) == ("judge", IN, "It is.")
    assert json.loads(call["details"])["merged"] == ["record_llm_call"]
    return call


def test_a_call_made_outside_any_run_comes_into_the_run_that_it_is_handed_over_in(
    db_path: Path, vendors: VendorServer
) -> None:
    """The run that was made for it, and its session, are gone; it keeps its time."""
    with session("thread-1"):
        _ask(vendors)
    before = stored(db_path).calls[0]["recorded_at"]
    with WaxellContext("own", session_id="thread-2") as run:
        _hand_over(run)
    assert _merged(db_path, "own")["recorded_at"] == before
    assert len(stored(db_path).runs) == 1
    assert "thread-1" not in invoke("--db", db_path, "sessions").stdout
    assert_sound(db_path)


def test_a_call_made_in_a_plain_thread_comes_into_the_run_that_it_is_handed_over_in(
    db_path: Path, vendors: VendorServer
) -> None:
    """A thread begins outside everything."""
    with WaxellContext("own") as run:
        _in_thread(_ask, vendors)
        _hand_over(run)
    _merged(db_path, "own")
    assert len(stored(db_path).runs) == 1


def test_a_call_made_in_a_run_stays_there_if_it_is_handed_over_around_it(
    db_path: Path, vendors: VendorServer
) -> None:
    """Also when that run has ended."""
    with WaxellContext("outer") as run:
        with WaxellContext("inner"):
            _ask(vendors)
        _hand_over(run)
    _merged(db_path, "inner")
    assert len(stored(db_path).runs) == 2


def test_a_call_made_around_a_run_comes_into_it(db_path: Path, vendors: VendorServer) -> None:
    """The program says where it belongs; the run around stays."""
    with WaxellContext("outer"):
        _ask(vendors)
        with WaxellContext("inner") as run:
            _hand_over(run)
    _merged(db_path, "inner")
    assert len(stored(db_path).runs) == 2


def test_a_call_made_in_a_run_stays_there_if_it_is_handed_over_in_one_beside_it(
    db_path: Path, vendors: VendorServer
) -> None:
    """Neither is inside the other: it is where it was made."""
    with WaxellContext("outer"):
        with WaxellContext("asks"):
            _ask(vendors)
        with WaxellContext("logs") as run:
            _hand_over(run)
    _merged(db_path, "asks")


def test_a_call_in_the_run_of_the_process_comes_into_the_one_that_it_is_handed_over_in(
    db_path: Path, vendors: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`waxlocal run --agent` puts all calls into one run, unless the program says more."""
    around = WaxellContext("all")
    around._open(None)
    monkeypatch.setattr(outermost, "run", around)
    _ask(vendors)
    with WaxellContext("own") as run:
        _hand_over(run)
    around._close("success")
    _merged(db_path, "own")


def test_a_call_handed_over_by_the_id_of_a_run_is_one_row(
    db_path: Path, vendors: VendorServer
) -> None:
    """As programs do that use the low-level client."""
    _ask(vendors)
    client = WaxellObserveClient()
    run = client.start_run_sync(agent_name="by-id", workflow_name="default")
    call = {"model": MODEL, "tokens_in": IN, "tokens_out": OUT, "task": "judge"}
    client.record_llm_calls_sync(run_id=run.run_id, calls=[call])
    client.complete_run_sync(run_id=run.run_id)
    _merged(db_path, "by-id")


def test_a_call_that_a_server_may_have_stays_where_it_was_made(
    db_path: Path, vendors: VendorServer
) -> None:
    """There it would be twice: what was uploaded is not removed there."""
    _ask(vendors)
    with WaxellContext("own") as run:
        run_id = stored(db_path).runs[0]["run_id"]
        _note_upload(run, run_id)
        _hand_over(run)
    _merged(db_path, f"auto:{MODEL}")


def _note_upload(run: WaxellContext, run_id: str) -> None:
    request = Statement("""
        INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state, positions,
          bytes) VALUES (?, 1, 'start', 0, 'k', 'waiting', '[]', 0)
    """)
    run._recorder.store.write(request, (run_id,))


def test_of_equal_calls_the_one_with_the_same_question_is_taken(
    db_path: Path, vendors: VendorServer
) -> None:
    """Each is taken once; what nobody handed over stays in its own run."""
    for asked in ("first", "second", "third"):
        _ask(vendors, asked)
    with WaxellContext("own") as run:
        _hand_over(run, prompt_preview="third")
        _hand_over(run, prompt_preview="sec")
    found = stored(db_path)
    own = [call["prompt_preview"] for call in found.calls_of(found.run("own"))]
    assert (own, len(found.calls)) == (["third", "second"], 3)


@pytest.mark.parametrize("tokens_in", [IN + 1, 0])
def test_a_call_with_other_counts_is_another_call(
    tokens_in: int, db_path: Path, vendors: VendorServer
) -> None:
    """Outside its run, nothing but the counts says which one it is."""
    _ask(vendors)
    with WaxellContext("own") as run:
        _hand_over(run, tokens_in)
    assert len(stored(db_path).calls) == len(stored(db_path).runs) == 2


def test_a_call_of_long_ago_is_another_call(
    db_path: Path, vendors: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program hands a call over soon after it."""
    _ask(vendors)
    monkeypatch.setattr(hand_made, "SOON_NS", -1)
    with WaxellContext("own") as run:
        _hand_over(run)
    assert len(stored(db_path).calls) == 2


def test_a_context_that_is_entered_again_does_not_take_the_calls_of_before(
    db_path: Path, vendors: VendorServer
) -> None:
    """It is another run."""
    run = WaxellContext("own")
    with run:
        _ask(vendors)
    with run:
        _hand_over(run)
    found = stored(db_path)
    assert [len(found.calls_of(one)) for one in found.runs] == [1, 1]


@pytest.mark.filterwarnings(MEANT)
def test_a_forked_child_leaves_the_calls_of_its_parent(
    db_path: Path, vendors: VendorServer
) -> None:
    """The parent made them, and hands them over itself."""
    _ask(vendors)
    child = os.fork()
    if not child:
        try:
            with WaxellContext("child") as run:
                _hand_over(run)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    with WaxellContext("parent") as run:
        _hand_over(run)
    found = stored(db_path)
    assert [len(found.calls_of(found.run(name))) for name in ("child", "parent")] == [1, 1]
    assert len(found.runs) == 2


def test_what_a_framework_tells_later_is_merged_where_the_call_has_come_to(db_path: Path) -> None:
    """It reports the whole invocation when it is over."""
    facts = CallFacts(model=MODEL, tokens=TokenCounts(IN, OUT), response="It is.")
    now = time.monotonic_ns()
    with WaxellContext(f"auto:{MODEL}") as auto:
        report = Report("openai", now, now + 1, row_of_call(facts, 3, "openai"))
        keep_outside(auto, CapturedCalls.of(auto))
        CapturedCalls.of(auto).record(report, [])
    with WaxellContext("own") as run:
        _hand_over(run)
    later = Report("langchain", now, now + 2, row_of_call(facts, 9, "langchain"))
    assert take_outside(later)
    (call,) = stored(db_path).calls
    assert (call["task"], call["duration_ms"]) == ("judge", 9)
    assert json.loads(call["details"])["merged"] == ["record_llm_call", "langchain"]
