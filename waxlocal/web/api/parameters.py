"""Parse query parameters strictly: ignoring a misspelled filter would return everything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from waxlocal.queries import SessionFilter
from waxlocal.queries.criteria import AMOUNTS, Criteria, typed
from waxlocal.queries.filters import MAX_LIMIT, MAX_OFFSET
from waxlocal.queries.run_list import RunFilter
from waxlocal.web.api.problems import Problem

__all__ = [
    "FILTERS",
    "PAGE",
    "RUN_FILTERS",
    "Parameters",
    "read_parameters",
    "run_filter",
    "session_filter",
]

PAGE = ("limit", "offset")
FILTERS = tuple(field.name for field in fields(SessionFilter))
RUN_FILTERS = ("session_id", "no_session", *(field.name for field in fields(Criteria)))
DEFAULT_LIMIT = 20
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
# In a query string `+` means a space; in a time offset, the client meant a plus sign.
_OFFSET = re.compile(r"(T\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?) (\d{2}:?\d{2})", re.ASCII)


class Parameters:
    """The parameters of a request, each at most once.

    An empty text parameter counts as not given; for parameters with a format, it is an error.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        """Return a text parameter."""
        return self._values.get(name) or None

    def time(self, name: str) -> str | None:
        """Return a time as text for `parse_time`; raises `Problem` if it is empty."""
        given = self._filled(name)
        return given and _OFFSET.sub(r"\1+\2", given)

    def one_of(self, name: str) -> str | None:
        """Return a word that the query validates; raises `Problem` if it is empty."""
        return self._filled(name)

    def _filled(self, name: str) -> str | None:
        given = self._values.get(name)
        if given == "":
            raise Problem(400, f"{name} is empty", hint="set a value, or remove the parameter")
        return given

    def flag(self, name: str) -> bool:
        """Return whether a parameter is true, false if it is not given; raises `Problem`."""
        given = self._values.get(name, "false")
        if given not in ("true", "false"):
            raise Problem(
                400,
                f"invalid {name} {given[:40]!r}",
                hint="use true or false",
                parameter=name,
            )
        return given == "true"

    def needed(self, name: str) -> str:
        """Return a text parameter, which may be empty; raises `Problem` if it is not given."""
        given = self._values.get(name)
        if given is None:
            raise Problem(400, f"{name} is missing", hint=f"give it: ?{name}=…", parameter=name)
        return given

    def choice(self, name: str, default: str) -> str:
        """Return a choice or its default; the query validates it."""
        given = self._values.get(name)
        return default if given is None else given

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return an integer; raises `Problem` if it is not one or out of range."""
        given = self._values.get(name)
        if given is None:
            return default
        number = int(given) if _DIGITS.fullmatch(given) else least - 1
        if not least <= number <= most:
            # How far 64 bits can count matters only to a client that asked for more.
            no_limit = most == MAX_OFFSET and number < least
            allowed = f"of {least} or more" if no_limit else f"from {least} to {most}"
            raise Problem(
                400,
                f"invalid {name} {given[:40]!r}",
                hint=f"use an integer {allowed}",
                parameter=name,
            )
        return number

    def page(self, default: int = DEFAULT_LIMIT) -> dict[str, int]:
        """Return `limit` and `offset`."""
        return {
            "limit": self.number("limit", default, 1, MAX_LIMIT),
            "offset": self.number("offset", 0, 0, MAX_OFFSET),
        }


def read_parameters(request: Request, allowed: Sequence[str]) -> Parameters:
    """Return the parameters of a request; raises `Problem` for unknown and repeated ones."""
    try:
        # Invalid UTF-8 becomes U+FFFD, as in the file.
        pairs = parse_qsl(
            request.scope["query_string"].decode("latin-1"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=100,
        )
    except ValueError:
        raise Problem(400, "the URL has more than 100 parameters") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            raise _unknown(name, allowed)
        if name in values:
            raise Problem(400, f"parameter {name} is repeated", hint="give it once", parameter=name)
        values[name] = value
    return Parameters(values)


def _unknown(name: str, allowed: Sequence[str]) -> Problem:
    near = get_close_matches(name, allowed, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    takes = f"this path takes {', '.join(allowed)}" if allowed else "this path takes none"
    return Problem(
        400,
        f"unknown parameter {name[:100]!r}",
        kind="unknown-parameter",
        hint=meant + takes,
        parameter=name[:100],
        allowed=list(allowed),
    )


def session_filter(given: Parameters) -> SessionFilter:
    """Return the session filter; raises `InvalidQuery` and `Problem`."""
    return SessionFilter(**_filters(given, FILTERS))


def run_filter(given: Parameters) -> RunFilter:
    """Return the run filter; raises `InvalidQuery` and `Problem`."""
    return RunFilter(**_filters(given, RUN_FILTERS))


def _filters(given: Parameters, names: Sequence[str]) -> dict[str, Any]:
    # Of these an empty value is a mistake: no user or agent has an empty name, but a script that
    # asks for no status meant another one.
    read: dict[str, Callable[[str], Any]] = {
        "since": given.time,
        "until": given.time,
        "status": given.one_of,
        "no_session": given.flag,
        **{f"{end}_{name}": given.one_of for end in ("min", "max") for name in AMOUNTS},
    }
    return typed({name: read.get(name, given.text)(name) for name in names})
