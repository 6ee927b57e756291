"""Money, tokens, durations and times as text: the same words in verdicts, commands and pages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from waxlocal.clock import stored_ns

__all__ = [
    "DURATIONS",
    "NOTHING",
    "TIME_KINDS",
    "Costed",
    "ago",
    "cost",
    "cost_share",
    "cost_source",
    "counted",
    "duration",
    "elapsed",
    "failure",
    "known_cost",
    "metered",
    "money",
    "percent",
    "priced",
    "rate",
    "tokens",
    "tokens_of",
    "told_tokens",
]

# The placeholder for a missing figure.
NOTHING = "–"  # noqa: RUF001 (an en dash is as wide as a digit)

# What a session's time went to, largest causes first; the names are the fields of `TimeByKind`.
TIME_KINDS = (
    ("llm", "LLM calls"),
    ("tool", "Tools"),
    ("retrieval", "Retrieval"),
    ("retry", "Retries"),
    ("own_code", "Other (your code)"),
)

# The three durations of a session; the names are those of `Statistics`.
DURATIONS = {"duration": "Agent time", "elapsed": "Elapsed", "waiting": "Between turns"}

_COST_SOURCES = {"call": "the program", "price": "price list"}

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# Dollars; less than this is not a price of anything.
_LEAST = 1e-9
# What is shown of a figure beyond all sense, which another program may have written.
_MOST = 10**18
_LONGEST_S = 1_000_000 * _DAY
# Show a date instead of a number of days after this.
_DATE_AFTER = 30 * _DAY


def money(dollars: float | None) -> str:
    """Return `$0.000021`, `$0.0045`, `$12.34`; `unknown` for None, which does not mean `$0`.

    Below a cent with two digits: a call of a small model costs less than a hundredth of one.
    """
    if dollars is None:
        return "unknown"
    if abs(dollars) < 1e-12:  # of a sum that lost its parts, the rest of a rounding is left
        return "$0"
    dollars = min(dollars, _MOST)  # a sum that overflowed is infinite
    if 0 < dollars < _LEAST:
        return f"<${_LEAST:.9f}"
    if 0 < dollars < 0.00995:
        # The exponent of the rounded number: 0.000996 is 0.0010.
        return f"${dollars:.{1 - int(f'{dollars:.1e}'.partition('e')[2])}f}"
    # 0.99996 would become $1.0000.
    return f"${dollars:,.4f}" if dollars < 0.99995 else f"${dollars:,.2f}"


def rate(dollars: float | None) -> str:
    """Return dollars per million tokens, `$2.50`, with all of their digits."""
    if dollars is None:
        return NOTHING
    return f"${dollars:,.2f}" if round(dollars, 2) == dollars else f"${dollars:,.10f}".rstrip("0")


def priced(share: float | None) -> str:
    """Return `93% priced` if some but not all tokens have a price; else an empty string."""
    if share is None or share <= 0 or share >= 1:
        return ""
    return f"{percent(share)} priced"


def metered(share: float | None) -> str:
    """Return `93% metered` if the tokens of some but not all calls are known; else empty."""
    if share is None or share <= 0 or share >= 1:
        return ""
    return f"{percent(share)} metered"


def told_tokens(
    number: int | None,
    share: float | None,
    shown: Callable[[int], str] | None = None,
    *,
    estimated: bool = False,
) -> str:
    """Return tokens; `unknown` if there were calls and none told theirs, which does not mean 0.

    `share` is that of the calls that did; None without calls. A number of None is unknown, too, one
    that is `estimated` is marked: `~1.2k`. `shown` writes the number.
    """
    if number is None or share == 0:
        return "unknown"
    return ("~" if estimated and number else "") + (shown or tokens)(number)


def tokens_of(number: int, share: float | None) -> str:
    """Return tokens as `told_tokens` does, with that share: `1.2k (93% metered)`."""
    note = metered(share)
    told = told_tokens(number, share)
    return f"{told} ({note})" if note else told


def known_cost(dollars: float | None, share: float | None) -> float | None:
    """Return a cost; None where it is the $0 of calls without tokens, and no token has a price."""
    return None if share == 0 and not dollars else dollars


def cost(dollars: float | None, share: float | None) -> str:
    """Return a cost with the share of its tokens that have a price: `$0.0042 (93% priced)`.

    `share` is None if there were no tokens: then an unknown cost means no cost.
    """
    dollars = known_cost(dollars, share)
    if not dollars and share is None:
        return NOTHING
    note = priced(share)
    return f"{money(dollars)} ({note})" if note else money(dollars)


class Costed(Protocol):
    """A row with a cost, and the share of its tokens that the cost covers."""

    @property
    def total_cost(self) -> float | None:
        """Dollars; None if unknown."""

    @property
    def priced_share(self) -> float | None:
        """The share of tokens with a price; None without tokens."""

    @property
    def unmetered_calls(self) -> int:
        """The number of calls with unknown tokens."""


def cost_share(row: Costed) -> float | None:
    """Return the share of its tokens that the cost of a row covers, as `cost` takes it.

    It is 0 where the tokens of all calls are unknown: their cost is unknown then, too.
    """
    share = row.priced_share
    return 0.0 if share is None and row.unmetered_calls else share


def percent(share: float | None) -> str:
    """Return `93%`; `100%` means all, and `0%` means none: rounding never produces them."""
    if share is None:
        return NOTHING
    if 0 < share < 0.01:
        return "<1%"
    if not -_MOST < share < _MOST:  # also not a number
        return NOTHING
    whole = round(share * 100)
    return f"{99 if whole >= 100 and share < 1 else whole}%"


def tokens(number: int | None) -> str:
    """Return `1,250`."""
    return NOTHING if number is None else f"{_whole(number):,}"


def _whole(number: float) -> int:
    """Return a count as a whole number: a sum that overflowed is a float, perhaps infinite."""
    return number if isinstance(number, int) else int(min(max(number, -_MOST), _MOST))


def counted(number: int, noun: str) -> str:
    """Return `1 run` or `1,234 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float | None) -> str:
    """Return `840 ms`, `2.4 s`, `3 m 12 s`, `2 h 5 m` or `3 d 4 h`."""
    if seconds is None or math.isnan(seconds):
        return NOTHING
    if seconds >= _LONGEST_S:
        return f"over {_LONGEST_S // _DAY:,} d"
    if 0 < seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE} s"
    minutes = round(seconds / _MINUTE)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} m"
    hours = round(seconds / _HOUR)
    return f"{hours // 24:,} d {hours % 24} h"


def elapsed(seconds: float) -> str:
    """Return the time from the first start to the last end; `<1 s` if nothing is known of it.

    Version 0.2 kept a session's last activity to the second, so that a run within one has none.
    """
    return "<1 s" if seconds == 0 else duration(seconds)


def ago(stored: str | None, now_ns: int, dated: Callable[[str], str] = str) -> str:
    """Return how long ago a stored time was: `42 s ago`, `3 h ago`; after a month, the date.

    A time in the future (from a wrong clock) is shown as a date and time. `dated` writes the stored
    time as date and time where those are shown, by default in UTC.
    """
    if not stored:
        return NOTHING
    if (moment := stored_ns(stored)) is None:  # any program may have written the row
        return str(stored)[:10]
    seconds = (now_ns - moment) / 1e9
    if seconds < -_MINUTE:
        return dated(stored)[:16].replace("T", " ")
    if seconds < 10:
        return "just now"
    if seconds < _MINUTE:
        return f"{int(seconds)} s ago"
    if seconds < _HOUR:
        return f"{int(seconds / _MINUTE)} min ago"
    if seconds < 2 * _DAY:
        return f"{int(seconds / _HOUR)} h ago"
    if seconds < _DATE_AFTER:
        return f"{int(seconds / _DAY)} d ago"
    return dated(stored)[:10]


def cost_source(source: str | None, *, usage_known: bool) -> str:
    """Return who said what a call cost, or why nobody can."""
    return _COST_SOURCES.get(source or "", "no price" if usage_known else "unknown tokens")


def failure(error_type: str | None, message: str | None) -> str:
    """Return what went wrong: `ValueError: it broke`, or what is known of that; else nothing."""
    return ": ".join(filter(None, (error_type, message)))
