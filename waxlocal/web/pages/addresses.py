"""URLs of the pages, for ids with any characters, in a form that no browser rewrites."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from waxlocal.wire.paths import of_run, of_session

__all__ = ["address", "json_of_run", "json_of_session", "run_url", "session_url"]

# Browsers resolve segments of dots as directories, and some proxies decode an escaped slash: ids
# like these go into the query string.
_PLAIN = re.compile(r"(?!\.+$)[^/\\%?#\x00-\x1f\x7f]+")


def address(path: str, values: Mapping[str, object]) -> str:
    """Return a path with the non-empty values as its query string."""
    given = {name: str(value) for name, value in values.items() if value not in (None, "", 0)}
    return f"{path}?{urlencode(given)}" if given else path


def session_url(session_id: str) -> str:
    """Return the URL of a session's page."""
    return _page("/sessions", "/session", session_id)


def run_url(run_id: str) -> str:
    """Return the URL of a run's page."""
    return _page("/runs", "/run", run_id)


def json_of_session(session_id: str) -> str:
    """Return the API's URL of a session."""
    return of_session(session_id)


def json_of_run(run_id: str) -> str:
    """Return the API's URL of a run."""
    return of_run(run_id)


def _page(path: str, by_value: str, one: str) -> str:
    if _PLAIN.fullmatch(one):
        return f"{path}/{_quoted(one)}"
    return f"{by_value}?{urlencode({'id': one}, errors='replace')}"


def _quoted(one: str) -> str:
    return quote(one, safe="", errors="replace")
