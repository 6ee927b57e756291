"""What comes over the wire, as values that fit into a column; nothing here raises."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from math import isfinite, isnan
from typing import Any

from waxlocal.clock import utc_ns, utc_text
from waxlocal.encode import dumps
from waxlocal.encode import text as storable

__all__ = [
    "as_content",
    "as_count",
    "as_id",
    "as_list",
    "as_milliseconds",
    "as_number",
    "as_object",
    "as_text",
    "as_time",
    "is_uuid",
]

Json = dict[str, Any]

# What an INTEGER column holds.
LARGEST = 2**63 - 1
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_STORED_TIME = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d\.\d{6}Z")
_FRACTION = re.compile(r"[.,](\d+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def as_text(value: object, default: str = "") -> str:
    """Return text as it is, numbers in words, anything else as JSON; the default for None."""
    if isinstance(value, str):
        return value if value.isascii() else storable(value)
    if value is None:
        return default
    return str(value) if isinstance(value, int | float) else dumps(value)


def as_id(value: object) -> str | None:
    """Return the text that names a session, a user or a group; None for none."""
    # SQLite's JSON functions end a text at NUL, and the queries look up ids with them.
    return as_text(value).replace("\0", "\ufffd") or None


def as_count(value: object) -> int:
    """Return a whole number, also from text; 0 for what is none."""
    try:
        number = value if isinstance(value, int) else int(float(value))  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        return 0
    return min(max(int(number), -LARGEST), LARGEST)


def as_number(value: object) -> float | None:
    """Return a number, also from text; None for what is none, or not finite."""
    if isinstance(value, bool | int | float | str):
        try:
            number = float(value)
        except (OverflowError, ValueError):
            return None
        return number if isfinite(number) else None
    return None


def as_milliseconds(value: object) -> int | None:
    """Return whole milliseconds; None for what is no number."""
    return None if as_number(value) is None else as_count(value)


def as_object(value: object) -> Json:
    """Return a JSON object as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return a JSON array as it is, anything else as an empty one."""
    return value if isinstance(value, list) else []


def as_content(value: object) -> str | None:
    """Return JSON text; None for null, an empty object and empty text, which all say nothing."""
    if value is None or value == {} or value == "":
        return None
    return dumps(value)


def as_time(value: object) -> str | None:
    """Return an ISO time as the file writes it, in UTC; None for what is no time."""
    if not isinstance(value, str):
        return None
    try:
        if _STORED_TIME.fullmatch(value):
            utc_ns(value)  # the 31st of February is no time
            return value
        plain = _FRACTION.sub(lambda found: "." + found[1][:6].ljust(6, "0"), value, count=1)
        if plain[-1:] in ("Z", "z"):
            plain = plain[:-1] + "+00:00"
        moment = datetime.fromisoformat(plain)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return utc_text((moment - _EPOCH) // _MICROSECOND * 1_000)
    except (OverflowError, ValueError):
        return None


def is_uuid(value: object) -> bool:
    """Return whether this is the text of a UUID, in lower case."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def is_nan(value: object) -> bool:
    """Return whether this is the number that is none."""
    return isinstance(value, float) and isnan(value)
