"""Reads the list of sessions of a server, page by page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import httpx

from waxlocal.clock import Clock
from waxlocal.errors import ServerRefused, ServerUnreachable
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire.paths import SESSIONS
from waxlocal_daemon.answers import Unreadable, plain_text, read_json
from waxlocal_daemon.tls import hint_for

__all__ = [
    "MAX_VALUES",
    "PAGE",
    "Page",
    "RemoteSession",
    "is_last",
    "number_of",
    "pages",
    "read_body",
    "session_pages",
]

Row = TypeVar("Row")

PAGE = 200
# A page of 200 sessions takes some 100 KB.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
# 5,000 per session, for example names of agents.
MAX_VALUES = 1_000_000

_REFUSALS = {
    401: "does not accept the key for its list of sessions",
    403: "refuses to list sessions",
    404: "has no list of sessions",
}


class RemoteSession(NamedTuple):
    """A session in the list of a server; a figure that it does not give is None.

    `has_cost` distinguishes a cost that is not given from one that is null.
    """

    session_id: str
    run_count: int | float | None
    open_runs: int | float | None
    failed_runs: int | float | None
    total_tokens: int | float | None
    total_cost: float | None
    has_cost: bool


@dataclass(frozen=True)
class Page(Generic[Row]):
    """What a server lists from some offset on.

    `is_last`: False if there is another page, None if the server does not say.
    """

    rows: list[Row]
    ids: list[str]
    is_last: bool | None


def session_pages(
    client: httpx.Client, settings: UploadSettings, clock: Clock
) -> Iterator[list[RemoteSession]]:
    """Yield all sessions of the server, a page at a time.

    Raises `ServerRefused` if it refuses to list them, and `ServerUnreachable` if no list arrives.
    """

    def read(offset: int) -> Page[RemoteSession]:
        query = f"?limit={PAGE}&offset={offset}"
        body, kind = read_body(client, settings, clock, SESSIONS + query)
        return _page(body, kind, offset, settings)

    return pages(read, PAGE)


def pages(read: Callable[[int], Page[Row]], most: int) -> Iterator[list[Row]]:
    """Yield the rows of all pages; `read` gets the offset, and asks for at most so many rows.

    Raises `ServerUnreachable` for a server that repeats a page for ever.
    """
    offset = 0
    last_ids: list[str] = []
    while True:
        page = read(offset)
        if page.ids and page.ids == last_ids:
            if len(page.ids) < most:  # it ignores the offset, and these are all
                return
            raise _no_list("it ignores the offset and repeats a page")
        if not page.ids:
            return
        yield page.rows
        offset, last_ids = offset + len(page.ids), page.ids
        if page.is_last:
            return


def read_body(
    client: httpx.Client, settings: UploadSettings, clock: Clock, path: str
) -> tuple[bytes, str]:
    """Return the body of one page, and its content type; `path` is that of the API, with a query.

    Raises `ServerRefused` and `ServerUnreachable`.
    """
    deadline = clock.monotonic_ns() + round(settings.request_timeout * 1e9)
    body = bytearray()
    fault = kind = ""
    try:
        with client.stream("GET", settings.api_url + path) as response:
            _check_status(response.status_code, settings)
            kind = response.headers.get("content-type", "").partition(";")[0]
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise _no_list("the response is larger than 16 MB")
                if clock.monotonic_ns() > deadline:
                    raise ServerUnreachable("no complete response in time")
    except httpx.HTTPError as error:
        fault = str(error) or type(error).__name__
    # Outside the handler: the caught error holds the request, which holds the key.
    if fault:
        told = plain_text(fault, settings.api_key)  # it may contain text from the server
        raise ServerUnreachable(f"{settings.api_url} does not respond: {told}", hint=hint_for(told))
    return bytes(body), plain_text(kind, settings.api_key) or "no content type"


def _check_status(status: int, settings: UploadSettings) -> None:
    if status in _REFUSALS:
        hint = {
            401: settings.key_hint,
            403: f"ask for a key that may read; {settings.key_hint}",
            404: f"{settings.url_hint}; the list is at {SESSIONS}",
        }
        raise ServerRefused(f"the server {_REFUSALS[status]} ({status})", hint=hint[status])
    if 300 <= status < 400:
        raise ServerUnreachable(
            f"the server redirects to another address ({status}), and the key does not go there",
            hint="give the address that it redirects to, if that is yours",
        )
    if status != 200:
        raise ServerUnreachable(f"the server answered {status} when asked for its sessions")


def _page(body: bytes, kind: str, offset: int, settings: UploadSettings) -> Page[RemoteSession]:
    try:
        answer = read_json(body, settings.api_key, most_values=MAX_VALUES)
    except Unreadable:
        answer = None
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(results, list):
        raise _no_list(f"the response is not the expected JSON ({kind})")
    sessions = [_session(row) for row in results]
    return Page(
        sessions,
        [session.session_id for session in sessions],
        is_last(answer, offset + len(sessions)),
    )


def is_last(answer: dict[str, Any], read: int) -> bool | None:
    """Return whether an answer is the last page, after so many rows; None if it does not say."""
    if "next" in answer:
        return not answer["next"]
    count = number_of(answer.get("count"))
    return None if count is None else read >= count


def _session(row: Any) -> RemoteSession:
    if not isinstance(row, dict) or not isinstance(row.get("session_id"), str):
        raise _no_list("a session has no session_id")
    return RemoteSession(
        row["session_id"],
        run_count=number_of(row.get("run_count")),
        open_runs=number_of(row.get("open_runs")),
        failed_runs=number_of(row.get("failed_runs")),
        total_tokens=number_of(row.get("total_tokens")),
        total_cost=number_of(row.get("total_cost")),
        has_cost="total_cost" in row,
    )


def number_of(value: Any) -> int | float | None:
    """Return a number, also from text, as decimals are often written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)  # an integer may be too large for a float
    except (ValueError, OverflowError):
        return None
    return value if isinstance(value, int) else number if math.isfinite(number) else None


def _no_list(why: str) -> ServerUnreachable:
    return ServerUnreachable(
        f"the server sent no list of sessions: {why}",
        hint="check the server URL; a proxy or a login page may respond instead",
    )
