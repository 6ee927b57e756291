"""The least that a receiver of uploads can do: it reads every request, counts, and says yes.

python -m benchmarks.receiver [--latency-ms N] [--bulk]

Prints its port, then serves until it is ended. One key of `runs/start/` is one run, however often
it comes; so is one run id of a bulk request.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import zlib
from collections import Counter
from functools import partial

from benchmarks.nullserver import COUNTS_PATH, answer_body, response
from waxlocal.wire.bulk import MAX_BYTES, MAX_RUNS
from waxlocal.wire.paths import BULK

__all__ = ["BULK"]

_OFFER = {"bulk": {"path": BULK, "max_runs": MAX_RUNS, "max_bytes": MAX_BYTES}}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"\r\nidempotency-key: *([^\r]+)", re.IGNORECASE)
_GZIP = re.compile(rb"\r\ncontent-encoding: *gzip", re.IGNORECASE)
# Within a text the quotes would be escaped, so that the first match is the run's own name.
_RUN_ID = re.compile(rb'"run_id": ?"([^"]*)"')
_GZIP_WINDOW = 31


class Receiver:
    """What all connections share: the counts, and the numbers given to runs."""

    def __init__(self, *, latency_s: float, bulk: bool) -> None:
        self.latency_s = latency_s
        self._bulk = bulk
        self._kinds: Counter[str] = Counter()
        self._requests = 0
        self._runs: dict[bytes, int] = {}

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Return the response to a request."""
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1")
        kind = path.rstrip("/").rpartition("/")[2]
        if path == COUNTS_PATH:
            return response(self._counts())
        self._requests += 1
        self._kinds[kind] += 1
        if kind == "start":
            key = _KEY.search(head)
            name = key[1] if key else b"without a key %d" % self._requests
            return response(answer_body(kind, self._number(name)))
        if kind == "config" and self._bulk:
            return response(_OFFER)
        if path == BULK:
            return response(self._store(head, body))
        return response(answer_body(kind, self._requests))

    def _counts(self) -> dict[str, int]:
        return {**self._kinds, "requests": self._requests, "runs": len(self._runs)}

    def _number(self, name: bytes) -> int:
        return self._runs.setdefault(name, len(self._runs) + 1)

    def _store(self, head: bytes, body: bytes) -> object:
        lines = zlib.decompress(body, _GZIP_WINDOW) if _GZIP.search(head) else body
        results = []
        for line in lines.splitlines():
            found = _RUN_ID.search(line)
            run_id = found[1] if found else b""
            status = "merged" if run_id in self._runs else "stored"
            self._number(run_id)
            results.append({"run_id": run_id.decode(), "status": status})
        return {"results": results}


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._length = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._whole():
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            head, self._head = self._head or b"", None
            self._send(self._receiver.answer(head, body))

    def _whole(self) -> bool:
        """Tell whether a whole request has come; its head is taken out of the buffer."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            length = _LENGTH.search(self._head)
            self._length = int(length[1]) if length else 0
        return len(self._buffer) >= self._length

    def _send(self, data: bytes) -> None:
        if self._receiver.latency_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self._receiver.latency_s, self._write, data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def _main(latency_s: float, bulk: bool) -> None:
    receiver = Receiver(latency_s=latency_s, bulk=bulk)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(_Connection, receiver), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--latency-ms", type=float, default=0, help="waited before each answer")
    parser.add_argument("--bulk", action="store_true", help="offer bulk requests")
    options = parser.parse_args()
    asyncio.run(_main(options.latency_ms / 1000, options.bulk))
