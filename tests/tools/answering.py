"""A server that answers each request with the bytes it is told to, over real connections."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import BinaryIO, NamedTuple

from tests.tools.patience import PATIENCE_S

__all__ = ["AnsweringServer", "Asked", "answering", "ok", "passing_on"]


class Asked(NamedTuple):
    """A request; `connection` and `number` count from 0, the latter those of one connection."""

    connection: int
    number: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


# Returns the bytes of the response; without any the connection is closed.
Answer = Callable[[Asked], bytes]


def ok(body: bytes = b"{}", *headers: str) -> bytes:
    """Return a response with a length."""
    lines = "".join(f"{line}\r\n" for line in headers).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), lines, body)


class AnsweringServer:
    """Answers over each connection in a thread of its own, one request after another."""

    def __init__(
        self,
        port: int,
        answer: Answer,
        tls: ssl.SSLContext | None,
        hold: Callable[[int], bool],
        closes: Callable[[Asked], bool],
    ) -> None:
        self.port = port
        self.asked: list[Asked] = []
        self._answer = answer
        self._tls = tls
        self._hold = hold
        self._closes = closes
        self._connections: list[tuple[threading.Thread, socket.socket]] = []

    def accept(self, listener: socket.socket) -> None:
        """Serve each connection that comes, until the listener is closed."""
        with suppress(OSError):
            for number in itertools.count():
                connection = listener.accept()[0]
                thread = threading.Thread(target=self._serve, args=(connection, number))
                self._connections.append((thread, connection))
                thread.start()

    def end(self) -> None:
        """Close all connections."""
        for thread, connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with closing(connection), suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with closing(connection), connection.makefile("rb") as file:
                self._answer_all(connection, file, number)

    def _answer_all(self, connection: socket.socket, file: BinaryIO, number: int) -> None:
        held: list[bytes] = []
        for count in itertools.count():
            asked = _read(file, number, count)
            if asked is None:
                return
            self.asked.append(asked)
            answer = self._answer(asked)
            held.append(answer)
            ends = not answer or self._closes(asked)
            if not ends and self._hold(len(held)):
                continue
            connection.sendall(b"".join(held))
            held.clear()
            if ends:
                return


def _read(file: BinaryIO, connection: int, number: int) -> Asked | None:
    first = file.readline()
    if not first:
        return None
    method, target, _version = first.decode("latin-1").split(" ")
    headers = {}
    while (line := file.readline().strip()) != b"":
        name, _colon, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = file.read(int(headers.get("content-length", 0)))
    return Asked(connection, number, method, target, headers, body)


@contextmanager
def answering(
    answer: Answer,
    *,
    tls: ssl.SSLContext | None = None,
    hold: Callable[[int], bool] = lambda _held: False,
    closes: Callable[[Asked], bool] = lambda _asked: False,
) -> Iterator[AnsweringServer]:
    """Run a server. `hold`: whether these many responses of a connection wait for one more.

    `closes`: whether the connection ends with the response to a request.
    """
    with _listening() as listener:
        server = AnsweringServer(listener.getsockname()[1], answer, tls, hold, closes)
        accepting = threading.Thread(target=server.accept, args=(listener,))
        accepting.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # or the thread would wait for ever
            accepting.join(PATIENCE_S)
            server.end()


@contextmanager
def passing_on(
    port: int, refusal: bytes = b"", tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[list[bytes]]]]:
    """Run a proxy that connects to a port of this machine, whoever it is asked for.

    Gives its own port, and the lines of each CONNECT. With a refusal it sends that instead.
    """
    asked: list[list[bytes]] = []
    threads: list[threading.Thread] = []

    def serve(client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            here = client if tls is None else tls.wrap_socket(client, server_side=True)
            with closing(here):
                asked.append(_until_empty_line(here).split(b"\r\n")[:-2])
                if refusal:
                    here.sendall(refusal)
                    return
                with closing(socket.create_connection(("127.0.0.1", port))) as there:
                    here.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=_pass, args=(there, here))
                    back.start()
                    _pass(here, there)
                    back.join(PATIENCE_S)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=serve, args=(listener.accept()[0],))
                threads.append(thread)
                thread.start()

    with _listening() as listener:
        threads.append(threading.Thread(target=accept, args=(listener,)))
        threads[0].start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(PATIENCE_S)


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener


def _until_empty_line(sock: socket.socket) -> bytes:
    """Read a head byte by byte: what follows it is for somebody else."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise OSError("the client has left")
        head += byte
    return head


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
