"""The page that shows what would be deleted of a user, a session or a run, and deletes it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from waxlocal.errors import NotFound
from waxlocal.maintenance.chosen_runs import Choice, Kind
from waxlocal.maintenance.forget_preview import Preview, files_beside, preview
from waxlocal.maintenance.forgetting import forget
from waxlocal.web.api.problems import Problem
from waxlocal.web.db import ask, database_of
from waxlocal.web.pages.addresses import Links
from waxlocal.web.pages.forms import read_form
from waxlocal.web.pages.rendering import show

__all__ = ["forget_page"]

MOST_FIELDS = 10
_KINDS = frozenset(kind.value for kind in Kind)
_TITLES = {
    Kind.USER: "Delete all recordings of this user?",
    Kind.SESSION: "Delete this session?",
    Kind.RUN: "Delete this run?",
}
# What is said of a deletion on the page that follows it, which must not name what was deleted.
_RESULTS = ("deleted", "open", "log", "space")


async def forget_page(request: Request) -> Response:
    """Show what would be deleted, or delete what the form names."""
    return await (_delete if request.method == "POST" else _show)(request)


async def _show(request: Request) -> Response:
    """Show what would be deleted, or what was; changes nothing. Raises `NotFound`."""
    given = request.query_params
    if "deleted" in given:
        result = {name: _count(given.get(name, "")) for name in _RESULTS}
        return await _page(request, "Deleted", result=result)
    choice = _choice(given)
    found = await _found(request, choice)
    found = await asyncio.to_thread(files_beside, database_of(request).path, found)
    return await _page(request, _TITLES[choice.kind], choice=choice, found=found)


async def _found(request: Request, choice: Choice) -> Preview:
    """Return what would be deleted; raises `NotFound` where that is nothing."""
    found = await ask(request, lambda conn: preview(conn, choice))
    if found.is_nothing_to_do():
        raise NotFound(f"no runs of {choice.kind.value} {choice.name!r}")
    return found


async def _page(request: Request, title: str, **values: Any) -> Response:
    given: dict[str, Any] = {"choice": None, "found": None, "result": None} | values
    return await show(request, "forget.html", title=title, live_from="/live/status", **given)


async def _delete(request: Request) -> Response:
    """Delete what the form names; raises `Problem`, `NotFound` and `StorageError`."""
    form = await read_form(request, MOST_FIELDS)
    choice = _choice({name: values[0] for name, values in form.items() if len(values) == 1})
    await _found(request, choice)  # whoever is not here is not barred either
    # In a thread of its own: other requests, and programs that record, go on meanwhile.
    done = await asyncio.to_thread(partial(forget, database_of(request).path, choice))
    said = {
        "deleted": str(done.runs),
        "open": done.open_runs,
        "log": int(not done.log_is_empty),
        "space": int(not done.compacted),
    }
    return RedirectResponse(Links.of(request).to("/forget", said), 303)


def _choice(given: Mapping[str, str]) -> Choice:
    kinds = [kind for kind in given if kind in _KINDS]
    if len(kinds) != 1 or not given[kinds[0]]:
        raise Problem(400, "name one user, session or run", hint="use Delete on its page")
    return Choice(Kind(kinds[0]), given[kinds[0]])


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
