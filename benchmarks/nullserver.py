"""A server that says yes to everything at once: the shortest wait the original SDK can have.

python -m benchmarks.nullserver    prints its port, then serves until it is ended
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

__all__ = ["COUNTS_PATH", "answer_body", "response"]

# Not part of the API: how many requests of each kind have come, as a JSON object.
COUNTS_PATH = "/counts"

_MANIFEST = {
    "manifest_version": "1",
    "ttl_seconds": 3600,
    "checkpoints": [],
    "surfaces": {},
    "policies": [],
}


class _Server:
    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until the client closes it."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await reader.readexactly(_length(head))
                writer.write(self._answer(head.split(" ", 2)[1].partition("?")[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, path: str) -> bytes:
        if path == COUNTS_PATH:
            return response(self._counts)
        kind = path.rstrip("/").rpartition("/")[2]
        self._counts[kind] += 1
        return response(answer_body(kind, self._counts[kind]))


def answer_body(kind: str, number: int) -> object:
    """Return what the last part of the path is answered with, `number` being new each time."""
    match kind:
        case "start":
            return {"run_id": f"run-{number}", "workflow_id": f"wf-{number}"}
        case "policy-check":
            return {"action": "allow"}
        case "policy-manifest":
            return _MANIFEST
        case _:
            return {}


def response(body: object) -> bytes:
    """Return the bytes of a response that has this JSON body."""
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(data),
        data,
    )


def _length(head: str) -> int:
    for line in head.split("\r\n"):
        name, _colon, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


async def _main() -> None:
    server = await asyncio.start_server(_Server().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
