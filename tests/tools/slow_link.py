"""A network link that takes so many bytes a second, as a real connection between two sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from tests.tools.listening import carry, listening

__all__ = ["slow_link"]

# What the system takes ahead of the link.
_AHEAD = 16 * 1024


@contextmanager
def slow_link(url: str, bytes_per_s: float) -> Iterator[str]:
    """Give the URL of the link to a server; what comes back is as fast as ever."""
    target = urlsplit(url)

    def serve(here: socket.socket, _number: int) -> None:
        with closing(socket.create_connection((target.hostname or "", target.port or 0))) as there:
            carry(here, there, bytes_per_s)

    with listening(serve, ahead=_AHEAD) as port:
        yield f"http://127.0.0.1:{port}"
