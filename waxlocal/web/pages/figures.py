"""Template filters for numbers, times, sizes and ids."""

from __future__ import annotations

import json
from typing import Any

from waxlocal.encode import dumps
from waxlocal.queries import Score
from waxlocal.wording import NOTHING, counted, duration

__all__ = [
    "axis_money",
    "byte_size",
    "exact_time",
    "milliseconds",
    "pretty",
    "score_named",
    "score_value",
    "short_id",
    "short_tokens",
]

_MILLION, _BILLION = 1_000_000, 1_000_000_000
# A short id keeps head and tail: depending on the kind of id, either end distinguishes it.
_ID_CHARS = 28
_ID_TAIL = 6


def short_tokens(number: int | None) -> str:
    """Return `1,250`, `1.3 M` or `2.8 B`."""
    if number is None:
        return NOTHING
    if number < 999_950:
        return f"{number:,}"
    # 999,950,000 would become 1000.0 M.
    return f"{number / _MILLION:.1f} M" if number < 999_950_000 else f"{number / _BILLION:,.1f} B"


def milliseconds(ms: float | None) -> str:
    """Return a duration given in milliseconds."""
    return duration(None if ms is None else ms / 1000)


def byte_size(number: int) -> str:
    """Return `840 bytes`, `12.3 kB` or `4.0 MB`."""
    if number < 1_000:
        return counted(number, "byte")
    return f"{number / 1e3:.1f} kB" if number < 999_950 else f"{number / 1e6:,.1f} MB"


def axis_money(dollars: float) -> str:
    """Return dollars without needless zeros: `$0`, `$0.50`, `$0.0025`."""
    if not dollars:
        return "$0"
    if dollars >= 0.995:
        return f"${dollars:,.2f}"
    whole, _, cents = f"${dollars:.6f}".rstrip("0").partition(".")
    return f"{whole}.{cents:0<2}"


def exact_time(stored: str | None) -> str:
    """Return `2026-01-31 09:30:00 UTC`."""
    return f"{stored[:19].replace('T', ' ')} UTC" if stored else ""


def short_id(whole: str) -> str:
    """Return an id in at most 28 characters, shortened in the middle."""
    if len(whole) <= _ID_CHARS:
        return whole
    return f"{whole[: _ID_CHARS - _ID_TAIL - 1]}…{whole[-_ID_TAIL:]}"


def score_named(name: str) -> str:
    """Return the filter for the scores of a name: in quotes if it has signs that compare."""
    return f'"{name}"' if any(sign in name for sign in "<>=") else name


def score_value(score: Score) -> str:
    """Return a score's value: `0.8`, `yes`, or its text."""
    if score.value is None or isinstance(score.value, bool):
        return {None: NOTHING, True: "yes", False: "no"}[score.value]
    return score.value if isinstance(score.value, str) else f"{score.value:g}"


def pretty(value: Any) -> str:
    """Return a recorded value for people: text as it is, everything else as indented JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, indent=2)
    except RecursionError:  # nested too deeply to format
        return dumps(value)
