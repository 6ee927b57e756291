"""One value at a time, in both directions: cells of a row as strict JSON, and JSON as cells.

Nothing here raises, whatever somebody wrote into the file or sent.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from json import JSONDecoder
from math import isfinite
from typing import Any

from waxlocal.clock import utc_ns, utc_text
from waxlocal.decode import loads
from waxlocal.encode import dumps
from waxlocal.encode import text as storable
from waxlocal.records import LARGEST_INTEGER, RunStatus

__all__ = [
    "RAW",
    "Json",
    "Start",
    "api_status",
    "as_content",
    "as_count",
    "as_id",
    "as_list",
    "as_milliseconds",
    "as_number",
    "as_object",
    "as_text",
    "as_time",
    "count_of",
    "fields_of",
    "is_uuid",
    "milliseconds_of",
    "moment_of",
    "number_of",
    "object_of",
    "text_of",
    "value_of",
]

Json = dict[str, Any]

# Where the API has an object, a value that is none goes under this name: `{"raw": value}`.
RAW = "raw"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


# -- from the wire ---------------------------------------------------------------------------------


def as_text(value: object, default: str = "") -> str:
    """Return text as it is, numbers in words, anything else as JSON; the default for None."""
    if isinstance(value, str):
        return value if value.isascii() else storable(value)
    if value is None:
        return default
    return str(value) if isinstance(value, int | float) else dumps(value)


def as_id(value: object) -> str | None:
    """Return the text that names a session, a user or a group; None for empty text."""
    # SQLite's JSON functions end a text at NUL, and the queries look up ids with them.
    return as_text(value).replace("\0", "\ufffd") or None


def as_count(value: object) -> int:
    """Return a whole number, also from text; 0 for anything that is not a number."""
    try:
        number = value if isinstance(value, int) else int(float(value))  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        return 0
    return min(max(int(number), -LARGEST_INTEGER), LARGEST_INTEGER)


def as_number(value: object) -> float | None:
    """Return a finite number, also from text; None for anything else."""
    if isinstance(value, bool | int | float | str):
        try:
            number = float(value)
        except (OverflowError, ValueError):
            return None
        return number if isfinite(number) else None
    return None


def as_milliseconds(value: object) -> int | None:
    """Return whole milliseconds; None for what is not a number."""
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
    """Return an ISO time as the file writes it, in UTC; None for what is not a valid time."""
    if not isinstance(value, str):
        return None
    try:
        return utc_text(utc_ns(value))
    except ValueError:
        return None


def is_uuid(value: object) -> bool:
    """Return whether this is the text of a UUID, in lower case."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


# -- to the wire -----------------------------------------------------------------------------------


def _number(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None  # 1e999 is JSON, and no number here


def _no_number(_name: str) -> None:
    return None


_DECODER = JSONDecoder(parse_float=_number, parse_constant=_no_number)


def value_of(cell: object) -> Any:
    """Return what a JSON cell says; a cell that is not valid JSON, or too deep, as its text.

    NaN and the infinities, which strict JSON lacks, become None.
    """
    if cell is None:
        return None
    if not isinstance(cell, str):
        return number_of(cell) if isinstance(cell, int | float) else text_of(cell)
    try:
        return loads(cell, decoder=_DECODER)
    except ValueError:
        return cell


def object_of(cell: object) -> Json | None:
    """Return the object that a cell holds, None for NULL; anything else under `RAW`."""
    found = value_of(cell)
    return found if found is None or isinstance(found, dict) else {RAW: found}


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


def api_status(status: object, error: object, error_type: object) -> str:
    """Return the status of a run as the API has it.

    It has none for a run that was cancelled: the original SDK sends whatever was raised as an
    error, and a generator that was read in part as a success.
    """
    if status == RunStatus.CANCELLED:
        return RunStatus.ERROR if error or error_type else RunStatus.SUCCESS
    return text_of(status)


def number_of(cell: object) -> float | int | None:
    """Return the finite number that a cell holds, None if it holds anything else."""
    if isinstance(cell, float):
        return cell if isfinite(cell) else None
    # More digits than a column holds, which JSON may well have.
    return cell if isinstance(cell, int) and abs(cell) <= LARGEST_INTEGER else None


def count_of(cell: object) -> int:
    """Return a whole number, 0 for a cell that does not hold a number."""
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

        Never negative; 0 if one of the two is not a valid time.
        """
        moment = moment_of(at)
        if moment is None or self._at is None:
            return 0
        return max(round((moment - self._at).total_seconds() * 1000 - lasted_ms), 0)


def moment_of(text: object) -> datetime | None:
    """Return the time that a cell holds, in UTC and naive; None if it is not a valid time."""
    try:
        return datetime(1970, 1, 1) + timedelta(microseconds=utc_ns(str(text)) // 1_000)
    except ValueError:
        return None
