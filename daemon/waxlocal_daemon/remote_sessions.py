"""Reads the list of sessions of a server, page by page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

from waxlocal.clock import Clock
from waxlocal.errors import ServerRefused, ServerUnreachable
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire.paths import SESSIONS
from waxlocal_daemon.answers import Unreadable, plain_text, read_json

__all__ = [
    "MAX_VALUES",
    "PAGE",
    "RemoteSession",
    "number_of",
    "read_body",
    "session_pages",
]

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


class _Page(NamedTuple):
    sessions: list[RemoteSession]
    # False: there is another page; None: the server does not say.
    is_last: bool | None


def session_pages(
    client: httpx.Client, settings: UploadSettings, clock: Clock
) -> Iterator[list[RemoteSession]]:
    """Yield all sessions of the server, a page at a time.

    Raises `ServerRefused` if it refuses to list them, and `ServerUnreachable` if no list arrives.
    """
    offset = 0
    last_ids: list[str] = []
    while True:
        query = f"?limit={PAGE}&offset={offset}"
        body, kind = read_body(client, settings, clock, SESSIONS + query)
        page = _page(body, kind, offset, settings)
        ids = [session.session_id for session in page.sessions]
        if ids and ids == last_ids:
            if len(ids) < PAGE:  # it ignores the offset, and these are all
                return
            raise _no_list("it ignores the offset and repeats a page")
        if not ids:
            return
        yield page.sessions
        offset, last_ids = offset + len(ids), ids
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
        raise ServerUnreachable(f"{settings.api_url} does not respond: {told}")
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


def _page(body: bytes, kind: str, offset: int, settings: UploadSettings) -> _Page:
    try:
        answer = read_json(body, settings.api_key, most_values=MAX_VALUES)
    except Unreadable:
        answer = None
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(results, list):
        raise _no_list(f"the response is not the expected JSON ({kind})")
    sessions = [_session(row) for row in results]
    if "next" in answer:
        return _Page(sessions, not answer["next"])
    count = number_of(answer.get("count"))
    return _Page(sessions, None if count is None else offset + len(sessions) >= count)


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
