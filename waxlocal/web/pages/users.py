"""The list of users, and the page of one: what they experienced, and what it cost."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.queries import USER_ORDERINGS, Session, SessionFilter, User, list_sessions, list_users
from waxlocal.queries.cost_over_time import CostOverTime, over_time, session_costs
from waxlocal.queries.filters import check_ordering
from waxlocal.queries.user_scores import UserScore, user_scores
from waxlocal.queries.users import count_users, get_user
from waxlocal.web.cache import Cached, ask_kept
from waxlocal.web.pages.analytics import cost_chart
from waxlocal.web.pages.list_request import ListRequest
from waxlocal.web.pages.rendering import show

__all__ = ["user_page", "users_page"]

COLUMNS = (
    ("session_count", "Sessions"),
    ("turn_count", "Turns"),
    ("total_tokens", "Tokens"),
    ("total_cost", "Cost"),
    ("total_duration", "Run time"),
    ("last_activity_at", "Last activity"),
)
# Sessions on the page of a user; a link leads to all of them.
SESSIONS = 20


@dataclass(frozen=True)
class Listing:
    """A page of the list, and whether there are more."""

    users: tuple[User, ...]
    more: bool


@dataclass(frozen=True)
class History:
    """A user: totals, the last sessions, how their runs were scored, and what they cost when."""

    user: User
    sessions: tuple[Session, ...]
    scores: tuple[UserScore, ...]
    cost: CostOverTime | None


async def users_page(request: Request) -> Response:
    """Show all users, those that were active last first. Raises `InvalidQuery`."""
    asked = ListRequest.of_users(request)
    check_ordering(asked.ordering, USER_ORDERINGS)  # an unknown ordering fails the whole page
    listing, count = await asyncio.gather(
        ask_kept(request, asked.page_key, lambda conn: _listing(conn, asked)),
        ask_kept(request, ("user count",), count_users),
    )
    found = listing.value.users if listing.value else ()
    return await show(
        request,
        "users.html",
        title="Users",
        section="users",
        refresh="waiting" if listing.pending else "list",
        asked=asked,
        listing=listing,
        users=found,
        columns=COLUMNS,
        largest=max((one.total_cost or 0.0 for one in found), default=0.0),
        count=asked.count(len(found), bool(listing.value and listing.value.more), count.value),
    )


def _listing(conn: sqlite3.Connection, asked: ListRequest[SessionFilter]) -> Listing:
    found = list_users(conn, ordering=asked.ordering, limit=asked.limit + 1, offset=asked.offset)
    return Listing(tuple(found[: asked.limit]), len(found) > asked.limit)


async def user_page(request: Request) -> Response:
    """Show one user; raises `NotFound`."""
    user_id = request.path_params.get("user_id") or request.query_params.get("id", "")
    taken = await _history(request, user_id)
    if taken.problem is not None and taken.problem.status == HTTPStatus.NOT_FOUND:
        raise taken.problem
    cost = taken.value.cost if taken.value else None
    return await show(
        request,
        "user.html",
        title=user_id,
        section="users",
        refresh="waiting" if taken.pending else "list",
        user_id=user_id,
        taken=taken,
        found=taken.value,
        cost_over_time=cost_chart(cost) if cost else None,
    )


async def _history(request: Request, user_id: str) -> Cached[History]:
    theirs = SessionFilter(user_id=user_id)

    def question(conn: sqlite3.Connection) -> History:
        return History(
            user=get_user(conn, user_id),
            sessions=tuple(list_sessions(conn, filter=theirs, limit=SESSIONS)),
            scores=tuple(user_scores(conn, user_id)),
            cost=over_time(session_costs(conn, theirs)),
        )

    return await ask_kept(request, ("user", user_id), question)
