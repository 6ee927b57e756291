"""Real servers for tests: on a real socket, in a thread or in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx

from tests.tools.cli import PYTHON, environment
from tests.tools.examples import some
from tests.tools.patience import PATIENCE_S
from waxlocal.web.app import create_app
from waxlocal.web.engine import PLAIN_ENGINE, Engine, best_engine
from waxlocal.web.server import address_of, listen, make_server
from waxlocal.wire.paths import OBSERVABILITY, OBSERVE

__all__ = [
    "ENGINES",
    "OBSERVABILITY",
    "OBSERVE",
    "get",
    "memory_of",
    "raw",
    "serving",
    "spawned",
    "url_of",
    "using_engine",
]

# Each that is installed here, the fastest first; that one alone where not everything is tried.
ENGINES = some(tuple(dict.fromkeys((best_engine(), PLAIN_ENGINE))))
_engine: ContextVar[Engine] = ContextVar("engine", default=ENGINES[0])


@contextmanager
def using_engine(engine: Engine) -> Iterator[None]:
    """Serve by this parser and this loop within the block."""
    before = _engine.set(engine)
    try:
        yield
    finally:
        _engine.reset(before)


def _blocking(directory: Path) -> dict[str, str]:
    """Return the variables with which a process finds no parser and no loop in C."""
    if _engine.get() != PLAIN_ENGINE:
        return {}
    blocked = directory / "blocked"
    blocked.mkdir(exist_ok=True)
    for name in ("httptools", "uvloop"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')\n")
    return {"PYTHONPATH": f"{blocked}{os.pathsep}{environment()['PYTHONPATH']}"}


# These servers speak plain HTTP, and to load the authorities that a client trusts takes 30 ms.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def serving(path: Path, *, headers_s: float = 10.0, **options: Any) -> Iterator[httpx.Client]:
    """Serve a file from a thread of this process; give a client whose base is that server.

    `options` are those of `create_app`. `url_of` gives the server's address.
    """
    app = create_app(path, **options)
    started = threading.Event()
    listener = listen("127.0.0.1", 0)
    server = make_server(app, started=started.set, headers_s=headers_s, engine=_engine.get())
    thread = threading.Thread(target=server.run, args=([listener],), name="test-server")
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        address = address_of(listener)
        with httpx.Client(base_url=address, timeout=PATIENCE_S, verify=NO_TLS) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()
    assert not thread.is_alive()


def url_of(client: httpx.Client) -> str:
    """Return the address of the server that a client asks, without a slash at its end."""
    return str(client.base_url).rstrip("/")


@contextmanager
def spawned(
    *args: object, db: Path, program: Sequence[str] = PYTHON, **env: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `waxlocal serve` in a process of its own, on a free port; give it and its address.

    `program`: another command that takes the same arguments and prints its address.
    """
    process = subprocess.Popen(
        [*program, "--db", str(db), "serve", "--port", "0", *map(str, args)],
        env=environment(**_blocking(db.parent), **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.communicate()
        yield process, address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()


def get(client: httpx.Client, path: str, /, **parameters: object) -> Any:
    """Return the JSON of a successful GET; a path without a slash in front is of the query API."""
    whole = path if path.startswith("/") else f"{OBSERVABILITY}/{path}"
    answer = client.get(whole, params={name: str(value) for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def raw(address: str, request: bytes, *, most: int = 1 << 20) -> bytes:
    """Send bytes to a server as they are; return all that comes back until it closes."""
    url = httpx.URL(address)
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        answer = b""
        while len(answer) < most:
            try:
                part = connection.recv(1 << 16)
            except ConnectionResetError:
                break
            if not part:
                break
            answer += part
    return answer


def memory_of(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
