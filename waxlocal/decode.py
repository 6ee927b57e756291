"""JSON text as Python values: the one reader of what other programs wrote or sent.

Deep JSON is the risk. Python reads some 1,000 levels (more in later versions), but then fails where
a value is walked, compared or written again a few calls further down. So the depth is bounded here,
once, and each caller only says by how much. And `[],` takes 3 bytes of text, but 64 as a value: so
the number of values is bounded, too.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = [
    "DEEPEST_LEVELS",
    "MAX_LEVELS",
    "MAX_VALUES",
    "TooDeep",
    "TooMany",
    "from_json",
    "loads",
]

# Twice what the recorder writes (`encode.MAX_DEPTH`): room for what stands around a value.
MAX_LEVELS = 200
# SQLite's JSON functions read 1,000 levels (2,000 before 3.45). So does Python 3.11, less the calls
# that it is in by then: each level counts as one.
DEEPEST_LEVELS = 900
# Some 100 MB of Python values at most.
MAX_VALUES = 1_000_000

# Where a text may be JSON or not, one beyond this is not parsed: reading it takes longer than the
# call that it is about.
MAX_JSON = 64 * 1024 * 1024

# Also one without an end, up to the end of the text: otherwise the search would begin anew at each
# escaped quote in it, and take minutes.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)


class TooDeep(ValueError):
    """JSON of more nested lists and objects than the caller takes."""


class TooMany(ValueError):
    """JSON of more than `MAX_VALUES` values."""


_DECODER = json.JSONDecoder()


def loads(
    text: str | bytes, most_levels: int = MAX_LEVELS, *, decoder: json.JSONDecoder = _DECODER
) -> Any:
    """Return the value of JSON text of at most so many levels of lists and objects.

    `decoder` reads it, and can treat NaN as the caller wants. Raises `TooDeep`, `TooMany`, and
    `ValueError` for text that is not valid JSON; the message gives the position and quotes nothing.
    """
    if not isinstance(text, str):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    # Commas of its strings count only where all together are too many: to tell them apart is slow.
    if len(text) > MAX_VALUES and _marks(text) > MAX_VALUES < _marks(_STRING.sub("", text)):
        raise TooMany(f"of more than {MAX_VALUES:,} values")
    try:
        value = _value(text, decoder)
    except RecursionError:
        raise _too_deep(most_levels) from None
    # Most text is short. Counting brackets, in C, spares nearly all of the rest the walk.
    if len(text) > most_levels and _brackets(text) > most_levels and _exceeds(value, most_levels):
        raise _too_deep(most_levels)
    return value


def from_json(value: object) -> object:
    """Return what JSON text says; any other text, and any other value, as it is.

    Only text that begins as an object, a list or a string is taken for JSON: a prompt may be "42".
    """
    if not isinstance(value, str) or len(value) > MAX_JSON or value.lstrip()[:1] not in '{["':
        return value
    try:
        return loads(value)
    except ValueError:
        return value


def _value(text: str, decoder: json.JSONDecoder) -> Any:
    """Return the value of JSON text; raises `ValueError`.

    Hardly any program writes white space around a value. `decode` looks for it with two regular
    expressions, which take longer than reading a short value.
    """
    try:
        value, end = decoder.raw_decode(text)
    except ValueError:  # perhaps white space before the value
        return decoder.decode(text)
    if end != len(text) and text[end:].strip(" \t\n\r"):
        return decoder.decode(text)  # tells what is there
    return value


def _too_deep(most_levels: int) -> TooDeep:
    return TooDeep(f"nested more than {most_levels:,} levels deep")


def _brackets(text: str) -> int:
    return text.count("[") + text.count("{")


def _marks(text: str) -> int:
    """Return how many values there are at most: each follows a bracket, a comma or a colon."""
    return _brackets(text) + text.count(",") + text.count(":")


def _exceeds(value: Any, most: int) -> bool:
    """Return whether a value has more levels; goes level by level, as recursion would fail."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
