"""The server process: API key checks, the listening socket, uvicorn, and clean shutdown."""

from __future__ import annotations

import errno
import gc
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from waxlocal.errors import ConfigurationError
from waxlocal.settings.addresses import is_loopback
from waxlocal.settings.secret import Secret, read_key_file
from waxlocal.web.engine import MAX_HEADERS, Engine, best_engine, make_protocol
from waxlocal.web.heap import return_memory

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "address_of",
    "check_host",
    "check_key",
    "key_from",
    "listen",
    "make_server",
    "serve",
]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765
# Seconds to keep an idle connection; longer than any client does. If the server closed first, a
# request could get lost on the connection, and the original SDK does not retry.
KEEP_ALIVE_S = 75
# Seconds from connecting, or from the first byte of a request, to the end of its headers.
HEADERS_S = 10.0
# On shutdown, seconds for running requests to finish, and then for connections to close.
DRAIN_S = 8
BACKLOG = 2_048
# The maximum number of connections, if the limit on open files allows it.
MAX_CONNECTIONS = 4_096
# Open files besides connections.
OTHER_FILES = 128
# The minimum length of a key, so that it cannot be guessed.
SHORTEST_KEY = 16
_HOSTS = "--host 127.0.0.1 to listen on this machine only, --host 0.0.0.0 for all of its addresses"


def _how_to_make_a_key(path: str = "hub.key") -> str:
    make = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
    return f"give --key-file {path}, made with: (umask 077; {make} > {path})"


def check_key(host: str, key: Secret) -> None:
    """Raise `ConfigurationError` if other machines can reach the host and the key is too weak."""
    if is_loopback(host):
        return
    if not key:
        raise ConfigurationError(
            f"other machines can reach {host}, and no key is set",
            hint=_how_to_make_a_key(),
        )
    if len(key.reveal()) < SHORTEST_KEY:
        raise ConfigurationError(
            f"the key is shorter than {SHORTEST_KEY} characters", hint=_how_to_make_a_key()
        )


def check_host(host: str) -> None:
    """Raise `ConfigurationError` if no address has that name."""
    with _explained(host, 0):
        _found(host, 0)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one. Raises `ConfigurationError`."""
    with _explained(host, port):
        family, kind, protocol, _, address = _found(host, port)
        # Pass the protocol number: asyncio disables Nagle's algorithm only if it is set, and with
        # Nagle each response would wait 40 ms for the client's acknowledgement.
        listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener


def _found(host: str, port: int) -> tuple[int, int, int, str, Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


@contextmanager
def _explained(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: no name has that form
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: Exception) -> ConfigurationError:
    where = _authority(host, port)
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"another program is already listening on {where}",
            hint=f"choose another port, for example: --port {port + 1}, or --port 0 for any",
        )
    if isinstance(error, socket.gaierror | UnicodeError):
        return ConfigurationError(
            f"cannot listen on {host!r}: no address is known under that name", hint=_HOSTS
        )
    said = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return ConfigurationError(
            f"cannot listen on {where}: {said}",
            hint=f"choose a port from 1024 on, for example: --port {DEFAULT_PORT}",
        )
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        said = "this machine does not have that address"
    return ConfigurationError(f"cannot listen on {where}: {said}", hint=_HOSTS)


def address_of(listener: socket.socket, root_path: str = "") -> str:
    """Return the URL to open in a browser on this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://{_authority(_reachable(host), port)}{root_path.removesuffix('/')}/"


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (shown, not bound)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(
    app: Starlette,
    listener: socket.socket,
    *,
    started: Callable[[], None],
    drain_s: int = DRAIN_S,
) -> None:
    """Serve until SIGTERM or SIGINT; call `started` when the server is ready.

    On a signal, running requests may finish within `drain_s` seconds.
    """
    # Imported modules stay forever: exempt them from garbage collection.
    gc.collect()
    gc.freeze()
    return_memory()
    make_server(app, started=started, drain_s=drain_s).run(sockets=[listener])


def make_server(
    app: Starlette,
    *,
    started: Callable[[], None] = lambda: None,
    headers_s: float = HEADERS_S,
    drain_s: int = DRAIN_S,
    engine: Engine | None = None,
) -> uvicorn.Server:
    """Return a server for any thread; set its `should_exit` to stop it.

    `engine` defaults to the fastest one installed.
    """
    engine = engine or best_engine()
    config = uvicorn.Config(
        app,
        http=make_protocol(engine, headers_s),
        loop=engine.loop,
        h11_max_incomplete_event_size=MAX_HEADERS,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=drain_s,
        limit_concurrency=_connections(),
    )
    return _Server(config, started, app.state.streams.close)


def _connections() -> int:
    """Return the maximum number of connections, after raising the limit on open files."""
    if sys.platform == "win32":  # no such limit here
        return MAX_CONNECTIONS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(64, min(MAX_CONNECTIONS, soft - OTHER_FILES))


class _Server(uvicorn.Server):
    """A uvicorn server that exits with status 0 on a signal, since stopping is not a failure."""

    def __init__(
        self,
        config: uvicorn.Config,
        started: Callable[[], None],
        end_streams: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._tell = started
        self._end_streams = end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call `started`."""
        await super().startup(sockets)
        self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: end the streams of open pages, which would not end by themselves, then wait."""
        self._end_streams()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that stop the server; uvicorn would raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self._stop) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _stop(self, signum: int, _frame: FrameType | None) -> None:
        # A second Ctrl-C stops without waiting.
        self.force_exit = self.should_exit and signum == signal.SIGINT
        self.should_exit = True


def key_from(path: Path | None, environ: Any) -> Secret:
    """Return the key from a file, else from `WAXLOCAL_SERVE_KEY`; empty without either.

    `path`: that of the file; without it, `WAXLOCAL_SERVE_KEY_FILE` names one. Raises
    `ConfigurationError`.
    """
    if path is None and (named := environ.get("WAXLOCAL_SERVE_KEY_FILE")):
        path = Path(named)
    if path is None:
        return Secret.unchecked(environ.get("WAXLOCAL_SERVE_KEY", "")).checked("WAXLOCAL_SERVE_KEY")
    return read_key_file(path, how_to_make_it=_how_to_make_a_key(shlex.quote(str(path))))
