"""Batches of whole runs, merged into the file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.builders import moment, run_id
from tests.tools.bulk_lines import batch, line
from tests.tools.examples import examples
from tests.tools.ingest import Hub, llm_span
from waxlocal.ingest.merge import merge
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import open_writer
from waxlocal.wire.bulk import read_lines

TABLES = tuple(table.name for table in RECORD_TABLES)


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def results(hub: Hub, *lines: object) -> list[tuple[str, str]]:
    """Merge a batch; return status and reason of each line."""
    return [(result.status, result.reason) for result in hub.merge(batch(*lines))]


def test_a_run_is_stored_as_it_was(hub: Hub) -> None:
    """Run, process and records have the values that were sent; what was left out is its default."""
    assert results(hub, line()) == [("stored", "")]
    run = hub.run(run_id(1))
    sent = line()["run"]
    assert {name: run[name] for name in sent} == {**sent, "inputs": {"q": 1}}
    assert (run["process_id"], run["user_id"], run["error"]) == (4711, None, None)
    assert hub.select("SELECT host, program FROM processes") == [("pi-7", "bot.py")]
    placed = [[row["position"] for row in hub.rows(table, run_id(1))] for table in TABLES]
    assert placed == [[1], [2], [3], [4], [5]]
    (call,) = hub.rows("llm_calls", run_id(1))
    defaults = ("provider", "task", "tokens_out", "cached_tokens", "is_streaming", "status")
    assert [call[name] for name in defaults] == ["", "", 0, 0, 0, "ok"]
    query = "SELECT run_count, llm_calls, tokens_in, total_cost, total_duration FROM sessions"
    assert hub.select(query) == [(1, 1, 7, 0.5, 0.5)]


def test_a_batch_that_comes_again_changes_nothing(hub: Hub) -> None:
    """Runs are known by their id, records by their position."""
    body = (line(1), line(2))
    assert results(hub, *body) == [("stored", "")] * 2
    before = dump(hub.path)
    assert results(hub, *body) == [("merged", "")] * 2
    assert dump(hub.path) == before


def dump(path: Path) -> list[str]:
    """Return the whole content of a file, but for when a model was noted."""
    with closing(sqlite3.connect(path)) as connection:
        return [row for row in connection.iterdump() if "model_prices" not in row]


def test_an_open_run_takes_its_end_and_what_is_new(hub: Hub) -> None:
    """A run that is running here goes on with what comes; its records are added to."""
    open_run = line(status="running", completed_at=None, duration=None, tags='{"a":"b"}')
    results(hub, open_run)
    whole = line(result='{"r":1}', error="e", metadata='{"m":1}')
    whole["steps"].append({"position": 9, "recorded_at": moment(9), "step_name": "late"})
    assert results(hub, whole) == [("merged", "")]
    run = hub.run(run_id(1))
    assert (run["status"], run["duration"], run["result"]) == ("success", 0.5, {"r": 1})
    assert (run["tags"], run["metadata"], run["error"]) == ({"a": "b"}, {"m": 1}, "e")
    assert [row["step_name"] for row in hub.rows("steps", run_id(1))] == ["s", "late"]
    assert hub.select("SELECT run_count, open_runs, llm_calls FROM sessions") == [(1, 0, 1)]


def test_a_run_that_has_ended_keeps_what_it_has(hub: Hub) -> None:
    """Neither an older state nor another end changes it; new records are added."""
    results(hub, line())
    late = line(status="running", duration=None, result='{"r":2}')
    late["scores"] = [{"position": 7, "recorded_at": moment(7), "name": "next day"}]
    results(hub, late, line(status="error", error="no"))
    run = hub.run(run_id(1))
    assert (run["status"], run["duration"], run["result"], run["error"]) == (
        "success",
        0.5,
        None,
        None,
    )
    assert [row["name"] for row in hub.rows("scores", run_id(1))] == ["q", "next day"]


def test_an_end_takes_the_place_of_an_interruption(hub: Hub) -> None:
    """Whatever the revisions: who wrote that could not know. A later guess changes no end."""
    guess = line(status="interrupted", error="process ended", error_type="Interrupted", revision=9)
    results(hub, guess)
    results(hub, line(result='{"r":1}'))
    run = hub.run(run_id(1))
    assert (run["status"], run["error"], run["result"]) == ("success", None, {"r": 1})
    results(hub, line(status="interrupted", error="process ended"))
    assert hub.run(run_id(1))["status"] == "success"
    assert hub.select("SELECT open_runs, failed_runs FROM sessions") == [(0, 0)]


def test_what_is_new_in_a_delivered_run_goes_on_from_here(hub: Hub) -> None:
    """A hub delivers what comes later to a run, too; a repetition is nothing new."""
    results(hub, line(1), line(2, status="running"))
    hub.select("INSERT INTO targets (target_id, url) VALUES (1, 'https://x')")
    hub.select(
        "INSERT INTO deliveries (run_id, target_id, state) SELECT run_id, 1, 'delivered' FROM runs"
    )
    states = "SELECT state FROM deliveries ORDER BY run_id"
    results(hub, line(1))
    assert hub.select(states) == [("delivered",), ("delivered",)]
    late = line(1)
    late["spans"].append({"position": 8, "started_at": moment(8), "name": "late"})
    results(hub, late, line(2))
    assert hub.select(states) == [("pending",), ("pending",)]


def in_pieces(hub: Hub) -> None:
    """Take the run of `line()` request by request, without its scores and events."""
    own = {"run_id": run_id(1), "started_at": moment(1), "device": "pi-7", "version": "1.2"}
    hub.start(session_id="s1", metadata={"waxlocal": own})
    hub.calls(run_id(1), {"model": "gpt-4o", "tokens_in": 7, "tokens_out": 0, "cost": 0.5})
    hub.spans(run_id(1), llm_span(1, tokens_in=7, tokens_out=0))
    hub.steps(run_id(1), {"step_name": "s", "position": 3})


@pytest.mark.parametrize("ended", [False, True])
def test_a_run_that_came_in_pieces_goes_on_in_a_batch(hub: Hub, ended: bool) -> None:
    """Records that came one by one lie elsewhere than where they were recorded: not added twice."""
    in_pieces(hub)
    if ended:
        hub.complete(run_id(1))
    for _ in range(2):
        results(hub, line())
        placed = [[row["position"] for row in hub.rows(table, run_id(1))] for table in TABLES]
        assert placed == [[1], [2], [3], [4], [5]]
    assert hub.run(run_id(1))["status"] == "success"
    assert hub.run(run_id(1))["process_id"] == 4711
    assert hub.select("SELECT llm_calls, tokens_in FROM sessions") == [(1, 7)]


def test_records_that_were_sent_on_stay_where_they_are(hub: Hub) -> None:
    """The server that has them from here knows them by their positions."""
    in_pieces(hub)
    hub.complete(run_id(1))
    before = hub.rows("llm_calls", run_id(1))
    hub.select("INSERT INTO targets (target_id, url) VALUES (1, 'https://x')")
    hub.select(
        "INSERT INTO deliveries (run_id, target_id, state) SELECT run_id, 1, 'delivered' FROM runs"
    )
    results(hub, line())
    assert hub.rows("llm_calls", run_id(1)) == before


def test_two_lines_of_one_run_are_merged_in_order(hub: Hub) -> None:
    """The same run twice in a batch is stored, then merged."""
    first, second = line(status="running", records=False), line()
    assert results(hub, first, second) == [("stored", ""), ("merged", "")]
    assert hub.run(run_id(1))["status"] == "success"
    assert len(hub.rows("llm_calls", run_id(1))) == 1


REFUSED: list[tuple[object, str]] = [
    (b"not json", "the line is not valid JSON"),
    (b"[1]", "the line is not a JSON object"),
    (b"[" * 100_000, "the line is nested more than 200 levels deep"),
    ({}, "run: not a JSON object"),
    (line(run_id="../etc"), "run: run_id is not 1 to 200 letters, digits and -_.:"),
    (line(run_id=7), "run: run_id is not 1 to 200 letters, digits and -_.:"),
    (line(run_id=None), "run: no run_id"),
    (line(agent_name=None), "run: no agent_name"),
    (line(status="weird"), "run: status is not a run status"),
    (line(started_at="yesterday"), "run: started_at is not a valid ISO time"),
    (line(started_at="2026-02-31T00:00:00.000000Z"), "run: started_at is not a valid ISO time"),
    (line(duration="long"), "run: duration is not a number"),
    (line(duration=float("inf")), "run: duration is not a finite number"),
    (line(user_id=7), "run: user_id is not text"),
    (line(inputs="{"), "run: inputs is not valid JSON"),
    (line() | {"steps": {"a": 1}}, "steps: not an array"),
    (line() | {"steps": [7]}, "steps: not a JSON object"),
    (line() | {"steps": [{"recorded_at": moment(1)}]}, "steps: no position"),
    (
        line() | {"steps": [{"position": 2**63, "recorded_at": moment(1)}]},
        "steps: position is not a whole number of at most 64 bits",
    ),
    (line() | {"process": {"host": "h"}}, "process: no first_seen_at"),
    (line(started_at="2026-01-29T24:00:00.000000Z"), "run: started_at is not a valid ISO time"),
]


@pytest.mark.parametrize(("bad", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_a_line_that_fails_does_not_hold_up_the_others(hub: Hub, bad: object, reason: str) -> None:
    """Each line is stored or refused by itself, with the reason."""
    good = line(2)
    assert results(hub, bad, good) == [("refused", reason), ("stored", "")]
    assert hub.select("SELECT run_id FROM runs") == [(run_id(2),)]
    assert hub.select("SELECT count(*) FROM steps") == [(1,)]


@pytest.mark.parametrize("count", [31, 32, 33, 70])
def test_a_batch_of_any_size_stores_what_its_runs_would_store_alone(
    tmp_path: Path, count: int
) -> None:
    """One statement adds many rows, or one; a position that comes twice in a run is added once."""
    lines = [line(number, session_id=f"s{number % 3}") for number in range(count)]
    twice = {**lines[7]["steps"][0], "step_name": "another"}
    lines[7]["steps"].append(twice)
    together, alone = Hub(tmp_path / "together.db"), Hub(tmp_path / "alone.db")
    assert results(together, *lines) == [("stored", "")] * count
    for one in lines:
        assert results(alone, one) == [("stored", "")]
    assert dump(together.path) == dump(alone.path)
    assert [row["step_name"] for row in together.rows("steps", run_id(7))] == ["s"]


def test_a_value_that_sqlite_refuses_does_not_hold_up_the_rows_of_its_statement(hub: Hub) -> None:
    """Half a character, written as UTF-8 bytes, passes the checks; only its line is refused."""
    lines: list[Any] = [line(number) for number in range(40)]
    lines[5]["steps"][0]["step_name"] = "half"
    lines[5] = json.dumps(lines[5]).encode().replace(b"half", b"\xed\xa0\xbd")
    told = results(hub, *lines)
    assert [status for status, _ in told] == ["stored"] * 5 + ["refused"] + ["stored"] * 34
    assert "surrogates not allowed" in told[5][1]
    for table in ("runs", *TABLES):
        assert hub.select(f"SELECT count(*) FROM {table}") == [(39,)]


def test_times_of_other_senders_are_written_as_ours(hub: Hub) -> None:
    """An ISO time with an offset or fewer digits becomes the text that sorts by time."""
    results(hub, line(started_at="2026-01-31T10:30:01+01:00"))
    assert hub.run(run_id(1))["started_at"] == moment(1)


def test_half_characters_and_strange_numbers_are_stored_readably(hub: Hub) -> None:
    """Lone surrogates, NaN inside JSON, and NUL in ids become what SQLite can read."""
    broken = line(
        agent_name="a\ud800b", session_id="s\0x", inputs='{"a":"\\ud800","b":NaN}', result={"r": 1}
    )
    broken["scores"][0]["numeric_value"] = float("inf")
    broken["events"][0]["data"] = '["\\ud83d\\ude00"]'
    assert results(hub, broken) == [("stored", "")]
    run = hub.run(run_id(1))
    assert (run["agent_name"], run["session_id"]) == ("a\ufffdb", "s\ufffdx")
    assert run["inputs"] == {"a": "\ufffd", "b": {"$float": "nan"}}
    assert run["result"] == {"r": 1}
    assert hub.rows("scores", run_id(1))[0]["numeric_value"] == float("inf")
    assert hub.rows("events", run_id(1))[0]["data"] == ["\U0001f600"]
    assert hub.select("SELECT count(*) FROM runs WHERE json_valid(inputs)") == [(1,)]


def test_calls_without_a_cost_are_noted_for_a_price(hub: Hub) -> None:
    """A hub looks up the models of its devices' calls itself."""
    unpriced = line()
    unpriced["llm_calls"][0] |= {"cost": None, "provider": "openai"}
    results(hub, unpriced)
    assert hub.select("SELECT model, provider, source FROM model_prices") == [
        ("gpt-4o", "openai", "pending")
    ]


def test_models_that_a_device_has_priced_are_noted_too(hub: Hub) -> None:
    """So that the price behind a cost can be seen here; one that the program gave has none."""
    known = [line(), line(2), line(3)]
    known[0]["llm_calls"][0] |= {"cost": 0.5, "cost_source": "price", "provider": "openai"}
    known[1]["llm_calls"][0] |= {"cost": 0.5, "cost_source": "call", "model": "own"}
    known[2]["llm_calls"][0] |= {"cost": 0.5, "cost_source": "price", "model": "set"}
    hub.select(
        "INSERT INTO model_prices (model, provider, input_per_mtok, source, updated_at)"
        " VALUES ('set', '', 1.0, 'override', '')"
    )
    results(hub, *known)
    assert hub.select("SELECT model, provider, source FROM model_prices ORDER BY model") == [
        ("gpt-4o", "openai", "pending"),
        ("set", "", "override"),
    ]


# -- any order, any repetition ------------------------------------------------------------------


def content(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    """Return all rows, without the order of arrival."""
    columns = "run_id, status, duration, completed_at, result, process_id"
    found = {"runs": connection.execute(f"SELECT {columns} FROM runs ORDER BY run_id").fetchall()}
    for table in TABLES:
        found[table] = connection.execute(
            f"SELECT * FROM {table} ORDER BY run_id, position"
        ).fetchall()
    sums = "session_id, run_count, open_runs, llm_calls, tokens_in, total_cost, total_duration"
    query = f"SELECT {sums} FROM sessions ORDER BY session_id"
    found["sessions"] = connection.execute(query).fetchall()
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[bytes]:
    """Return the lines of some runs, each in the states that it went through."""
    lines = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        session = f"s{number % 2}"
        whole = line(number, session_id=session, result='{"r":1}')
        begun = line(number, session_id=session, status="running", completed_at=None)
        begun["run"] |= {"duration": None}
        begun["steps"] = []
        lines += [json.dumps(state).encode() for state in (begun, whole)]
    return lines


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(lines=histories(), data=st.data())
def test_order_and_repetition_of_batches_make_no_difference(
    tmp_path: Path, lines: list[bytes], data: st.DataObject
) -> None:
    """Whatever comes first or twice, in whatever batches, the file ends the same."""
    mixed = data.draw(st.permutations(lines + data.draw(st.lists(st.sampled_from(lines)))))
    cut = data.draw(st.integers(0, len(mixed)))
    ends = []
    for name, batches in (("a", [lines]), ("b", [mixed[:cut], mixed[cut:]])):
        path = tmp_path / f"{name}.db"
        for part in tmp_path.glob(f"{name}.db*"):
            part.unlink()
        with closing(open_writer(path)) as connection:
            for one in batches:
                merge(connection, read_lines(batch(*one)), 0)
            ends.append(content(connection))
    assert ends[0] == ends[1]
