"""Conversations that nobody named: known by their history, and never those of two strangers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.programs import Start
from tests.tools.cli import answer
from tests.tools.sdk_rows import queried
from waxlocal.capture.conversations import Conversations
from waxlocal.capture.facts import CallFacts

CHAT = """
import openai
client = openai.OpenAI()

def turn(said, words, **more):
    said.append({"role": "user", "content": words})
    given = client.chat.completions.create(model="gpt-4o", messages=said, **more)
    said.append(given.choices[0].message)
"""


def _sessions(path: Path) -> list[int]:
    """Return how many runs each session has that was made up; the longest first."""
    found = queried(path, "SELECT session_id, metadata FROM runs WHERE session_id IS NOT NULL")
    assert all('"session_generated":true' in row["metadata"] for row in found)
    return sorted(Counter(row["session_id"] for row in found).values(), reverse=True)


def test_the_turns_of_a_conversation_are_one_session(start: Start, db_path: Path) -> None:
    """A program that names no session: each of its two conversations is one."""
    done = start(
        CHAT
        + """
lake, sea = [{"role": "system", "content": "be brief"}], []
for words in ("how deep?", "how wide?", "how cold?"):
    turn(lake, words)
    if words != "how wide?":
        turn(sea, words + " and why?")
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert _sessions(db_path) == [3, 2]
    longest = max(answer("sessions", db=db_path), key=lambda one: int(one["run_count"]))
    said = [run["message"] for run in answer("session", longest["session_id"], db=db_path)["runs"]]
    assert said == ["how deep?", "how wide?", "how cold?"]


@pytest.mark.parametrize(
    "turns",
    [
        """
asked = []
for words in ("how deep?", "how wide?"):
    asked.append({"role": "user", "content": words})
    given = client.responses.create(model="gpt-4o", input=asked, instructions="be brief")
    asked += given.output
""",
        """
said = []
for words in ("how deep?", "how wide?"):
    said.append({"role": "user", "content": words})
    stream = client.chat.completions.create(model="gpt-4o", messages=said, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    said.append({"role": "assistant", "content": text})
""",
        """
for chosen in (2, 0):
    asked = said if chosen == 0 else []
    said = [*asked, {"role": "user", "content": "how deep?"}]
    given = client.chat.completions.create(model="gpt-4o", messages=said, n=3)
    said.append(given.choices[chosen].message)
""",
        """
for day in ("Monday", "Tuesday"):
    said = said if day == "Tuesday" else [None]
    said[0] = {"role": "system", "content": "today is " + day}
    turn(said, "how deep on " + day)
""",
        """
import threading
said = []
for words in ("how deep?", "how wide?"):
    thread = threading.Thread(target=turn, args=(said, words))
    thread.start()
    thread.join()
""",
    ],
    ids=["responses", "streams", "one-of-several-answers", "another-system-text", "threads"],
)
def test_a_conversation_is_known_in_whatever_way_it_is_had(
    turns: str, start: Start, db_path: Path
) -> None:
    done = start(CHAT + turns)
    assert (done.returncode, done.stderr) == (0, "")
    assert _sessions(db_path) == [2]


def test_a_block_that_names_only_a_user_leaves_the_session_open(
    start: Start, db_path: Path
) -> None:
    """Nor does one that has ended count."""
    done = start(
        CHAT
        + """
import waxlocal
said = []
with waxlocal.session(user_id="ann"):
    turn(said, "how deep?")
    turn(said, "how wide?")
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert _sessions(db_path) == [2]
    assert [one["user_id"] for one in answer("sessions", db=db_path)] == ["ann"]


def test_what_was_named_stays(start: Start, db_path: Path) -> None:
    """A session of the program, or of `--session`, and none for what is no conversation."""
    done = start(
        CHAT
        + """
import waxlocal
with waxlocal.session("lake"):
    turn([], "how deep?")
with waxlocal.WaxellContext("guide"):
    turn([], "how wide?")
client.embeddings.create(model="text-embedding-3-small", input="water")
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    runs = queried(db_path, "SELECT agent_name, session_id FROM runs ORDER BY id")
    assert [(run["agent_name"], run["session_id"]) for run in runs] == [
        ("auto:gpt-4o", "lake"),
        ("guide", None),
        ("auto:text-embedding-3-small", None),
    ]


@pytest.mark.parametrize(
    "worker",
    [
        """
import os
if not (child := os.fork()):
    turn([], "how deep?")
    os._exit(0)
os.waitpid(child, 0)
""",
        """
import multiprocessing
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=turn, args=([], "how deep?"))
    worker.start()
    worker.join()
""",
        """
import subprocess, sys
if len(sys.argv) == 1:
    subprocess.run([sys.executable, __file__, "worker"], check=True)
else:
    turn([], "how deep?")
""",
        """
import socket
with socket.create_server(("127.0.0.1", 0)):
    turn([], "how deep?")
""",
    ],
    ids=["fork", "spawn", "subprocess", "server"],
)
def test_a_worker_and_a_server_make_up_no_session(worker: str, start: Start, db_path: Path) -> None:
    """They may see only a part of a conversation: two people could look like one."""
    done = start(CHAT + worker)
    assert (done.returncode, done.stderr) == (0, "")
    assert [run["session_id"] for run in queried(db_path, "SELECT session_id FROM runs")] == [None]


# -- the rule -------------------------------------------------------------------------------------


def _call(said: list[dict[str, Any]], answered: str) -> CallFacts:
    return CallFacts(messages=list(said), response=answered, said=answered)


def _turn(conversations: Conversations, said: list[dict[str, Any]], words: str, model: str) -> str:
    """Take a turn; the model's answer depends on nothing but what it is asked."""
    said.append({"role": "user", "content": words})
    answered = f"{model}{len(said)}"
    session = conversations.session_of(_call(said, answered))
    said.append({"role": "assistant", "content": answered})
    return session


WORDS = st.sampled_from(("hi", "thanks"))


@given(st.lists(st.tuples(st.integers(0, 3), WORDS), max_size=40))
def test_no_session_is_of_two_strangers(turns: list[tuple[int, str]]) -> None:
    """Who say the same words, and get the same answers from the model."""
    conversations = Conversations()
    said: dict[int, list[dict[str, Any]]] = {}
    of_session: dict[str, set[int]] = {}
    for person, words in turns:
        session = _turn(conversations, said.setdefault(person, []), words, "a")
        of_session.setdefault(session, set()).add(person)
    assert all(len(people) == 1 for people in of_session.values())


@given(st.lists(st.tuples(st.integers(0, 3), WORDS), max_size=40))
def test_a_conversation_that_differs_from_all_others_is_one_session(
    turns: list[tuple[int, str]],
) -> None:
    conversations = Conversations()
    said: dict[int, list[dict[str, Any]]] = {}
    of_person: dict[int, set[str]] = {}
    for person, words in turns:
        session = _turn(conversations, said.setdefault(person, []), words, f"{person}:")
        of_person.setdefault(person, set()).add(session)
    assert all(len(sessions) == 1 for sessions in of_person.values())


@pytest.mark.parametrize(
    ("asked", "answered", "goes_on"),
    [
        ("call_4fJ2kQ9xWmZ1", "call_4fJ2kQ9xWmZ1", True),
        ("call_4fJ2kQ9xWmZ1", "call_8hL5tR3vYnC7", False),
        ("call_4fJ2kQ9xWmZ1", None, False),
        ("call_0", "call_0", False),  # each answer of such a server begins so
    ],
)
def test_the_answer_of_a_tool_goes_on_with_the_call_that_asked_for_it(
    asked: str, answered: str | None, goes_on: bool
) -> None:
    """Also where the vendor keeps what was said before, and only the answer is sent."""
    conversations = Conversations()
    user = {"role": "user", "content": "how deep?"}
    call = {"id": asked, "name": "depth", "arguments": {}}
    first = conversations.session_of(CallFacts(messages=[user], tool_calls=[call]))
    said = {"role": "tool", "content": "410 m", "tool_call_id": answered}
    assert (conversations.session_of(CallFacts(messages=[said])) == first) is goes_on


def test_the_answer_of_a_tool_goes_on_with_the_conversation() -> None:
    conversations = Conversations()
    said: list[dict[str, Any]] = [{"role": "user", "content": "how deep?"}]
    asked_for = {"id": "call_1", "name": "measure", "arguments": {"lake": "Como"}}
    first = conversations.session_of(CallFacts(messages=list(said), tool_calls=[asked_for]))
    said.append({"role": "assistant", "content": None, "tool_calls": [dict(asked_for)]})
    said.append({"role": "tool", "content": "410 m", "tool_call_id": "call_1"})
    assert conversations.session_of(_call(said, "410 m deep")) == first


def test_a_history_that_was_shortened_begins_a_conversation() -> None:
    conversations = Conversations()
    said: list[dict[str, Any]] = []
    first = _turn(conversations, said, "how deep?", "a")
    assert _turn(conversations, said, "how wide?", "a") == first
    del said[:2]
    assert _turn(conversations, said, "how cold?", "a") != first


def test_a_turn_that_was_not_seen_ends_what_is_known() -> None:
    """Who said the same at first and then something else elsewhere is somebody else."""
    conversations = Conversations()
    said: list[dict[str, Any]] = []
    first = _turn(conversations, said, "hi", "a")
    said.append({"role": "user", "content": "elsewhere"})
    said.append({"role": "assistant", "content": "in another process"})
    assert _turn(conversations, said, "and now?", "a") != first


def test_no_more_calls_are_kept_than_were_asked_for() -> None:
    conversations = Conversations(recent=2)
    first: list[dict[str, Any]] = []
    session = _turn(conversations, first, "how deep?", "a")
    for words in ("how wide?", "how cold?"):
        _turn(conversations, [], words, words)
    assert len(conversations._sessions) == 2
    assert _turn(conversations, first, "and now?", "a") != session
