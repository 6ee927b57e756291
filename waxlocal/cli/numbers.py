"""The types of numeric options: whole numbers and seconds within limits, and other numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from waxlocal.records import LARGEST_INTEGER

__all__ = ["Count", "Number", "Seconds"]

# More digits than any limit has; int() refuses texts of thousands of digits.
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_LONG = re.compile(r"[+-]?[0-9]+")
_SHOWN_CHARS = 40

if TYPE_CHECKING:  # generic for mypy only: click 8.1 knows no brackets here
    _Integer = click.ParamType[int]
    _Number = click.ParamType[float]
else:
    _Integer = _Number = click.ParamType


class Count(_Integer):
    """A whole number from `least` to `most`: no option passes SQLite more than it can store."""

    name = "integer"

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number; a usage error says which numbers are allowed."""
        given = str(value).strip()
        number = int(given) if _WHOLE.fullmatch(given) else None
        if number is None or not self._least <= number <= self._most:
            self.fail(f"{_shown(given)} is {self._wrong(given, number)}", param, ctx)
        return number

    def _wrong(self, given: str, number: int | None) -> str:
        digits = _LONG.fullmatch(given)
        too_large = digits and not given.startswith("-") and number not in range(self._least)
        # How far 64 bits can count matters only to a user who asked for more.
        no_limit = self._most == LARGEST_INTEGER and not too_large
        allowed = f"{self._least} or more" if no_limit else f"{self._least} to {self._most:,}"
        return f"{'out of range' if digits else 'not a whole number'}; use {allowed}"


class Number(_Number):
    """Any number; whoever takes it checks its limits."""

    name = "number"
    _allowed = "use a form such as 0.25"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; anything else is a usage error."""
        given = str(value).strip()
        try:
            return float(given)
        except ValueError:
            self.fail(f"{_shown(given)} is not a number; {self._allowed}", param, ctx)


class Seconds(Number):
    """Seconds from 0 to `most`, also fractions; neither nan nor infinity."""

    name = "seconds"

    def __init__(self, most: float) -> None:
        self._most = most
        self._allowed = f"use 0 to {most:,.0f} seconds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds; a usage error says which are allowed."""
        seconds = super().convert(value, param, ctx)
        if not 0 <= seconds <= self._most:  # also false for nan
            self.fail(f"{_shown(str(value).strip())} is out of range; {self._allowed}", param, ctx)
        return seconds


def _shown(given: str) -> str:
    return repr(given if len(given) <= _SHOWN_CHARS else f"{given[:_SHOWN_CHARS]}…")
