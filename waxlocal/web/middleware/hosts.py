"""Check the Host header, against DNS rebinding by pages of other sites.

A browser sends the host name of the URL as `Host`. If a foreign name resolves to this machine, only
that header shows it, so the header is parsed as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from starlette.types import Scope

from waxlocal.errors import ConfigurationError
from waxlocal.settings.addresses import is_loopback
from waxlocal.web.api.problems import Problem

__all__ = ["Hosts", "parse_authority"]

# A name and an optional port; no user, path or zone.
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The number of cached results; the clients of a server use few names.
_REMEMBERED = 256


def parse_authority(text: str) -> tuple[str, int | None] | None:
    """Return the normalized name and the port of `name:port`; None if it is invalid.

    Names are lower case without a trailing dot; IPv6 addresses are compressed, and IPv4-mapped ones
    become IPv4 addresses.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    address, name, digits = found.groups()
    if digits is not None and not 0 < int(digits) < 65_536:
        return None
    plain = _plain(address or name)
    if plain is None or (address is not None and ":" not in address):
        return None
    return plain, None if digits is None else int(digits)


def _plain(name: str) -> str | None:
    try:
        address = ip_address(name)
    except ValueError:
        plain = name.lower().removesuffix(".")
        return plain if plain and ":" not in plain else None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


class Hosts:
    """The accepted Host headers; `allowed` adds to the default ones.

    By default these are the loopback names and the IP address that the client connected to, with
    our port. An allowed name without a port matches any port. Raises `ConfigurationError`.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = {_allowed(name) for name in allowed}
        self._verdicts: dict[tuple[object, ...], bool | None] = {}

    def refusal(self, scope: Scope) -> Problem | None:
        """Return why the Host header of a request is refused, or None."""
        found = [value for name, value in scope["headers"] if name == b"host"]
        if len(found) != 1:
            return Problem(400, "the request must have exactly one Host header")
        server = tuple(scope.get("server") or ("", None))
        verdict = self.verdict(found[0], server, scope.get("scheme", "http"))
        if verdict is None:
            return Problem(400, "the Host header is not a valid host")
        if verdict:
            return None
        return Problem(
            421,
            "this server does not accept that Host header",
            hint="use the URL that the server printed, or start it with --allow-host NAME",
        )

    def verdict(self, host: bytes, server: tuple[str, int | None], scheme: str) -> bool | None:
        """Return whether a Host header names this server; None if it is invalid."""
        key = (host, server, scheme)
        if key not in self._verdicts:
            if len(self._verdicts) >= _REMEMBERED:
                self._verdicts.clear()
            self._verdicts[key] = self._judge(host, server, scheme)
        return self._verdicts[key]

    def _judge(self, host: bytes, server: tuple[str, int | None], scheme: str) -> bool | None:
        parsed = parse_authority(host.decode("latin-1"))
        if parsed is None:
            return None
        name, given = parsed
        port = _DEFAULT_PORTS.get(scheme) if given is None else given
        if (name, None) in self._allowed or (name, port) in self._allowed:
            return True
        # An IP address cannot be rebound by DNS, as a name can.
        return port == server[1] and (is_loopback(name) or name == _plain(server[0]))


def _allowed(name: str) -> tuple[str, int | None]:
    parsed = parse_authority(name) or parse_authority(f"[{name}]")
    if parsed is None:
        raise ConfigurationError(
            f"{name!r} is not a valid host name",
            hint="give a name or an IP address, with or without a port: hub.example:8765",
        )
    return parsed
