"""A server that answers each request with the bytes it is told to, over real connections."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO, NamedTuple

from tests.tools.listening import carry, listening

__all__ = ["Answering", "Asked", "answering", "ok", "passing_on"]


class Asked(NamedTuple):
    """A request; `connection` and `number` count from 0, the latter those of one connection."""

    connection: int
    number: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Answering(NamedTuple):
    """A running server: its port, and what it was asked so far."""

    port: int
    asked: list[Asked]


# Returns the bytes of the response; without any the connection is closed.
Answer = Callable[[Asked], bytes]


def ok(body: bytes = b"{}", *headers: str) -> bytes:
    """Return a response with a length."""
    lines = "".join(f"{line}\r\n" for line in headers).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), lines, body)


@contextmanager
def answering(
    answer: Answer,
    *,
    tls: ssl.SSLContext | None = None,
    hold: Callable[[int], bool] = lambda _held: False,
    closes: Callable[[Asked], bool] = lambda _asked: False,
) -> Iterator[Answering]:
    """Run a server that answers the requests of a connection one after another.

    `hold`: whether these many responses of a connection wait for one more. `closes`: whether the
    connection ends with the response to a request.
    """
    all_asked: list[Asked] = []

    def serve(connection: socket.socket, number: int) -> None:
        held: list[bytes] = []
        with closing(_secured(connection, tls)) as here, here.makefile("rb") as file:
            for count in itertools.count():
                asked = _read(file, number, count)
                if asked is None:
                    return
                all_asked.append(asked)
                held.append(answer(asked))
                ends = not held[-1] or closes(asked)
                if not ends and hold(len(held)):
                    continue
                here.sendall(b"".join(held))
                held.clear()
                if ends:
                    return

    with listening(serve) as port:
        yield Answering(port, all_asked)


@contextmanager
def passing_on(
    to: int, refusal: bytes = b"", tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[list[bytes]]]]:
    """Run a proxy that connects to a port of this machine, whoever it is asked for.

    Gives its own port, and the lines of each CONNECT. With a refusal it sends that instead.
    """
    asked: list[list[bytes]] = []

    def serve(connection: socket.socket, _number: int) -> None:
        with closing(_secured(connection, tls)) as here:
            asked.append(_until_empty_line(here).split(b"\r\n")[:-2])
            if refusal:
                here.sendall(refusal)
                return
            with closing(socket.create_connection(("127.0.0.1", to))) as there:
                here.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                carry(here, there)

    with listening(serve) as port:
        yield port, asked


def _secured(connection: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    return connection if tls is None else tls.wrap_socket(connection, server_side=True)


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


def _until_empty_line(sock: socket.socket) -> bytes:
    """Read a head byte by byte: what follows it is for somebody else."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise OSError("the client has left")
        head += byte
    return head
