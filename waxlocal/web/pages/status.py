"""The upload status line on its own, for open pages to refresh."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.web.pages.rendering import show

__all__ = ["status_fragment"]


async def status_fragment(request: Request) -> Response:
    """Return the upload status line of the page header."""
    return await show(request, "status.html", title="")
