"""`waxlocal search`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.cli import answer, invoke, recorded
from tests.tools.search_index import damage_words
from waxlocal.search.index_file import index_path


@pytest.fixture
def said(db_path: Path) -> Path:
    """Return a file in which something was said."""
    with recorded(db_path) as to:
        to.run("s1", at=1, user="zoe", inputs={"message": "May I send it back?"})
        to.run("s1", at=9, result={"answer": "A refund within 14 days, yes."}, status="error")
        to.run("s2", at=20, agent="desk", inputs={"message": "refund\n\x1b[31mme"})
        to.run(None, at=30, inputs={"message": "a loan"})
    return db_path


def test_it_finds_where_something_was_said(said: Path) -> None:
    """The latest first, those of a conversation together under its first words."""
    found = invoke("search", "REFUND", db=said)
    assert (found.exit_code, found.stderr) == (0, "")
    first, second = found.stdout.split("\n\n")
    assert first.split("\n") == [
        "refund me  s2", "  turn 1 · desk · 2026-01-31T09:30:20.000000Z", "  refund me",
    ] or "\\x1b" in first  # fmt: skip
    assert second.split("\n")[:3] == [
        "May I send it back?  s1",
        "  turn 2 · chatbot · 2026-01-31T09:30:09.000000Z  error",
        "  A refund within 14 days, yes.",
    ]


def test_several_words_are_one_line(said: Path) -> None:
    """With or without quotes of the shell."""
    wanted = answer("search", '"within 14 days" refund', db=said)
    assert wanted == answer("search", '"within 14 days"', "refund", db=said)
    assert [hit["turn"] for hit in wanted] == [2]


def test_a_word_that_must_not_occur_may_come_first(said: Path) -> None:
    """As an argument of its own, also before an option; a wrong option is one."""
    wanted = answer("search", "refund -14", db=said)
    assert [hit["session_id"] for hit in wanted] == ["s2"]
    assert answer("search", "-14", "refund", db=said) == wanted
    behind = invoke("search", "--json", "--", "-14", "refund", db=said)
    assert json.loads(behind.stdout) == wanted
    assert answer("search", "refund", "--limit", "5", "-agent:chatbot", db=said) == wanted
    wrong = invoke("search", "refund", "--limt", "5", db=said)
    assert (wrong.exit_code, "did you mean --limit?" in wrong.stderr) == (2, True)


def test_programs_get_all_hits(said: Path) -> None:
    """In each form."""
    (first, _) = answer("search", "refund", db=said)
    assert first == {
        "run_id": first["run_id"], "session_id": "s2", "session_title": first["session_title"],
        "turn": 1, "nested": False, "agent_name": "desk", "user_id": None, "status": "success",
        "started_at": "2026-01-31T09:30:20.000000Z", "found_in": "message",
        "snippet": first["snippet"], "is_loose": False,
    }  # fmt: skip
    lines = invoke("search", "refund", "--jsonl", db=said).stdout.splitlines()
    assert [json.loads(line)["session_id"] for line in lines] == ["s2", "s1"]
    header, *rows = invoke("search", "refund", "--csv", "--limit", "1", db=said).stdout.splitlines()
    assert header.startswith("run_id,session_id,session_title,turn,nested")
    assert len(rows) == 1


def test_words_that_begin_so_are_named_as_such(said: Path) -> None:
    """Where no turn has the word itself."""
    found = invoke("search", "ref", db=said)
    assert "These have words that begin so" in found.stderr
    assert "refund" in found.stdout


@pytest.mark.parametrize(
    ("line", "status", "said_on_stderr"),
    [
        ("nowhere", 0, "Nothing found."),
        ("cost:x", 2, "Error: cost:x is no comparison\nTry: "),
        ("…", 2, "Error: no word to search for\nTry: waxlocal"),
        ("before:someday", 2, "Error: "),
    ],
)
def test_what_finds_nothing_says_what_to_try(
    said: Path, line: str, status: int, said_on_stderr: str
) -> None:
    """And ends as all commands do."""
    found = invoke("search", line, db=said)
    assert (found.exit_code, found.stdout) == (status, "")
    assert said_on_stderr in found.stderr


def test_a_file_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    """Nor is a directory in which no index can be made."""
    found = invoke("search", "x", db=tmp_path / "no.db")
    assert (found.exit_code, "does not exist" in found.stderr) == (5, True)


def test_an_index_that_is_damaged_where_only_readers_look_is_made_anew(said: Path) -> None:
    """Nobody has to delete it."""
    wanted = answer("search", "refund", db=said)
    damage_words(said)
    assert answer("search", "refund", db=said) == wanted


def test_an_index_that_cannot_be_made_is_said(said: Path) -> None:
    """With its path."""
    index_path(said).mkdir()
    found = invoke("search", "refund", db=said)
    assert found.exit_code == 4
    assert str(index_path(said)) in found.stderr
    assert "Try:" in found.stderr
