"""Markdown of people and models: readable, and nothing of it does anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tools.builders import Builder
from tests.tools.pages import dashboard
from waxlocal.storage.connection import open_writer
from waxlocal.web.pages.markdown import MOST_CHARS, markdown

PIXEL = "data:image/png;base64,iVBORw0KGgo="
NONE: frozenset[str] = frozenset()
PLAIN = ("p", "strong", "em", "s", "br", "ul", "ol", "li", "blockquote", "hr", "table", "thead",
         "tbody", "tr")  # fmt: skip
# What a rendered text may have, each with its attributes.
ALLOWED: dict[str, frozenset[str]] = {
    **dict.fromkeys(PLAIN, NONE),
    **dict.fromkeys(("th", "td", "span"), frozenset(("class",))),
    "code": NONE,
    "ol": frozenset(("start",)),
    "div": frozenset(("class", "role", "aria-label", "tabindex")),
    "button": frozenset(("type", "class", "data-copy", "aria-label", "hidden")),
    "pre": frozenset(("dir",)),
    "img": frozenset(("class", "src", "alt")),
}


class Checked(HTMLParser):
    """Fails on a tag or an attribute that no text may have; keeps the words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check one."""
        given = dict(attrs)
        assert given.keys() <= ALLOWED[tag], (tag, given)
        if "src" in given:
            assert str(given["src"]).lower().startswith("data:image/")
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it ends the last one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.words.append(data)


def words(text: str) -> str:
    html = markdown(text)
    assert html is not None
    return "".join(Checked(html).words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**bold** and `x<y`", "<p><strong>bold</strong> and <code>x&lt;y</code></p>"),
        ("# A head\n\ntext", "<p><strong>A head</strong></p>\n<p>text</p>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("*one*\ntwo", "<p><em>one</em><br />\ntwo</p>"),
        ("[the docs](https://x.example/?a=1&b=2)", "<p>the docs (https://x.example/?a=1&amp;b=2)</p>"),
        ("<https://x.example>", "<p>https://x.example</p>"),
        ("![a cat](https://x.example/cat.png)", "<p>a cat (https://x.example/cat.png)</p>"),
        (f"![a cat]({PIXEL})", f'<p><img class="thumb" src="{PIXEL}" alt="a cat"></p>'),
        ("<script>alert(1)</script> *x*",
         "<p>&lt;script&gt;alert(1)&lt;/script&gt; <em>x</em></p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ('[x](https://x.example "the title")',
         '<p>x (https://x.example &quot;the title&quot;)</p>'),
        ("[INFO]: started\n[WARN]: slow, **why**?",
         "<p>[INFO]: started<br />\n[WARN]: slow, <strong>why</strong>?</p>"),
    ],
)  # fmt: skip
def test_it_reads_as_it_was_meant(text: str, expected: str) -> None:
    """Without a tag of the text's own, and without anything to follow or to fetch."""
    html = markdown(text)
    assert html is not None
    assert html.strip() == expected


def test_a_table_has_its_numbers_at_the_right() -> None:
    """By a class: the page allows no styles."""
    html = markdown("| a | b |\n|---|--:|\n| x | 1 |")
    assert html is not None
    assert '<td>x</td>\n<td class="num">1</td>' in html


def test_code_can_be_copied_as_it_is() -> None:
    """With its quotes, and whatever it would be as HTML."""
    html = markdown('```js "><b>\nlet a = "<b>" && 1;\n```')
    assert html is not None
    assert 'data-copy="let a = &#34;&lt;b&gt;&#34; &amp;&amp; 1;\n"' in html
    assert "".join(Checked(html).words).strip() == 'js "><b>Copylet a = "<b>" && 1;'


@pytest.mark.parametrize(
    "text",
    ["", "How are you?", "Line one\nline two", "a" * MOST_CHARS + "*", "- " * 11 + "secret",
     "> " * 30 + "secret"],
)  # fmt: skip
def test_what_is_no_markdown_stays_as_it_is(text: str) -> None:
    """So does what is very long, or nested deeper than anybody means it."""
    assert markdown(text) is None


@given(st.text(alphabet="ab \n*_`[]()<>!#-|:&\"'\\/~1.=+\t", max_size=200))
@example("[![x](data:image/png;base64,AA)](javascript:x)")
@example("[a](<data:text/html,x>)\n\n[b]: javascript:x\n[b]\n")
@example("|a|\n|:-:|\n|`|`|")
def test_no_text_makes_anything_else(text: str) -> None:
    """Every tag is one of few, each is closed, and none has an attribute of the text's own."""
    html = markdown(text)
    if html is not None:
        Checked(html)


@given(st.text(alphabet="ab \n*_`[]()<>!#-|&\"'\\/~1.=+\t:;", max_size=200))
@example("[ab]: ba\n*ab*")
@example("```ab ba\naa\n```")
@example("![ab](ba \"aa\") [bb](aab 'bba')")
@example("|ab|\n|-|\n|ba|aa|")
@example("|ab|\n|-|\n|ab|ba|")
@example("- " * 9 + "ab")
def test_nothing_that_was_said_is_left_out(text: str) -> None:
    """Each word of the source is there."""
    html = markdown(text)
    if html is not None:
        shown = "".join(Checked(html).words)
        assert [word for word in re.findall("[ab]{2,}", text) if word not in shown] == []


@pytest.mark.parametrize(
    "text",
    ["| a | b |\n|-|-|\n| 1 | 2 | 3000 |", "|yes|no|\n|-|-|\n|yes|no|yes|", "|x|\n|-|\n|y|$ 9|",
     "> | x |\n> |-|\n> | y | z |"],
)  # fmt: skip
def test_a_table_that_would_lose_cells_stays_as_it_is(text: str) -> None:
    """Those of a row that has more than the head."""
    assert markdown(text) is None


def test_words_in_addresses_and_references_are_there_as_they_were_written() -> None:
    """Of any language, escaped or not."""
    for text in (
        "*x* [y](https://x.example/straße?q=%C3%A9t%C3%A9)",
        "**x** &lt;b&gt; &copy; `&amp;`",
    ):
        assert markdown(text) is not None


TABLE = "|" + "a|" * 2_500 + "\n|" + "-|" * 2_500 + "\n" + "a\n" * 5_000


@pytest.mark.parametrize(
    "piece",
    ["*a_", "[", "![](", "> ", "- ", "`a``", "<a ", "|a|\n", "1. ", "<", "&", "~", "[a]: b\n",
     TABLE],
)  # fmt: skip
def test_no_text_takes_long_or_much(piece: str) -> None:
    """It ends, whatever is repeated in it, and is not a hundred times as long as HTML."""
    html = markdown((piece * MOST_CHARS)[:MOST_CHARS]) or ""
    Checked(html)
    assert len(html) < 100 * MOST_CHARS


@pytest.mark.parametrize("as_text", [False, True])
def test_the_conversation_shows_it_and_its_source(db_path: Path, as_text: bool) -> None:
    """The one or the other, for all messages of the page, with a link to each."""
    said = {"message": "Is it **open**?"}
    conn = open_writer(db_path)
    Builder(conn).run("s", inputs=said, result={"response": "<b>No</b>, `closed`."})
    conn.close()
    with dashboard(db_path) as pages:
        page = pages.page("/sessions/s" + ("?as=text" if as_text else ""))
    message, answer = page.one("section", "person"), page.one("section", "agent")
    if as_text:
        assert message.one("div", "text").text == "Is it **open**?"
        assert page.all("a", href="/sessions/s")
    else:
        assert message.one("strong").text == "open"
        assert answer.one("code").text == "closed"
        assert "<b>No</b>" in answer.text
        assert page.all("a", href="/sessions/s?as=text")
