"""The pages of the dashboard over HTTP, parsed, without a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tests.tools.patience import PATIENCE_S
from waxlocal.web.app import create_app

__all__ = ["Dashboard", "Element", "dashboard", "parsed", "titles"]

VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta",
                  "source", "track", "wbr"))  # fmt: skip

# Between these no white space is needed for the eye to see one.
INLINE = frozenset(("a", "b", "bdi", "code", "small", "span", "strong", "em", "svg", "time"))


class Element:
    """An element with what is inside it."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element | str] = []

    def walk(self) -> Iterator[Element]:
        """Yield this element and all inside it."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    @property
    def text(self) -> str:
        """All text inside it, its white space single blanks; a blank between blocks."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag in INLINE:
                yield from child._texts()
            else:
                yield from (" ", *child._texts(), " ")

    def all(self, tag: str = "", cls: str = "", **attributes: str) -> list[Element]:
        """Return the elements inside of this tag and class that have these attributes."""
        return [
            one
            for one in self.walk()
            if (not tag or one.tag == tag)
            and (not cls or cls in one.attributes.get("class", "").split())
            and all(one.attributes.get(n.replace("_", "-")) == v for n, v in attributes.items())
        ]

    def one(self, tag: str = "", cls: str = "", **attributes: str) -> Element:
        """Return the only such element."""
        found = self.all(tag, cls, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag}.{cls} {attributes}"
        return found[0]

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]


class _Builder(HTMLParser):
    """Builds the tree, and insists that every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"an attribute twice in <{tag}>"
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1].tag == "option" and tag in ("select", "datalist"):
            self._open.pop()
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def close(self) -> None:
        super().close()
        assert self._open == [self.root], f"<{self._open[-1].tag}> is never closed"


def parsed(html: str) -> Element:
    """Return the document as a tree; fails where tags do not match."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.root


def titles(page: Element) -> list[str]:
    """Return the titles of the rows of a list, which lead to their pages."""
    return [link.text for link in page.all("a", "open")]


# How pages show a number that is not there yet.
_STILL_COUNTING = ('class="waiting"', ">counting …<", "The runs are stored in this file.")


class Dashboard:
    """Asks for pages."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """Return the answer once all that it counts in the background has been counted."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            answer = self.client.get(path, headers=headers)
            if not any(mark in answer.text for mark in _STILL_COUNTING):
                return answer
        raise AssertionError(f"{path} goes on counting")

    def page(self, path: str, status: int = 200) -> Element:
        """Return a page as a tree."""
        answer = self.get(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return parsed(answer.text)


@contextmanager
def dashboard(path: Path, **options: Any) -> Iterator[Dashboard]:
    """Start the application for a file, in this process; `options` are those of `create_app`."""
    with TestClient(create_app(path, **options), base_url="http://127.0.0.1:8321") as client:
        yield Dashboard(client)
