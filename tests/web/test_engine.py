"""The parser and the loop of a server: which one, and that both behave alike at the edges."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from tests.tools.web import raw, serving, spawned
from waxlocal.web.engine import PLAIN_ENGINE, Engine, best_engine

LAST = "Connection: close\r\n"


def _get(address: str, path: str = "/healthz", more: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: {httpx.URL(address).netloc.decode()}\r\n{more}\r\n".encode()
    )


def test_what_is_not_installed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on its own: Windows has a parser in C and no such loop."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert best_engine() == (best_engine().parser, "asyncio")
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert best_engine() == PLAIN_ENGINE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_serves_by_what_it_finds(db_path: Path, engine: Engine) -> None:
    """Without parser and loop in C it serves all the same, and loads neither."""
    with spawned(db=db_path) as (process, address):
        assert raw(address, _get(address, more=LAST)).startswith(b"HTTP/1.1 200")
        loaded = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    assert ("httptools" in loaded) == (engine.parser == "httptools")
    assert ("uvloop" in loaded) == (engine.loop == "uvloop")


@pytest.mark.usefixtures("engine")
def test_a_connection_is_kept_for_requests_that_follow_at_once(db_path: Path) -> None:
    """Three in one packet have three responses, in order, and the last one ends the connection."""
    with serving(db_path) as client:
        address = str(client.base_url)
        three = _get(address) + _get(address, "/nowhere") + _get(address, more=LAST)
        answer = raw(address, three)
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"200"]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("bad", [b"\x00\xff\r\n\r\n", b"GET / HTTP/x.y\r\n\r\n", b"GET\r\n\r\n"])
def test_what_is_not_http_ends_the_connection(db_path: Path, bad: bytes) -> None:
    """As the first request and as a later one; the server goes on with others."""
    with serving(db_path) as client:
        address = str(client.base_url)
        assert raw(address, bad).startswith(b"HTTP/1.1 400")
        assert raw(address, _get(address) + bad).startswith(b"HTTP/1.1")
        assert client.get("/healthz").status_code == 200
