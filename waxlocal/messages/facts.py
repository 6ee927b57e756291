"""Values under their names: `city: Oslo, days: 3`, without ids, keys and binary data."""

from __future__ import annotations

import json
import re
from typing import Any

from waxlocal.decode import from_json
from waxlocal.messages.dialects import conversation_in
from waxlocal.messages.python_text import from_python, is_printed_object
from waxlocal.messages.words import without_data

__all__ = ["facts_of", "is_plumbing", "plain_name", "plain_text", "structure_of"]

# Levels of structures that are shown, and characters altogether: nobody reads more in a list.
_DEEPEST = 6
MOST_CHARS = 4_000

# Names of what only programs read, beside ids.
_PLUMBING = frozenset(
    (
        *("uuid", "token", "accesstoken", "authorization", "apikey", "secret", "password", "etag"),
        *("usage", "usagemetadata", "responsemetadata", "additionalkwargs", "metadata", "model"),
        *("finishreason", "stopreason", "logprobs", "systemfingerprint", "servicetier", "created"),
        *("createdat", "timestamp", "object", "headers", "checkpointns", "lcattributes", "stream"),
        *("iserror", "ok", "statuscode"),
    )
)
# `run_id`, `userId` and `ID`, but not `paid`.
_NAME_OF_ID = re.compile(r"(?:.*[_-])?id|.*[a-z0-9]I[dD]|ID")
# Those of them that are shown where they are recorded as values of their own.
_SHOWN = frozenset(("model", "metadata", "usage", "timestamp", "createdat", "finishreason"))
# A UUID, a hash, a JSON Web Token, or a prefix with what no person would type.
_ID = re.compile(
    r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32,128}"
    r"|eyJ[\w-]{10,}\.[\w.-]{20,}|(?=[^\d]*\d)[A-Za-z]{1,12}[-_][0-9A-Za-z]{16,64}"
)
_LONGEST_ID = 2_000
# Base64 is longer than any word, of its letters alone. A longer text is like its beginning.
_DATA = re.compile(r"(?=\D*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[\w+/=-]+", re.ASCII)
_LEAST_DATA, _ENOUGH_DATA = 100, 2_000


def plain_name(name: object) -> str:
    """Return a name in lower case without `_` and `-`: `userId` and `user_id` are one."""
    return str(name).replace("_", "").replace("-", "").lower()


def is_plumbing(name: str, value: object) -> bool:
    """Return whether a value says nothing to a reader who looks for words."""
    return value in (None, "", [], {}) or plain_name(name) in _PLUMBING or _is_id(name)


def _is_id(name: str) -> bool:
    return _NAME_OF_ID.fullmatch(name) is not None


def plain_text(value: str) -> str:
    """Return text without binary data, which is named in its place: `[image]`, `[data]`."""
    is_long = len(value) >= _LEAST_DATA
    if is_long and " " not in value[:_LEAST_DATA] and _DATA.fullmatch(value[:_ENOUGH_DATA]):
        return "[data]"
    return without_data(value)


def structure_of(text: str) -> dict[str, Any] | list[Any] | None:
    """Return what text says as JSON, or as Python prints values; None where it is just text."""
    inner = from_json(text)
    return inner if isinstance(inner, dict | list) else from_python(text)


def facts_of(value: object) -> str:
    """Return a value in one line for each row of it, cut where it is long; empty if it is empty."""
    return _Facts().of(value, 0)


class _Facts:
    """One value on its way to text, and how much may still be shown of it."""

    def __init__(self) -> None:
        self._left = MOST_CHARS

    def of(self, value: object, depth: int) -> str:
        if self._left <= 0 or depth > _DEEPEST:
            return ""
        if isinstance(value, str):
            return self._text(value, depth)
        if isinstance(value, list):
            return self._items(value, depth)
        if isinstance(value, dict):
            return self._stand_in(value) or self._members(value, depth)
        return "" if value is None else self._spend(json.dumps(value))

    def _spend(self, said: str) -> str:
        shown = said if len(said) <= self._left else f"{said[: self._left]}…"
        self._left -= len(shown)
        return shown

    def _text(self, value: str, depth: int) -> str:
        inner = structure_of(value) if depth else None
        if inner is not None:
            return self.of(inner, depth + 1)
        is_named = depth and len(value) <= _LONGEST_ID
        if is_named and (_ID.fullmatch(value) or is_printed_object(value)):
            return ""
        return self._spend(plain_text(value))

    def _items(self, values: list[Any], depth: int) -> str:
        if conversation_in(values) is not None:  # of others: their words are not these values
            return ""
        said, nested = [], False
        for one in values:
            if self._left <= 0:
                said.append("…")
                break
            if words := self.of(one, depth + 1):
                said.append(words)
                nested = nested or isinstance(one, dict | list)
                self._left -= 2
        return ("\n" if nested else ", ").join(said)

    def _members(self, value: dict[str, Any], depth: int) -> str:
        if conversation_in(value) is not None:
            return ""
        said: list[str] = []
        for name, inner in value.items():
            if self._left <= 0:
                said.append("…")
                break
            if not _is_hidden(name, inner) and (words := self.of(inner, depth + 1)):
                words = f"({words})" if isinstance(inner, dict) else words
                said.append(f"{self._spend(name)}: {words}")
                self._left -= 4
        return ", ".join(said)

    def _stand_in(self, value: dict[str, Any]) -> str:
        """Return what stands for a value that JSON has no word for: see `waxlocal.encode`."""
        if "$bytes" in value:
            return self._spend("[data]")
        for name in ("$float", "$int", "$cut"):
            if isinstance(value.get(name), str):
                return self._spend(value[name])
        return ""


def _is_hidden(name: str, value: object) -> bool:
    plain = plain_name(name)
    if plain == "id" or (plain in _PLUMBING and plain not in _SHOWN):
        return True
    # An order has a number; what is text is for programs.
    return _is_id(name) and isinstance(value, str) and " " not in value
