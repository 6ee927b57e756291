"""What of a call's messages was sent before: exactly, by the keys of the messages.

Of two calls of one conversation the common beginning of their lists is sent again, the rest is new.
A conversation may also go back and on from there (a fork), or begin anew with a summary (a
compaction): then the common beginning is shorter than what was sent before.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from waxlocal.queries.columns import has_column
from waxlocal.storage.contents import read_keys

__all__ = ["Histories", "Resent"]

# How many earlier calls of an agent a call is compared with: it may hold several conversations, as
# one that asks a second model in between.
REMEMBERED = 8

_LISTS = """
SELECT c.run_id, c.position, c.message_keys, c.tool_keys
FROM runs r JOIN llm_calls c ON c.run_id = r.run_id
WHERE r.session_id = ? AND c.message_keys IS NOT NULL
"""
# The providers take as many tokens for a picture as for a few thousand characters of text, and not
# for the characters that it has as base64: one photo would outweigh the rest of a conversation.
PICTURE_CHARACTERS = 4_000
# A match begins only where no such character stands in front, so that each is looked at once.
_PICTURE = re.compile(rf"(?<![\w+/=-])[A-Za-z0-9+/=_-]{{{PICTURE_CHARACTERS + 1},}}", re.ASCII)

# The text itself only where it may hold such data: by a data URL, or a part that names its type.
_SIZES = f"""
SELECT key, length(content), iif(json_valid(content),
    iif(json_type(content) = 'object', json_extract(content, '$.role'), NULL), NULL),
  iif(length(content) > {PICTURE_CHARACTERS}
    AND (instr(content, 'base64') OR instr(content, '"mime_type"')), content, NULL)
FROM contents WHERE key IN (SELECT value FROM json_each(?))
"""  # noqa: S608
# Who says what every call of an agent begins with.
_STANDING = ("system", "developer")


class Resent(NamedTuple):
    """What was sent before: the share of a call's text, and whether the list was cut short."""

    share: float
    fork: bool = False
    compaction: bool = False


class _List(NamedTuple):
    messages: Sequence[str]
    tools: Sequence[str]


class Histories:
    """The lists of the calls of a session, and what each agent has sent so far."""

    def __init__(self, conn: sqlite3.Connection, session_id: str) -> None:
        self._lists: dict[tuple[str, int], _List] = {}
        self._sent: dict[str, deque[_List]] = {}
        if has_column(conn, "llm_calls", "message_keys"):
            for run_id, position, *keys in conn.execute(_LISTS, (session_id,)).fetchall():
                self._lists[run_id, position] = _List(*map(read_keys, keys))
        keys = {key for one in self._lists.values() for part in one for key in part}
        rows = conn.execute(_SIZES, (json.dumps(sorted(keys)),)) if keys else ()
        # One row at a time: a conversation may hold hundreds of megabytes of pictures.
        found = [(key, size - _excess(content), role) for key, size, role, content in rows]
        self._sizes: Mapping[str, int] = {key: size for key, size, _ in found}
        self._standing = {key for key, _, role in found if role in _STANDING}

    def take(self, agent: str, run_id: str, position: int) -> Resent | None:
        """Take the next call of an agent; return what of it was sent before, None if unknown."""
        new = self._lists.get((run_id, position))
        if new is None:
            return None
        sent = self._sent.setdefault(agent, deque(maxlen=REMEMBERED))
        found = self._resent(new, sent) if sent else None
        sent.appendleft(new)
        return found

    def _resent(self, new: _List, sent: Iterable[_List]) -> Resent:
        same, last = -1, new
        for earlier in sent:
            common = _common(new.messages, earlier.messages)
            if common > same:
                same, last = common, earlier
            if common == len(earlier.messages):
                break
        tools = new.tools if new.tools == last.tools else ()
        whole = self._size(new.messages) + self._size(new.tools)
        again = self._size(new.messages[:same]) + self._size(tools)
        cut = same < len(last.messages)
        anew = all(key in self._standing for key in last.messages[:same])
        return Resent(again / whole if whole else 0.0, cut and not anew, cut and anew)

    def _size(self, keys: Iterable[str]) -> int:
        return sum(self._sizes.get(key, 0) for key in keys)


def _excess(content: str | None) -> int:
    """Return how many characters the pictures in a message have beyond what each counts for."""
    found = _PICTURE.finditer(content) if content else ()
    return sum(match.end() - match.start() - PICTURE_CHARACTERS for match in found)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items two lists have in common at their beginning."""
    if one[: len(other)] == other:
        return len(other)
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
