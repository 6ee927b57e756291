"""What a column may hold: the checks of whatever arrives for it, one for each kind of column."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from math import inf, isfinite, isnan
from typing import Any

from waxlocal.decode import DEEPEST_LEVELS, loads
from waxlocal.encode import dumps
from waxlocal.records import LARGEST_INTEGER, RUN_STATUSES, Kind
from waxlocal.wire.values import as_time

__all__ = ["CHECKS", "Refused", "missing", "unfit"]

# Ids go into addresses and into workflow ids.
_RUN_ID = re.compile(r"[0-9A-Za-z_.:-]{1,200}")
_STATUSES = frozenset(RUN_STATUSES)
# A time as the file has it, of the year 2000 or later; days from the 29th on need a closer look.
_PLAIN_TIME = re.compile(
    r"2\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3])(?::[0-5]\d){2}\.\d{6}Z"
).fullmatch

# Only an escape can make half a character, and hardly any text holds one of these. One search by a
# pattern takes less than looking for either text.
_may_hold_halves = re.compile(r"\\u[dD]").search

_LAST_REVISION = 1 << 53
# JSON has no infinities. Some files hold these words, too: 0.2 wrote them for a score whose name or
# comment had half a character in it.
_NOT_FINITE = {"inf": inf, "-inf": -inf, "nan": None}


class Refused(ValueError):
    """A row that is not stored, and why."""


def missing(where: str, name: str) -> Refused:
    """Return the refusal of a row that lacks a column; `where` says which row."""
    return Refused(f"{where}: no {name}")


def unfit(where: str, name: str, error: ValueError) -> Refused:
    """Return the refusal of a row with a value that the check of its column does not take."""
    return Refused(f"{where}: {name} is {error}")


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not text")
    return value


def _id(value: Any) -> str:
    return _text(value).replace("\0", "\ufffd")


def _json(value: Any) -> str:
    if type(value) is not str:
        return dumps(value)  # JSON that was not put into text first
    try:
        found = loads(value, DEEPEST_LEVELS, decoder=_DECODER)
        if not _may_hold_halves(value) or _has_whole_characters(found):
            return value
    except _NoNumber:
        pass
    except (RecursionError, ValueError):  # the first where it is written again, to look at it
        raise ValueError("not valid JSON") from None
    # Half a character, or NaN: SQLite would not read it.
    return dumps(loads(value, DEEPEST_LEVELS))


def _has_whole_characters(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class _NoNumber(ValueError):
    pass


def _no_number(token: str) -> None:
    raise _NoNumber(token)


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _whole(value: Any) -> int:
    if type(value) is not int or not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise ValueError("not a whole number of at most 64 bits")
    return value


def _revision(value: Any) -> int:
    # Milliseconds since 1970; the next one must fit into the column, too.
    if type(value) is not int or not 0 <= value < _LAST_REVISION:
        raise ValueError("not a revision")
    return value


def _number(value: Any) -> float | None:
    if type(value) is int and abs(value) <= LARGEST_INTEGER:
        return value
    if type(value) is not float:
        raise ValueError("not a number")
    if not isfinite(value):
        raise ValueError("not a finite number")
    return value


def _score(value: Any) -> float | None:
    """Return a number that may be infinite, as that of a score may; SQLite has no NaN."""
    if type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) is float and not isfinite(value):
        return None if isnan(value) else value
    return _number(value)


def _time(value: Any) -> str:
    if type(value) is str and _PLAIN_TIME(value):
        return value
    known = as_time(value)
    if known is None:
        raise ValueError("not a valid ISO time")
    return known


def _run_id(value: Any) -> str:
    if type(value) is not str or not _RUN_ID.fullmatch(value):
        raise ValueError("not 1 to 200 letters, digits and -_.:")
    return value


def _status(value: Any) -> str:
    if type(value) is not str or value not in _STATUSES:
        raise ValueError("not a run status")
    return value


# Each returns what is to be stored, or raises ValueError, whose text follows the word "is".
CHECKS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.RUN_ID: _run_id,
    Kind.ID: _id,
    Kind.TEXT: _text,
    Kind.STATUS: _status,
    Kind.TIME: _time,
    Kind.JSON: _json,
    Kind.INTEGER: _whole,
    Kind.TOKENS: _whole,
    Kind.NUMBER: _number,
    Kind.SCORE: _score,
    Kind.REVISION: _revision,
}
