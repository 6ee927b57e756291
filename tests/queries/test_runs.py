from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.builders import moment, recording, run_id
from waxlocal.errors import AmbiguousId, InvalidQuery, NotFound
from waxlocal.queries import (
    Span,
    as_dict,
    get_run,
    last_runs,
    recent_runs,
    reread_runs,
    resolve_run_id,
    resolve_session_id,
    short_run_id,
)


def test_a_run_is_shown_with_everything_it_recorded(tmp_path: Path) -> None:
    """JSON comes decoded, each kind of record in the order of its making."""
    with recording(tmp_path) as (make, conn):
        process = make.process(alive=True)
        run = make.run(
            process=process,
            inputs={"message": "hi"},
            result={"response": ["a"]},
            metadata={"turn": 1},
            tags={"kind": "chat"},
            user_group="staff",
            status="error",
            error="no",
            error_type="ValueError",
            traceback="Traceback ...",
        )
        make.llm(run, 10, 5, cost=0.1, messages=[{"role": "user"}], details={"framework": "x"})
        make.step(run, "plan", output={"n": 1}, attributes={"a": 2})
        make.score(run, "good", numeric_value=1.0, string_value="true", data_type="boolean")
        make.event(run, "policy_check", data={"action": "allow"})
        make.llm(run, 20, 5, is_streaming=1, duration_ms=120)
        detail = get_run(conn, run)
    assert (detail.inputs, detail.result) == ({"message": "hi"}, {"response": ["a"]})
    assert (detail.metadata, detail.tags) == ({"turn": 1}, {"kind": "chat"})
    assert (detail.run.error, detail.run.error_type) == ("no", "ValueError")
    assert (detail.traceback, detail.user_group) == ("Traceback ...", "staff")
    assert [(call.position, call.tokens_in) for call in detail.llm_calls] == [(1, 10), (5, 20)]
    assert detail.llm_calls[0].messages == [{"role": "user"}]
    assert detail.llm_calls[0].details == {"framework": "x"}
    assert [call.is_streaming for call in detail.llm_calls] == [False, True]
    assert (detail.steps[0].output, detail.steps[0].attributes) == ({"n": 1}, {"a": 2})
    assert (detail.scores[0].name, detail.scores[0].value) == ("good", True)
    assert detail.events[0].data == {"action": "allow"}
    assert detail.process is not None
    assert (detail.process.program, detail.process.gone) == ("app.py", False)
    assert detail.run.total_tokens == 40


@pytest.mark.parametrize(
    ("data_type", "number", "text", "value"),
    [
        ("numeric", 0.5, None, 0.5),
        ("boolean", 0.0, "false", False),
        ("categorical", None, "good", "good"),
        ("numeric", None, None, None),
    ],
)
def test_a_score_has_a_value_of_its_own_type(
    tmp_path: Path, data_type: str, number: float | None, text: str | None, value: object
) -> None:
    """Numbers, yes or no, and words come out as such."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        make.score(run, "s", data_type=data_type, numeric_value=number, string_value=text)
        (score,) = get_run(conn, run).scores
    assert score.value == value
    assert type(score.value) is type(value)


def test_a_run_without_any_record_is_shown(tmp_path: Path) -> None:
    """What is not there is None or empty; nothing of it is needed."""
    with recording(tmp_path) as (make, conn):
        detail = get_run(conn, make.run(None, seconds=None))
    assert (detail.inputs, detail.result, detail.metadata, detail.tags) == (None,) * 4
    assert (detail.llm_calls, detail.spans, detail.children) == ((), (), ())
    assert (detail.process, detail.parent) == (None, None)
    assert (detail.previous_run_id, detail.next_run_id) == (None, None)
    assert (detail.run.duration, detail.run.session_id) == (None, None)


def test_a_run_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """An unknown id raises `NotFound`."""
    with recording(tmp_path) as (_make, conn), pytest.raises(NotFound):
        get_run(conn, "nope")


def test_a_run_knows_who_opened_it_and_whom_it_opened(tmp_path: Path) -> None:
    """Parent and children are named with their status; a parent elsewhere is none."""
    with recording(tmp_path) as (make, conn):
        dead = make.process(alive=False)
        parent = make.run(agent="boss")
        child = make.run(parent=parent, agent="worker")
        late = make.run(parent=parent, at=1, seconds=None, process=dead)
        stray = make.run(parent="not-in-this-file")
        detail = get_run(conn, parent)
        of_child = get_run(conn, child).parent
        of_stray = get_run(conn, stray).parent
    assert [link.run_id for link in detail.children] == [child, late]
    assert [link.status for link in detail.children] == ["success", "interrupted"]
    assert of_child is not None
    assert (of_child.run_id, of_child.agent_name, of_child.duration) == (parent, "boss", 1.0)
    assert of_stray is None


def test_a_run_leads_to_its_neighbours_in_the_session(tmp_path: Path) -> None:
    """Previous and next follow the start, and the arrival where that is equal."""
    with recording(tmp_path) as (make, conn):
        last = make.run(at=9)
        first = make.run(at=0)
        twin = make.run(at=0)
        make.run("another", at=5)
        neighbours = {
            one: (get_run(conn, one).previous_run_id, get_run(conn, one).next_run_id)
            for one in (first, twin, last)
        }
    assert neighbours == {first: (None, twin), twin: (first, last), last: (twin, None)}


def shape(spans: tuple[Span, ...]) -> list[object]:
    """Return the positions of a tree as nested lists."""
    return [[span.position, *shape(span.children)] for span in spans]


def test_spans_hang_inside_each_other(tmp_path: Path) -> None:
    """A span lies in its parent; one whose parent is unknown is an outermost one."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        outer = make.span(run, "custom", attributes={"a": 1}, input={"q": 1}, output=[2])
        inner = make.span(run, inside=outer)
        make.span(run, inside=inner)
        make.span(run, inside=outer)
        make.span(run, inside=99)
        make.span(run, "tool")
        spans = get_run(conn, run).spans
    assert shape(spans) == [[1, [2, [3]], [4]], [5], [6]]
    assert (spans[0].attributes, spans[0].input, spans[0].output) == ({"a": 1}, {"q": 1}, [2])


def test_a_parent_may_come_after_its_children(tmp_path: Path) -> None:
    """Programs that send a span when it ends number the inner ones first."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        for inside in (3, 3, None):
            make.span(run, inside=inside)
        assert shape(get_run(conn, run).spans) == [[3, [1], [2]]]


def test_spans_in_a_circle_are_all_shown(tmp_path: Path) -> None:
    """Where parents form a circle the first of it becomes an outermost span."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        for inside in (2, 3, 2, 4):  # 1 in 2 in 3 in 2; 4 in itself
            make.span(run, inside=inside)
        assert shape(get_run(conn, run).spans) == [[2, [1], [3]], [4]]


def test_a_very_deep_tree_can_be_written_as_json(tmp_path: Path) -> None:
    """Beyond a hundred levels spans hang side by side, and none is lost."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        inside = None
        for _level in range(2_000):
            inside = make.span(run, inside=inside)
        text = json.dumps(as_dict(get_run(conn, run)))
    assert text.count('"position"') == 2_000


def test_a_follower_gets_each_run_once(tmp_path: Path) -> None:
    """Runs come in order of arrival after the cursor, whenever they began."""
    with recording(tmp_path) as (make, conn):
        make.run(at=50)
        make.run(None, at=10)
        before = recent_runs(conn)
        make.run(at=0, seconds=None)
        after = recent_runs(conn, after_id=before[-1].id)
        first = recent_runs(conn, limit=1)
        newest = last_runs(conn, limit=2)
    assert [run.run_id for run in before] == [run_id(1), run_id(2)]
    assert [run.run_id for run in after] == [run_id(3)]
    assert [run.run_id for run in first] == [run_id(1)]
    assert [run.run_id for run in newest] == [run_id(2), run_id(3)]


def test_a_follower_sees_that_runs_end(tmp_path: Path) -> None:
    """Runs that were open are read again; one whose process died is interrupted."""
    with recording(tmp_path) as (make, conn):
        alive, dead = make.process(alive=True), make.process(alive=False)
        one = make.run(seconds=None, process=alive)
        two = make.run(seconds=None, process=dead)
        open_before = {run.run_id: run.status for run in recent_runs(conn)}
        done = (moment(1), one)
        make.conn.execute(
            "UPDATE runs SET status = 'success', completed_at = ? WHERE run_id = ?", done
        )
        again = {run.run_id: run.status for run in reread_runs(conn, [one, two, "unknown"])}
    assert open_before == {one: "running", two: "interrupted"}
    assert again == {one: "success", two: "interrupted"}


def test_a_bad_limit_is_refused_when_following(tmp_path: Path) -> None:
    """Followers take 1 to 1,000 runs at a time."""
    with recording(tmp_path) as (_make, conn):
        for ask in (recent_runs, last_runs):
            with pytest.raises(InvalidQuery):
                ask(conn, limit=0)


def test_a_prefix_resolves_to_the_only_id_it_fits(tmp_path: Path) -> None:
    """The whole id wins over longer ones; wildcards mean themselves."""
    with recording(tmp_path) as (make, conn):
        for session in ("sess_1", "sess_12", "sess_13", "straße_%x", "straße_ax"):
            make.run(session)
        assert resolve_session_id(conn, "sess_1") == "sess_1"
        assert resolve_session_id(conn, "sess_12") == "sess_12"
        assert resolve_session_id(conn, "straße_%") == "straße_%x"


def test_a_prefix_that_fits_several_names_them(tmp_path: Path) -> None:
    """An ambiguous prefix raises, and shows what it could mean."""
    with recording(tmp_path) as (make, conn):
        for session in ("s_a", "s_b", "s_c", "s_d"):
            make.run(session)
        with pytest.raises(AmbiguousId, match=r"s_a, s_b, s_c, \.\.\."):
            resolve_session_id(conn, "s_")


def test_a_prefix_that_fits_nothing_is_not_found(tmp_path: Path) -> None:
    """Neither an unknown prefix nor one with strange characters fits; an empty one is not an id."""
    with recording(tmp_path) as (make, conn):
        make.run("sess_1")
        for prefix in ("x", "sess_1%", "S", "\udcff", "t\U0010ffff"):
            with pytest.raises(NotFound):
                resolve_session_id(conn, prefix)
        with pytest.raises(InvalidQuery):
            resolve_session_id(conn, "")


def test_a_run_is_found_by_its_workflow_id_too(tmp_path: Path) -> None:
    """`wf_` before a run id, or before its beginning, makes no difference."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        assert resolve_run_id(conn, run[:10]) == run
        assert resolve_run_id(conn, f"wf_{run}") == run
        assert resolve_run_id(conn, f"wf_{run[:10]}") == run
        with pytest.raises(NotFound):
            resolve_run_id(conn, "wf_nope")
        with pytest.raises(InvalidQuery):
            resolve_run_id(conn, "wf_")


def test_a_short_run_id_fits_one_run_only(tmp_path: Path) -> None:
    """As many of the first characters as tell it from its neighbors; whole if it begins another."""
    ids = ("01942000-0000-7000-8000-1", "01942000-0000-7000-8000-12", "01942000-0000-7001", "a")
    with recording(tmp_path) as (make, conn):
        for one in ids:
            made = make.run()
            make.conn.execute("DROP TRIGGER IF EXISTS runs_keep_session")
            make.conn.execute("UPDATE runs SET run_id = ? WHERE run_id = ?", (one, made))
        short = [short_run_id(conn, one) for one in ids]
        assert [resolve_run_id(conn, one) for one in short] == list(ids)
    assert short[2:] == ["01942000-0000-7001", "a"]
