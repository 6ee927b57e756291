"""A network link that takes so many bytes a second, as a real connection between two sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

from tests.tools.patience import PATIENCE_S

__all__ = ["slow_link"]

_AT_ONCE = 4_096
# What the system takes ahead of the link.
_AHEAD = 16 * 1024


@contextmanager
def slow_link(url: str, bytes_per_s: float) -> Iterator[str]:
    """Give the URL of the link to a server; what comes back is as fast as ever."""
    target = urlsplit(url)
    link = _Link((target.hostname or "", target.port or 0), bytes_per_s)
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _AHEAD)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        accepting = threading.Thread(target=link.accept, args=(listener,))
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # or the thread would wait for ever
            for thread in (accepting, *link.carrying):
                thread.join(PATIENCE_S)


class _Link:
    """Carries connections to a server, one way slowly."""

    def __init__(self, server: tuple[str, int], bytes_per_s: float) -> None:
        self._server = server
        self._bytes_per_s = bytes_per_s
        self.carrying: list[threading.Thread] = []

    def accept(self, listener: socket.socket) -> None:
        """Carry each connection that comes, until the listener is closed."""
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=self._carry, args=(listener.accept()[0],))
                self.carrying.append(thread)
                thread.start()

    def _carry(self, here: socket.socket) -> None:
        with closing(here), closing(socket.create_connection(self._server)) as there:
            back = threading.Thread(target=_pass, args=(there, here, None))
            back.start()
            _pass(here, there, self._bytes_per_s)
            back.join()


def _pass(source: socket.socket, sink: socket.socket, bytes_per_s: float | None) -> None:
    with suppress(OSError):
        while data := source.recv(_AT_ONCE):
            if bytes_per_s:
                time.sleep(len(data) / bytes_per_s)
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
