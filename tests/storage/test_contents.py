"""Lists of messages: each message once in the file, and each list back byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.sdk_rows import only, rows
from tests.tools.wire_strategies import JSON, LISTS
from waxlocal import WaxellContext
from waxlocal.encode import dumps
from waxlocal.queries.runs import get_run
from waxlocal.recording.recorder import Recorder
from waxlocal.records import LLM_CALLS, STEPS
from waxlocal.storage.connection import open_writer, reader
from waxlocal.storage.contents import MOST_ITEMS, expand, insert_contents, listed, put

SYSTEM = {"role": "system", "content": "Be brief."}
ONE: dict[str, Any] = {"model": "m", "tokens_in": 1, "tokens_out": 1}


@pytest.fixture
def file(db_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a writing connection to a new file."""
    with closing(open_writer(db_path)) as connection:
        yield connection


def conversation(turns: int) -> list[list[dict[str, str]]]:
    """Return the messages of each call of a conversation: its whole history each time."""
    history: list[dict[str, str]] = [SYSTEM]
    calls = []
    for turn in range(turns):
        history.append({"role": "user", "content": f"question {turn}"})
        calls.append(list(history))
        history.append({"role": "assistant", "content": f"answer {turn}"})
    return calls


# Each value is kept by keys, or stays whole.
BY_KEYS = ["[]", "[1]", '["a","b"]', '[{"a":"\\u0000"},[],null]', '[{"a": 1}]', "[-0.0,1E2]"]
WHOLE = [
    *("null", "1", '"text"', "{}", "[", "[1,]", "[1 ,2]", "[1, 2]", "[ ]", " []", "[1]\n", "[1]]"),
    *("[nope]", "", "[,1]", "[1 2]", '["', "[" * 100_000 + "]" * 100_000),
]


@pytest.mark.parametrize("text", BY_KEYS)
def test_the_items_of_an_array_are_kept_by_their_keys(text: str) -> None:
    """Joined they are the text; the key is 128 bits of BLAKE2b in base64url."""
    found = listed(text)
    assert found is not None
    assert json.loads(found.keys) == [key for key, _ in found.contents]
    assert f"[{','.join(content for _, content in found.contents)}]" == text
    for key, content in found.contents:
        digest = hashlib.blake2b(content.encode(), digest_size=16).digest()
        assert key == base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize("text", WHOLE, ids=lambda text: text[:10])
def test_what_is_no_array_as_we_write_it_stays_whole(text: str) -> None:
    """Anything with white space between its items, for it must come back as it was."""
    assert listed(text) is None


def test_a_list_of_very_many_items_stays_whole() -> None:
    """The keys in each call would take more than is saved."""
    assert listed(dumps([1] * MOST_ITEMS)) is not None
    assert listed(dumps([1] * (MOST_ITEMS + 1))) is None


@given(texts=st.lists(st.tuples(st.none() | LISTS | JSON, st.none() | LISTS | JSON), max_size=4))
def test_rows_come_back_as_they_were_put_in(texts: list[tuple[str | None, str | None]]) -> None:
    """Whatever the columns hold, and each content is there once."""
    given_rows = [{"messages": messages, "tools": tools} for messages, tools in texts]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE contents (key TEXT NOT NULL UNIQUE, content TEXT)")
        stored = put(connection, LLM_CALLS, given_rows)
        kept = [row for (row,) in connection.execute("SELECT content FROM contents")]
        assert len(kept) == len(set(kept))
        for row in stored:
            for name, keys in (("messages", "message_keys"), ("tools", "tool_keys")):
                assert row[name] is None or row[keys] is None
        expand(connection, stored)
    assert stored == given_rows


def test_rows_of_other_tables_stay_as_they_are(file: sqlite3.Connection) -> None:
    """Only calls have messages."""
    row = {"messages": "[1]"}
    assert put(file, STEPS, [row]) == [row]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 31, 32, 33, 70])
def test_contents_are_added_some_at_a_time(file: sqlite3.Connection, count: int) -> None:
    """Statements of few sizes, of which the last may have a content more than once."""
    contents = {str(number): f'"{number}"' for number in range(count)}
    for statement, values in insert_contents(contents):
        file.execute(statement.sql, values)
    assert dict(file.execute("SELECT key, content FROM contents").fetchall()) == contents


def test_a_conversation_has_each_message_once(recorder: Recorder, db_path: Path) -> None:
    """However often it is sent; and each call still has its whole history, in order."""
    calls = conversation(10)
    for messages in calls:
        with WaxellContext(agent_name="a", session_id="s") as ctx:
            ctx.record_llm_call(**ONE, full_messages=messages)
    assert [row["messages"] for row in rows(db_path, "llm_calls")] == calls
    with reader(db_path) as connection:
        assert connection.execute("SELECT count(*) FROM contents").fetchone()[0] == 20
        assert connection.execute("SELECT count(messages) FROM llm_calls").fetchone()[0] == 0


@pytest.mark.parametrize(
    "value", [[], ["a", SYSTEM, SYSTEM], [None], ({"a": 1},), {"not": "a list"}, "text", ["\ud800"]]
)
def test_any_value_is_read_as_it_was_recorded(
    recorder: Recorder, db_path: Path, value: Any
) -> None:
    """Lists and what is none, by the queries, too."""
    with WaxellContext(agent_name="a") as ctx:
        ctx.record_llm_call(**ONE, full_messages=value)
    expected = json.loads(dumps(value))
    assert only(db_path, "llm_calls")["messages"] == expected
    with reader(db_path) as connection:
        (call,) = get_run(connection, ctx.run_id).llm_calls
    assert call.messages == expected


def test_a_call_before_the_beginning_of_its_run_has_its_messages(
    recorder: Recorder, db_path: Path
) -> None:
    """They wait in memory, and are written with the beginning."""
    ctx = WaxellContext(agent_name="a")
    ctx.record_llm_call(**ONE, full_messages=[SYSTEM])
    with ctx:
        pass
    assert only(db_path, "llm_calls")["messages"] == [SYSTEM]


def test_a_content_that_somebody_removed_is_shown_as_such(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """What is erased or redacted is one row, for all calls that have it."""
    with WaxellContext(agent_name="a") as ctx:
        ctx.record_llm_call(**ONE, full_messages=[SYSTEM, "secret", "also secret"])
    file.execute("DELETE FROM contents WHERE content = '\"secret\"'")
    file.execute("UPDATE contents SET content = '\"-\"' WHERE content = '\"also secret\"'")
    with reader(db_path) as connection:
        (call,) = get_run(connection, ctx.run_id).llm_calls
    assert call.messages[0] == SYSTEM
    assert list(call.messages[1]) == ["$removed"]
    assert call.messages[2] == "-"


def test_a_view_shows_each_message_of_both_forms(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """By keys, and whole as 0.2 stores them; other values than lists have no messages."""
    said = [SYSTEM, "text", {"role": "user", "content": [{"type": "text", "text": "a"}]}]
    with WaxellContext(agent_name="a") as ctx:
        for value in (said, "no list", [], said):
            ctx.record_llm_call(**ONE, full_messages=value)
    file.execute(
        "UPDATE llm_calls SET message_keys = NULL, messages = ? WHERE position = 4", (dumps(said),)
    )
    found = file.execute(
        "SELECT position, number, role, content FROM llm_call_messages ORDER BY 1, 2"
    ).fetchall()
    each = [
        (1, "system", "Be brief."),
        (2, None, "text"),
        (3, "user", '[{"type":"text","text":"a"}]'),
    ]
    assert found == [(position, *one) for position in (1, 4) for one in each]
