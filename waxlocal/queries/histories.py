"""What of a call's messages was sent before: exactly, by the keys of the messages.

Of two calls of one conversation the common beginning of their lists is sent again, the rest is new.
A conversation may also go back and on from there (a fork), or begin anew with a summary (a
compaction): then the common beginning is shorter than what was sent before.

Not each short beginning is one of the two. An agent without memory begins anew with each run, one
that asks two things of a model goes on with both, a window that slides drops a message for each new
one. Of these nothing is said.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from waxlocal.decode import loads
from waxlocal.queries.analysis_rows import HistoryChange
from waxlocal.queries.columns import has_column
from waxlocal.storage.contents import read_keys

__all__ = ["Histories"]

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

# Anthropic's API caches a prompt up to the part that has this key.
_CACHE_MARK = "cache_control"

# The text itself only where it may hold such data: by a data URL, or a part that names its type.
_SIZES = f"""
SELECT key, length(content), iif(json_valid(content),
    iif(json_type(content) = 'object', json_extract(content, '$.role'), NULL), NULL),
  iif(length(content) > {PICTURE_CHARACTERS}
    AND (instr(content, 'base64') OR instr(content, '"mime_type"')), content, NULL),
  instr(content, '"{_CACHE_MARK}"')
FROM contents WHERE key IN (SELECT value FROM json_each(?))
"""  # noqa: S608
_CONTENT = "SELECT content FROM contents WHERE key = ?"
# Who says what every call of an agent begins with.
_STANDING = ("system", "developer")
# A history that keeps its last messages was compacted if it is shorter than this share of what it
# was; else a window has moved on.
_COMPACTED = 3 / 4


@dataclass(eq=False, slots=True)
class _List:
    """What a call sends; `before`: the call whose messages it goes on from."""

    run_id: str
    position: int
    messages: Sequence[str]
    tools: Sequence[str]
    turn: int = 0
    before: _List | None = None

    @property
    def spans_runs(self) -> bool:
        """Whether it has messages from an earlier run: the agent remembers."""
        one = self.before
        while one is not None and one.run_id == self.run_id:
            one = one.before
        return one is not None


class Histories:
    """The lists of the calls of a session, and what each agent has sent so far."""

    def __init__(self, conn: sqlite3.Connection, session_id: str) -> None:
        self._lists: dict[tuple[str, int], _List] = {}
        self._sent: dict[str, deque[_List]] = {}
        self._forks: list[HistoryChange] = []
        self._compactions: dict[_List, HistoryChange] = {}  # by the list that was cut short
        self._conn = conn
        self._said_by: dict[str, int] = {}
        if has_column(conn, "llm_calls", "message_keys"):
            for run_id, position, *keys in conn.execute(_LISTS, (session_id,)).fetchall():
                messages, tools = map(read_keys, keys)
                self._lists[run_id, position] = _List(run_id, position, messages, tools)
        keys = {key for one in self._lists.values() for key in (*one.messages, *one.tools)}
        rows = conn.execute(_SIZES, (json.dumps(sorted(keys)),)) if keys else ()
        # One row at a time: a conversation may hold hundreds of megabytes of pictures.
        found = [
            (key, size - _excess(content), role, marked)
            for key, size, role, content, marked in rows
        ]
        self._sizes: Mapping[str, int] = {key: size for key, size, _, _ in found}
        self._standing = {key for key, _, role, _ in found if role in _STANDING}
        self._marked = {key for key, _, _, marked in found if marked}

    @property
    def changes(self) -> tuple[HistoryChange, ...]:
        """The forks and compactions so far, in order."""
        changes = (*self._forks, *self._compactions.values())
        return tuple(sorted(changes, key=lambda one: (one.turn, one.position)))

    def take(self, agent: str, run_id: str, position: int, turn: int) -> float | None:
        """Take the next call of an agent, in this turn of the session.

        Returns the share of its text that was sent before, None if unknown.
        """
        new = self._lists.get((run_id, position))
        if new is None:
            return None
        new.turn = turn
        sent = self._sent.setdefault(agent, deque(maxlen=REMEMBERED))
        found = self._resent(new, sent) if sent else None
        sent.appendleft(new)
        return found

    def _resent(self, new: _List, sent: Iterable[_List]) -> float:
        same, last = -1, new
        for earlier in sent:
            common = self._common(new.messages, earlier.messages)
            if common > same:
                same, last = common, earlier
            if common == len(earlier.messages):
                break
        tools = new.tools if new.tools == last.tools else ()
        whole = self._size(new.messages) + self._size(new.tools)
        again = self._size(new.messages[:same]) + self._size(tools)
        self._note(new, last, same)
        return again / whole if whole else 0.0

    def _note(self, new: _List, last: _List, same: int) -> None:
        """Note which call a call goes on from, and whether it forks or compacts the history."""
        origin: _List | None = last
        while origin is not None and len(origin.messages) > same:
            origin = origin.before
        new.before = origin
        if origin is last:
            # What seemed to be cut short goes on: the other one was a conversation beside it.
            self._compactions.pop(last, None)
        elif kind := self._kind(new, last, same):
            change = HistoryChange(
                kind=kind,
                turn=new.turn,
                run_id=new.run_id,
                position=new.position,
                from_turn=origin.turn if origin is not None and kind == "fork" else None,
                messages_before=len(last.messages),
                messages_after=len(new.messages),
                messages_kept=same,
            )
            if kind == "fork":
                self._forks.append(change)
            else:
                self._compactions[last] = change

    def _kind(self, new: _List, last: _List, same: int) -> str | None:
        """Return `fork`, `compaction` or None for a list that keeps `same` messages of another."""
        before, after = len(last.messages), len(new.messages)
        rest = set(last.messages[same:]).difference(self._standing)
        keeps_some = not rest.isdisjoint(new.messages[same:])
        if keeps_some and after < before * _COMPACTED:
            return "compaction"
        within_run = new.run_id == last.run_id
        start = self._start(last)
        if same <= start:  # only what all of its calls begin with
            remembers = within_run or last.spans_runs
            # So does the conversation of another user begin, and the next one of a batch.
            another = after == 1 and same == 0 and not within_run
            if remembers and not another and after < before and same == start == self._start(new):
                return "compaction"
            return None
        # One message was changed, and the next is still there: it was edited. Else a window moved.
        in_place = last.messages[same + 1 : same + 2] == new.messages[same + 1 : same + 2]
        return None if within_run or (keeps_some and not in_place) else "fork"

    def _start(self, one: _List) -> int:
        """Return how many standing messages a list begins with."""
        places = enumerate(one.messages)
        return next((n for n, key in places if key not in self._standing), len(one.messages))

    def _common(self, one: Sequence[str], other: Sequence[str]) -> int:
        """Return how many messages two lists have in common at their beginning."""
        if one[: len(other)] == other:
            return len(other)
        pairs = enumerate(zip(one, other, strict=False))
        differ = (place for place, (a, b) in pairs if a != b and not self._alike(a, b))
        return next(differ, min(len(one), len(other)))

    def _alike(self, key: str, other: str) -> bool:
        """Return whether two messages differ only in what marks them for the provider's cache.

        A program moves such a mark to the last message with each call.
        """
        if self._marked.isdisjoint((key, other)):
            return False
        return self._said(key) == self._said(other)

    def _said(self, key: str) -> int:
        """Return a hash of what a message says, which may be long; of a removed one, its key's."""
        if key not in self._said_by:
            content, *_ = self._conn.execute(_CONTENT, (key,)).fetchone() or (key,)
            with suppress(ValueError):  # not JSON: as it is
                content = json.dumps(_without_marks(loads(content)), sort_keys=True)
            self._said_by[key] = hash(content)
        return self._said_by[key]

    def _size(self, keys: Iterable[str]) -> int:
        return sum(self._sizes.get(key, 0) for key in keys)


def _excess(content: str | None) -> int:
    """Return how many characters the pictures in a message have beyond what each counts for."""
    found = _PICTURE.finditer(content) if content else ()
    return sum(match.end() - match.start() - PICTURE_CHARACTERS for match in found)


def _without_marks(value: object) -> object:
    """Return a message without marks for the cache; a single part of text becomes that text."""
    if isinstance(value, dict):
        return {name: _without_marks(one) for name, one in value.items() if name != _CACHE_MARK}
    if not isinstance(value, list):
        return value
    parts = [_without_marks(one) for one in value]
    if len(parts) == 1 and isinstance(parts[0], dict) and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts
