from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.builders import Builder, recording
from waxlocal.errors import NotFound
from waxlocal.queries import Flag, TimeByKind, Timing, timing
from waxlocal.queries.intervals import Interval, divided, gaps


def kinds(spent: TimeByKind) -> dict[str, float]:
    """Return the kinds that took any time."""
    named = ("llm", "tool", "retrieval", "retry", "own_code", "waiting")
    return {name: getattr(spent, name) for name in named if getattr(spent, name)}


def flag(spent: Timing, kind: str) -> Flag | None:
    """Return the flag of that kind, if it was raised."""
    return next((one for one in spent.flags if one.kind == kind), None)


def test_time_is_told_apart_by_kind_and_adds_up(tmp_path: Path) -> None:
    """Each kind has its own seconds, the rest is the program's own, and all make the duration."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=10.0)
        make.llm(run, at=3.0, duration_ms=2_000)
        make.span(run, "tool", at=3.0, seconds=1.5)
        make.span(run, "retriever", at=5.0, seconds=1.0)
        make.span(run, "retry", at=6.0, seconds=0.5)
        make.span(run, "human", at=7.0, seconds=0.25)
        make.span(run, "io", name="human_turn", at=8.0, seconds=0.25)
        make.span(run, "pause", at=9.0, seconds=0.5)
        make.span(run, "decision", at=0.0, seconds=10.0)
        (turn,) = timing(conn, "s1").turns
    assert kinds(turn.seconds) == {
        "llm": 2.0,
        "tool": 1.5,
        "retrieval": 1.0,
        "retry": 0.5,
        "own_code": 4.0,
        "waiting": 1.0,
    }
    assert (turn.seconds.total, turn.seconds.active, turn.duration) == (10.0, 9.0, 10.0)


def test_parallel_calls_are_not_counted_twice(tmp_path: Path) -> None:
    """Two calls of two seconds at the same time took two seconds."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=3.0)
        make.llm(run, at=2.0, duration_ms=2_000)
        make.llm(run, at=2.5, duration_ms=2_000)
        spent = timing(conn, "s1").seconds
    assert kinds(spent) == {"llm": 2.5, "own_code": 0.5}


def test_an_instant_of_several_kinds_goes_to_the_first_of_them(tmp_path: Path) -> None:
    """A person waited for comes before retry, then tool, retrieval and LLM."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=6.0)
        make.llm(run, at=6.0, duration_ms=6_000)
        make.span(run, "retriever", at=1.0, seconds=5.0)
        make.span(run, "tool", at=2.0, seconds=4.0)
        make.span(run, "retry", at=3.0, seconds=3.0)
        make.span(run, "human", at=4.0, seconds=2.0)
        spent = timing(conn, "s1").seconds
    assert kinds(spent) == {"llm": 1.0, "retrieval": 1.0, "tool": 1.0, "retry": 1.0, "waiting": 2.0}


@pytest.mark.parametrize("outer", ["tool", "retriever"])
def test_what_happens_in_a_tool_or_a_search_is_told_apart(tmp_path: Path, outer: str) -> None:
    """A model asked in it is the model's time, a search in a tool the search's."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=10.0)
        make.span(run, outer, at=1.0, seconds=8.0)
        make.llm(run, at=3.0, duration_ms=750)
        make.span(run, "tool", at=4.0, seconds=2.0)
        make.span(run, "retriever", at=4.5, seconds=0.5)
        spent = timing(conn, "s1").seconds
    whole = {"tool": 0.0, "retrieval": 0.0, "llm": 0.75, "own_code": 2.0}
    whole["tool" if outer == "tool" else "retrieval"] += 8.0 - 0.75 - 2.0
    whole["tool"] += 1.5
    whole["retrieval"] += 0.5
    assert kinds(spent) == whole


def test_a_nested_run_in_a_tool_has_its_own_kinds(tmp_path: Path) -> None:
    """A tool that calls an agent is not all tool."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=10.0)
        make.span(run, "tool", at=1.0, seconds=8.0)
        nested = make.run(at=2.0, seconds=6.0, parent=run)
        make.llm(nested, at=7.0, duration_ms=4_000)
        spent = timing(conn, "s1").seconds
    assert kinds(spent) == {"tool": 4.0, "llm": 4.0, "own_code": 2.0}


def test_a_record_outside_its_run_is_cut(tmp_path: Path) -> None:
    """A duration that was given too long, or a clock that jumped, cannot exceed the run."""
    with recording(tmp_path) as (make, conn):
        run = make.run(at=10.0, seconds=2.0)
        make.llm(run, at=11.0, duration_ms=60_000)
        make.span(run, "tool", at=500.0, seconds=5.0)
        make.span(run, "tool", at=11.5, seconds=-3.0)
        spent = timing(conn, "s1").seconds
    assert kinds(spent) == {"llm": 1.0, "own_code": 1.0}


def test_a_call_without_a_duration_lasted_since_the_record_before(tmp_path: Path) -> None:
    """Or since the run began, or since the span around it did; and it is said to be estimated."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=10.0)
        make.llm(run, at=1.0)
        make.step(run, "think", at=1.5)
        make.llm(run, at=2.0)
        make.span(run, "custom", at=4.0, seconds=5.0)
        make.llm(run, at=7.0)
        spent = timing(conn, "s1")
    assert kinds(spent.seconds) == {"llm": 4.5, "own_code": 5.5}
    assert (spent.estimated_calls, spent.estimated_seconds) == (3, 4.5)
    assert spent.turns[0].estimated_calls == 3


def test_a_run_that_has_not_ended_lasts_to_its_last_record(tmp_path: Path) -> None:
    """An open span goes on until then."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=None)
        make.span(run, "tool", at=1.0, status="running")
        make.step(run, "late", at=4.0)
        make.run("s2", seconds=None)
        open_run, bare = timing(conn, "s1"), timing(conn, "s2")
    assert kinds(open_run.seconds) == {"tool": 3.0, "own_code": 1.0}
    assert (bare.seconds.total, bare.reason) == (0.0, "nothing")


def test_gaps_between_runs_are_waiting_for_the_user(tmp_path: Path) -> None:
    """From the end of one turn to the start of the next the session waits."""
    with recording(tmp_path) as (make, conn):
        make.run(at=0.0, seconds=2.0)
        make.run(at=10.0, seconds=2.0)
        make.run(at=11.0, seconds=4.0)
        make.run(at=16.0, seconds=1.0)
        spent = timing(conn, "s1")
    assert spent.seconds.waiting == 9.0
    assert [turn.idle_before for turn in spent.turns] == [0.0, 8.0, 0.0, 1.0]
    assert spent.wall_duration == 17.0


def test_a_nested_run_is_part_of_the_one_around_it(tmp_path: Path) -> None:
    """What the child did is not counted again, and not taken for the parent's own code."""
    with recording(tmp_path) as (make, conn):
        parent = make.run(at=0.0, seconds=10.0)
        child = make.run(at=2.0, seconds=6.0, parent=parent)
        grandchild = make.run(at=3.0, seconds=4.0, parent=child)
        make.llm(grandchild, at=6.0, duration_ms=3_000)
        later = make.run(at=12.0, seconds=1.0, parent=parent)
        spent = timing(conn, "s1")
    assert kinds(spent.seconds) == {"llm": 3.0, "own_code": 8.0, "waiting": 2.0}
    assert [turn.nested_in for turn in spent.turns] == [None, parent, child, None]
    assert [turn.seconds.llm for turn in spent.turns] == [3.0, 3.0, 3.0, 0.0]
    assert spent.turns[3].run_id == later


def test_a_failed_call_that_was_tried_again_is_a_retry(tmp_path: Path) -> None:
    """So is the idle time up to the next attempt; the attempt that succeeds is not."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=10.0)
        make.llm(run, at=1.0, duration_ms=1_000, status="error", error_message="503")
        make.llm(run, at=6.0, duration_ms=2_000)
        make.span(run, "tool", name="web", at=6.0, seconds=1.0, status="error", error="reset")
        make.span(run, "tool", name="other", at=7.0, seconds=1.0)
        make.span(run, "tool", name="web", at=8.0, seconds=1.0)
        spent = timing(conn, "s1")
    assert kinds(spent.seconds) == {"retry": 5.0, "llm": 2.0, "tool": 2.0, "own_code": 1.0}
    raised = flag(spent, "retries")
    assert raised is not None
    assert (raised.count, raised.seconds) == (2, 5.0)
    assert flag(spent, "rate_limit") is None
    assert spent.verdict == "Retries: 2, 5.0 s lost, of 10.0 s active."


def test_a_failed_call_without_another_attempt_is_no_retry(tmp_path: Path) -> None:
    """The last failure, and one beside a call that ran at the same time, stay what they are."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=4.0)
        make.span(run, "tool", name="web", at=0.0, seconds=2.0, status="error")
        make.span(run, "tool", name="web", at=1.0, seconds=2.0)
        make.llm(run, at=4.0, duration_ms=1_000, status="error")
        spent = timing(conn, "s1")
    assert kinds(spent.seconds) == {"tool": 3.0, "llm": 1.0}
    assert flag(spent, "retries") is None


def test_a_retry_and_its_record_count_once(tmp_path: Path) -> None:
    """A failed call followed by a record of the retry is one retry."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=4.0)
        make.llm(run, at=1.0, duration_ms=1_000, status="error")
        make.span(run, "retry", at=1.0, attributes={"attempt": 1, "reason": "timeout"})
        make.llm(run, at=4.0, duration_ms=1_000)
        raised = flag(timing(conn, "s1"), "retries")
    assert raised is not None
    assert (raised.count, raised.seconds) == (1, 3.0)


@pytest.mark.parametrize(
    ("error", "limited"),
    [
        ("RateLimitError: slow down", True),
        ("rate_limit_exceeded", True),
        ("HTTP 429", True),
        ("Too Many Requests", True),
        ("could not generate, moderate or iterate", False),
        ("id 14290 not found", False),
    ],
)
def test_rate_limits_are_known_by_their_words(tmp_path: Path, error: str, limited: bool) -> None:
    """What providers say about too many requests raises the flag, nothing that looks alike."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=10.0)
        make.llm(run, at=1.0, duration_ms=1_000, status="error", error_message=error)
        make.llm(run, at=9.0, duration_ms=1_000)
        spent = timing(conn, "s1")
    assert spent.reason == ("rate_limit" if limited else "retries")
    assert (flag(spent, "rate_limit") is not None) == limited


def tools(make: Builder, *starts: float, seconds: float = 1.0, at: float = 0.0) -> str:
    """Add a run of ten seconds with tool calls at these moments."""
    run = make.run(at=at, seconds=10.0)
    for number, start in enumerate(starts):
        make.span(run, "tool", name=f"tool {number}", at=start, seconds=seconds)
    return run


def test_tools_one_after_another_are_flagged(tmp_path: Path) -> None:
    """Count, seconds, and what the longest alone takes."""
    with recording(tmp_path) as (make, conn):
        tools(make, 0.0, 2.0, 4.5, seconds=2.0)
        spent = timing(conn, "s1")
    raised = flag(spent, "sequential_tools")
    assert raised is not None
    assert (raised.count, raised.seconds, raised.longest) == (3, 6.0, 2.0)
    assert (spent.reason, spent.verdict) == (
        "sequential_tools",
        "Sequential tool calls: 3 took 6.0 s one after another, 2.0 s if run in parallel, "
        "of 10.0 s active.",
    )


def test_tools_side_by_side_or_between_llm_calls_are_not_flagged(tmp_path: Path) -> None:
    """Overlapping calls already run together; after an LLM call a tool may need its answer."""
    with recording(tmp_path) as (make, conn):
        tools(make, 0.0, 0.5, 1.0)
        run = tools(make, 20.0, 22.0, at=20.0)
        make.llm(run, at=22.0, duration_ms=500)
        nested = tools(make, 40.0, at=40.0)
        make.span(nested, "tool", at=40.2, seconds=0.5)
        assert flag(timing(conn, "s1"), "sequential_tools") is None


def test_large_retrieval_is_flagged_with_its_documents(tmp_path: Path) -> None:
    """A search that takes a good part of the time is named, with what it brought."""
    with recording(tmp_path) as (make, conn):
        run = make.run(seconds=10.0)
        make.span(
            run,
            "retriever",
            name="retrieve:faiss",
            at=0.0,
            seconds=4.0,
            attributes={"doc_count": 90},
        )
        make.span(run, "retriever", name="retrieve:web", at=5.0, seconds=1.0)
        make.llm(run, at=10.0, duration_ms=3_000)
        spent = timing(conn, "s1")
    assert (spent.reason, spent.verdict) == (
        "large_retrieval",
        "Large retrieval: 2 retrievals took 5.0 s, 50%; the longest 4.0 s (retrieve:faiss, "
        "90 documents), of 10.0 s active.",
    )


def test_without_a_cause_the_largest_kind_is_named(tmp_path: Path) -> None:
    """The verdict says on what most of the time went, and whether that is an estimate."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run("known", seconds=2.0), at=2.0, duration_ms=1_500)
        make.llm(make.run("estimated", seconds=2.0), at=1.5)
        make.run("own", seconds=200.0)
        make.run("long", seconds=7_500.0)
        known, estimated, own, long = (
            timing(conn, one) for one in ("known", "estimated", "own", "long")
        )
    assert (known.reason, known.verdict) == ("llm", "Mostly LLM calls: 75% of 2.0 s active.")
    assert estimated.verdict == (
        "Mostly LLM calls: 75% of 2.0 s active (estimated for 1 call without a duration)."
    )
    assert own.verdict == "Mostly the program's own code: 100% of 3 m 20 s active."
    assert long.verdict == "Mostly the program's own code: 100% of 2 h 5 m active."


def test_a_session_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """An unknown id raises `NotFound`."""
    with recording(tmp_path) as (_make, conn), pytest.raises(NotFound):
        timing(conn, "s1")


intervals = st.lists(
    st.builds(Interval, st.integers(0, 30), st.integers(0, 30), st.sampled_from("abc"))
)


@given(intervals)
def test_each_instant_belongs_to_the_innermost_of_the_first_kinds(made: list[Interval]) -> None:
    """Dividing by a sweep gives what looking at every single instant gives."""
    expected = dict.fromkeys("abc", 0)
    for instant in range(30):
        covering = [one for one in made if one.start <= instant < one.end]
        first = [one for one in covering if one.kind == "a"] or covering
        if first:
            innermost = min(first, key=lambda one: (-one.start, one.end, one.kind))
            expected[innermost.kind] += 1
    assert divided(made, ("a", "bc")) == expected


@given(intervals)
def test_gaps_are_the_instants_between_intervals_that_none_covers(made: list[Interval]) -> None:
    """Nothing before the first, nothing after the last, and every free instant between."""
    made = [one for one in made if one.start < one.end]
    span = range(min((m.start for m in made), default=0), max((m.end for m in made), default=0))
    free = [at for at in span if not any(one.start <= at < one.end for one in made)]
    assert [at for gap in gaps(made) for at in range(gap.start, gap.end)] == free


def test_a_turn_that_was_killed_lasted_as_long_as_what_it_called(tmp_path: Path) -> None:
    """What a sub-agent did is no wait for the user, and the time before is the turn's own."""
    with recording(tmp_path) as (make, conn):
        gone = make.process(alive=False)
        turn = make.run("s", at=0, seconds=None, process=gone)
        make.llm(turn, at=1, duration_ms=1000)
        nested = make.run("s", at=4, seconds=None, process=gone, parent=turn)
        deeper = make.run("s", at=5, seconds=None, process=gone, parent=nested)
        make.llm(deeper, at=6, duration_ms=1000)
        took = timing(conn, "s")
    assert (took.seconds.waiting, took.seconds.llm, took.seconds.own_code) == (0.0, 2.0, 4.0)
    assert [one.nested_in for one in took.turns] == [None, turn, nested]
