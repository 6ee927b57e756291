"""A filter in words: on the chips that remove a part of it, and as the end of a title."""

from __future__ import annotations

import re
from collections.abc import Mapping

from waxlocal.queries.criteria import parse_amount
from waxlocal.records import RunStatus

__all__ = ["as_title", "chip", "day_of"]

_NAMES = {
    "search": "contains",
    "user_id": "user",
    "session_id": "session",
    "error_type": "error type",
    "min_cost": "cost at least",
    "max_cost": "cost at most",
    "min_turns": "turns at least",
    "max_turns": "turns at most",
    "min_duration": "duration at least",
    "max_duration": "duration at most",
}
# In the order of a sentence.
_PHRASES = {
    "session_id": "in session {}",
    "no_session": "without a session",
    "error_type": "that failed with {}",
    "agent": "with {}",
    "model": "with calls of {}",
    "tool": "that called {}",
    "search": "containing “{}”",
    "score": "scored {}",
    "min_cost": "of ${} or more",
    "max_cost": "of ${} or less",
    "min_turns": "of {} turns or more",
    "max_turns": "of {} turns or fewer",
    "min_duration": "that took {} or longer",
    "max_duration": "that took {} or less",
    "since": "since {}",
    "until": "until {}",
    "tag": "tagged {}",
    "metadata": "with metadata {}",
}
_STATUS = {
    RunStatus.RUNNING: "still running",
    RunStatus.SUCCESS: "that succeeded",
    RunStatus.ERROR: "with errors",
    RunStatus.BLOCKED: "that were blocked",
    RunStatus.INTERRUPTED: "that were interrupted",
    RunStatus.CANCELLED: "with cancelled turns",
}
# As the script of the page writes the first and the last moment of a day in the viewer's zone.
_DAY = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(?:00:00:00|23:59:59\.999999)(?:Z|[+-]\d\d:\d\d))?", re.ASCII
)


def chip(name: str, value: str) -> tuple[str, str]:
    """Return the name and the value of a part of the filter, as its chip says them."""
    if name == "no_session":
        return "session", "none"
    return _NAMES.get(name, name), _plain(name, value)


def as_title(given: Mapping[str, str]) -> str:
    """Return a filter as the end of a title: ` of user_alice, with errors`."""
    of = f" of {given['user_id']}" if given.get("user_id") else ""
    rest = [
        said.format(_plain(name, given[name])) for name, said in _PHRASES.items() if given.get(name)
    ]
    if given.get("status"):
        rest.append(_STATUS[given["status"]])
    return of + (" " if rest else "") + ", ".join(rest)


def day_of(value: str) -> str:
    """Return the day that a time in the address means, empty if it is not one."""
    found = _DAY.fullmatch(value)
    return found[1] if found else ""


def _plain(name: str, value: str) -> str:
    if name in ("since", "until"):
        return day_of(value) or value
    if name in ("min_cost", "max_cost"):
        # A bar of a chart ends a little below the next one.
        return f"{parse_amount(name, value):.4g}"
    if name in ("min_duration", "max_duration") and value[-1:].isdigit():
        return f"{value}s"
    return value
