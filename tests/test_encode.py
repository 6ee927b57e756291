"""Any value becomes strict JSON; plain ones come back as they were."""

from __future__ import annotations

import copy
import json
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.crash.corpus import VALUES
from tests.crash.files import assert_sound, rows, run_program
from tests.tools.examples import examples
from waxlocal import WaxellContext
from waxlocal.encode import MAX_BYTES, MAX_CHARS, MAX_DEPTH, as_text, dumps, text
from waxlocal.recording.recorder import Recorder


def _refuse(word: str) -> Any:
    raise AssertionError(f"{word} is not JSON")


def _strict(json_text: str) -> Any:
    json_text.encode("utf-8")
    return json.loads(json_text, parse_constant=_refuse)


def _json_valid(json_text: str) -> bool:
    with closing(sqlite3.connect(":memory:")) as conn:
        return bool(conn.execute("SELECT json_valid(?)", (json_text,)).fetchone()[0])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=30,
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.complex_numbers()
    # Hypothesis itself asks each value for its class.
    | st.sampled_from(sorted(VALUES.keys() - {"raising class"})).map(lambda name: VALUES[name]()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(st.characters())
            | st.integers()
            | st.floats()
            | st.binary()
            | st.none()
            | st.tuples(st.integers()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
# The corpus holds values of 10 MB; how long they take says nothing about the encoder.
thorough = settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@given(plain)
@thorough
def test_plain_values_come_back(value: Any) -> None:
    """What JSON knows is read back as exactly what it was, types included."""
    back = _strict(dumps(value))
    assert back == value
    assert repr(back) == repr(value)


@given(anything)
@thorough
def test_anything_becomes_strict_json(value: Any) -> None:
    """Whatever is inside, the text is JSON to Python and to SQLite, and storable."""
    json_text = dumps(value)
    _strict(json_text)
    assert _json_valid(json_text)


@pytest.mark.parametrize("name", VALUES)
def test_each_hard_value(name: str) -> None:
    """Each value of the corpus becomes strict JSON, alone and among others."""
    for value in (VALUES[name](), {"before": 1, "it": VALUES[name](), "after": [2]}):
        json_text = dumps(value)
        back = _strict(json_text)
        assert _json_valid(json_text)
    assert isinstance(back, dict)


@pytest.mark.parametrize(
    "name", [name for name in VALUES if "MB" not in name and name != "many keys"]
)
def test_neighbours_of_a_hard_value_are_kept(name: str) -> None:
    """One value that cannot be written takes nothing from those beside it."""
    back = _strict(dumps({"before": 1, "it": [VALUES[name]()], "after": [2]}))
    assert (back["before"], back["after"]) == (1, [2])
    assert isinstance(back["it"], list)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, {"$float": "nan"}),
        ([-math.inf], [{"$float": "-inf"}]),
        (b"\x00\xff", {"$bytes": "AP8=", "length": 2}),
        ("a\ud800b", "a\ufffdb"),
        ("a\0b", "a\0b"),
        ((1, (2,)), [1, [2]]),
        ({(1,): "a", "(1,)": "b", None: 0.5}, {"(1,)": "a", "(1,)'": "b", "None": 0.5}),
        ({(1, 2): 3}, {"(1, 2)": 3}),
    ],
)
def test_stand_ins(value: Any, expected: Any) -> None:
    """What JSON has no word for is labelled."""
    assert _strict(dumps(value)) == expected


@pytest.mark.parametrize("name", ["status", "error", "tool_type"])
def test_none_where_text_belongs(recorder: Recorder, db_path: Path, name: str) -> None:
    """None for a text that has a default stands for that default."""
    with WaxellContext("agent") as run:
        run.record_tool_call(name="tool", **{name: None})  # type: ignore[arg-type]
        run.record_step("step", kind=None)  # type: ignore[arg-type]
    assert recorder.store.backlog.lost == 0
    assert rows(db_path, "SELECT status FROM spans") == ["ok"]
    assert rows(db_path, "SELECT kind FROM steps") == ["chain"]


def test_without_the_c_encoder_the_json_is_the_same() -> None:
    """A Python that has no `_json` encodes the same values to the same texts."""
    program = (
        "import math, sys\n"
        "if sys.argv[1:]: sys.modules['_json'] = None\n"
        "from waxlocal.encode import dumps\n"
        "values = {'a': [1, 2.5, None, True, 'é\\n\"']}, {'b': b'x', 'c': math.inf}, 'text', []\n"
        "print([dumps(value) for value in values], 'json' in sys.modules)\n"
    )
    texts, loaded = {}, {}
    for without in ([], ["without"]):
        done = run_program(Path("unused"), program, *without)
        assert (done.returncode, done.stderr) == (0, "")
        texts[bool(without)], _, loaded[bool(without)] = done.stdout.rpartition(" ")
    assert texts[True] == texts[False]
    assert loaded == {True: "True\n", False: "False\n"}


def test_a_circle_is_labelled_where_it_closes() -> None:
    """Only the reference back is replaced; a value that is merely used twice is written twice."""
    assert _strict(dumps(VALUES["circle"]())) == {"list": [{"$cycle": "dict"}]}
    assert _strict(dumps(VALUES["shared"]())) == [[[1], [1]], [1]]


@pytest.mark.parametrize("name", ["deep list", "very deep list", "deep dict"])
def test_depth_is_bounded(name: str) -> None:
    """Below the hundredth level there is only a label."""
    back = _strict(dumps(VALUES[name]()))
    depth = 0
    while back and "$deep" not in back:
        back = back[0] if isinstance(back, list) else back["a"]
        depth += 1
    assert depth == MAX_DEPTH
    assert list(back) == ["$deep"]


def test_size_is_bounded() -> None:
    """Too long a value is cut, and its length is told."""
    cut = _strict(dumps("x" * (MAX_CHARS + 1)))
    assert cut["length"] == MAX_CHARS + 3
    assert cut["$cut"].startswith('"xxx')
    data = _strict(dumps(b"x" * (MAX_BYTES + 3)))
    assert data["length"] == MAX_BYTES + 3
    assert len(data["$bytes"]) < 1.4 * MAX_BYTES


def test_the_value_is_not_changed() -> None:
    """Encoding leaves what it encodes as it was."""
    value = {"a": [1, {2, 3}, math.inf, b"x"], 4: {"b": ("c", "\ud800")}}
    before = copy.deepcopy(value)
    dumps(value)
    assert value == before


def test_big_numbers_are_kept_to_the_last_digit() -> None:
    """An int that Python prints is a number; a larger one is told in hexadecimal."""
    assert _strict(dumps([1 << 200])) == [1 << 200]
    (told,) = _strict(dumps([1 << 20_000]))
    assert int(told["$int"], 16) == 1 << 20_000


@given(st.text(st.characters()))
@thorough
def test_text_is_storable(value: str) -> None:
    """Any string becomes one that UTF-8 takes; a string that it takes already is kept."""
    stored = text(value)
    stored.encode("utf-8")
    if not any(0xD800 <= ord(character) < 0xE000 for character in value):
        assert stored == value


@pytest.mark.parametrize("name", VALUES)
def test_as_text_never_raises(name: str) -> None:
    """Every value has some text."""
    as_text(VALUES[name]()).encode("utf-8")


def _in_every_place(value: Any) -> None:
    wrapped = {"it": value}
    with WaxellContext("agent", session_id="s", inputs=wrapped, metadata=wrapped) as run:
        run.set_metadata("more", value)
        run.set_result(wrapped)
        run.record_tool_call(name="tool", input=wrapped, output=wrapped)
        run.record_tool_call(name="tool", input=value, output=value)
        run.record_step("step", wrapped, attributes=wrapped)
        run.record_llm_call(
            model="m",
            tokens_in=1,
            tokens_out=1,
            full_messages=[{"role": "user", "content": value}],
            config=wrapped,
            prompt_variables=wrapped,
        )
        span = run.enter_span("span", attributes=wrapped, input_data=wrapped)
        run.exit_span(span, output_data=wrapped)
        run.record_decision(name="d", options=[value], chosen="c", metadata=wrapped)
        run.record_retrieval(query="q", documents=[wrapped])
        run.record_reasoning(step="r", thought="t", evidence=[value])


@pytest.mark.parametrize("name", VALUES)
def test_each_hard_value_can_be_recorded(recorder: Recorder, db_path: Path, name: str) -> None:
    """Through every method that takes content: nothing is raised, every row is stored."""
    _in_every_place(VALUES[name]())
    assert recorder.store.backlog.lost == 0
    recorder.close()
    counts = "SELECT (SELECT count(*) FROM llm_calls), (SELECT count(*) FROM spans)"
    assert rows(db_path, f"{counts}, (SELECT count(*) FROM steps)") == [(1, 6, 1)]
    invalid = """SELECT count(*) FROM runs WHERE status <> 'success' OR NOT json_valid(inputs)
      OR NOT json_valid(metadata) OR NOT json_valid(result)"""
    assert rows(db_path, invalid) == [0]
    assert_sound(db_path)


@pytest.mark.parametrize("name", [name for name in VALUES if "MB" not in name])
def test_odd_arguments_lose_no_record(recorder: Recorder, db_path: Path, name: str) -> None:
    """Where a method takes a value of any type without checking it, the row is stored."""
    value = VALUES[name]()
    recorded = 0
    with WaxellContext("agent") as run:
        calls: list[Callable[[], None]] = [
            lambda: run.record_tool_call(name="t", error=value, status=value, duration_ms=value),
            lambda: run.record_llm_call(
                model="m", tokens_in=1, tokens_out=1, ttft_ms=value, chunk_count=value
            ),
            lambda: run.record_score("s", value, data_type="text", comment=value),
        ]
        for call in calls:
            # Said to the caller, as the original does; RuntimeError is the value's own.
            with suppress(TypeError, ValueError, RuntimeError):
                call()
                recorded += 1
    assert recorder.store.backlog.lost == 0
    recorder.close()
    counts = "SELECT count(*) FROM {}"
    stored = sum(rows(db_path, counts.format(t))[0] for t in ("spans", "llm_calls", "scores"))
    assert stored == recorded


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10.0**300, -1.0])
def test_odd_numbers_harm_nothing(recorder: Recorder, db_path: Path, number: float) -> None:
    """Durations, costs and scores that are no numbers of this world are recorded all the same."""
    with WaxellContext("agent", session_id="s") as run:
        run.record_tool_call(name="tool", duration_ms=number)  # type: ignore[arg-type]
        run.record_retry(attempt=1, reason="r", duration_ms=number)
        run.record_llm_call(model="m", tokens_in=1, tokens_out=1, cost=number)
        run.record_llm_call(model="m", tokens_in=10**400, tokens_out=10**30)
        run.record_score("s", number)
    assert recorder.store.backlog.lost == 0
    recorder.close()
    counts = "SELECT (SELECT count(*) FROM llm_calls), (SELECT count(*) FROM spans)"
    assert rows(db_path, f"{counts}, (SELECT count(*) FROM scores)") == [(2, 2, 1)]
