"""What a search finds: what plain Python finds, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.search.conftest import Searched, searched_in
from waxlocal.queries.turns import Place
from waxlocal.search.hits import search
from waxlocal.search.index_file import index_reader
from waxlocal.search.line import parse_line
from waxlocal.search.words import words_of

WORDS = st.sampled_from(["refund", "Réfund", "order", "late", "14", "days", "退款"])
TEXTS = st.lists(WORDS, max_size=5).map(" ".join)
LINES = st.lists(
    st.builds(
        lambda no, words, quoted: (no, f'"{words}"' if quoted else words),
        st.booleans(),
        st.lists(WORDS, min_size=1, max_size=2).map(" ".join),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


def phrase_in(words: list[str], phrase: list[str]) -> bool:
    """Return whether some words stand in others, one after the other."""
    places = range(len(words) - len(phrase) + 1)
    return any(words[place : place + len(phrase)] == phrase for place in places)


def matches(texts: list[str], line: list[tuple[bool, str]]) -> bool:
    """Return whether a run that says these texts matches, by plain Python."""
    for no, said in line:
        # Without quotes it is words, with `-` in front of the first.
        terms = [said.strip('"')] if said.startswith('"') else said.split()
        for place, term in enumerate(terms):
            is_there = any(phrase_in(words_of(text), words_of(term)) for text in texts)
            if is_there == (no and not place):
                return False
    return True


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=8), LINES)
def test_a_search_finds_what_plain_python_finds(
    tmp_path_factory: pytest.TempPathFactory,
    said: list[tuple[str, str, str]],
    line: list[tuple[bool, str]],
) -> None:
    """In messages, answers and tools, whatever stands beside it."""
    with searched_in(tmp_path_factory.mktemp("find")) as file:
        runs = {}
        for message, answer, tool in said:
            run = file.to.run(inputs={"message": message}, result={"answer": answer})
            file.to.span(run, name="x", output={"found": tool})
            runs[run] = [message, answer, tool]
        found = file.runs(" ".join(f"{'-' * no}{words}" for no, words in line))
    assert found == [run for run in reversed(runs) if matches(runs[run], line)]


SAID = {"role": "user", "content": "a needle"}
CALL = {"name": "sew", "arguments": {"with": "needle"}}
EVERYWHERE: list[tuple[str, dict[str, Any], str]] = [
    ("a message", {"inputs": {"message": "a needle"}}, "message"),
    ("a conversation", {"inputs": {"messages": [SAID]}}, "message"),
    ("another input", {"inputs": {"order": {"note": ["needle"]}}}, "message"),
    ("an answer", {"result": {"answer": "the needle"}}, "answer"),
    ("an error", {"status": "error", "error": "no needle"}, "errors"),
    ("text that is no JSON", {"inputs": "needle, {"}, "message"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "columns", "found_in"), EVERYWHERE)
def test_a_word_is_found_in(
    file: Searched, where: str, columns: dict[str, Any], found_in: str
) -> None:
    """Wherever a run has it."""
    file.to.run(at=1, inputs={"message": "hay"})
    run = file.to.run(at=2, **columns)
    assert file.runs("needle") == [run], where
    assert file.ask("needle").hits[0].snippet.column == found_in


@pytest.mark.parametrize(
    ("table", "columns", "found_in"),
    [
        ("llm", {"messages": [SAID]}, "prompts"),
        ("llm", {"prompt_preview": "a needle"}, "prompts"),
        ("llm", {"response": "needle"}, "prompts"),
        ("llm", {"response_preview": "needle"}, "prompts"),
        (
            *(
                "llm",
                {"details": {"tool_calls": [{"name": "sew", "arguments": {"with": "needle"}}]}},
            ),
            "prompts",
        ),
        ("llm", {"status": "error", "error_message": "needle"}, "errors"),
        ("span", {"input": {"q": "needle"}}, "tools"),
        ("span", {"output": json.dumps("needle")}, "tools"),
        ("span", {"name": "needle"}, "tools"),
        ("span", {"status": "error", "error": "needle"}, "errors"),
        ("step", {"output": {"thought": "needle"}}, "tools"),
    ],
)
def test_a_word_is_found_in_a_record(
    file: Searched, table: str, columns: dict[str, Any], found_in: str
) -> None:
    """Of calls, tools and steps."""
    run = file.to.run()
    if table == "step":
        file.to.step(run, "think", **columns)
    else:
        getattr(file.to, table)(run, **columns)
    assert file.runs("needle") == [run]
    assert file.ask("needle").hits[0].snippet.column == found_in


def test_filters_choose_among_the_turns(file: Searched) -> None:
    """Each by its own value, whatever its case; of the session: cost and turns."""
    one = file.to.run("s1", agent="Desk", user="Zoë", tags={"plan": "pro"}, inputs={"m": "hi"})
    file.to.llm(one, model="openai/gpt-4o-2024-08-06", cost=0.75)
    file.to.span(one, name="lookup")
    two = file.to.run("s2", at=9, agent="other", status="error", error_type="TimeoutError")
    file.to.llm(two, model="claude", cost=None)
    three = file.to.run("s2", at=20, parent=two)
    alone = file.to.run(None, at=30)
    for line, runs in {
        "agent:desk": [one], "user:zoe": [one], "tag:plan": [one], "tag:plan=PRO": [one],
        "model:gpt-4o": [one], "model:openai*": [one], "model:gpt-4": [], "model:claude": [two],
        "tool:lookup": [one], "status:error": [two], "error:timeouterror": [two],
        "session:s2": [three, two], "-session:s2": [alone, one], "cost:>0.5": [one],
        "cost:0.75 turns:1": [one], "turns:1": [three, two, one], "turns:>1": [],
        "after:2026-01-31T09:30:09 before:2026-01-31T09:30:30": [three, two],
        "hi -agent:desk": [], "-hi -status:error": [alone, three],
    }.items():  # fmt: skip
        assert file.runs(line) == runs, line


@pytest.mark.parametrize(
    ("asked", "models"),
    [
        ("gpt-4o", ["gpt-4o", "openai/gpt-4o-2024-08-06", "gpt-4o:latest"]),
        ("gpt-4o*", ["gpt-4o", "openai/gpt-4o-2024-08-06", "gpt-4o:latest", "gpt-4o-mini"]),
        ("gpt-4", ["gpt-4-0613"]),
        ("claude-3-5-sonnet", ["anthropic.claude-3-5-sonnet-20240620-v1:0"]),
        ("gpt", []),
        ("gpt-4*", ["gpt-4-0613"]),
        ("openai*", ["openai/gpt-4o-2024-08-06"]),
        ("anthropic*", ["anthropic.claude-3-5-sonnet-20240620-v1:0"]),
        ("claude*", ["anthropic.claude-3-5-sonnet-20240620-v1:0"]),
        ("mini", []),
    ],
)
def test_a_model_is_found_with_its_versions(file: Searched, asked: str, models: list[str]) -> None:
    """And no other model, unless it is asked for."""
    runs = {}
    for model in (
        *("gpt-4o", "openai/gpt-4o-2024-08-06", "gpt-4o:latest", "gpt-4o-mini", "gpt-4-0613"),
        *("gpt-4.1", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
    ):
        runs[file.to.run()] = model
        file.to.llm(list(runs)[-1], model=model)
    assert [runs[run] for run in reversed(file.runs(f"model:{asked}"))] == models


BOOK = {"name": "book", "arguments": '{"at": "noon"}'}
ASKS = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": BOOK}]}


@pytest.mark.parametrize(
    "columns",
    [
        {"details": {"tool_calls": [{"name": "book", "arguments": {"at": "noon"}}]}},
        {"response": json.dumps(ASKS)},
        {"response": json.dumps({"choices": [{"message": ASKS}]})},
    ],
)
def test_a_tool_that_a_model_has_asked_for_is_found(
    file: Searched, columns: dict[str, Any]
) -> None:
    """In whatever form the answer says it; and what it was to be given."""
    run = file.to.run()
    file.to.llm(run, **columns)
    assert file.runs("tool:book noon") == [run]
    result = file.to.run(result={"choices": [{"message": ASKS}]})
    assert file.runs("tool:book noon") == [result, run]


def test_texts_within_json_text_are_found(file: Searched) -> None:
    """With the letters and lines that JSON writes with escapes."""
    given = json.dumps({"a": "Düsseldorf", "b": "x\ntwo"})
    tool = {"role": "tool", "tool_call_id": "1", "content": given}
    run = file.to.run(inputs={"messages": [{"role": "user", "content": "hi"}, tool]})
    file.to.llm(run, response=json.dumps({"role": "assistant", "content": "Göttingen\nthree"}))
    for word in ("düsseldorf", "two", "göttingen", "three"):
        assert file.runs(word) == [run], word


def test_a_phrase_goes_on_in_the_next_line_of_a_text(file: Searched) -> None:
    """Also where the message has an image beside it."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    parts = [{"type": "text", "text": "send it\nback"}, image]
    run = file.to.run()
    file.to.llm(run, messages=[{"role": "user", "content": parts}])
    assert file.runs('"it back"') == [run]


def test_a_session_has_its_title(file: Searched) -> None:
    """That of the lists, also where its first run was given no words."""
    file.to.run("s", at=1)
    file.to.run("s", at=2, inputs={"message": "Good morning"})
    file.to.run("s", at=3, result={"answer": "a needle"})
    file.bring_up()
    assert file.ask("needle").hits[0].session_title == "Good morning"


def test_an_answer_that_was_given_beside_the_result_is_found(file: Searched) -> None:
    """And what else was noted as an event, also later."""
    run = file.to.run()
    file.to.event(run, "output_text", data={"text": "zorilla"})
    assert file.runs("zorilla") == [run]
    assert file.ask("zorilla").hits[0].snippet.column == "answer"
    file.to.event(run, "memory_write", data={"content": "marmot"})
    assert file.runs("marmot") == [run]


def test_a_snippet_shows_what_is_new_before_what_was_sent_again(file: Searched) -> None:
    """The earlier message was found where it was said."""
    said = [{"role": "user", "content": "zebra first"}]
    first = file.to.run("s", inputs={"messages": said})
    more = [*said, {"role": "user", "content": "a zebra with 9 stripes"}]
    second = file.to.run("s", at=1, inputs={"message": "go on"})
    file.to.llm(second, messages=more)
    assert file.runs("zebra") == [second, first]
    shown = "".join(text for text, _ in file.ask("zebra").hits[0].snippet.parts)
    assert shown == "a zebra with 9 stripes"


def test_what_a_sub_agent_was_given_is_found_where_it_was_said(file: Searched) -> None:
    """With the run that called it."""
    said = [{"role": "user", "content": "an ocelot"}]
    run = file.to.run("s", inputs={"messages": said})
    more = [*said, {"role": "user", "content": "find it"}]
    nested = file.to.run("s", at=1, agent="finder", parent=run, inputs={"messages": more})
    assert file.runs("ocelot") == [run]
    assert file.runs("find") == [nested]


def test_a_type_of_error_within_a_run_is_found(file: Searched) -> None:
    """Also where the run has succeeded."""
    run = file.to.run()
    file.to.llm(run, status="error", error_type="RateLimitError", error_message="slow down")
    assert file.runs("error:ratelimiterror status:success") == [run]


def test_a_page_of_large_texts_ends_in_time(file: Searched) -> None:
    """With what it has by then; the next page goes on."""
    text = "é lorem ipsum " * 5_000
    made = [file.to.run(inputs={"message": f"{text} needle{number} needle"}) for number in range(6)]
    file.bring_up()
    seen: list[str] = []
    below = None
    with index_reader(file.path) as index:
        while True:
            page = search(file.main, index, parse_line("needle"), below=below, seconds=0.0)
            assert page is not None
            assert len(page.hits) == 1
            seen += [hit.run_id for hit in page.hits]
            assert "needle" in [text for text, is_word in page.hits[0].snippet.parts if is_word]
            if page.below is None:
                break
            assert page.is_cut
            below = page.below
    assert seen == made[::-1]


def test_the_latest_come_first_page_by_page(file: Searched) -> None:
    """Each once, also where only the file can tell."""
    made = [file.to.run(f"s{number % 7}", inputs={"m": "word"}) for number in range(30)]
    file.bring_up()
    newest = made[::-1]
    many = [run for run in newest if made.index(run) % 7 < 2]
    for line, wanted in (("word", newest), ("word turns:>=5", many), ("after:2020-01-01", newest)):
        seen, below = [], None
        while True:
            page = file.ask(line, limit=4, below=below)
            seen += [hit.run_id for hit in page.hits]
            assert len(page.hits) == 4 or page.below is None
            if page.below is None:
                break
            below = page.below
        assert seen == wanted, line


def test_a_hit_knows_its_turn_and_its_session(file: Searched) -> None:
    """A sub-agent's is the turn that called it."""
    file.to.run("s", inputs={"message": "Good morning"}, user="u")
    turn = file.to.run("s", at=10, agent="desk", inputs={"message": "where is it"}, status="error")
    nested = file.to.run("s", at=11, agent="finder", parent=turn, result={"answer": "in the attic"})
    alone = file.to.run(None, at=20, inputs={"message": "an attic"})
    file.bring_up()
    by_itself, inside = file.ask("attic").hits
    assert (by_itself.run_id, by_itself.session_title, by_itself.place) == (alone, "an attic", None)
    assert (inside.run_id, inside.session_id, inside.agent_name) == (nested, "s", "finder")
    assert (inside.session_title, inside.place) == ("Good morning", Place(2, nested=True))
    assert file.ask("where").hits[0].status == "error"


def test_words_that_are_nowhere_are_found_by_their_beginning(file: Searched) -> None:
    """Said so; a phrase is not."""
    run = file.to.run(inputs={"message": "Renew my loans, please."})
    file.bring_up()
    found = file.ask("loan renew")
    assert [(hit.run_id, hit.is_loose) for hit in found.hits] == [(run, True)]
    assert not file.ask('"my loan"').hits
    assert not file.ask("loan*").hits[0].is_loose


def test_a_history_that_is_sent_again_is_found_where_it_was_said(file: Searched) -> None:
    """Whether as the input of a run, or as the messages of a call."""
    history: list[dict[str, str]] = []
    runs = []
    for number, word in enumerate(("apple", "banana", "cherry")):
        history.append({"role": "user", "content": f"an {word}"})
        run = file.to.run("s", at=number, inputs={"messages": list(history)})
        file.to.llm(run, messages=list(history), response=f"eat the {word}")
        history.append({"role": "assistant", "content": f"eat the {word}"})
        runs.append(run)
    assert [file.runs(word) for word in ("apple", "banana", "cherry")] == [[run] for run in runs]


def test_pictures_and_other_data_are_no_words(file: Searched) -> None:
    """Only that there is one."""
    data = "data:image/png;base64," + "QUJD" * 500
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": data}}]
    file.to.run(inputs={"messages": [{"role": "user", "content": parts}]})
    assert len(file.runs("look")) == 1
    assert file.runs("QUJDQUJDQUJD*") == []


def test_an_index_can_be_deleted_at_any_time(file: Searched, tmp_path: Path) -> None:
    """It is made again."""
    run = file.to.run(inputs={"message": "needle"})
    assert file.runs("needle") == [run]
    for side in tmp_path.glob("*.search*"):
        side.unlink()
    assert file.runs("needle") == [run]
