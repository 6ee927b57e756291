"""What sessions and runs can be chosen by, whoever asks: commands, API and pages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import InitVar, dataclass
from typing import Any, NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import InvalidQuery
from waxlocal.queries.times import parse_period
from waxlocal.records import RUN_STATUSES

__all__ = [
    "AMOUNTS",
    "DIGITS",
    "MOST_AMOUNT",
    "NUMBER",
    "UNITS_S",
    "Criteria",
    "Range",
    "ScoreWanted",
    "beginning",
    "check_order",
    "check_status",
    "parse_amount",
    "typed",
]


def check_status(status: str | None) -> None:
    """Raise `InvalidQuery` for an unknown status."""
    if status and status not in RUN_STATUSES:
        raise InvalidQuery(
            f"unknown status {status!r}", hint=f"use one of: {', '.join(RUN_STATUSES)}"
        )


class Range(NamedTuple):
    """A figure that has to be from one number to another, both inclusive; None: without an end."""

    name: str
    least: float | None
    most: float | None


@dataclass(frozen=True)
class Criteria:
    """What sessions and runs have in common to be chosen by; each that is set has to be met.

    `tag` and `metadata` are `key` or `key=value`; numbers, `true`, `false` and `null` match by
    their JSON text. A key of metadata may be a path, `customer.plan`, and of a list each item
    counts. `model` is that of a call, and `tool` the name of a tool that was called; `gpt-4*` is
    every model whose name begins so, and likewise with tools. `error_type` is that of the run.
    `score` is a name, or one that is compared: `helpful=yes`, `rating>=4`, `topic=billing`.
    `search` is text that occurs in a value of the inputs or the result, ignoring case. `min_cost`
    and `max_cost` are dollars, both inclusive, and an unknown cost is in no range; durations are
    seconds. `since` and `until` are inclusive, in any form that `parse_time` accepts. Raises
    `InvalidQuery`.
    """

    user_id: str | None = None
    agent: str | None = None
    model: str | None = None
    tool: str | None = None
    tag: str | None = None
    metadata: str | None = None
    status: str | None = None
    error_type: str | None = None
    score: str | None = None
    min_cost: float | None = None
    max_cost: float | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    since: str | None = None
    until: str | None = None
    search: str | None = None
    clock: InitVar[Clock] = SYSTEM_CLOCK

    def __post_init__(self, clock: Clock) -> None:
        check_status(self.status)
        if self.score:
            ScoreWanted.of(self.score)
        for one in self.ranges():
            _check_range(one)
        # The class is frozen. Resolve "24 hours ago" once, so that all queries use the same time.
        since, until = parse_period(self.since, self.until, clock=clock)
        object.__setattr__(self, "since", since)
        object.__setattr__(self, "until", until)

    def ranges(self) -> Iterator[Range]:
        """Give the ranges that are set."""
        for name in AMOUNTS:
            least, most = (getattr(self, f"{end}_{name}", None) for end in ("min", "max"))
            if least is not None or most is not None:
                yield Range(name, least, most)


def _check_range(given: Range) -> None:
    for end, number in (("min", given.least), ("max", given.most)):
        # Not `number < 0`: NaN is neither.
        if number is not None and not 0 <= number < math.inf:
            raise InvalidQuery(f"{end}_{given.name} is {number}", hint="use a number of 0 or more")


def check_order(criteria: Criteria) -> None:
    """Raise `InvalidQuery` for a range that ends before it begins: a person has mistyped it.

    To a program it is an empty range, as such a period is an empty period.
    """
    for name, least, most in criteria.ranges():
        if least is not None and most is not None and least > most:
            raise InvalidQuery(
                f"the least {name} is greater than the most: {least:g} and {most:g}",
                hint="exchange the two",
            )


# -- amounts as people type them

# Also for JSON schemas, where there is no \d of ASCII alone.
DIGITS = r"(?:[0-9]{1,15}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})"
NUMBER = rf"{DIGITS}(?:[eE][-+]?[0-9]{{1,3}})?"
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NUMBER = f"(?P<number>{NUMBER})"
_AMOUNT = {
    "cost": re.compile(rf"\$?{_NUMBER}(?P<unit>)", re.ASCII),
    "duration": re.compile(rf"{_NUMBER}\s*(?P<unit>{'|'.join(UNITS_S)})?", re.ASCII),
    "turns": re.compile(r"(?P<number>\d{1,15})(?P<unit>)", re.ASCII),
}
_FORMS = {
    "cost": "dollars: 0.5",
    "duration": "seconds, or 500ms, 2m, 1h",
    "turns": "a whole number: 3",
}
# What has a range, and so a `min_` and a `max_`.
AMOUNTS = tuple(_AMOUNT)
# As many digits as a float has.
MOST_AMOUNT = 10**15 - 1
_ENDS = frozenset(f"{end}_{name}" for end in ("min", "max") for name in AMOUNTS)


def typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return criteria as typed with their amounts as numbers; raises `InvalidQuery`."""
    return {
        name: parse_amount(name, value) if name in _ENDS and isinstance(value, str) else value
        for name, value in given.items()
    }


def beginning(name: str) -> str | None:
    """Return what a name has to begin with, if it ends with `*`; None for a whole one."""
    return name.removesuffix("*") if name.endswith("*") else None


def parse_amount(name: str, text: str) -> float:
    """Return the number of a `min_…` or `max_…`: dollars, seconds, or turns.

    Raises `InvalidQuery`.
    """
    amount = name.partition("_")[2]
    found = _AMOUNT[amount].fullmatch(text.strip())
    if found is None or float(found["number"]) > MOST_AMOUNT:
        raise InvalidQuery(f"{name} is {text[:40]!r}", hint=f"use {_FORMS[amount]}")
    return float(found["number"]) * UNITS_S.get(found["unit"], 1)


# -- scores

_SCORE = re.compile(
    rf"""(?:"(?P<quoted>[^"]+)"\s* | (?P<name>[^<>="][^<>=]*))
    (?:(?P<how>=)(?P<value>[\s\S]+) | (?P<compared>>=|<=|>|<)\s*(?P<sign>[-+]?){_NUMBER}\s*)?""",
    re.ASCII | re.VERBOSE,
)
_ANSWERS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


@dataclass(frozen=True)
class ScoreWanted:
    """A score by its name; `how` it is compared with `value`, empty if it is not.

    `number` is the value as a number, `answer` as that of a score that is yes or no.
    """

    name: str
    how: str = ""
    value: str = ""
    number: float | None = None
    answer: float | None = None

    @staticmethod
    def of(text: str) -> ScoreWanted:
        """Parse `rating`, `rating>=4`, `helpful=yes`; raises `InvalidQuery`.

        A name that has one of `<>=` stands in double quotes.
        """
        found = _SCORE.fullmatch(text)
        if found is None:
            hint = "use its name, or compare it: rating>=4, helpful=yes, topic=billing"
            raise InvalidQuery(f"score is {text[:40]!r}", hint=hint)
        name = found["quoted"] or found["name"].strip()
        value = (found["value"] or "").strip()
        if found["compared"]:
            number = float(found["sign"] + found["number"])
            return ScoreWanted(name, found["compared"], number=number)
        return ScoreWanted(
            name, found["how"] or "", value, _number(value), _ANSWERS.get(value.lower())
        )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
