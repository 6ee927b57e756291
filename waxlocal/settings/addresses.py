"""Server URLs: validation and normalization, loopback hosts, and the proxy for a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from waxlocal.errors import ConfigurationError

__all__ = ["is_loopback", "proxy_for", "proxy_from", "server_url"]

_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "write it as https://acme.waxell.dev"
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?\.?")


def server_url(text: str, *, allow_http: bool = False, origin: str = "") -> str:
    """Return a server URL in normal form: lower case, no trailing `/`, no default port.

    A path stays: the API may be mounted below one. Errors name `origin`, where the URL comes from.
    Raises `ConfigurationError` for a URL that is not http or https, that contains a user, a query
    or a fragment (never shown in the error, because people paste keys there), or that would send
    the key over plain http to another machine without `allow_http`.
    """
    where = f"the server URL ({origin})" if origin else "the server URL"
    # urlsplit silently drops tabs and line breaks.
    if not text.isascii() or not text.isprintable() or " " in text.strip():
        raise ConfigurationError(
            f"{where} contains spaces or non-ASCII characters",
            hint=f"{_EXAMPLE}; write an international name in its xn-- form",
        )
    parts = _split(text.strip(), where)
    scheme, host, port = parts.scheme, _host(parts, where), _port(parts, where)
    if scheme == "http" and not (allow_http or is_loopback(host)):
        raise ConfigurationError(
            f"{where} is plain http to {host}: others on the network could read the key",
            hint="use https, or allow it with --allow-http or WAXLOCAL_ALLOW_HTTP=1",
        )
    named = f"[{host}]" if ":" in host else host
    ported = "" if port in (None, _PORTS[scheme]) else f":{port}"
    return f"{scheme}://{named}{ported}{parts.path.rstrip('/')}"


def _split(text: str, where: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:  # an unbalanced bracket
        raise ConfigurationError(f"{where} is not a valid URL", hint=_EXAMPLE) from None
    if parts.scheme not in _PORTS or "://" not in text:
        raise ConfigurationError(f"{where} does not begin with https://", hint=_EXAMPLE)
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{where} contains a user or password", hint="set the key in WAXELL_API_KEY"
        )
    if "?" in text or "#" in text or "\\" in text:
        raise ConfigurationError(f"{where} contains ?, # or \\", hint=_EXAMPLE)
    return parts


def _host(parts: SplitResult, where: str) -> str:
    host = (parts.hostname or "").lower()
    if parts.netloc.startswith("["):
        # The zone of a link-local address is valid on this machine only.
        with suppress(AddressValueError):
            return str(IPv6Address(host.replace("%", "/")))
    elif _HOST.fullmatch(host) and all(0 < len(part) < 64 for part in host.rstrip(".").split(".")):
        return host
    raise ConfigurationError(f"{where} has no valid host", hint=_EXAMPLE)


def _port(parts: SplitResult, where: str) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ConfigurationError(f"{where} has an invalid port", hint="use a port from 1 to 65535")
    return port


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: `localhost`, 127.0.0.0/8 or `::1`."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback if isinstance(address, IPv4Address) else str(address) == "::1"


def proxy_for(url: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the URL of the proxy for requests to this URL; None for a direct connection.

    Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` as `urllib.request` does, also in
    lower case, and networks in `NO_PROXY`; without `environ`, the platform's proxy settings count
    too. Loopback never uses a proxy: plain http to it is allowed only because it does not leave the
    machine. Raises `ConfigurationError` for a proxy that is not an HTTP proxy.
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
    bypassed = bypassed or _is_in_network(host, proxies.get("no", ""))
    return _proxy_url(found) if found and not bypassed else None


def proxy_from(text: str, url: str, *, origin: str) -> str | None:
    """Return the URL of a proxy that a setting names, for requests to this URL; None to loopback.

    `origin` is where it comes from. Raises `ConfigurationError`.
    """
    if is_loopback(urlsplit(url).hostname or ""):
        return None
    return _proxy_url(text, origin)


def _is_in_network(host: str, excluded: str) -> bool:
    """Return whether an address is in a network of `NO_PROXY`, such as 10.0.0.0/8.

    Go, curl and requests read those; `urllib` knows names only.
    """
    with suppress(ValueError):
        address = ip_address(host)
        for one in excluded.split(","):
            with suppress(ValueError):
                if "/" in one and address in ip_network(one.strip(), strict=False):
                    return True
    return False


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Do as `getproxies_environment`, but for a given environment instead of `os.environ`."""
    found: dict[str, str] = {}
    for upper in (True, False):  # lower case wins
        for name, value in environ.items():
            scheme, sep, rest = name.lower().rpartition("_proxy")
            if not sep or rest or (name != name.lower()) is not upper:
                continue
            # In a CGI program HTTP_PROXY comes from the client's header `Proxy`.
            if not (scheme == "http" and upper and "REQUEST_METHOD" in environ):
                found[scheme] = value
    return found


def _proxy_url(text: str, origin: str = "") -> str:
    url = text if "://" in text else f"http://{text}"
    scheme = url.partition("://")[0].lower()
    if scheme not in _PORTS:
        # Do not show the URL: it may contain a password.
        raise ConfigurationError(
            f"the proxy in {origin or 'the environment'} uses {scheme}, which is not supported",
            hint=_HTTP_PROXY if origin else f"set HTTPS_PROXY: {_HTTP_PROXY}; or NO_PROXY",
        )
    if not _has_host_and_port(url):
        raise ConfigurationError(
            f"the proxy in {origin or 'the environment'} is not a valid URL",
            hint=_HTTP_PROXY if origin else f"set HTTPS_PROXY: {_HTTP_PROXY}",
        )
    return url


_HTTP_PROXY = "name an HTTP proxy: http://proxy.example:3128"


def _has_host_and_port(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
