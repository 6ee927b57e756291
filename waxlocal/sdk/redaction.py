"""What is left of a value without addresses, numbers and keys, or without what anybody said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from waxlocal.encode import MAX_DEPTH
from waxlocal.known_types import is_a

__all__ = ["redact", "settings_without_content"]

T = TypeVar("T")

# Keys first: some contain digits that look like a telephone number. Each pattern starts at a border
# and is bounded, so that no text makes the search slow.
_PATTERNS = (
    ("JWT", r"(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]{5,}"),
    ("AWS_KEY", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("API_KEY", r"\b(?:sk|pk|wax_sk|ghp|gho|ghs|xox[abp])[-_][\w-]{16,}"),
    ("EMAIL", r"\b[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"),
    ("IBAN", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("SSN", r"\b\d{3}-\d{2}-\d{4}\b"),
    ("CREDIT_CARD", r"\b\d(?:[ -]?\d){12,18}\b"),
    ("IP", r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
    ("PHONE", r"(?:\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}|\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4})\b"),
)
_ANY = re.compile("|".join(f"(?P<{label}>{pattern})" for label, pattern in _PATTERNS))


def redact(value: T) -> T:
    """Return the value with addresses, numbers and keys in its texts replaced by labels.

    `me@example.org` becomes `##EMAIL##`; lists, tuples and dicts are copied, other values left as
    they are. Patterns find what looks like a secret, not all that is one. What lies deeper than 100
    levels is left out, as it is when it is recorded. Raises nothing; nothing is recorded. As the
    mask of all that is recorded: `init(mask=redact)`.
    """
    clean: Any = _clean(value, frozenset())
    return clean  # type: ignore[no-any-return]


def _clean(value: Any, above: frozenset[int]) -> Any:
    if is_a(value, str):
        return _ANY.sub(lambda match: f"##{match.lastgroup}##", value)
    if type(value) not in (dict, list, tuple) or id(value) in above:
        return value
    if len(above) >= MAX_DEPTH:
        return "##DEEP##"
    inside = above | {id(value)}
    if type(value) is dict:
        return {key: _clean(item, inside) for key, item in value.items()}
    return type(value)(_clean(item, inside) for item in value)


# Settings that are words, of which the vendor names a few.
_WORDS = frozenset((
    "encoding_format", "reasoning_effort", "service_tier", "tool_choice", "truncation", "verbosity",
))  # fmt: skip


def settings_without_content(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a call that nobody said: numbers, and words of the vendor's."""
    return {
        name: value
        for name, value in settings.items()
        if isinstance(value, int | float) or (name in _WORDS and isinstance(value, str))
    }
