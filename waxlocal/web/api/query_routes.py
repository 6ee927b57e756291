"""The query endpoints: sessions, runs, users and models, at the same paths as the Waxell API."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waxlocal.errors import NotFound
from waxlocal.ids import run_id_of
from waxlocal.queries import (
    RunDetail,
    as_dict,
    count_sessions,
    get_run,
    get_session,
    list_sessions,
    list_users,
    money,
    statistics,
    timing,
)
from waxlocal.queries.models import model_usage
from waxlocal.queries.rows import share
from waxlocal.queries.run_list import count_runs, list_runs
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.users import count_users
from waxlocal.web.api.deletions import forget_run, forget_session, forget_session_by_parameter
from waxlocal.web.api.parameters import (
    FILTERS,
    PAGE,
    RUN_FILTERS,
    Parameters,
    read_parameters,
    run_filter,
    session_filter,
)
from waxlocal.web.api.problems import Problem
from waxlocal.web.api.responses import (
    json_answer,
    neighbours,
    page,
    raw_tail,
)
from waxlocal.web.db import ask
from waxlocal.wire import paths

__all__ = ["ROUTES", "plain"]

PARTS = ("money", "timing")
# Reading every call of a large file takes seconds; other requests do not wait for it.
ANALYTICS_S = 20.0

Endpoint = Callable[[Request], Awaitable[Response]]
Question = Callable[[sqlite3.Connection], Any]


async def _answered(request: Request, question: Question, seconds: float = 2.0) -> Response:
    """Run a query and encode its result as JSON in the worker thread, outside the event loop."""
    return await ask(
        request, lambda connection: json_answer(in_snapshot(question)(connection)), seconds=seconds
    )


async def sessions(request: Request) -> Response:
    """List sessions."""
    given = read_parameters(request, (*FILTERS, "ordering", *PAGE))
    which = session_filter(given)
    ordering = _session_ordering(given)
    where = given.page()

    def question(connection: sqlite3.Connection) -> Any:
        found = list_sessions(connection, filter=which, ordering=ordering, has_part=False, **where)
        count = count_sessions(connection, filter=which)
        return page(request, [plain(one) for one in found], count, **where)

    return await _answered(request, question)


def _session_ordering(given: Parameters) -> str:
    """Return the ordering; the Waxell API has two spellings for some fields."""
    ordering = given.choice("ordering", "-last_activity_at")
    sign = "-" if ordering.startswith("-") else ""
    other = {"first_run": "first_run_at", "last_activity": "last_activity_at"}
    return sign + other.get(ordering.removeprefix("-"), ordering.removeprefix("-"))


def plain(row: Any) -> dict[str, Any]:
    """Return a row for the API, with the names that the Waxell API has for two times."""
    shown: dict[str, Any] = as_dict(row)
    if "first_run_at" in shown:
        shown["first_run"] = shown["first_run_at"]
        shown["last_activity"] = shown["last_activity_at"]
    return shown


async def session(request: Request) -> Response:
    """Return one session with its runs."""
    given = read_parameters(request, ("include", *PAGE))
    return await _session(request, raw_tail(request, paths.SESSIONS), given)


async def session_by_parameter(request: Request) -> Response:
    """Return one session whose id cannot be part of a path, such as `..` or `stats`."""
    given = read_parameters(request, ("session_id", "include", *PAGE))
    return await _session(request, given.choice("session_id", ""), given)


async def _session(request: Request, session_id: str, given: Parameters) -> Response:
    where = given.page(default=100)
    parts = _parts(given)

    def question(connection: sqlite3.Connection) -> Any:
        found = get_session(connection, session_id, **where)
        count = found.session.run_count
        pairs = zip(found.runs, found.places, strict=True)
        shown = plain(found.session) | {
            "runs": [plain(run) | place._asdict() for run, place in pairs]
        }
        if "money" in parts:
            shown["money"] = as_dict(money(connection, session_id))
        if "timing" in parts:
            shown["timing"] = as_dict(timing(connection, session_id))
        return shown | neighbours(request, count, **where)

    return await _answered(request, question)


def _parts(given: Parameters) -> set[str]:
    include = given.one_of("include")
    wanted = set() if include is None else set(include.split(","))
    if wanted <= set(PARTS):
        return wanted
    raise Problem(
        400,
        "include has an unknown value",
        hint="use money, timing, or money,timing",
        parameter="include",
    )


async def session_statistics(request: Request) -> Response:
    """Return statistics over sessions."""
    which = session_filter(read_parameters(request, FILTERS))
    return await _answered(
        request, lambda connection: as_dict(statistics(connection, filter=which))
    )


async def runs(request: Request) -> Response:
    """List runs."""
    given = read_parameters(request, (*RUN_FILTERS, "ordering", *PAGE))
    which = run_filter(given)
    ordering = given.choice("ordering", "-id")
    where = given.page()

    def question(connection: sqlite3.Connection) -> Any:
        found = list_runs(connection, filter=which, ordering=ordering, **where)
        count = count_runs(connection, filter=which)
        return page(request, [plain(run) for run in found], count, **where)

    return await _answered(request, question)


async def run(request: Request) -> Response:
    """Return one run with all of its records."""
    read_parameters(request, ())
    given = raw_tail(request, paths.RUNS)

    def question(connection: sqlite3.Connection) -> Any:
        try:
            found = get_run(connection, given)
        except NotFound:
            run_id = run_id_of(given)
            if run_id is None:
                raise
            found = get_run(connection, run_id)
        return _whole(found)

    return await _answered(request, question)


def _whole(found: RunDetail) -> dict[str, Any]:
    """Return a run with all of its records; `llm_calls` holds the calls instead of their count."""
    parts = as_dict(found)
    summary = plain(found.run)
    count = {"llm_call_count": summary["llm_calls"]}
    return summary | count | {name: part for name, part in parts.items() if name != "run"}


async def users(request: Request) -> Response:
    """List users."""
    given = read_parameters(request, ("ordering", *PAGE))
    ordering = given.choice("ordering", "-last_activity_at")
    where = given.page()

    def question(connection: sqlite3.Connection) -> Any:
        found = list_users(connection, ordering=ordering, **where)
        return page(request, [plain(one) for one in found], count_users(connection), **where)

    return await _answered(request, question, ANALYTICS_S)


async def models(request: Request) -> Response:
    """Return usage and cost per model: totals and per day."""
    given = read_parameters(request, ("period", "since", "until", "agent"))
    since, until, agent = (
        given.time("since") or given.time("period"),
        given.time("until"),
        given.text("agent"),
    )

    def question(connection: sqlite3.Connection) -> Any:
        usage = model_usage(connection, since=since, until=until, agent=agent)
        sums = _summed([as_dict(one) for one in usage.models])
        days = [as_dict(day) for day in usage.days]
        return {"period": given.text("period"), **sums, "time_series": days}

    return await _answered(request, question, ANALYTICS_S)


def _summed(totals: list[dict[str, Any]]) -> dict[str, Any]:
    """Return totals over all models, and each model with its percentage of the cost."""
    costs = [one["total_cost"] for one in totals if one["total_cost"] is not None]
    cost = round(sum(costs, 0.0), 12) if costs or not totals else None
    tokens = sum(one["total_tokens"] for one in totals)
    priced = sum(one["priced_tokens"] for one in totals)
    calls = sum(one["calls"] for one in totals)
    unmetered = sum(one["unmetered_calls"] for one in totals)
    return {
        "aggregates": {
            "total_cost": cost,
            "total_tokens": tokens,
            "total_calls": calls,
            "unmetered_calls": unmetered,
            "metered_share": share(calls - unmetered, calls),
            "priced_tokens": priced,
            "priced_share": share(priced, tokens),
        },
        "model_totals": [
            {**one, "total_calls": one["calls"], "percentage": _percentage(one["total_cost"], cost)}
            for one in totals
        ],
    }


def _percentage(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else round(100 * part / whole, 1)


def _or_delete(path: str, get: Endpoint, delete: Endpoint) -> Route:
    """Return one route for both methods: of two, only the first would say what the path takes."""

    async def either(request: Request) -> Response:
        return await (delete if request.method == "DELETE" else get)(request)

    return Route(path, either, methods=["GET", "DELETE"])


# Fixed paths before ids: a session id may be any text.
ROUTES = [
    Route(paths.SESSIONS, sessions),
    Route(paths.SESSION_STATISTICS, session_statistics),
    _or_delete(paths.SESSION_BY_PARAMETER, session_by_parameter, forget_session_by_parameter),
    _or_delete(f"{paths.SESSIONS}{{session_id:anything}}/", session, forget_session),
    Route(paths.RUNS, runs),
    _or_delete(paths.RUN, run, forget_run),
    Route(paths.USERS, users),
    Route(paths.ANALYTICS, models),
]
