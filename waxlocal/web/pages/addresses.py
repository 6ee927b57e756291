"""URLs of the pages, for ids with any characters, in a form that no browser rewrites.

Pages and templates get them from `Links`, which alone knows below which path the server is reached.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request

from waxlocal.web.pages.files import file_url
from waxlocal.web.root_path import root_of
from waxlocal.wire.paths import of_run, of_session

__all__ = ["Links", "address", "run_url", "session_url"]

# Browsers resolve segments of dots as directories, and some proxies decode an escaped slash: ids
# like these go into the query string.
_PLAIN = re.compile(r"(?!\.+$)[^/\\%?#\x00-\x1f\x7f]+")


def address(path: str, values: Mapping[str, object]) -> str:
    """Return a path with the non-empty values as its query string."""
    given = {name: str(value) for name, value in values.items() if value not in (None, "", 0)}
    return f"{path}?{urlencode(given)}" if given else path


def session_url(session_id: str) -> str:
    """Return the path of a session's page."""
    return _page("/sessions", "/session", session_id)


def run_url(run_id: str) -> str:
    """Return the path of a run's page."""
    return _page("/runs", "/run", run_id)


@dataclass(frozen=True)
class Links:
    """The URLs that a client can follow: those of the pages, below the root path of its request."""

    root: str

    @classmethod
    def of(cls, request: Request) -> Links:
        """Return the links for the answer to a request."""
        return cls(root_of(request.scope))

    def to(self, path: str, values: Mapping[str, object] | None = None) -> str:
        """Return the URL of a path of this server, with the non-empty values as query string."""
        return self.root + address(path, values or {})

    def session(self, session_id: str) -> str:
        """Return the URL of a session's page."""
        return self.root + session_url(session_id)

    def user(self, user_id: str) -> str:
        """Return the URL of a user's page."""
        return self.root + _page("/users", "/user", user_id)

    def turn(self, session_id: str, number: int) -> str:
        """Return the URL of the part of a session's page that has a turn."""
        return _with(self.session(session_id), "turn", number)

    def run(self, run_id: str) -> str:
        """Return the URL of a run's page."""
        return self.root + run_url(run_id)

    def row(self, run_id: str, key: str = "", view: str = "") -> str:
        """Return the URL of a run's page with a row of its trace selected, and a way to show it."""
        given = {name: value for name, value in (("row", key), ("view", view)) if value}
        url = self.run(run_id)
        mark = "&" if "?" in url else "?"
        return f"{url}{mark}{urlencode(given, errors='replace')}" if given else url

    def forget(self, kind: str, name: str) -> str:
        """Return the URL of the page that deletes a user, a session or a run."""
        return f"{self.root}/forget?{urlencode({kind: name}, errors='replace')}"

    def chosen(self, kind: str, name: str) -> str:
        """Return the URL of the page of a user, a session or a run."""
        return {"user": self.user, "session": self.session, "run": self.run}[kind](name)

    def json_of_session(self, session_id: str) -> str:
        """Return the API's URL of a session."""
        return self.root + of_session(session_id)

    def file_of_session(self, session_id: str, form: str) -> str:
        """Return the URL of a session as a file."""
        return _with(self.session(session_id), "file", form)

    def json_of_run(self, run_id: str) -> str:
        """Return the API's URL of a run."""
        return self.root + of_run(run_id)

    def file(self, name: str) -> str:
        """Return the URL of a static file."""
        return self.root + file_url(name)


def _with(url: str, name: str, value: object) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode({name: value})}"


def _page(path: str, by_value: str, one: str) -> str:
    if _PLAIN.fullmatch(one):
        return f"{path}/{_quoted(one)}"
    return f"{by_value}?{urlencode({'id': one}, errors='replace')}"


def _quoted(one: str) -> str:
    return quote(one, safe="", errors="replace")
