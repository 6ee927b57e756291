"""Parse the query string of the list pages: filter, ordering, page; and build URLs from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from waxlocal.errors import InvalidQuery
from waxlocal.queries import SessionFilter
from waxlocal.records import RunStatus
from waxlocal.web.pages.addresses import Links

__all__ = ["FILTERS", "MOST_OFFSET", "SINCE", "ListRequest", "Removable", "whole"]

# The same names as in the API, so that a query string works in both.
FILTERS = ("search", "user_id", "agent", "since", "until", "status", "tag", "metadata")
SINCE = (
    ("", "any time"),
    ("1h", "last hour"),
    ("24h", "last 24 hours"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
)
DEFAULT_ORDERING = "-last_activity_at"
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


@dataclass(frozen=True)
class ListRequest:
    """The filter as typed and as parsed, the ordering, and the page of the list."""

    path: str
    links: Links
    given: dict[str, str]
    filter: SessionFilter
    ordering: str
    offset: int
    limit: int

    @classmethod
    def of(cls, request: Request, path: str) -> ListRequest:
        """Parse the query string; raises `InvalidQuery`."""
        values = request.query_params
        given = {name: values[name].strip() for name in FILTERS if values.get(name, "").strip()}
        return cls(
            path=path,
            links=Links.of(request),
            given=given,
            filter=_filter(given),
            ordering=values.get("ordering") or DEFAULT_ORDERING,
            offset=whole(values.get("offset"), 0, 0, MOST_OFFSET),
            limit=whole(values.get("limit"), DEFAULT_LIMIT, 1, MOST_LIMIT),
        )

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
        if page["ordering"] == DEFAULT_ORDERING:
            del page["ordering"]
        if page["limit"] == DEFAULT_LIMIT:
            del page["limit"]
        return self.links.to(self.path, page)

    def at(self, path: str) -> str:
        """Return the URL of another page with the same filter."""
        return self.links.to(path, self.given)

    @property
    def keeps_ordering(self) -> bool:
        """Whether the filter form has to send the ordering: that of the list, if one was chosen."""
        return self.path == "/" and self.ordering != DEFAULT_ORDERING

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
            Removable(_SPOKEN[name], value, self.url(**{name: ""}))
            for name, value in self.given.items()
        ]

    def words(self) -> str:
        """Return the filter as the end of a title: ` of user_alice, with errors`."""
        of = f" of {self.value('user_id')}" if self.value("user_id") else ""
        rest = [said.format(self.value(name)) for name, said in _SAID.items() if self.value(name)]
        if self.value("status"):
            rest.append(_STATUS[self.value("status")])
        return of + (" " if rest else "") + ", ".join(rest)


_SPOKEN = {
    "search": "contains",
    "user_id": "user",
    "agent": "agent",
    "since": "since",
    "until": "until",
    "status": "status",
    "tag": "tag",
    "metadata": "metadata",
}
_SAID = {
    "agent": "with {}",
    "search": "containing “{}”",
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


def _filter(given: dict[str, str]) -> SessionFilter:
    chosen: dict[str, Any] = dict(given)
    return SessionFilter(**chosen)


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
