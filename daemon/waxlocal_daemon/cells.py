"""What the cells of a row are on the wire: strict JSON, whatever somebody wrote into the file."""

from __future__ import annotations

from datetime import datetime
from json import JSONDecoder
from math import isfinite
from typing import Any

__all__ = [
    "Json",
    "Start",
    "count_of",
    "fields_of",
    "milliseconds_of",
    "moment_of",
    "number_of",
    "object_of",
    "text_of",
    "value_of",
]

Json = dict[str, Any]

# Python reads deeper JSON than it can write a few levels further down.
MAX_DEPTH = 200
# What an INTEGER column holds.
_LARGEST = 2**63


def _number(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None  # 1e999 is JSON, and no number here


def _no_number(_name: str) -> None:
    return None


_decode = JSONDecoder(parse_float=_number, parse_constant=_no_number).decode


def value_of(cell: object) -> Any:
    """Return what a JSON cell says; a cell that is no JSON as the text that it is.

    NaN and the infinities, which strict JSON lacks, become None.
    """
    if cell is None:
        return None
    if not isinstance(cell, str):
        return number_of(cell) if isinstance(cell, int | float) else text_of(cell)
    try:
        found = _decode(cell)
    except (ValueError, RecursionError):
        return cell
    if cell.count("[") + cell.count("{") > MAX_DEPTH and _is_too_deep(found):
        return cell
    return found


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def object_of(cell: object) -> Json | None:
    """Return the object that a cell holds, None for NULL; anything else as `{"raw": ...}`."""
    found = value_of(cell)
    return found if found is None or isinstance(found, dict) else {"raw": found}


def fields_of(cell: object) -> Json:
    """Return the object that a cell holds, an empty one for NULL."""
    return object_of(cell) or {}


def text_of(cell: object) -> str:
    """Return a cell as text, empty for NULL."""
    if isinstance(cell, str):
        return cell
    if cell is None:
        return ""
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def number_of(cell: object) -> float | int | None:
    """Return the number that a cell holds, None if it holds none, or one that is not finite."""
    if isinstance(cell, float):
        return cell if isfinite(cell) else None
    # More digits than a column holds, which JSON may well have.
    return cell if isinstance(cell, int) and abs(cell) <= _LARGEST else None


def count_of(cell: object) -> int:
    """Return a whole number, 0 for a cell that holds none."""
    return int(number_of(cell) or 0)


def milliseconds_of(cell: object) -> int | None:
    """Return whole milliseconds, None for a cell without a number."""
    number = number_of(cell)
    return None if number is None else round(number)


class Start:
    """The time from which a run's own offsets count."""

    __slots__ = ("_at",)

    def __init__(self, started_at: object) -> None:
        self._at = moment_of(started_at)

    def offset(self, at: object, lasted_ms: float = 0.0) -> int:
        """Return whole milliseconds from the start to a time, less what lasted until then.

        Never negative; 0 if one of the two is no time.
        """
        moment = moment_of(at)
        if moment is None or self._at is None:
            return 0
        return max(round((moment - self._at).total_seconds() * 1000 - lasted_ms), 0)


def moment_of(text: object) -> datetime | None:
    """Return the time that a cell holds, UTC without saying so; None for what is no time."""
    try:
        # Without what stands behind the fraction, which Python 3.10 does not read; it is UTC.
        return datetime.fromisoformat(str(text)[:26].rstrip("Z")).replace(tzinfo=None)
    except ValueError:
        return None
