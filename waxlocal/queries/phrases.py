"""Money, shares and durations as text for the verdicts on cost and time."""

from __future__ import annotations

__all__ = ["counted", "dollars", "percent", "seconds"]


def dollars(amount: float | None) -> str:
    """Return `$0.0045`, `$12.34`, `<$0.0001` or `an unknown cost`."""
    if amount is None:
        return "an unknown cost"
    if 0 < amount < 0.0001:
        return "<$0.0001"
    return f"${amount:,.4f}" if amount < 1 else f"${amount:,.2f}"


def percent(part: float, whole: float) -> str:
    """Return `42%`; `0%` if `whole` is 0."""
    return f"{part / whole:.0%}" if whole else "0%"


def seconds(amount: float) -> str:
    """Return `840 ms`, `2.4 s` or `3 m 12 s`."""
    if amount < 0.9995:
        return f"{amount * 1000:.0f} ms"
    if amount < 59.95:
        return f"{amount:.1f} s"
    minutes, rest = divmod(round(amount), 60)
    return f"{minutes:,} m {rest} s"


def counted(number: int, noun: str) -> str:
    """Return `1 run` or `1,234 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
