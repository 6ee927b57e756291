"""A server of the dashboard for a browser: real sockets, in a thread of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.tools.patience import PATIENCE_S, wait_until
from waxlocal.web.app import create_app
from waxlocal.web.server import make_server

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


def _warm_up(address: str) -> None:
    """Wait until the server answers with a whole list: a page without one loads itself again.

    A key or click that comes before that has no effect. By a filter of its own, as what the server
    has found is kept for a while.
    """
    page = f"{address}/?user_id=nobody-yet"
    wait_until(lambda: 'class="waiting"' not in httpx.get(page, timeout=PATIENCE_S).text)


@contextmanager
def serving(path: Path, *, key: str | None = None, **options: Any) -> Iterator[str]:
    """Serve a file at a free port; yields the address without a slash at its end.

    `options` are those of `create_app`.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listening = threading.Event()
    server = make_server(create_app(path, key=key, **options), started=listening.set)
    thread = threading.Thread(target=server.run, args=([listener],), name="dashboard")
    thread.start()
    try:
        assert listening.wait(PATIENCE_S), "the server did not begin to listen"
        address = f"http://127.0.0.1:{port}"
        _warm_up(address)
        yield address
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()
