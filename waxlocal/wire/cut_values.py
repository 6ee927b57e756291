"""Requests with their large values cut, for a server that takes no larger ones.

A cut value says so as the recorder says it of one beyond its own limit:
`{"$cut": "<its start>", "length": 20000000}`, in characters. Where the API has text, that is JSON
text. The rest of the run arrives, and the whole value takes the place of a cut one when it comes.
"""

from __future__ import annotations

from typing import Any

from waxlocal.encode import cut, dumps
from waxlocal.wire.exact import KEY
from waxlocal.wire.paths import LIST_OF_STAGE
from waxlocal.wire.values import Json

__all__ = ["LARGE_CHARS", "with_cut_values"]

# A request has some ten values: with all of them just below this, it is smaller than the 1 MB that
# common proxies take.
LARGE_CHARS = 64 * 1024
_LISTS = frozenset(LIST_OF_STAGE.values())


def with_cut_values(body: Json) -> tuple[Json, list[str]]:
    """Return the request with its large values cut, and their names; none if there are no such."""
    names: dict[str, None] = {}
    found = _cut_fields(body, names)
    return found, list(names)


def _cut_fields(fields: Json, names: dict[str, None]) -> Json:
    found: Json = {}
    for name, value in fields.items():
        if name == "metadata" and isinstance(value, dict) and KEY in value:
            given = {one: item for one, item in value.items() if one != KEY}
            found[name] = {**_cut(name, given, names), KEY: _cut_fields(value[KEY], names)}
        elif name in _LISTS and isinstance(value, list):
            found[name] = [_cut_fields(item, names) for item in value]
        elif name in (KEY, "run") and isinstance(value, dict):
            found[name] = _cut_fields(value, names)
        else:
            found[name] = _cut(name, value, names)
    return found


def _cut(name: str, value: Any, names: dict[str, None]) -> Any:
    if not isinstance(value, str | dict | list):
        return value
    text = value if isinstance(value, str) else dumps(value)
    if len(text) <= LARGE_CHARS:
        return value
    names[name] = None
    return dumps(cut(text)) if isinstance(value, str) else cut(text)
