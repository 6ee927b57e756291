"""Addresses of servers: which may be used, and through which proxy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from waxlocal.errors import ConfigurationError

__all__ = ["is_loopback", "proxy_for", "server_url"]

_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "write it as https://acme.waxell.dev"
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?\.?")


def server_url(text: str, *, allow_http: bool = False, origin: str = "") -> str:
    """Return an address as all else here knows it: lower case, no `/` at the end, no usual port.

    A path stays: the API may live below one. `origin` says in errors where the address comes from.
    Raises `ConfigurationError` for one that is not http or https, that holds a user, a query or a
    fragment (none of which is shown: keys are pasted there), or that would carry the key over plain
    http to another machine without `allow_http`.
    """
    where = f"the server's address ({origin})" if origin else "the server's address"
    # urlsplit drops tabs and line breaks without a word.
    if not text.isascii() or not text.isprintable() or " " in text.strip():
        raise ConfigurationError(
            f"{where} has blanks or characters other than ASCII",
            hint=f"{_EXAMPLE}; a name in another script has an xn-- form",
        )
    parts = _split(text.strip(), where)
    scheme, host, port = parts.scheme, _host(parts, where), _port(parts, where)
    if scheme == "http" and not (allow_http or is_loopback(host)):
        raise ConfigurationError(
            f"{where} is plain http to {host}: the key could be read on the way",
            hint="use https, or allow it with WAXLOCAL_ALLOW_HTTP=1",
        )
    named = f"[{host}]" if ":" in host else host
    ported = "" if port in (None, _PORTS[scheme]) else f":{port}"
    return f"{scheme}://{named}{ported}{parts.path.rstrip('/')}"


def _split(text: str, where: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:  # half of a bracket
        raise ConfigurationError(f"{where} is not a valid address", hint=_EXAMPLE) from None
    if parts.scheme not in _PORTS or "://" not in text:
        raise ConfigurationError(f"{where} does not begin with https://", hint=_EXAMPLE)
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{where} holds a user or a password", hint="give the key by itself: WAXELL_API_KEY"
        )
    if "?" in text or "#" in text or "\\" in text:
        raise ConfigurationError(f"{where} goes on with ?, # or \\", hint=_EXAMPLE)
    return parts


def _host(parts: SplitResult, where: str) -> str:
    host = (parts.hostname or "").lower()
    if parts.netloc.startswith("["):
        # The zone of a link-local address means something on this machine alone.
        with suppress(AddressValueError):
            return str(IPv6Address(host.replace("%", "/")))
    elif _HOST.fullmatch(host) and ".." not in host:
        return host
    raise ConfigurationError(f"{where} names no usable host", hint=_EXAMPLE)


def _port(parts: SplitResult, where: str) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ConfigurationError(f"{where} has a port that is none", hint="ports are 1 to 65535")
    return port


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself: `localhost`, 127.0.0.0/8 or `::1`."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback if isinstance(address, IPv4Address) else str(address) == "::1"


def proxy_for(url: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the address of the proxy that a request to this URL goes through, None for none.

    As `urllib.request` reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, also in lower
    case; without `environ` the platform's own settings count, too. This machine itself is reached
    directly: plain http to it needs no permission only because it never leaves. Raises
    `ConfigurationError` for a proxy that speaks something else than HTTP.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    from urllib import request  # 20 ms to import

    if environ is None:
        proxies, bypassed = request.getproxies(), request.proxy_bypass(parts.netloc)
    else:
        proxies = _proxies(environ)
        bypassed = request.proxy_bypass_environment(parts.netloc, proxies)  # type: ignore[attr-defined]
    found = proxies.get(parts.scheme) or proxies.get("all")
    return _proxy_url(found) if found and not bypassed else None


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what `getproxies_environment` finds, in an environment that is not this process's."""
    found: dict[str, str] = {}
    for upper in (True, False):  # lower case wins
        for name, value in environ.items():
            scheme, sep, rest = name.lower().rpartition("_proxy")
            if not sep or rest or (name != name.lower()) is not upper:
                continue
            # In a CGI program HTTP_PROXY is the header `Proxy` of whoever asks.
            if not (scheme == "http" and upper and "REQUEST_METHOD" in environ):
                found[scheme] = value
    return found


def _proxy_url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    scheme = url.partition("://")[0].lower()
    if scheme not in _PORTS:
        # The address is not shown: it may hold a password.
        raise ConfigurationError(
            f"the proxy in the environment speaks {scheme}, which is not supported",
            hint="name an HTTP proxy in HTTPS_PROXY, or leave the server out of it with NO_PROXY",
        )
    return url
