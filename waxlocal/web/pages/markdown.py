"""What people and models wrote in Markdown, as HTML that does nothing.

It has no tag of theirs and nothing that can be followed or fetched: a link is its text with its
address, an image is shown only if the text itself contains it. By markdown-it-py: CommonMark, with
GitHub's tables (https://markdown-it-py.readthedocs.io).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import unescape
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

__all__ = ["MOST_CHARS", "code_lines", "markdown"]

# More stays plain text: a page has a hundred texts, and some take a time that grows faster than
# they do.
MOST_CHARS = 20_000
# A page that is looked at is made anew every few seconds. Of at most so many characters: some
# texts become HTML of ten times their length.
_KEPT, _KEPT_CHARS = 256, 5_000
# Without any of these, Markdown is shown as any text is.
_MARKS = re.compile(
    r"[`*_~|<>\\]|!?\[|&\w|^ {0,3}(?:#|[-+]\s|\d{1,9}[.)]\s|[-=]{3,}\s*$)|^ {4}", re.M
)
# What is nested deeper would be left out: such a text is shown as it is. A list takes two levels.
_LEVELS = 20
_SHOWN = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*\Z", re.IGNORECASE)
_DATA = re.compile(r"!\[[^\]]*\]\(data:[^\s)]*")
_WORD = re.compile(r"[^\W_]{2,}")
# Of a list: the browser shows it.
_NUMBER = re.compile(r"^[\s>*+-]*\d{1,9}[.)](?=\s|$)", re.M)
_CELL_END = re.compile(r"(?<!\\)\|")
MOST_BRACKETS, MOST_CELLS = 1_000, 10_000
# Of an image that is shown: as many characters as a message has on a page.
_LARGEST_IMAGE = MOST_CHARS


def markdown(text: str) -> Markup | None:
    """Return a text as HTML; None to show it as it is.

    That is so if it has no Markdown, more than 20,000 characters, or more than a few levels.
    """
    if len(text) > MOST_CHARS or not _MARKS.search(text) or _is_expensive(text):
        return None
    return _kept(text) if len(text) <= _KEPT_CHARS else _rendered(text)


def _is_expensive(text: str) -> bool:
    """Return whether it may take a second: brackets are looked for in pairs, and tables filled."""
    columns = max(line.count("|") for line in text.splitlines() or [""])
    return text.count("[") > MOST_BRACKETS or columns * text.count("\n") > MOST_CELLS


@lru_cache(_KEPT)
def _kept(text: str) -> Markup | None:
    return _rendered(text)


def _rendered(text: str) -> Markup | None:
    parser, env = _parser(), dict[str, Any]()
    tokens = parser.parse(text, env)
    if any(token.level + max(token.nesting, 0) >= _LEVELS for token in tokens):
        return None
    html = parser.renderer.render(tokens, parser.options, env)
    # The renderer escapes every text.
    return Markup(html) if _is_whole(text, html, tokens) else None  # noqa: S704


def _is_whole(text: str, html: str, tokens: Sequence[Token]) -> bool:
    """Return whether all is shown: a table has no place for cells beyond its columns."""
    shown = unescape(html)
    shown += unquote(shown)  # addresses, as they were written
    said = _DATA.sub("", _NUMBER.sub("", unescape(text)))
    if not all(word in shown for word in set(_WORD.findall(said))):
        return False
    lines, columns, begun = text.split("\n"), 0, False
    for token in tokens:
        if token.type == "thead_open":
            columns, begun = 0, True
        elif token.type == "th_open":
            columns += 1
        elif token.type == "thead_close":
            begun = False
        elif token.type == "tr_open" and token.map and not begun:
            cells = _CELL_END.split(lines[token.map[0]].strip().strip("|"))
            if len(cells) > columns:
                return False
    return True


def code_lines(text: str) -> set[int]:
    """Return the numbers, from 0, of the lines of fenced blocks of code that are in nothing else.

    Of a text that would not be rendered, there are none.
    """
    if len(text) > MOST_CHARS or _is_expensive(text):
        return set()
    blocks = (one for one in _parser().parse(text) if one.type == "fence" and not one.level)
    return {number for one in blocks for number in range(*(one.map or (0, 0)))}


@lru_cache(1)
def _parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "maxNesting": _LEVELS}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.disable("reference")  # `[name]: text` is a line of somebody, and would be left out
    parser.core.ruler.push("nothing_to_follow", _take_links_away)
    for name, rule in _RULES.items():
        parser.add_render_rule(name, rule)
    return parser


def _take_links_away(state: StateCore) -> None:
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = list(_without_links(token.children))


def _without_links(tokens: Sequence[Token]) -> Iterator[Token]:
    # The addresses around, with their titles, and the words inside.
    begun: list[tuple[str, str, list[str]]] = []
    for token in tokens:
        if token.type == "link_open":
            begun.append((str(token.attrGet("href") or ""), _titled(token), []))
        elif token.type == "link_close" and begun:
            address, title, words = begun.pop()
            if title or address.removeprefix("mailto:") not in ("", "".join(words)):
                yield _text(f" ({address}{title})")
        elif token.type == "image":
            yield from _image(token)
        else:
            for _, _, words in begun:
                words.append(token.content)
            yield token


def _image(token: Token) -> Iterator[Token]:
    source = str(token.attrGet("src") or "")
    if _SHOWN.match(source) and len(source) <= _LARGEST_IMAGE:
        yield token
    else:
        shown = f"{source[:80]}…" if source.startswith("data:") else source
        yield _text(f"{token.content or 'image'} ({shown}{_titled(token)})")


def _titled(token: Token) -> str:
    title = token.attrGet("title")
    return f' "{title}"' if title else ""


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


# -- how some of it is written


def _code(
    _renderer: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, _env: Any
) -> str:
    code = escape(tokens[at].content)
    # Usually the language; some people write their first line there.
    language = escape(tokens[at].info.strip())
    return (
        f'<div class="listing"><span class="soft">{language}</span>'
        f'<button type="button" class="copy" data-copy="{code}" aria-label="Copy the code" hidden>'
        f'Copy</button><pre dir="ltr"><code>{code}</code></pre></div>\n'
    )


def _thumbnail(
    _renderer: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, _env: Any
) -> str:
    source, words = tokens[at].attrGet("src"), tokens[at].content
    return f'<img class="thumb" src="{escape(source)}" alt="{escape(words)}">'


def _cell(
    _renderer: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, _env: Any
) -> str:
    # By a class: the page allows no styles of its texts.
    right = tokens[at].attrGet("style") == "text-align:right"
    return f'<{tokens[at].tag} class="num">' if right else f"<{tokens[at].tag}>"


def _is(html: str) -> Any:
    return lambda *_: html


# The page has its own headings: those of a text are none.
_RULES: dict[str, Any] = {
    "fence": _code,
    "code_block": _code,
    "image": _thumbnail,
    "heading_open": _is("<p><strong>"),
    "heading_close": _is("</strong></p>\n"),
    "table_open": _is('<div class="scroll" role="group" aria-label="Table" tabindex="0"><table>\n'),
    "table_close": _is("</table></div>\n"),
    "th_open": _cell,
    "td_open": _cell,
}
