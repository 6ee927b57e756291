"""The path below which people reach the server: `/` by itself, another one behind a proxy.

As in ASGI: `root_path` of the scope is that path, without a slash at its end; `path` and `raw_path`
begin with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

__all__ = ["enter", "parse_root_path", "path_of", "raw_path_of", "root_of"]

# Characters that mean the same in HTML, headers, cookies and URLs. No segment begins with a dot:
# browsers resolve some of those.
_ROOT = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
# Each link of a page begins with it.
_MOST_CHARS = 200

Scope = Mapping[str, Any]


def parse_root_path(text: str) -> str | None:
    """Return a root path without the slash at its end, '' for `/`; None if it is invalid."""
    plain = text.removesuffix("/")
    is_valid = not plain or (_ROOT.fullmatch(plain) is not None and len(plain) <= _MOST_CHARS)
    return plain if is_valid else None


def enter(scope: MutableMapping[str, Any], root: str) -> None:
    """Put a root path into the scope, whether the proxy left it in the path or took it off.

    The raw path decides: a proxy takes off a prefix as the client wrote it.
    """
    scope["root_path"] = root
    raw, prefix = scope["raw_path"], root.encode("ascii")
    if raw == prefix:
        scope["path"], scope["raw_path"] = f"{root}/", prefix + b"/"
    elif not raw.startswith(prefix + b"/"):
        scope["path"], scope["raw_path"] = root + scope["path"], prefix + raw


def root_of(scope: Scope) -> str:
    """Return the root path of a request; '' if it is `/`."""
    root: str = scope.get("root_path", "")
    return root


def path_of(scope: Scope) -> str:
    """Return the path of a request below the root path."""
    path: str = scope["path"]
    return path.removeprefix(root_of(scope))


def raw_path_of(scope: Scope) -> bytes:
    """Return the path of a request below the root path, as the client encoded it."""
    raw: bytes = scope["raw_path"]
    return raw.removeprefix(root_of(scope).encode("ascii"))
