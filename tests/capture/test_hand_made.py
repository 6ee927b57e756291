"""A call that was captured in another run than the program hands it over in is one row."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.capture.stored import stored
from tests.crash.files import assert_sound
from tests.tools.cli import answer, invoke
from tests.tools.patience import PATIENCE_S
from tests.vendors import clients
from tests.vendors.replies import Fault, Reply, Usage
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
    _ask(vendors)
    before = stored(db_path).calls[0]["recorded_at"]
    with WaxellContext("own", session_id="thread-2") as run:
        _hand_over(run)
    assert _merged(db_path, "own")["recorded_at"] == before
    assert len(stored(db_path).runs) == 1
    assert [one["session_id"] for one in answer("sessions", db=db_path)] == ["thread-2"]
    assert_sound(db_path)


@pytest.mark.parametrize("named", [{"session_id": "thread-1"}, {"user_id": "alice"}])
def test_a_call_stays_in_the_session_and_with_the_user_that_the_program_named(
    db_path: Path, vendors: VendorServer, named: dict[str, str]
) -> None:
    """It would not be in them any more."""
    with session(named.get("session_id", "thread-2"), user_id=named.get("user_id")):
        _ask(vendors)
    with WaxellContext("own", session_id="thread-2") as run:
        _hand_over(run)
    _merged(db_path, f"auto:{MODEL}")
    assert len(stored(db_path).runs) == 2
    assert_sound(db_path)


def test_a_call_made_in_a_plain_thread_comes_into_the_run_that_it_is_handed_over_in(
    db_path: Path, vendors: VendorServer
) -> None:
    """A thread begins outside everything. Its run goes once another one has begun.

    The next run would get the id of the newest one, and who follows the file by ids would miss it.
    """
    with WaxellContext("own") as run:
        _in_thread(_ask, vendors)
        _hand_over(run)
    _merged(db_path, "own")
    assert len(stored(db_path).runs) == 2
    last = stored(db_path).runs[-1]["id"]
    _ask(vendors, "and this?")
    found = stored(db_path)
    assert [one["id"] for one in found.runs] == [found.run("own")["id"], last + 1]


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


DELIVERY = "INSERT INTO deliveries (run_id, target_id, state) VALUES (?, 1, 'pending')"
REQUEST = """
INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state, positions, bytes)
VALUES (?, 1, 'start', 0, 'k', 'waiting', '[]', 0)
"""


@pytest.mark.parametrize("sql", [DELIVERY, REQUEST], ids=["is about to", "has begun"])
def test_a_call_that_a_server_may_have_stays_where_it_was_made(
    db_path: Path, vendors: VendorServer, sql: str
) -> None:
    """There it would be twice: what was uploaded is not removed there."""
    _ask(vendors)
    with WaxellContext("own") as run:
        run._recorder.store.write(Statement(sql), (stored(db_path).runs[0]["run_id"],))
        _hand_over(run)
    _merged(db_path, f"auto:{MODEL}")


def test_a_call_in_a_file_beside_the_file_stays_where_it_was_made(
    db_path: Path, vendors: VendorServer
) -> None:
    """Perhaps it was copied into the file: nothing says there that it is gone."""
    _ask(vendors)
    with WaxellContext("own") as run:
        run._recorder.store.path = db_path.with_name("newer.db")
        _hand_over(run)
        run._recorder.store.path = db_path
    _merged(db_path, f"auto:{MODEL}")


def test_a_call_of_a_function_that_is_a_run_stays_there(
    db_path: Path, vendors: VendorServer
) -> None:
    """Handed over in another run, which has nothing to do with it but that it came after it."""
    with WaxellContext("asks"):
        _ask(vendors)
    with WaxellContext("logs") as run:
        _hand_over(run)
    _merged(db_path, "asks")


def test_a_call_outside_any_run_is_not_taken_for_an_equal_one_in_a_run_that_has_ended(
    db_path: Path, vendors: VendorServer
) -> None:
    """What is handed over is like the call that the program has made last."""
    with WaxellContext("before"):
        _ask(vendors)
    _ask(vendors)
    with WaxellContext("own") as run:
        _hand_over(run)
    found = stored(db_path)
    tasks = {call["run_id"]: call["task"] for call in found.calls}
    assert tasks == {
        found.run("before")["run_id"]: "chat.completions",
        found.run("own")["run_id"]: "judge",
    }


def test_the_place_of_the_last_of_equal_calls_decides(db_path: Path, vendors: VendorServer) -> None:
    """Also where that is a run which has ended: the call outside any stays what it is."""
    _ask(vendors)
    with WaxellContext("later"):
        _ask(vendors)
    with WaxellContext("own") as run:
        _hand_over(run)
    found = stored(db_path)
    tasks = {call["run_id"]: call["task"] for call in found.calls}
    assert tasks[found.run("later")["run_id"]] == "judge"
    assert found.run("own")["run_id"] not in tasks


def test_a_stream_without_usage_takes_the_counts_that_are_handed_over_elsewhere(
    db_path: Path, vendors: VendorServer
) -> None:
    """The program counts them itself."""
    messages: Any = [{"role": "user", "content": "what is it?"}]
    with clients.openai_client(vendors.url) as client:
        list(client.chat.completions.create(model=MODEL, messages=messages, stream=True))
    with WaxellContext("own") as run:
        _hand_over(run)
    assert _merged(db_path, "own")["usage_known"] == 1


def test_a_failed_call_that_is_handed_over_elsewhere_is_one_row(
    db_path: Path, vendors: VendorServer
) -> None:
    """Nobody has counted its tokens."""
    vendors.answer(Reply(fault=Fault(400)), "refused")
    with pytest.raises(openai.BadRequestError), clients.openai_client(vendors.url) as client:
        client.chat.completions.create(model="refused", messages=[])
    call = {"model": "refused", "tokens_in": 0, "tokens_out": 0, "status": "error"}
    with WaxellContext("own") as run:
        run.record_llm_call(**call, task="judge")
    (call,) = stored(db_path).calls
    assert (call["run_id"], call["status"], call["task"]) == (run.run_id, "error", "judge")
    assert call["error_type"] == "openai.BadRequestError"


@pytest.mark.parametrize("inside", [True, False], ids=["in the run", "outside any"])
def test_equal_calls_are_handed_over_in_their_order(
    db_path: Path, vendors: VendorServer, inside: bool
) -> None:
    """Whoever says nothing but the counts hands over what was made first."""
    if not inside:
        _ask(vendors, "first")
        _ask(vendors, "second")
    with WaxellContext("own") as run:
        if inside:
            _ask(vendors, "first")
            _ask(vendors, "second")
        for cost in (0.1, 0.9):
            run.record_llm_call(model=MODEL, tokens_in=IN, tokens_out=OUT, cost=cost)
    costs = {call["prompt_preview"]: call["cost"] for call in stored(db_path).calls}
    assert costs == {"first": 0.1, "second": 0.9}


@pytest.mark.parametrize("said", [{}, {"response_preview": "It is."}], ids=["", "answered"])
def test_of_equal_calls_the_question_decides_also_where_the_answers_are_the_same(
    db_path: Path, vendors: VendorServer, said: dict[str, str]
) -> None:
    _ask(vendors, "first")
    _ask(vendors, "second")
    with WaxellContext("own") as run:
        _hand_over(run, prompt_preview="second", **said)
    found = stored(db_path)
    assert [call["prompt_preview"] for call in found.calls_of(found.run("own"))] == ["second"]


def test_streams_without_usage_take_the_counts_of_each_in_their_order(
    db_path: Path, vendors: VendorServer
) -> None:
    """Made outside any run."""
    with clients.openai_client(vendors.url) as client:
        for asked in ("first", "second"):
            messages: Any = [{"role": "user", "content": asked}]
            list(client.chat.completions.create(model=MODEL, messages=messages, stream=True))
    with WaxellContext("own") as run:
        _hand_over(run, 100)
        _hand_over(run, 200)
    counted = {call["prompt_preview"]: call["tokens_in"] for call in stored(db_path).calls}
    assert counted == {"first": 100, "second": 200}


def test_a_stream_without_usage_of_another_thread_is_known_by_what_was_asked(
    db_path: Path, vendors: VendorServer
) -> None:
    """Without counts, and in another thread, nothing else says which one it is."""

    def read() -> None:
        messages: Any = [{"role": "user", "content": "what is it?"}]
        with clients.openai_client(vendors.url) as client:
            list(client.chat.completions.create(model=MODEL, messages=messages, stream=True))

    with WaxellContext("own") as run:
        _in_thread(read)
        _hand_over(run, prompt_preview="what is it?")
    assert _merged(db_path, "own")["usage_known"] == 1


def test_a_failed_call_is_one_row_also_if_another_call_came_after_it(
    db_path: Path, vendors: VendorServer
) -> None:
    """Nobody counts its tokens, whatever is handed over."""
    vendors.answer(Reply(fault=Fault(400)), "refused")
    with pytest.raises(openai.BadRequestError), clients.openai_client(vendors.url) as client:
        client.chat.completions.create(model="refused", messages=[])
    _ask(vendors)
    with WaxellContext("own") as run:
        run.record_llm_call(model="refused", tokens_in=0, tokens_out=0, status="error")
        _hand_over(run)
    found = stored(db_path)
    own = [(call["model"], call["usage_known"]) for call in found.calls_of(found.run("own"))]
    assert sorted(own) == [(MODEL, 1), ("refused", 0)]
    assert len(found.calls) == 2


def test_each_task_hands_over_its_own_call(db_path: Path, vendors: VendorServer) -> None:
    """All have the same counts, and nobody says more; threads and tasks, last come first."""
    vendors.always(MODEL, Reply(usage=Usage(IN, OUT)))
    begun = threading.Barrier(8)

    def in_thread(who: str) -> None:
        _ask(vendors, who)
        begun.wait(PATIENCE_S)
        with WaxellContext(who) as run:
            _hand_over(run)

    async def in_task(who: str, turn: int) -> None:
        messages: Any = [{"role": "user", "content": who}]
        async with clients.async_openai_client(vendors.url) as client:
            await client.chat.completions.create(model=MODEL, messages=messages)
        await asked.wait()
        for _ in range(8 - turn):
            await asyncio.sleep(0)
        with WaxellContext(who) as run:
            _hand_over(run)

    async def all_tasks() -> None:
        tasks = [asyncio.create_task(in_task(f"task {turn}", turn)) for turn in range(8)]
        while len(stored(db_path).calls) < 16:
            await asyncio.sleep(0.01)
        asked.set()
        await asyncio.gather(*tasks)

    threads = [threading.Thread(target=in_thread, args=(f"thread {one}",)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    asked = asyncio.Event()
    asyncio.run(all_tasks())
    found = stored(db_path)
    assert len(found.calls) == 16
    for call in found.calls:
        assert found.run(call["prompt_preview"])["run_id"] == call["run_id"]
    assert_sound(db_path)


@pytest.mark.parametrize(
    "said",
    [
        {"prompt_preview": "and who are you?"},
        {"response_preview": "I am somebody else."},
        {"full_messages": [{"role": "user", "content": "and who are you?"}]},
        {"full_response": "I am somebody else."},
    ],
    ids=lambda said: next(iter(said)),
)
def test_a_call_that_was_asked_or_answered_something_else_is_another_call(
    db_path: Path, vendors: VendorServer, said: dict[str, Any]
) -> None:
    """Also with the same counts: nobody's words come into the run of somebody else."""
    _ask(vendors)
    with WaxellContext("own") as run:
        _hand_over(run, **said)
    found = stored(db_path)
    assert [len(found.calls_of(one)) for one in found.runs] == [1, 1]
    assert found.calls_of(found.run("own"))[0]["response"] != "It is."


def test_a_call_that_has_got_its_price_keeps_it(db_path: Path, vendors: VendorServer) -> None:
    """A reader has looked it up before the program hands the call over, in any run."""
    _ask(vendors, "first")
    with WaxellContext("asks") as run:
        _ask(vendors, "second")
        assert [call["cost"] for call in stored(db_path).calls] == [None, None]
        assert invoke("stats", db=db_path).exit_code == 0
        assert None not in [call["cost"] for call in stored(db_path).calls]
        _hand_over(run, prompt_preview="second")
        _hand_over(run, prompt_preview="first")
    assert invoke("stats", db=db_path).exit_code == 0
    assert len(stored(db_path).calls) == 2
    assert None not in [call["cost"] for call in stored(db_path).calls]


def test_a_report_around_a_call_that_has_left_its_run_is_the_same_call(db_path: Path) -> None:
    """A framework tells of it when its own span ends; the program handed it over before."""
    facts = CallFacts(model=MODEL, tokens=TokenCounts(IN, OUT), response="It is.")
    now = time.monotonic_ns()
    inner, outer = (
        Report(scope, now, now + 1, row_of_call(facts, ms, scope))
        for scope, ms in (("openai", 3), ("langchain", 9))
    )
    with WaxellContext("around") as around:
        calls = CapturedCalls.of(around)
        known = calls.record(inner, [])
        with WaxellContext("own") as run:
            _hand_over(run)
        assert calls.record(outer, [known]) is calls.record(outer, [known]) is known
        assert calls.record(inner, []) is known
    (call,) = stored(db_path).calls
    assert (call["run_id"], call["duration_ms"], call["task"]) == (run.run_id, 9, "judge")


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


def test_a_context_that_is_entered_again_leaves_the_calls_of_before_where_they_were_made(
    db_path: Path, vendors: VendorServer
) -> None:
    """It is another run, and not inside the first one."""
    run = WaxellContext("own")
    with run:
        _ask(vendors)
    with run:
        _hand_over(run)
    found = stored(db_path)
    assert [len(found.calls_of(one)) for one in found.runs] == [1, 0]


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
