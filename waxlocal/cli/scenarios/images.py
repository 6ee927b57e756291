"""Small pictures, as PNG files made here: something to see where a person sends an image."""

from __future__ import annotations

import base64
import struct
import zlib
from random import Random

__all__ = ["base64_png", "data_url", "png"]

_SIZE = 48


def png(random: Random) -> bytes:
    """Return a picture of 48 by 48 pixels: a sky, a hill, a sun, in colors by chance."""
    sky, hill, sun = (bytes(random.randrange(60, 256) for _ in range(3)) for _ in range(3))
    at, height = random.randrange(10, 38), random.randrange(20, 36)
    rows = []
    for y in range(_SIZE):
        ridge = [height + abs(x - at) // 3 for x in range(_SIZE)]
        pixels = (
            sun if (x - 36) ** 2 + (y - 10) ** 2 < 30 else hill if y > ridge[x] else sky
            for x in range(_SIZE)
        )
        rows.append(b"\0" + b"".join(pixels))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", _SIZE, _SIZE, 8, 2, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(b"".join(rows), 9)),
            _chunk(b"IEND", b""),
        )
    )


def base64_png(random: Random) -> str:
    """Return such a picture as base64."""
    return base64.b64encode(png(random)).decode("ascii")


def data_url(random: Random) -> str:
    """Return such a picture as the address of an image in a page."""
    return f"data:image/png;base64,{base64_png(random)}"


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
