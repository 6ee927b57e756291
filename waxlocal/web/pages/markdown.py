"""What people and models wrote in Markdown, as HTML that does nothing.

It has no tag of theirs and nothing that can be followed or fetched: a link is its text with its
address, an image is shown only if the text itself contains it. By markdown-it-py: CommonMark, with
GitHub's tables (https://markdown-it-py.readthedocs.io).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

__all__ = ["MOST_CHARS", "markdown"]

# More stays plain text: a page has a hundred texts, and some take a time that grows faster than
# they do.
MOST_CHARS = 20_000
# A page that is looked at is made anew every few seconds.
_KEPT = 256
# Without any of these, Markdown is shown as any text is.
_MARKS = re.compile(
    r"[`*_~|<>\\]|!?\[|&\w|^ {0,3}(?:#|[-+]\s|\d{1,9}[.)]\s|[-=]{3,}\s*$)|^ {4}", re.M
)
# A nested quotation or list of more levels is no text of anybody.
_LEVELS = 20
_SHOWN = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*\Z", re.IGNORECASE)
# Of an image that is shown: as many characters as a message has on a page.
_LARGEST_IMAGE = MOST_CHARS


@lru_cache(_KEPT)
def markdown(text: str) -> Markup | None:
    """Return a text as HTML; None to show it as it is: it has no Markdown, or is very long."""
    if len(text) > MOST_CHARS or not _MARKS.search(text):
        return None
    return Markup(_parser().render(text))  # noqa: S704 - the renderer escapes every text


@lru_cache(1)
def _parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "maxNesting": _LEVELS}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.core.ruler.push("nothing_to_follow", _take_links_away)
    for name, rule in _RULES.items():
        parser.add_render_rule(name, rule)
    return parser


def _take_links_away(state: StateCore) -> None:
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = list(_without_links(token.children))


def _without_links(tokens: Sequence[Token]) -> Iterator[Token]:
    begun: list[tuple[str, list[str]]] = []  # the addresses around, and the words inside
    for token in tokens:
        if token.type == "link_open":
            begun.append((str(token.attrGet("href") or ""), []))
        elif token.type == "link_close" and begun:
            address, words = begun.pop()
            if address.removeprefix("mailto:") not in ("", "".join(words)):
                yield _text(f" ({address})")
        elif token.type == "image":
            yield from _image(token)
        else:
            for _, words in begun:
                words.append(token.content)
            yield token


def _image(token: Token) -> Iterator[Token]:
    source = str(token.attrGet("src") or "")
    if _SHOWN.match(source) and len(source) <= _LARGEST_IMAGE:
        yield token
    else:
        shown = f"{source[:80]}…" if source.startswith("data:") else source
        yield _text(f"{token.content or 'image'} ({shown})")


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


# -- how some of it is written


def _code(
    _renderer: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, _env: Any
) -> str:
    code = escape(tokens[at].content)
    language = escape(
        tokens[at].info.strip().split(maxsplit=1)[0] if tokens[at].info.strip() else ""
    )
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
    "table_open": _is(
        '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table>\n'
    ),
    "table_close": _is("</table></div>\n"),
    "th_open": _cell,
    "td_open": _cell,
}
