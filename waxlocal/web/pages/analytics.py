"""The analytics page: statistics and charts over sessions, and the outliers."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.queries import (
    EVERYTHING,
    Session,
    SessionFilter,
    Statistics,
    list_sessions,
    money,
    timing,
)
from waxlocal.queries.cost_over_time import CostOverTime, over_time, session_costs
from waxlocal.queries.histogram import Bin
from waxlocal.queries.models import ModelsOverTime, models_over_time
from waxlocal.queries.statistics import Analysis, analysis
from waxlocal.queries.time_buckets import Timeline
from waxlocal.records import RUN_STATUSES
from waxlocal.web.cache import Cached, ask_kept
from waxlocal.web.pages import charts
from waxlocal.web.pages.figures import axis_money
from waxlocal.web.pages.list_request import SESSIONS, ListRequest, SessionRequest
from waxlocal.web.pages.rendering import show
from waxlocal.wording import DURATIONS, counted, duration, percent
from waxlocal.wording import money as dollars

__all__ = ["analytics_page", "cost_chart", "take_session_costs", "take_usage"]

TOP = 10
# Columns of the distribution; the last one combines all longer conversations.
MOST_COLUMNS = 20


@dataclass(frozen=True)
class Extreme:
    """An outlier, with the verdict on why."""

    session: Session
    verdict: str


async def analytics_page(request: Request) -> Response:
    """Show statistics over the sessions that match the filter."""
    asked = ListRequest.of(request, "/analytics")
    found, spent, expensive, slow = await asyncio.gather(
        _analysis(request, asked),
        _spent(request, asked),
        _extremes(request, asked, "-total_cost"),
        _extremes(request, asked, "-total_duration"),
    )
    parts = (found, spent, expensive, slow)
    figures = found.value.statistics if found.value else None
    return await show(
        request,
        "analytics.html",
        title=f"Analytics{asked.words()}",
        section="analytics",
        refresh="waiting" if any(part.pending for part in parts) else "still",
        asked=asked,
        statuses=RUN_STATUSES,
        found=found,
        figures=figures,
        turns=_turns_chart(figures, asked) if figures else None,
        ends=_ends(figures) if figures else (),
        durations=DURATIONS,
        costs=_costs_chart(found.value, asked) if found.value and found.value.costs else None,
        spent=spent,
        has_all_calls=_has_period_only(asked),
        cost_over_time=cost_chart(spent.value.cost) if spent.value and spent.value.cost else None,
        expensive=expensive,
        slow=slow,
    )


async def _analysis(request: Request, asked: SessionRequest) -> Cached[Analysis]:
    return await ask_kept(
        request, ("analysis", asked.key), lambda conn: analysis(conn, filter=asked.filter)
    )


async def _spent(request: Request, asked: SessionRequest) -> Cached[ModelsOverTime]:
    """Return the cost over time of all calls, or of calls in the matching sessions."""
    if _has_period_only(asked):
        return await take_usage(request, asked.value("since"), asked.value("until"))

    return await take_session_costs(request, asked.key, asked.filter)


async def take_session_costs(
    request: Request, key: Hashable, filter: SessionFilter
) -> Cached[ModelsOverTime]:
    """Return what calls in the matching sessions cost over time; `key` is `ListRequest.key`."""
    return await ask_kept(
        request,
        ("session costs", key),
        lambda conn: ModelsOverTime([], over_time(session_costs(conn, filter))),
    )


def _has_period_only(asked: SessionRequest) -> bool:
    return replace(asked.filter, since=None, until=None) == EVERYTHING


async def take_usage(request: Request, since: str, until: str) -> Cached[ModelsOverTime]:
    """Return the usage of all models between two valid times from the URL."""
    bounds = ListRequest.of(request, "").filter
    return await ask_kept(
        request,
        ("usage", since, until),
        lambda conn: models_over_time(
            conn,
            since=bounds.since if since else None,
            until=bounds.until if until else None,
        ),
    )


async def _extremes(
    request: Request, asked: SessionRequest, ordering: str
) -> Cached[list[Extreme]]:
    why = money if ordering == "-total_cost" else timing

    def question(conn: sqlite3.Connection) -> list[Extreme]:
        found = list_sessions(
            conn, filter=asked.filter, ordering=ordering, limit=TOP, has_part=True
        )
        if ordering == "-total_cost":
            found = [one for one in found if one.total_cost]
        return [Extreme(one, why(conn, one.session_id).verdict) for one in found]

    return await ask_kept(request, ("extremes", ordering, asked.key), question)


def _range_urls(
    asked: SessionRequest, name: str, ranges: Iterable[tuple[float, float]]
) -> list[str]:
    """Return the URLs of the sessions of each bar; one without an end has an infinite one.

    None in a period: its bars count what happened in it, and the list has whole sessions.
    """
    if asked.filter.since or asked.filter.until:
        return []
    return [
        asked.links.to(
            SESSIONS.path,
            {
                **asked.given,
                f"min_{name}": f"{least:.10g}",
                f"max_{name}": f"{most:.10g}" if math.isfinite(most) else "",
            },
        )
        for least, most in ranges
    ]


def _turns_chart(figures: Statistics, asked: SessionRequest) -> charts.Chart | None:
    counts = sorted(figures.distribution.items())
    if not counts:
        return None
    last = min(counts[-1][0], MOST_COLUMNS)
    shown = [figures.distribution.get(turns, 0) for turns in range(1, last + 1)]
    labels = [f"{turns}" for turns in range(1, last + 1)]
    if longer := sum(count for turns, count in counts if turns > last):
        shown[-1] += longer
        labels[-1] += "+"
    rows = [
        (label, f"{count:,}", percent(count / figures.sessions))
        for label, count in zip(labels, shown, strict=True)
    ]
    return charts.columns(
        "Turns per session",
        f"On average {figures.average_turns or 0:.1f} turns, median {figures.median_turns or 0:g}.",
        labels,
        [(count,) for count in shown],
        parts=(charts.Part("p1", "sessions"),),
        head=("Turns", "Sessions", "Share"),
        rows=rows,
        hrefs=_range_urls(
            asked,
            "turns",
            (
                (turns, math.inf if turns == last and longer else turns)
                for turns in range(1, last + 1)
            ),
        ),
        height=160,
    )


class End(NamedTuple):
    """How some of the sessions of one turn ended: how many, what it means, and their cost."""

    name: str
    sessions: int
    meaning: str
    cost: float


def _ends(figures: Statistics) -> tuple[End, ...]:
    slow = f"took longer than {duration(figures.slow_after)}"
    fine = "the first answer may have been enough"
    return (
        End("completed", figures.abandoned_fine, fine, figures.abandoned_fine_cost),
        End("failed", figures.abandoned_error, "ended with an error", figures.abandoned_error_cost),
        End("slow", figures.abandoned_slow, slow, figures.abandoned_slow_cost),
    )


def _costs_chart(analysis: Analysis, asked: SessionRequest) -> charts.Chart:
    figures, found = analysis.statistics, analysis.costs
    p50, p95, p99 = (one or 0.0 for one in (figures.p50_cost, figures.p95_cost, figures.p99_cost))
    labels = [axis_money(one.low) for one in found]
    rows = [(_range_of(one), f"{one.count:,}") for one in found]
    return charts.histogram(
        "Cost per session, on a log scale",
        f"Half of the {counted(figures.priced_sessions, 'session')} with a known cost cost at most "
        f"{dollars(p50)}; one in twenty costs {dollars(p95)} or more, one in a hundred "
        f"{dollars(p99)}.",
        found,
        labels,
        head=("Cost", "Sessions"),
        rows=rows,
        # A bar has what is less than its end.
        hrefs=_range_urls(asked, "cost", ((one.low, one.high * (1 - 1e-6)) for one in found)),
        marks=[
            (value, f"{name} {dollars(value)}")
            for name, value in (("p50", p50), ("p95", p95), ("p99", p99))
        ],
    )


def _range_of(one: Bin) -> str:
    if not one.low:
        return f"less than {dollars(one.high)}"
    if math.isinf(one.high):
        return f"{dollars(one.low)} or more"
    return f"{dollars(one.low)} to {dollars(one.high)}"


def cost_chart(found: CostOverTime) -> charts.Chart:
    """Return the chart of what was spent when, by model."""
    timeline = found.timeline
    labels = [label_of(timeline, number) for number in range(timeline.count)]
    names = [name for name, _ in found.series]
    most = max(value for _, values in found.series for value in values)
    total = sum(map(sum, (values for _, values in found.series)))
    rows = [
        (label, *(dollars(values[number]) for _, values in found.series))
        for number, label in enumerate(labels)
    ]
    return charts.lines(
        "Cost over time by model",
        f"Total {dollars(total)}; most for {names[0]}.",
        labels,
        found.series,
        top_label=f"{dollars(most)} {per(timeline)}",
        head=("From", *names),
        rows=rows,
    )


def label_of(timeline: Timeline, number: int) -> str:
    """Return the label of a bucket: its day, or day and hour if buckets are shorter than a day."""
    begin = timeline.begin(number)
    return begin[:10] if timeline.hours >= 24 else f"{begin[5:10]} {begin[11:13]}:00"


def per(timeline: Timeline) -> str:
    """Return `per hour`, `per day`, `in 7 days`."""
    if timeline.hours < 24:
        return "per hour" if timeline.hours == 1 else f"in {timeline.hours} hours"
    days = timeline.hours // 24
    return "per day" if days == 1 else f"in {days} days"
