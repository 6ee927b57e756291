"""Render templates: escaping on, undefined names are errors, every page inside the layout."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from waxlocal import wording
from waxlocal._version import __version__
from waxlocal.web.db import database_of
from waxlocal.web.live.parts import live_parts, marked
from waxlocal.web.pages import charts
from waxlocal.web.pages import figures as web_wording
from waxlocal.web.pages.addresses import Links
from waxlocal.web.pages.upload_state import upload_line

__all__ = ["TEMPLATES", "environment", "show"]

TEMPLATES = Path(__file__).parents[1] / "templates"
# Seconds between refreshes of an open page: while something is running, and otherwise.
REFRESH_S = {"running": 2, "waiting": 1, "list": 5, "still": 15}


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        share=charts.share,
        sparkline=charts.sparkline,
        NOTHING=wording.NOTHING,
        version=__version__,
    )
    made.filters.update(
        money=wording.money,
        priced=wording.priced,
        metered=wording.metered,
        cost=lambda dollars, share: wording.cost(dollars, share),
        cost_share=wording.cost_share,
        cost_source=lambda call: wording.cost_source(
            call.cost_source, usage_known=call.usage_known
        ),
        known_cost=wording.known_cost,
        percent=wording.percent,
        duration=wording.duration,
        elapsed=wording.elapsed,
        counted=wording.counted,
        exact=wording.tokens,
        tokens=web_wording.short_tokens,
        ms=web_wording.milliseconds,
        bytes=web_wording.byte_size,
        rate=wording.rate,
        pretty=web_wording.pretty,
        short_id=web_wording.short_id,
        exact_time=web_wording.exact_time,
        score=web_wording.score_value,
        score_named=web_wording.score_named,
    )
    return made


environment = _environment()
# Compile at startup, so that the first request does not wait for it.
for _name in environment.list_templates(extensions=("html",)):
    environment.get_template(_name)


async def show(
    request: Request,
    template: str,
    *,
    title: str,
    section: str = "",
    refresh: str = "still",
    live_from: str = "",
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Return a page, or with `live=1` in the query string only its live parts: all, or one `part`.

    `section` is its entry in the navigation; `refresh` is a key of `REFRESH_S`; `live_from` is the
    path from which an open page refreshes, by default its own.
    """
    now, links = time.time_ns(), Links.of(request)
    frame = {
        "layout": "live.html" if request.query_params.get("live") == "1" else "page.html",
        "title": title,
        "section": section,
        "refresh": REFRESH_S[refresh],
        "live_from": links.to(live_from) if live_from else "",
        "links": links,
        "waiting": refresh == "waiting",
        "file": database_of(request).path,
        "upload": await upload_line(request, now),
        "ago": lambda stored: wording.ago(stored, now),
    }
    # In a thread: rendering a long conversation would block the event loop.
    text = await run_in_threadpool(_rendered, template, frame | values, _one_part(request))
    # Recorded JSON may contain an escaped lone surrogate.
    headers = {"Cache-Control": "no-store"}
    return HTMLResponse(text.encode("utf-8", "replace"), status, headers)


def _one_part(request: Request) -> str | None:
    asked = request.query_params
    return asked.get("part") if asked.get("live") == "1" else None


def _rendered(template: str, values: Mapping[str, Any], part: str | None) -> str:
    text = marked(environment.get_template(template).render(values))
    if part is None:
        return text
    return "\n".join(one.html for one in live_parts(text) if one.key == part)
