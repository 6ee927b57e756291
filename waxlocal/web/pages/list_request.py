"""Parse the query string of the list pages: filter, ordering, page; and build URLs from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from starlette.requests import Request

from waxlocal.errors import InvalidQuery
from waxlocal.queries import SessionFilter
from waxlocal.queries.criteria import check_order, typed
from waxlocal.queries.run_list import RunFilter
from waxlocal.web.api.parameters import FILTERS, RUN_FILTERS
from waxlocal.web.pages.addresses import Links
from waxlocal.web.pages.filter_words import as_title, chip, day_of

__all__ = [
    "MOST_OFFSET",
    "RUNS",
    "SESSIONS",
    "SINCE",
    "ListRequest",
    "Listed",
    "Removable",
    "Rows",
    "SessionRequest",
    "whole",
]

Row = TypeVar("Row")
Filter = TypeVar("Filter", bound=SessionFilter | RunFilter)

SINCE = (
    ("", "any time"),
    ("1h", "last hour"),
    ("24h", "last 24 hours"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
)
# All other fields of the form are folded away while nothing is in them.
_ALWAYS_SHOWN = frozenset(
    {"search", "user_id", "agent", "status", "session_id", "no_session", "since", "until"}
)
DEFAULT_LIMIT = 50
MOST_LIMIT = 200
# SQLite steps through an offset row by row.
MOST_OFFSET = 10_000_000


@dataclass(frozen=True)
class Removable:
    """An active filter, and the URL of the page without it."""

    name: str
    value: str
    without: str


class Listed(NamedTuple):
    """What a list is of: the page that has it, its usual ordering, and what its filter may be."""

    noun: str
    path: str
    ordering: str
    filters: tuple[str, ...]


SESSIONS = Listed("sessions", "/", "-last_activity_at", FILTERS)
RUNS = Listed("runs", "/runs", "-id", RUN_FILTERS)
USERS = Listed("users", "/users", "-last_activity_at", ())


@dataclass(frozen=True)
class Rows(Generic[Row]):
    """The rows of a page of a list, and whether there are more."""

    rows: tuple[Row, ...]
    more: bool


@dataclass(frozen=True)
class ListRequest(Generic[Filter]):
    """The filter as typed and as parsed, the ordering, and the page of the list.

    `path`: the page that asks, which may be another one than that of the list.
    """

    path: str
    listed: Listed
    links: Links
    given: dict[str, str]
    filter: Filter
    ordering: str
    offset: int
    limit: int

    @staticmethod
    def of(request: Request, path: str) -> ListRequest[SessionFilter]:
        """Parse the query string of a page about sessions; raises `InvalidQuery`."""
        return _parsed(request, path, SESSIONS, lambda given: SessionFilter(**typed(given)))

    @staticmethod
    def of_runs(request: Request) -> ListRequest[RunFilter]:
        """Parse the query string of the list of runs; raises `InvalidQuery`."""
        return _parsed(request, RUNS.path, RUNS, _run_filter)

    @staticmethod
    def of_users(request: Request) -> ListRequest[SessionFilter]:
        """Parse the query string of the list of users, without filters; raises `InvalidQuery`."""
        return _parsed(request, USERS.path, USERS, lambda _: SessionFilter())

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """The filter as typed, as a cache key: the time that `24h` means changes constantly."""
        return tuple(sorted(self.given.items()))

    def value(self, name: str) -> str:
        """Return a filter as typed; empty if it is not set."""
        return self.given.get(name, "")

    def url(self, **changes: object) -> str:
        """Return the URL of this page with changed parameters, at the first page of the list."""
        page: dict[str, object] = {**self.given, "ordering": self.ordering, "limit": self.limit}
        page.update(changes)
        if page["ordering"] == self.listed.ordering:
            del page["ordering"]
        if page["limit"] == DEFAULT_LIMIT:
            del page["limit"]
        return self.links.to(self.path, page)

    def at(self, path: str) -> str:
        """Return the URL of another page with the same filter."""
        return self.links.to(path, self.given)

    @property
    def page_key(self) -> tuple[object, ...]:
        """A cache key for this page of the list."""
        return self.listed.noun, self.key, self.ordering, self.offset, self.limit

    @property
    def wanted(self) -> dict[str, Any]:
        """The arguments of the query; one more than is shown, to know if there is a next page."""
        return {
            "filter": self.filter,
            "ordering": self.ordering,
            "limit": self.limit + 1,
            "offset": self.offset,
        }

    def page_of(self, found: Sequence[Row]) -> Rows[Row]:
        """Return the page of what was found for `wanted`."""
        return Rows(tuple(found[: self.limit]), len(found) > self.limit)

    def count(self, shown: int, more: bool, counted: int | None) -> int | None:
        """Return how many there are: where the list ends on this page, newer than was counted."""
        ends_here = not more and (shown or not self.offset)
        return self.offset + shown if ends_here else counted

    @property
    def keeps_ordering(self) -> bool:
        """Whether the filter form has to send the ordering: that of the list, if one was chosen."""
        return self.path == self.listed.path and self.ordering != self.listed.ordering

    def sorted_url(self, column: str) -> str:
        """Return the URL that sorts by a column: descending first, then ascending."""
        return self.url(ordering=column if self.ordering == f"-{column}" else f"-{column}")

    def sort_state(self, column: str) -> str:
        """Return the `aria-sort` of a column."""
        if self.ordering.removeprefix("-") != column:
            return "none"
        return "descending" if self.ordering.startswith("-") else "ascending"

    def since_options(self) -> list[tuple[str, str]]:
        """Return the options of `since`, with an extra one for another value from the URL."""
        chosen = self.value("since")
        known = [value for value, _ in SINCE]
        return [*SINCE, *([] if chosen in known else [(chosen, f"since {chosen}")])]

    def removable(self) -> list[Removable]:
        """Return the active filters, each with the URL that removes it."""
        return [
            Removable(*chip(name, value), self.url(**{name: ""}))
            for name, value in self.given.items()
        ]

    def words(self) -> str:
        """Return the filter as the end of a title: ` of user_alice, with errors`."""
        return as_title(self.given)

    def day(self, name: str) -> str:
        """Return the day that `since` or `until` is, for a field of days; empty if it is none."""
        return day_of(self.value(name))

    @property
    def has_more(self) -> bool:
        """Whether one of the fields is set that are folded away."""
        return bool(self.given.keys() - _ALWAYS_SHOWN or self.day("since") or self.day("until"))


SessionRequest = ListRequest[SessionFilter]


_AS_IF_LEFT_OUT = {"no_session": "false"}


def _parsed(
    request: Request, path: str, listed: Listed, parse: Callable[[dict[str, Any]], Filter]
) -> ListRequest[Filter]:
    values = request.query_params
    given = {
        name: value
        for name in listed.filters
        if (value := _last_given(values.getlist(name))) not in ("", _AS_IF_LEFT_OUT.get(name))
    }
    filter = parse(dict(given))
    check_order(filter)
    return ListRequest(
        path=path,
        listed=listed,
        links=Links.of(request),
        given=given,
        filter=filter,
        ordering=values.get("ordering") or listed.ordering,
        offset=whole(values.get("offset"), 0, 0, MOST_OFFSET),
        limit=whole(values.get("limit"), DEFAULT_LIMIT, 1, MOST_LIMIT),
    )


def _last_given(values: Sequence[str]) -> str:
    """Return the last value that is not empty: two fields of the form are called `since`."""
    return next((given for one in reversed(values) if (given := one.strip())), "")


def _run_filter(given: dict[str, Any]) -> RunFilter:
    wanted = given.pop("no_session", "")
    if wanted not in ("", "true"):
        raise InvalidQuery(f"no_session is {wanted!r}", hint="use no_session=true, or leave it out")
    return RunFilter(**typed(given), no_session=bool(wanted))


def whole(text: str | None, default: int, least: int, most: int) -> int:
    """Return a number from the query string; raises `InvalidQuery`."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidQuery(f"{text!r} is not a number", hint=f"use {least} to {most:,}")
    number = int(text)
    if not least <= number <= most:
        raise InvalidQuery(f"{number:,} is out of range", hint=f"use {least} to {most:,}")
    return number
