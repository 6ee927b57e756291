"""What a proxy says of a request: the scheme, the host and the path that the client asked for.

Any client can send these headers, so they count only from the proxies that were named. The headers
of others stay unread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from waxlocal.errors import ConfigurationError
from waxlocal.web.api.problems import Problem
from waxlocal.web.middleware.hosts import Hosts, parse_authority
from waxlocal.web.root_path import enter, parse_root_path

__all__ = ["Forwarded", "TrustedProxies"]

_SCHEMES = ("http", "https")


class TrustedProxies:
    """The addresses and networks of the named proxies. Raises `ConfigurationError`."""

    def __init__(self, given: Iterable[str] = ()) -> None:
        self._networks = tuple(_network(one) for one in given)

    def __contains__(self, peer: str) -> bool:
        """Return whether the other end of a connection is one of them."""
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        # A socket for both kinds of addresses shows an IPv4 client in this form.
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in self._networks)

    def __bool__(self) -> bool:
        return bool(self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is neither an IP address nor a network",
            hint="give the address that the proxy connects from: 127.0.0.1, or 10.1.0.0/16",
        ) from None
    if not network.prefixlen:
        raise ConfigurationError(
            f"{text} is every address: any client could then write these headers",
            hint="name the proxy alone, or its network: 10.1.0.0/16",
        )
    return network


class Forwarded:
    """Writes into the scope of a request what its client asked the proxy for.

    `root_path` is the path below which the server is always reached; without it, a proxy may name
    one for each request. None may begin with a part in `own`, the first parts of our own paths.
    Raises `ConfigurationError`.
    """

    def __init__(
        self,
        *,
        hosts: Hosts,
        proxies: Iterable[str] = (),
        root_path: str = "",
        own: Collection[str] = (),
    ) -> None:
        self._hosts = hosts
        self._proxies = TrustedProxies(proxies)
        self._own = own
        self._root_path = self._configured(root_path)

    def refusal(self, scope: Scope) -> Problem | None:
        """Change the scope, or return why the request is refused.

        A value that has to be interpreted (a list, a scheme of its own) is refused rather than
        ignored: without it the links of the answer would lead to another place.
        """
        try:
            self._change(scope)
        except Problem as problem:
            return problem
        return None

    def _change(self, scope: Scope) -> None:
        root = self._root_path
        if self._proxies and (scope.get("client") or ("",))[0] in self._proxies:
            scope["scheme"] = _scheme(scope) or scope["scheme"]
            self._take_host(scope)
            root = root or self._prefix(scope)
        if root:
            enter(scope, root)

    def _take_host(self, scope: Scope) -> None:
        host = _value(scope, b"x-forwarded-host")
        if not host:
            return
        # Both names count: a page of another name can send this header, and a proxy may pass it on.
        problem = self._hosts.refusal(scope)
        if problem is not None:
            raise problem
        if parse_authority(host) is None:
            raise _invalid("X-Forwarded-Host", "hub.example:8443")
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope["headers"] = [(b"host", host.encode("latin-1")), *others]

    def _prefix(self, scope: Scope) -> str:
        root = parse_root_path(_value(scope, b"x-forwarded-prefix"))
        if root is None or self._is_own(root):
            raise _invalid("X-Forwarded-Prefix", "/waxlocal")
        return root

    def _configured(self, text: str) -> str:
        root = parse_root_path(text)
        if root is None:
            raise ConfigurationError(
                f"{text!r} is not a valid path for this server",
                hint="use letters, digits and -._~ after a slash: --root-path /waxlocal",
            )
        if self._is_own(root):
            raise ConfigurationError(
                f"this server has pages of its own below {root}",
                hint="choose another path: --root-path /waxlocal",
            )
        return root

    def _is_own(self, root: str) -> bool:
        # Whether the proxy took the prefix off could not be told.
        return bool(root) and root.split("/")[1] in self._own


def _scheme(scope: Scope) -> str:
    scheme = _value(scope, b"x-forwarded-proto").lower()
    if scheme and scheme not in _SCHEMES:
        raise _invalid("X-Forwarded-Proto", "https")
    return scheme


def _value(scope: Scope, name: bytes) -> str:
    """Return a header, '' if it is missing. Sent twice it is a list, which no check accepts."""
    found = [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]
    return ",".join(found)


def _invalid(name: str, example: str) -> Problem:
    return Problem(
        400,
        f"the proxy sent an invalid {name}",
        hint=f"let the proxy replace the header by a single value, such as {example}",
    )
