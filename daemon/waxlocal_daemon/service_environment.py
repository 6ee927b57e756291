"""The variables of a shell that a service is to see as well: a unit is started without them.

What the daemon reads and what the HTTP client reads: the server, how to upload, proxies and
certificates. Never a key, and no address that has a password in it: everybody who may see a service
can read its unit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["Handed", "handed_on", "of_server"]

_SETTINGS = (
    *("WAXELL_API_URL", "WAX_API_URL", "WAX_PROFILE", "WAXLOCAL_ALLOW_HTTP"),
    "WAXLOCAL_LOG_LEVEL",
    "WAXLOCAL_UNSEEN_AFTER",
)
_ALL_OF = "WAXLOCAL_SYNC_"
# What the server reads itself.
_OF_SERVER = ("WAXLOCAL_DURABILITY", "WAXLOCAL_SESSION_OVER_AFTER", "WAXLOCAL_UNSEEN_AFTER")
# As `urllib.request` reads them: in either case.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# OpenSSL's directory may be several.
_FILES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Handed(NamedTuple):
    """The variables that go into the unit, and the names of those that may not."""

    variables: dict[str, str]
    secret: list[str]


def handed_on(environ: Mapping[str, str] | None = None) -> Handed:
    """Return which of these variables (by default the process's) a service is to see.

    A path is made absolute: a service starts in another directory.
    """
    found = Handed({}, [])
    for name, value in sorted((os.environ if environ is None else environ).items()):
        if not value.strip() or not _is_meant(name):
            continue
        if _may_be_secret(value) or not value.isprintable():
            found.secret.append(name)
        else:
            found.variables[name] = _absolute(value) if name in _FILES else value
    return found


def of_server(*, uploads: bool, environ: Mapping[str, str] | None = None) -> Handed:
    """Return the same for a server, which needs those of the daemon where it runs one."""
    given = os.environ if environ is None else environ
    found = handed_on(given) if uploads else Handed({}, [])
    found.variables.update({name: given[name] for name in _OF_SERVER if given.get(name)})
    return found


def _absolute(paths: str) -> str:
    return os.pathsep.join(str(Path(one).absolute()) for one in paths.split(os.pathsep))


def _is_meant(name: str) -> bool:
    return name in (*_SETTINGS, *_FILES) or name.startswith(_ALL_OF) or name.upper() in _PROXIES


def _may_be_secret(value: str) -> bool:
    """Return whether an address has a user, a password or parameters."""
    try:
        # A proxy may be given without a scheme.
        parts = urlsplit(value if "//" in value else f"//{value}")
    except ValueError:
        return True
    return "@" in parts.netloc or bool(parts.query or parts.fragment)
