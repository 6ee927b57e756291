"""Requests with their large values cut, for a server that takes no larger ones.

A cut value says so as the recorder says it of one beyond its own limit:
`{"$cut": "<its start>", "length": 20000000}`, in characters. Where the API has text, that is JSON
text. The rest of the run arrives, and the whole value takes the place of a cut one when it comes.
"""

from __future__ import annotations

import json
from typing import Any

from waxlocal.encode import CUT, cut, dumps
from waxlocal.wire.exact import KEY
from waxlocal.wire.paths import LIST_OF_STAGE
from waxlocal.wire.values import RAW, Json

__all__ = ["CAN_BE_CUT", "LARGE_BYTES", "is_cut", "is_cut_from", "with_cut_values"]

# The columns of a run that are sent cut, and that the whole value replaces: none by which anything
# is found, such as a session.
CAN_BE_CUT = ("inputs", "metadata", "tags", "result", "error", "traceback")
# And what no column holds. Of items, all values: they are made of other records, see `exact`.
_BESIDE = "conversation_state"
# A request has some ten values: with all of them just below this, it is smaller than the 1 MB that
# common proxies take.
LARGE_BYTES = 64 * 1024
_START = f'{{"{CUT}":'
_LISTS = frozenset(LIST_OF_STAGE.values())


def with_cut_values(body: Json) -> tuple[Json, list[str]]:
    """Return the request with its large values cut, and their names; none if there are no such."""
    names: dict[str, None] = {}
    found = _cut_fields(body, names)
    return found, list(names)


def is_cut(value: object) -> bool:
    """Return whether a value looks like one that was cut."""
    return isinstance(value, str) and value.startswith(_START)


def is_cut_from(new: object, whole: object) -> bool:
    """Return whether a value is the start of another one, cut as `with_cut_values` does it.

    Where the API has an object, a value that is none was cut inside of `{"raw": …}`.
    """
    if not isinstance(new, str) or not isinstance(whole, str) or not is_cut(new):
        return False
    try:
        said = json.loads(new)
        start, length = said[CUT], said["length"]
    except (ValueError, KeyError, RecursionError):
        return False
    wrapped = f'{{"{RAW}":{whole}}}'
    return any(
        length == len(one) and isinstance(start, str) and one.startswith(start)
        for one in (whole, wrapped)
    )


def _cut_fields(fields: Json, names: dict[str, None]) -> Json:
    found: Json = {}
    for name, value in fields.items():
        if name == "metadata" and isinstance(value, dict) and KEY in value:
            given = {one: item for one, item in value.items() if one != KEY}
            found[name] = {**_cut(name, given, names), KEY: _cut_fields(value[KEY], names)}
        elif name in _LISTS and isinstance(value, list):
            found[name] = [{one: _cut(one, item[one], names) for one in item} for item in value]
        elif name in (KEY, "run") and isinstance(value, dict):
            found[name] = _cut_fields(value, names)
        elif name in CAN_BE_CUT or name == _BESIDE:
            found[name] = _cut(name, value, names)
        else:
            found[name] = value
    return found


def _cut(name: str, value: Any, names: dict[str, None]) -> Any:
    if not isinstance(value, str | dict | list):
        return value
    text = value if isinstance(value, str) else dumps(value)
    if len(text.encode("utf-8", "replace")) <= LARGE_BYTES:
        return value
    names[name] = None
    return dumps(cut(text)) if isinstance(value, str) else cut(text)
