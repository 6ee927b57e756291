"""Authentication: the API key of a request, or the session cookie of a logged-in browser."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.settings.secret import Secret
from waxlocal.web.api.problems import Problem

__all__ = ["Authentication", "cookie_name", "port_of"]

# How long a login lasts.
LOGIN_S = 7 * 24 * 3600
# Paths that need no key: the health check, and what the login page needs.
OPEN_PATHS = frozenset(("/healthz", "/readyz", "/login", "/favicon.ico"))
OPEN_PREFIX = "/static/"
_REFUSED = {"WWW-Authenticate": 'Bearer realm="waxlocal"'}

Headers = Mapping[bytes, bytes]


class Authentication:
    """Checks requests against one key; without a key, every request is allowed."""

    def __init__(self, key: Secret | str | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        given = key.reveal() if isinstance(key, Secret) else key or ""
        self._key = given.strip().encode()
        self._clock = clock

    def refusal(
        self, path: str, headers: Headers, port: object = "", *, root: str = ""
    ) -> Problem | None:
        """Return why a request is refused, or None; for pages, a redirect to the login.

        `path` is below the root path `root`.
        """
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIX) or self.admits(headers, port):
            return None
        if _given_key(headers) is not None:
            return _refused("invalid API key")
        if path.startswith("/api/") or path == "/metrics":
            return _refused("this server requires an API key")
        location = f"{root}/login?next={quote(path, safe='')}"
        return Problem(303, "log in first", headers={"Location": location})

    def admits(self, headers: Headers, port: object = "") -> bool:
        """Return whether a request comes from somebody who may see the file.

        To others an open path says nothing about it, whatever goes wrong there.
        """
        given = _given_key(headers)
        if given is not None:
            return self.is_open or self.is_key(given)
        return self.is_open or self._has_login(headers, port)

    def is_key(self, given: bytes) -> bool:
        """Return whether this is the key, compared in constant time."""
        return hmac.compare_digest(sha256(given).digest(), sha256(self._key).digest())

    @property
    def is_open(self) -> bool:
        """Whether no key is set."""
        return not self._key

    def new_login(self) -> str:
        """Return a session token, valid for a week."""
        ends = self._clock.time_ns() // 1_000_000_000 + LOGIN_S
        said = f"{ends}.{secrets.token_hex(16)}"
        return f"{said}.{self._signature(said)}"

    def is_login(self, token: str) -> bool:
        """Return whether the token was made with this key less than a week ago."""
        said, _, signature = token.rpartition(".")
        signed = hmac.compare_digest(signature.encode(), self._signature(said).encode())
        ends = said.partition(".")[0]
        return signed and self._clock.time_ns() < int(ends) * 1_000_000_000

    def _signature(self, said: str) -> str:
        return hmac.new(self._key, b"waxlocal login " + said.encode(), sha256).hexdigest()

    def _has_login(self, headers: Headers, port: object) -> bool:
        # All that have the name: another server of the same host may have set one for all paths.
        found = _cookies(headers.get(b"cookie", b"").decode("latin-1"), cookie_name(port))
        return any(map(self.is_login, found))


def _cookies(header: str, name: str) -> Iterator[str]:
    for pair in header.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            yield value


def _given_key(headers: Headers) -> bytes | None:
    """Return the key of a request; None if it has none."""
    if (key := headers.get(b"x-wax-key")) is not None:
        return key
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else None


def port_of(scope: Mapping[str, Any]) -> object:
    """Return the port that a request came to; empty for a socket without one."""
    return (scope.get("server") or ("", ""))[1]


def cookie_name(port: object) -> str:
    """Return the cookie's name, with the port: browsers share cookies between ports."""
    return f"waxlocal_{port}"


def _refused(detail: str) -> Problem:
    return Problem(
        401,
        detail,
        hint="send it in the header X-Wax-Key, or as Authorization: Bearer",
        headers=_REFUSED,
    )
