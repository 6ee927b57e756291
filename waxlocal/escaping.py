"""Escape recorded text for terminals, spreadsheets and JSON output.

Recorded text may come from anywhere. An escape sequence could move the cursor, or change the
clipboard or the window title; a direction mark could reorder the text on screen. Both are printed
in escaped form, such as `\\x1b` or `\\u202e`.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["block", "cell", "document", "json_text", "line"]

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
# Direction marks, line and paragraph separators, and invisible characters. The zero-width joiner
# stays: emoji need it.
_INVISIBLE = (
    0x061C,
    0x200B,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_BLOCK = {code: _escape(code) for code in (*_CONTROLS, *_INVISIBLE)}
_BLOCK[ord("\n")] = "\n"
_BLOCK[ord("\t")] = "    "
# JSON escapes the controls below 0x20 itself, but has no \x9b or \U000e0041.
_IN_JSON = re.compile("[" + "".join(f"\\U{code:08x}" for code in _BLOCK if code >= 0x7F) + "]")
# First characters that make a spreadsheet treat a cell as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def block(text: str) -> str:
    """Return text with its line breaks, and all other control characters escaped."""
    return text.replace("\r\n", "\n").translate(_BLOCK)


def line(text: str | None) -> str:
    """Return text on one line, white space collapsed, controls escaped; empty for None."""
    return " ".join(block(text).split()) if text else ""


def cell(value: object) -> object:
    """Return a value for CSV; text that a spreadsheet would run as a formula gets a leading '."""
    if isinstance(value, (list, tuple)):
        value = "; ".join(map(str, value))
    if not isinstance(value, str):
        return value
    return f"'{block(value)}" if value.startswith(_FORMULA) else block(value)


def document(value: Any, *, indent: int | None = 2) -> str:
    """Return a value as JSON text that is safe on a terminal: control characters are escaped.

    Raises `ValueError` for a float that is infinite or not a number: JSON has none.
    """
    return json_text(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent))


def json_text(text: str) -> str:
    """Return JSON text with its control characters escaped, otherwise unchanged."""
    return _IN_JSON.sub(_in_json, text)


def _in_json(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    return json.dumps(found[0])[1:-1]  # a pair of surrogates
