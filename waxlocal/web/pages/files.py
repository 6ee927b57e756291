"""Serve the style sheet, the scripts and the icon: these files, read once; no others."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["STATIC", "content_of", "file_url", "static_file"]

STATIC = Path(__file__).parents[1] / "static"
_TYPES = {
    "app.css": "text/css",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(("app.js", "live.js", "theme.js", "times.js", "trace.js"), "text/javascript"),
}
_FILES = {name: (STATIC / name).read_bytes() for name in _TYPES}
# The URL changes with the content, so a browser may cache a file forever.
_MARKS = {name: sha256(content).hexdigest()[:12] for name, content in _FILES.items()}


def content_of(name: str) -> bytes:
    """Return the content of a file, as it was when the program started."""
    return _FILES[name]


def file_url(name: str) -> str:
    """Return the path of a file, with a hash of its content."""
    return f"/static/{name}?v={_MARKS[name]}"


async def static_file(request: Request) -> Response:
    """Serve a file."""
    name = request.path_params["name"]
    if name not in _FILES:
        raise HTTPException(404)
    kept = "immutable" if request.query_params.get("v") == _MARKS[name] else "no-cache"
    headers = {"Cache-Control": f"public, max-age=31536000, {kept}"}
    if kept == "no-cache":
        headers = {"Cache-Control": "no-cache"}
    return Response(_FILES[name], media_type=_TYPES[name], headers=headers)
