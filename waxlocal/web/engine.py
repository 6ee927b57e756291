"""Choose the HTTP parser and the event loop: C implementations if installed, else Python.

`httptools` and `uvloop` have wheels for common platforms only (docs/dependencies.md). With `h11`
and asyncio instead, a request takes longer; everything else is the same.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any, Literal, NamedTuple

__all__ = ["MAX_HEADERS", "PLAIN_ENGINE", "Engine", "best_engine", "make_protocol"]

# The maximum size of request line and headers; a session id in a URL can be long.
MAX_HEADERS = 64 * 1024


class Engine(NamedTuple):
    """The HTTP parser and the event loop to use."""

    parser: Literal["httptools", "h11"]
    loop: Literal["uvloop", "asyncio"]


PLAIN_ENGINE = Engine("h11", "asyncio")


def best_engine() -> Engine:
    """Return the fastest installed parser and event loop."""
    return Engine(
        "httptools" if _is_installed("httptools") else "h11",
        "uvloop" if _is_installed("uvloop") else "asyncio",
    )


def _is_installed(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def make_protocol(engine: Engine, headers_s: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol class, extended with a timeout and a size limit for headers.

    uvicorn's own timeout covers only the time between two requests, so a connection that never
    finishes its headers would stay open forever. And httptools accepts headers of any size.
    """
    if engine.parser == "httptools":
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        return _bounded(HttpToolsProtocol, headers_s)
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return _bounded(_careful(H11Protocol), headers_s)


def _bounded(base: Any, headers_s: float) -> type[asyncio.Protocol]:
    class Protocol(base):  # type: ignore[misc]
        _late: asyncio.TimerHandle | None = None
        _head_bytes = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._wait_for_headers()

        def data_received(self, data: bytes) -> None:
            waited = self._late is not None
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._headers_came()
            elif not waited and self.timeout_keep_alive_task is None:
                self._wait_for_headers()
            if self._late is not None and not self.transport.is_closing():
                self._limit_headers(len(data))

        def connection_lost(self, exc: Exception | None) -> None:
            self._headers_came()
            super().connection_lost(exc)

        def _limit_headers(self, more: int) -> None:
            self._head_bytes += more
            if self._head_bytes > MAX_HEADERS:
                self.send_400_response("The request headers are too large.")

        def _wait_for_headers(self) -> None:
            self._late = self.loop.call_later(headers_s, self.transport.close)

        def _headers_came(self) -> None:
            self._head_bytes = 0
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Protocol


def _careful(base: Any) -> Any:
    import h11

    class Careful(base):  # type: ignore[misc]
        def send_400_response(self, msg: str) -> None:
            # h11 cannot send a second response after one has started; uvicorn would raise.
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                super().send_400_response(msg)
            else:
                self.transport.close()

    return Careful
