"""A server of the dashboard for a browser: real sockets, in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tests.tools.patience import PATIENCE_S
from waxlocal.web.app import create_app

__all__ = ["CHROMIUM", "FLAGS", "serving"]

CHROMIUM = Path("/usr/bin/chromium")
# Nothing of the browser's own may go out, nor wait for a network that is not there.
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class _Server(uvicorn.Server):
    """Says when it listens, and can be asked to stop from another thread."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextmanager
def serving(path: Path, *, key: str | None = None) -> Iterator[str]:
    """Serve a file at a free port; yields the address without a slash at its end."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(create_app(path, key=key), log_level="warning", lifespan="on")
    server = _Server(config)

    def run() -> None:
        asyncio.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=run, name="dashboard")
    thread.start()
    try:
        assert server.listening.wait(PATIENCE_S), "the server did not begin to listen"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()
