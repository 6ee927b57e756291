"""The line at the top of every page, alone, for pages that are open."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.web.pages.rendering import show

__all__ = ["status_fragment"]


async def status_fragment(request: Request) -> Response:
    """Return the state of the upload as the frame shows it."""
    return await show(request, "status.html", title="")
