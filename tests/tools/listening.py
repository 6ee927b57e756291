"""A port of this machine whose connections are each served by a thread of its own."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from tests.tools.patience import PATIENCE_S

__all__ = ["carry", "listening"]

_AT_ONCE = 4_096
Serve = Callable[[socket.socket, int], None]


@contextmanager
def listening(serve: Serve, *, ahead: int | None = None) -> Iterator[int]:
    """Give a port; `serve` gets each connection to it, and its number from 0.

    `ahead`: how many bytes the system takes in advance. At the end the connections are shut down.
    """
    threads: list[tuple[threading.Thread, socket.socket]] = []

    def served(connection: socket.socket, number: int) -> None:
        with closing(connection), suppress(OSError):
            serve(connection, number)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            for number in itertools.count():
                connection = listener.accept()[0]
                thread = threading.Thread(target=served, args=(connection, number))
                threads.append((thread, connection))
                thread.start()

    with closing(socket.socket()) as listener:
        if ahead is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ahead)
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # or the thread would wait for ever
            accepting.join(PATIENCE_S)
            for thread, connection in threads:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join(PATIENCE_S)


def carry(here: socket.socket, there: socket.socket, bytes_per_s: float | None = None) -> None:
    """Pass on what comes at either socket, until both have ended; one way at that speed."""
    back = threading.Thread(target=_pass, args=(there, here, None))
    back.start()
    _pass(here, there, bytes_per_s)
    back.join(PATIENCE_S)


def _pass(source: socket.socket, sink: socket.socket, bytes_per_s: float | None) -> None:
    with suppress(OSError):
        while data := source.recv(_AT_ONCE):
            if bytes_per_s:
                time.sleep(len(data) / bytes_per_s)
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
