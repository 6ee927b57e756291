"""Recorded text, made harmless: no terminal, spreadsheet or reader of a line is led by it.

What a run recorded may come from anywhere. An escape sequence in it could move the cursor, change
the clipboard or the title of the window; a direction mark could show a text in another order than
it has. They are shown, as `\\x1b` or `\\u202e`, instead of being sent.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["block", "cell", "document", "json_text", "line"]

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
# Directions of writing, separators of lines and paragraphs, and what cannot be seen at all. The
# zero-width joiner stays: it holds emoji together.
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
# JSON escapes the controls below 0x20 itself, and has no word for \x9b or \U000e0041.
_IN_JSON = re.compile("[" + "".join(f"\\U{code:08x}" for code in _BLOCK if code >= 0x7F) + "]")
# What makes a spreadsheet take a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def block(text: str) -> str:
    """Return text of several lines with all other controls shown."""
    return text.replace("\r\n", "\n").translate(_BLOCK)


def line(text: str | None) -> str:
    """Return text on one line, its white space single blanks, controls shown; empty for None."""
    return " ".join(block(text).split()) if text else ""


def cell(value: object) -> object:
    """Return a value for CSV: text that a spreadsheet would run gets an apostrophe in front."""
    if isinstance(value, (list, tuple)):
        value = "; ".join(map(str, value))
    if not isinstance(value, str):
        return value
    return f"'{block(value)}" if value.startswith(_FORMULA) else block(value)


def document(value: Any, *, indent: int | None = 2) -> str:
    """Return JSON text that a terminal shows as it is: the same value, its controls escaped."""
    return json_text(json.dumps(value, ensure_ascii=False, indent=indent))


def json_text(text: str) -> str:
    """Return JSON text with the controls in it escaped: otherwise it stays as it is."""
    return _IN_JSON.sub(_in_json, text)


def _in_json(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    return json.dumps(found[0])[1:-1]  # a pair of surrogates
