"""A session as one file: to keep, and to send to somebody who has nothing of this."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.browser.hostile import PAYLOADS, record_hostile, session_id
from tests.tools.builders import recording
from tests.tools.cli import invoke, recorded
from tests.tools.pages import dashboard, parsed
from tests.web.pages.test_markdown import ALLOWED
from tests.web.pages.test_safe import TAGS
from tests.web.pages.test_session import a_talk
from waxlocal.web.pages import session_markdown
from waxlocal.web.pages.addresses import Links, session_url
from waxlocal.web.pages.session_file import FORMS, RUNS, written


def file_of(path: Path, session: str, form: str) -> str:
    """Return the file that the page offers; it is that of the command."""
    with dashboard(path) as pages:
        link = Links("").file_of_session(session, form)
        assert pages.page(session_url(session)).all("a", href=link)
        answer = pages.client.get(link)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"].startswith('attachment; filename="session-')
    said = invoke("session", session, f"--{form}", db=path)
    assert (said.exit_code, said.stdout) == (0, answer.text), said.stderr
    return str(answer.text)


def test_html_has_everything_and_needs_nothing(db_path: Path) -> None:
    """What was said, what it cost, sub-agents, errors, records; no script, no address."""
    with recorded(db_path) as to:
        a_talk(to)
    html = file_of(db_path, "talk", "html")
    page = parsed(html)
    assert page.one("h1").text == "When is high water?"
    assert [turn["id"] for turn in page.all("article") if "nested" not in turn["class"]] == [
        "turn-1", "turn-2", "turn-3",
    ]  # fmt: skip
    for said in ("ada When is high water?", "desk At 14:20.", "asked look it up", "$0.0080",
                 "TideTimeout: no answer within 10 s", "1 tool call", "tide_table",
                 "Expensive model: gpt-4o"):  # fmt: skip
        assert said in page.text, said
    assert not page.all("script")
    assert not page.all("a")
    assert not page.all("link")
    assert not re.search(r"(?:https?:)?//[a-z]|url\((?!#)|@import", html)


def test_markdown_reads_as_it_was_said(db_path: Path) -> None:
    """With a heading for each turn, what was said as quotations, and what was done as lists."""
    with recorded(db_path) as to:
        a_talk(to)
    text = file_of(db_path, "talk", "markdown")
    assert text.startswith(
        "# When is high water?\n\nada · with desk, helper · 2026-01-31 09:30:00 UTC"
    )
    assert re.findall("^##+ .*$", text, re.M) == [
        "## Turn 1", "## Turn 2", "### Sub-agent helper", "## Turn 3",
    ]  # fmt: skip
    assert "\n**ada**\n\n> When is high water?\n\n**desk**\n\n> At 14:20.\n" in text
    assert "\n**error**\n\n> TideTimeout: no answer within 10 s\n" in text
    assert "- gpt-4o (LLM call) · 300 in, 20 out · $0.0040 · 1.5 s\n" in text
    assert "- helpful (score) · 0.5 · asked\n" in text
    second = text.partition("## Turn 2")[2]
    assert second.index("> look it up") < second.index("> At 15:05.")


def test_names_in_markdown_are_what_they_say(db_path: Path) -> None:
    """Whatever they would mean there."""
    with recorded(db_path) as to:
        run = to.run("s", user="*ada*", agent="1. [desk](x)", inputs={"message": "# no head\n- no"})
        to.span(run, "tool", name="<b>`x`</b>")
    text = file_of(db_path, "s", "markdown")
    assert "\\*ada\\*" in text
    assert "1\\. \\[desk\\](x)" in text
    assert "> # no head\n> - no" in text
    assert "- \\<b\\>\\`x\\`\\</b\\> (tool)" in text


def test_lines_of_json_have_each_run_with_its_records(db_path: Path) -> None:
    """In order, with its place among the turns."""
    with recorded(db_path) as to:
        a_talk(to)
    rows = [json.loads(line) for line in file_of(db_path, "talk", "jsonl").splitlines()]
    assert [(row["turn"], row["nested"]) for row in rows] == [
        (1, False), (2, False), (2, True), (3, False),
    ]  # fmt: skip
    assert rows[0]["inputs"] == {"message": "When is high water?"}
    assert [call["tokens_in"] for call in rows[1]["llm_calls"]] == [700]


def test_a_long_conversation_comes_in_parts_and_whole(tmp_path: Path) -> None:
    """Each turn once, and each message to its end."""
    words = "word " * 30_000
    with recording(tmp_path) as (make, conn):
        for number in range(RUNS * 4 + 5):
            said = f"m{number} {words if number == 3 else ''}"
            make.run("s", at=number, inputs={"message": said})
        text = "".join(written(conn, "s", "markdown"))
    turns = re.findall(r"^## Turn (\d+)$", text, re.M)
    assert turns == [str(number) for number in range(1, RUNS * 4 + 6)]
    assert words.strip() in text


@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_a_large_turn_is_left_out(tmp_path: Path, form: str) -> None:
    """All sub-agents, all records, and an error to its end: more than a page has."""
    with recording(tmp_path) as (make, conn):
        make.conn.execute("BEGIN")
        turn = make.run("s", status="error", error="why " * 2_000 + "THE END", agent="boss")
        for number in range(1_100):
            helper = make.run("s", at=number, parent=turn, agent=f"helper-{number}-")
            make.span(helper, "tool", name=f"first-{number}-")
            make.span(helper, "tool", name=f"second-{number}-")
        make.conn.execute("COMMIT")
        text = "".join(written(conn, "s", form))
    assert "THE END" in text
    for number in (0, 999, 1_000, 1_099):
        for name in ("helper", "first", "second"):
            assert f"{name}-{number}-" in text


def test_runs_that_call_each_other_leave_no_turn_out(tmp_path: Path) -> None:
    """As only a hostile client says."""
    with recording(tmp_path) as (make, conn):
        make.run("s", parent="01942000-0000-7000-8000-000000000002", inputs={"message": "one"})
        make.run("s", parent="01942000-0000-7000-8000-000000000001", inputs={"message": "two"})
        for number in range(RUNS):
            make.run("s", at=number + 1, inputs={"message": f"turn {number}"})
        text = "".join(written(conn, "s", "markdown"))
    assert all(f"> {said}\n" in text for said in ("one", "two", f"turn {RUNS - 1}"))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a <b> & <!-- c", "a &lt;b> & &lt;!-- c"),
        ("![x](https://x.example/?t=1)", "!&#91;x](https://x.example/?t=1)"),
        ("```\n<b>\n```\n<c>", "```\n> <b>\n> ```\n> &lt;c>"),
        ("- a\n  ```\n<img src=x>", "- a\n>   ```\n> &lt;img src=x>"),
        ("\x1b[31m \u202e", "\\x1b[31m \\u202e"),
    ],
)
def test_a_message_in_markdown_is_no_html_and_fetches_nothing(
    db_path: Path, said: str, kept: str
) -> None:
    """Its blocks of code and its emphasis stay as they are."""
    with recorded(db_path) as to:
        to.run("s", inputs={"message": said}, status="error", error="<class 'int'> __init__")
    text = file_of(db_path, "s", "markdown")
    assert f"> {kept}\n" in text
    assert "> \\<class 'int'\\> \\_\\_init\\_\\_\n" in text


@given(st.text(alphabet="<!>[]()`~\\ab \n-*_>#&|", max_size=120))
@example("\\<img src=x>")
@example("\\![a](b)")
@example("`\nx ` <img src=x>")
@example("- ```\n  x\n  ```\n<img src=x>")
def test_no_message_is_html_or_an_image_in_the_markdown(said: str) -> None:
    """As a reader with HTML on sees it."""
    tokens = MarkdownIt("commonmark", {"html": True}).parse(session_markdown.said("ada", said))
    every = [*tokens, *(one for token in tokens for one in token.children or ())]
    assert not {"html_block", "html_inline", "image"} & {token.type for token in every}


def test_what_is_deleted_meanwhile_is_left_out(tmp_path: Path) -> None:
    """The rest is written."""
    for form in FORMS:
        with recording(tmp_path / form) as (make, conn):
            runs = [make.run("s", at=at, inputs={"message": f"m{at}"}) for at in range(RUNS * 3)]
            parts = written(conn, "s", form)
            next(parts)
            make.conn.execute("DELETE FROM runs WHERE run_id = ?", (runs[-1],))
            text = "".join(parts)
        assert f"m{RUNS * 3 - 2}" in text
        assert f"m{RUNS * 3 - 1}" not in text


def test_a_chain_of_sub_agents_of_any_length_is_shown(db_path: Path) -> None:
    """On the page of its run, of its session, and in the files."""
    with recorded(db_path) as to:
        to.conn.execute("BEGIN")
        caller = first = to.run("s", agent="agent-0-")
        for number in range(1, 990):
            caller = to.run("s", at=number, agent=f"agent-{number}-", parent=caller)
        to.conn.execute("COMMIT")
    with dashboard(db_path) as pages:
        rows = pages.page(f"/runs/{first}").one(data_live="trace").one("ol").all("li")
        assert len(rows) == 500
        assert len(pages.page("/sessions/s").all("article")) == 990
        for form in FORMS:
            text = pages.client.get(Links("").file_of_session("s", form)).text
            assert all(f"agent-{number}-" in text for number in (0, 19, 20, 21, 500, 989))


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_hostile_text_is_text_in_the_html(hostile: tuple[Path, list[str]], number: int) -> None:
    """No tag, no attribute and no address of its own."""
    path, _ = hostile
    with dashboard(path) as pages:
        name = session_id(number + 1, PAYLOADS[number])
        page = parsed(pages.client.get(Links("").file_of_session(name, "html")).text)
    for one in page.walk():
        assert not one.tag or one.tag in TAGS | ALLOWED.keys() | {"style"}, one.tag
        assert not {"href", "style", "srcdoc"} & one.attributes.keys() or one.tag == "use"
        assert not any(attribute.startswith("on") for attribute in one.attributes)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("hostile") / "waxlocal.db"
    return path, record_hostile(path)


@pytest.mark.parametrize(
    "session", ["a/b", "..", "ü 🙂", "", 'x"; filename="y', "x\r\ny", "é" * 300]
)
def test_the_name_of_the_file_is_plain(db_path: Path, session: str) -> None:
    """Whatever the session is called."""
    with recorded(db_path) as to:
        to.run(session, inputs={"message": "found"})
    with dashboard(db_path) as pages:
        answer = pages.client.get(Links("").file_of_session(session, "html"))
    named = answer.headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="session-[A-Za-z0-9._-]{1,80}\.html"', named), named
    assert "found" in answer.text


def test_what_is_not_there_is_said(db_path: Path) -> None:
    """A session or a form that nobody knows; and an option that would leave turns out."""
    with recorded(db_path) as to:
        to.run("s")
    with dashboard(db_path) as pages:
        assert "no session 'x'" in pages.page("/sessions/x?file=html", status=404).text
        wrong = pages.page("/sessions/s?file=pdf", status=400).text
    assert "unknown file 'pdf'" in wrong
    assert f"use one of: {', '.join(FORMS)}" in wrong
    refused = invoke("session", "s", "--html", "--limit", 3, db=db_path)
    assert refused.exit_code == 2
    assert "--html writes the whole conversation: --limit has no effect" in refused.stderr
