"""A listening socket that can be closed and opened again on the same port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from tests.faults.wire import BadRequest

__all__ = ["Doors"]

HOST = "127.0.0.1"
BACKLOG = 1024

# Serves one request; returns whether another may come on the connection.
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


class Doors:
    """Lets connections in, or has them refused.

    A second socket stays bound to the port and never listens: connections are refused while it is
    alone, and no other process can be given the port meanwhile.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._keeper = _bound(0)
        self._server: asyncio.Server | None = None
        self._closings = 0
        self.port: int = self._keeper.getsockname()[1]

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    async def open(self) -> None:
        """Listen; does nothing when it does."""
        self._closings += 1
        if self._server is None:
            sock = _bound(self.port)
            self._server = await asyncio.start_server(self._connect, sock=sock, backlog=BACKLOG)

    def close(self) -> None:
        """Refuse connections from now on; those there are go on."""
        self._closings += 1
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close_for(self, seconds: float) -> None:
        """Close, and open again after some time unless told otherwise meanwhile."""
        self.close()
        mine = self._closings
        await asyncio.sleep(seconds)
        if self._closings == mine:
            await self.open()

    def end(self) -> None:
        """Close for good and give the port back."""
        self.close()
        self._keeper.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except (ConnectionError, BadRequest):
            pass
        except asyncio.CancelledError:
            # The process ends. Python 3.11 prints a traceback for a connection that is cancelled.
            pass
        finally:
            writer.close()


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Linux lets two sockets that do not listen share a port with the first, macOS with the second.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((HOST, port))
    return sock
