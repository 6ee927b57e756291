"""Messages and offered tools, each text once: how lists become keys, and keys become lists again.

A call sends the whole history of its conversation, so its `messages` are nearly those of the call
before. The table `contents` has each message once, and a row of `llm_calls` the keys of its
messages in order. Everywhere else a call has its `messages` and `tools` as JSON text: byte for byte
what was put in. Only arrays written as `encode.dumps` writes them, without space between their
items, are stored by keys; any other value stays whole in its column.

A key is a hash of 128 bits: two texts with the same one would show a stranger's message.

This module is part of recording: what only lists need is loaded with the first one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from waxlocal.records import LLM_CALLS, Table
from waxlocal.storage.record_sql import Statement

__all__ = [
    "KEYED",
    "Listed",
    "expand",
    "insert_contents",
    "listed",
    "put",
    "read_keys",
    "removed",
    "split",
]

# The columns that are stored by keys, each with the column of its keys.
KEYED: Mapping[str, str] = {"messages": "message_keys", "tools": "tool_keys"}
# A list of more items stays whole: the keys of each call would take more than is saved.
MOST_ITEMS = 10_000
# A key takes 25 bytes in each call, and its row in `contents` as much again.
_KEY_BYTES, _KEY_CHARS, _PADDED_CHARS = 16, 22, 24
_PADDING = bytes(18 - _KEY_BYTES)  # three bytes are four characters
_URL_SAFE = str.maketrans("+/", "-_")
# How many contents one statement adds. Few texts, so that SQLite prepares few statements; a list in
# between is filled up with its last content, which is one look-up each.
_AT_ONCE = (1, 2, 4, 8, 16, 32)

_CONTENTS = """
SELECT key, content FROM contents WHERE key IN (SELECT value FROM json_each(?))
"""

Row = dict[str, Any]


class Listed(NamedTuple):
    """A list by its keys, as a JSON array, and the contents with their keys."""

    keys: str
    contents: Sequence[tuple[str, str]]


def _insert(rows: int) -> Statement:
    values = ", ".join(["(?, ?)"] * rows)
    return Statement(
        f"INSERT INTO contents (key, content) VALUES {values} ON CONFLICT (key) DO NOTHING"  # noqa: S608
    )


_INSERTS = {rows: _insert(rows) for rows in _AT_ONCE}


def listed(text: str | None) -> Listed | None:
    """Return the items of a JSON array by their keys; None for what is to stay whole."""
    items = None if text is None else _items(text)
    if items is None:
        return None
    if not items:
        return Listed("[]", ())
    keys = _keys_of(items)
    return Listed('["' + '","'.join(keys) + '"]', list(zip(keys, items, strict=True)))


def _items(text: str) -> list[str] | None:
    """Return the texts of the items of an array, which joined by commas are what is in it."""
    if text == "[]":
        return []
    if text[:1] != "[":
        return None
    try:
        return _scanned(text)
    except (StopIteration, ValueError, IndexError, RecursionError):  # not JSON, or not as we write
        return None


def _scanned(text: str) -> list[str] | None:  # loop apart
    scan = _scanner()
    items: list[str] = []
    start, last = 1, len(text) - 1
    while len(items) < MOST_ITEMS:
        _, end = scan(text, start)
        items.append(text[start:end])
        if end == last and text[end] == "]":
            return items
        if text[end] != ",":
            return None
        start = end + 1
    return None


_scan: Callable[[str, int], tuple[Any, int]] | None = None


def _scanner() -> Callable[[str, int], tuple[Any, int]]:
    global _scan
    if _scan is None:
        from json import JSONDecoder

        decoder: Any = JSONDecoder()
        _scan = decoder.scan_once
    return _scan


def _keys_of(items: Iterable[str]) -> list[str]:
    from binascii import b2a_base64

    try:
        from _blake2 import blake2b  # `hashlib` would load OpenSSL
    except ImportError:  # another Python than CPython
        from hashlib import blake2b
    # Half a character, which somebody else may have written, is refused where the text is stored.
    texts = (item.encode("utf-8", "surrogatepass") for item in items)
    digests = [blake2b(text, digest_size=_KEY_BYTES).digest() + _PADDING for text in texts]
    keys = b2a_base64(b"".join(digests), newline=False).decode().translate(_URL_SAFE)
    return [keys[start : start + _KEY_CHARS] for start in range(0, len(keys), _PADDED_CHARS)]


def split(row: Mapping[str, Any]) -> tuple[Row, dict[str, str]]:
    """Return the columns of `KEYED` as they are stored for this row, and the contents by key."""
    stored: Row = {}
    contents: dict[str, str] = {}
    for name, keys in KEYED.items():
        text = row.get(name)
        found = listed(text)
        stored[name] = text if found is None else None
        stored[keys] = None if found is None else found.keys
        if found is not None:
            contents.update(found.contents)
    return stored, contents


def insert_contents(contents: Mapping[str, str]) -> Iterator[tuple[Statement, tuple[str, ...]]]:
    """Give the statements that add contents which are not in the file yet, with their values.

    They belong into the transaction of the call that has these contents.
    """
    pairs = list(contents.items())
    most = _AT_ONCE[-1]
    for start in range(0, len(pairs), most):
        some = pairs[start : start + most]
        rows = next(size for size in _AT_ONCE if size >= len(some))
        filled = (*some, *([some[-1]] * (rows - len(some))))
        yield _INSERTS[rows], tuple(chain.from_iterable(filled))


# -- rows by name ---------------------------------------------------------------------------------


def put(connection: sqlite3.Connection, table: Table, rows: Iterable[Row]) -> list[Row]:
    """Return rows as they are stored, after adding their contents, in the caller's transaction.

    Rows of other tables than `llm_calls` come back as they are.
    """
    if table.name != LLM_CALLS.name:
        return list(rows)
    stored: list[Row] = []
    contents: dict[str, str] = {}
    for row in rows:
        columns, found = split(row)
        stored.append(row | columns)
        contents.update(found)
    for statement, values in insert_contents(contents):
        connection.execute(statement.sql, values)
    return stored


def expand(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Give rows of `llm_calls` their lists back, in place: as text, and without the keys.

    One query for all rows. A file of an earlier version has no keys, and is not asked for any. A
    content that somebody has removed is shown as `{"$removed": "<key>"}`.
    """
    lists: list[tuple[Row, str, list[str]]] = []
    for row in rows:
        for name, of_keys in KEYED.items():
            stored = row.pop(of_keys, None)
            if stored is not None and row.get(name) is None:
                lists.append((row, name, read_keys(stored)))
    if not lists:
        return
    contents = _contents(connection, {key for _, _, keys in lists for key in keys})
    for row, name, keys in lists:
        row[name] = "[" + ",".join([contents.get(key) or removed(key) for key in keys]) + "]"


def read_keys(stored: object) -> list[str]:
    """Return the keys in a column of keys; none if it is not an array of keys."""
    from json import loads

    try:
        keys = loads(stored) if isinstance(stored, str) else ()
    except ValueError:
        keys = ()
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def _contents(connection: sqlite3.Connection, keys: Iterable[str]) -> dict[str, str]:
    from json import dumps

    cursor = connection.cursor()
    cursor.row_factory = None  # tuples, whatever the connection makes
    return dict(cursor.execute(_CONTENTS, (dumps(list(keys)),)).fetchall())


def removed(key: str) -> str:
    """Return what stands in a list for a content that somebody has removed."""
    from json import dumps

    return dumps({"$removed": key}, separators=(",", ":"))
