"""DELETE of a session or a run: for good; see docs/forget.md."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.errors import NotFound
from waxlocal.maintenance.chosen_runs import Choice, Kind
from waxlocal.maintenance.forget_preview import preview
from waxlocal.maintenance.forgetting import forget
from waxlocal.web.api.parameters import read_parameters
from waxlocal.web.api.responses import json_answer, raw_tail
from waxlocal.web.db import ask, database_of
from waxlocal.wire import paths

__all__ = ["forget_run", "forget_session", "forget_session_by_parameter"]


async def forget_session(request: Request) -> Response:
    """Delete the runs of a session."""
    read_parameters(request, ())
    return await _forgotten(request, Choice(Kind.SESSION, raw_tail(request, paths.SESSIONS)))


async def forget_session_by_parameter(request: Request) -> Response:
    """Delete the runs of a session whose id cannot be part of a path."""
    given = read_parameters(request, ("session_id",))
    return await _forgotten(request, Choice(Kind.SESSION, given.choice("session_id", "")))


async def forget_run(request: Request) -> Response:
    """Delete a run, by its run id, and the runs below it."""
    read_parameters(request, ())
    return await _forgotten(request, Choice(Kind.RUN, raw_tail(request, paths.RUNS)))


async def _forgotten(request: Request, choice: Choice) -> Response:
    """Delete the runs of a choice; respond when it is done. Raises `NotFound`, `StorageError`."""
    found = await ask(request, lambda connection: preview(connection, choice))
    if found.is_nothing_to_do():
        raise NotFound(f"no {choice.kind.value} {choice.name!r}", hint="give the whole id")
    done = await asyncio.to_thread(partial(forget, database_of(request).path, choice))
    return json_answer(asdict(done))
