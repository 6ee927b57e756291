"""Answers that a browser saves as a file: large ones, read and sent part by part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TypeVar

from starlette.responses import StreamingResponse

from waxlocal.errors import InvalidQuery

__all__ = ["FILE_S", "download", "encoded", "form_of"]

Form = TypeVar("Form")

# Seconds that a question for such a file may take: who saves one waits for it.
FILE_S = 25.0
# Each piece that a slow client takes is progress, which gives the response more time.
_PIECE = 1 << 16


def form_of(forms: Mapping[str, Form], name: str) -> Form:
    """Return the form with this name; raises `InvalidQuery`."""
    if name not in forms:
        raise InvalidQuery(f"unknown file {name!r}", hint=f"use one of: {', '.join(forms)}")
    return forms[name]


def download(parts: AsyncIterator[bytes], name: str, media_type: str) -> StreamingResponse:
    """Return the response that is saved under a name of plain characters."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_in_pieces(parts), media_type=media_type, headers=headers)


async def _in_pieces(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for part in parts:
        for at in range(0, len(part), _PIECE):
            yield part[at : at + _PIECE]


def encoded(texts: Iterable[str]) -> bytes:
    """Return texts as UTF-8; recorded JSON may contain an escaped lone surrogate."""
    return b"".join(text.encode("utf-8", "replace") for text in texts)
