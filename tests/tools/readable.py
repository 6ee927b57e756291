"""Whether a text that a page shows as somebody's words reads as words."""

from __future__ import annotations

import json
import re

__all__ = ["why_unreadable"]

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_FAULTS = {
    "an id": re.compile(
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{20,}\b"
        r"|\b(?:run|call|msg|resp|chatcmpl|wf|sess|toolu|thread)(?:--|[-_])[0-9a-zA-Z]{8,}"
    ),
    "base64": re.compile(r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[A-Za-z0-9+/]{60,}"),
    "JSON": re.compile(r"""[{,]\s*"[\w-]+"\s*:|\[\s*[{\[]\s*["{]|\\u[0-9a-fA-F]{4}|\\n"""),
    "a Python repr": re.compile(
        r"""[{,]\s*'[\w-]+'\s*:|\b\w+\(\w+=|\b(?:content|answer|output)=['"]|<\w+[^<>]* at 0x"""
    ),
}


def why_unreadable(text: str) -> str:
    """Return what is wrong with a text as words; empty if it reads as words.

    Code in Markdown may look like anything; the text as a whole may not.
    """
    if not text.strip():
        return "nothing"
    if _is_structure(text.strip()):
        return "JSON"
    prose = _CODE.sub(" ", text)
    for name, pattern in _FAULTS.items():
        if pattern.search(prose):
            return name
    return "" if re.search(r"\w|[^\x00-\x7f]", text) else "no words"


def _is_structure(text: str) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*)\n```", text, re.DOTALL)
    try:
        return isinstance(json.loads(fenced[1] if fenced else text), dict | list)
    except ValueError:
        return False
