"""Reads the responses of a server: the one place where foreign text comes in.

The results can be stored, logged, shown and sent: no lone surrogates, which SQLite and UTF-8
reject; no nesting too deep for Python to write again; no API key that the server repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from waxlocal.decode import TooDeep, loads
from waxlocal.encode import text as storable
from waxlocal.settings.secret import Secret

__all__ = ["Answer", "Unreadable", "header_text", "plain_text", "read_json"]

# Responses of the API have five levels.
MAX_DEPTH = 64
# The response to the largest batch has some 2,000 values. 8 MB of `[]` would take 500 MB parsed.
MAX_VALUES = 100_000
# Longer texts are cut: they become the reasons that people read.
MAX_WORDS = 500


class Answer(NamedTuple):
    """The response to a request; without one, `status` is None and `error` says why.

    `headers` and `error` can be stored; `body` is unchanged: read it with `read_json`.
    """

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    error: str
    # The key that was sent, to be hidden in all texts.
    key: Secret = Secret()


class Unreadable(ValueError):
    """A response that is not JSON, or JSON that cannot be used; the message says which.

    `is_json`: it is JSON, so it comes from an API and not from a proxy or a login page.
    """

    def __init__(self, why: str, *, is_json: bool) -> None:
        super().__init__(why)
        self.is_json = is_json


def read_json(body: bytes, key: Secret, *, most_values: int = MAX_VALUES) -> Any:
    """Return the JSON of a response; every text in it can be stored. Raises `Unreadable`.

    A lone surrogate becomes U+FFFD, and the API key `(the key)`, however the server spelled it.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > most_values:
        raise Unreadable(f"more than {most_values:,} values", is_json=True)
    try:
        found = loads(body, MAX_DEPTH)
    except (TooDeep, MemoryError):
        raise Unreadable("nested too deeply", is_json=True) from None
    except ValueError:  # text that is not UTF-8, too
        raise Unreadable("not JSON", is_json=False) from None
    return _fit(found, key)


def _fit(value: Any, key: Secret) -> Any:
    if isinstance(value, str):
        return plain_text(value, key)
    if isinstance(value, list):
        return [_fit(item, key) for item in value]
    if isinstance(value, dict):
        return {plain_text(name, key): _fit(item, key) for name, item in value.items()}
    return value


def plain_text(text: str, key: Secret) -> str:
    """Return text from a server or the network that can be stored, without the key."""
    return key.hidden_in(text if text.isascii() else storable(text))


def header_text(value: str, key: Secret) -> str:
    """Return the value of a header, cut to 500 characters, and without the key."""
    return plain_text(value, key)[:MAX_WORDS]
