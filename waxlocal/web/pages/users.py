"""The list of users, and the page of one: what they experienced, and what it cost."""

from __future__ import annotations

import asyncio
import sqlite3
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.errors import NotFound
from waxlocal.queries import USER_ORDERINGS, SessionFilter, User, list_sessions, list_users
from waxlocal.queries.filters import check_ordering
from waxlocal.queries.score_summaries import user_scores
from waxlocal.queries.users import count_users, get_user
from waxlocal.web.cache import ask_kept
from waxlocal.web.pages.analytics import cost_chart, take_session_costs
from waxlocal.web.pages.list_file import FORMS, list_file
from waxlocal.web.pages.list_request import ListRequest, Rows
from waxlocal.web.pages.rendering import show

__all__ = ["user_page", "users_page"]

COLUMNS = (
    ("session_count", "Sessions"),
    ("turn_count", "Turns"),
    ("total_tokens", "Tokens"),
    ("total_cost", "Cost"),
    ("total_duration", "Agent time"),
    ("last_activity_at", "Last activity"),
)
# Sessions on the page of a user; a link leads to all of them.
SESSIONS = 20
# Names of scores on it.
SCORES = 50


async def users_page(request: Request) -> Response:
    """Show all users, those that were active last first. Raises `InvalidQuery`."""
    asked = ListRequest.of_users(request)
    check_ordering(asked.ordering, USER_ORDERINGS)  # an unknown ordering fails the whole page
    if form := request.query_params.get("file"):
        return await list_file(request, asked, form)
    listing, count = await asyncio.gather(
        ask_kept(request, asked.page_key, lambda conn: _page(conn, asked)),
        ask_kept(request, ("user count",), count_users),
    )
    found = listing.value.rows if listing.value else ()
    return await show(
        request,
        "users.html",
        title="Users",
        section="users",
        refresh="waiting" if listing.pending else "list",
        asked=asked,
        file_forms=FORMS,
        listing=listing,
        users=found,
        columns=COLUMNS,
        largest=max((one.total_cost or 0.0 for one in found), default=0.0),
        count=asked.count(len(found), bool(listing.value and listing.value.more), count.value),
    )


def _page(conn: sqlite3.Connection, asked: ListRequest[SessionFilter]) -> Rows[User]:
    page = {name: value for name, value in asked.wanted.items() if name != "filter"}
    return asked.page_of(list_users(conn, **page))


async def user_page(request: Request) -> Response:
    """Show one user; raises `NotFound`."""
    user_id = request.path_params.get("user_id") or request.query_params.get("id", "")
    if not user_id:  # as a filter it would mean everybody
        raise NotFound("no user ''", hint="waxlocal users lists them")
    key, theirs = (("user_id", user_id),), SessionFilter(user_id=user_id)
    taken, sessions, scores, cost = await asyncio.gather(
        ask_kept(request, ("user", user_id), lambda conn: get_user(conn, user_id)),
        ask_kept(
            request,
            ("user's sessions", user_id),
            lambda conn: list_sessions(conn, filter=theirs, limit=SESSIONS),
        ),
        ask_kept(request, ("user's scores", user_id), lambda conn: user_scores(conn, user_id)),
        take_session_costs(request, key, theirs),
    )
    if taken.problem is not None and taken.problem.status == HTTPStatus.NOT_FOUND:
        raise taken.problem
    spent = cost.value.cost if cost.value else None
    waiting = any(part.pending for part in (taken, sessions, scores, cost))
    return await show(
        request,
        "user.html",
        title=user_id,
        section="users",
        refresh="waiting" if waiting else "list",
        user_id=user_id,
        taken=taken,
        user=taken.value,
        sessions=sessions,
        scores=scores,
        most_scores=SCORES,
        cost=cost,
        cost_over_time=cost_chart(spent) if spent else None,
    )
