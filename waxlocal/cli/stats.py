"""`waxlocal stats`: statistics over sessions, and the outliers."""

from __future__ import annotations

from collections.abc import Sequence

import click

from waxlocal import escaping
from waxlocal.cli import figures as format
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.options import period_filter_options
from waxlocal.cli.output import ACCENT, DIM, Column, Screen, cost_column
from waxlocal.cli.sessions import say_no_sessions
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.queries import (
    Session,
    SessionFilter,
    Statistics,
    as_dict,
    last_runs,
    list_sessions,
    statistics,
)
from waxlocal.wording import DURATIONS

__all__ = ["show_statistics", "stats"]

_BAR = 32
# The last line of the distribution combines all longer conversations.
_MOST_BARS = 12
_TOP = 5


@click.command(cls=Subcommand)
@period_filter_options
@form_options()
@click.pass_context
def stats(ctx: click.Context, *, filter: SessionFilter, form: str) -> None:
    """Show statistics over sessions (turns, abandonment, cost, duration), and the extremes.

    A percentile is always a recorded value. A session with a single turn counts as abandoned once
    it is over: half an hour after its end, or as WAXLOCAL_SESSION_OVER_AFTER says.
    """
    with recordings(target_file_of(ctx)) as connection:
        figures = statistics(connection, filter=filter)
        costliest, slowest = (
            list_sessions(connection, filter=filter, ordering=by, limit=_TOP, has_part=True)
            for by in ("-total_cost", "-total_duration")
        )
        outside = not figures.sessions and bool(last_runs(connection, limit=1))
    costliest = [one for one in costliest if one.total_cost]
    if form == "json":
        lists = {"most_expensive": costliest, "slowest": slowest}
        extremes = {name: [as_dict(one) for one in found] for name, found in lists.items()}
        print_json({**as_dict(figures), **extremes})
    elif figures.sessions:
        show_statistics(Screen(), figures, costliest, slowest)
    else:
        say_no_sessions(filter, outside=outside)


def show_statistics(
    screen: Screen, figures: Statistics, costliest: Sequence[Session], slowest: Sequence[Session]
) -> None:
    """Write the statistics, then the most expensive and the slowest sessions."""
    screen.write(screen.text(("Statistics", "bold"), (f"  {_totals(screen, figures)}", "")))
    if figures.distribution:  # a period may have calls only, of turns that began before it
        _show_turns(screen, figures)
        _show_abandonment(screen, figures)
        _show_visits(screen, figures)
    _show_percentiles(screen, figures)
    if costliest:
        screen.heading("Most expensive sessions")
        _show_extremes(screen, costliest)
    if slowest:
        screen.heading("Slowest sessions")
        _show_extremes(screen, slowest)


def _totals(screen: Screen, figures: Statistics) -> str:
    return screen.facts(
        format.counted(figures.sessions, "session"),
        format.counted(figures.turns, "turn"),
        f"{format.tokens_of(figures.total_tokens, figures.metered_share)} tokens",
        format.cost_words(figures),
    )


def _show_turns(screen: Screen, figures: Statistics) -> None:
    screen.heading("Turns per session")
    average, median = figures.average_turns or 0.0, figures.median_turns or 0.0
    screen.write(screen.text(f"average {average:.1f}, median {median:g}"))
    screen.gap()
    counts = _binned(figures.distribution)
    most = max(count for _, count in counts)
    rows = [
        (
            turns,
            screen.text((screen.bar(count, most, _BAR), ACCENT)),
            format.tokens(count),
            format.percent(count / sum(figures.distribution.values())),
        )
        for turns, count in counts
    ]
    columns = (
        Column("Turns", right=True),
        Column(""),
        Column("Sessions", right=True),
        Column("Share", right=True),
    )
    screen.write(screen.table(columns, rows))


def _binned(distribution: dict[int, int]) -> list[tuple[str, int]]:
    """Return the distribution of turns per session, its tail combined into one row."""
    counts = sorted(distribution.items())
    if len(counts) <= _MOST_BARS:
        return [(f"{turns:,}", count) for turns, count in counts]
    head, tail = counts[: _MOST_BARS - 1], counts[_MOST_BARS - 1 :]
    rest = (f"{tail[0][0]:,} or more", sum(count for _, count in tail))
    return [*((f"{turns:,}", count) for turns, count in head), rest]


def _show_abandonment(screen: Screen, figures: Statistics) -> None:
    screen.heading("Abandonment")
    share = f"{(figures.abandonment_rate or 0) * 100:.1f}%"
    how = (
        (figures.abandoned_fine, "completed", figures.abandoned_fine_cost),
        (figures.abandoned_error, "failed", figures.abandoned_error_cost),
        (figures.abandoned_slow, "slow", figures.abandoned_slow_cost),
    )
    split = ", ".join(
        f"{count:,} {words}{f' for {format.money(cost)}' if cost else ''}"
        for count, words, cost in how
        if count
    )
    whole = format.counted(sum(figures.distribution.values()) - figures.not_over, "session")
    single = f"{figures.abandoned:,} of {whole} ended after a single turn"
    screen.write(screen.text((share, "bold"), f"  {single}", f" ({split})" if split else ""))
    if figures.not_over:
        going = f"{figures.not_over:,} more with a single turn may go on: they are not counted"
        screen.write(screen.text((going, DIM)))
    if figures.abandoned_slow and figures.slow_after is not None:
        note = f"slow: longer than {format.duration(figures.slow_after)}, the p95 of the mean turn"
        screen.write(screen.text((note, DIM)))


def _show_visits(screen: Screen, figures: Statistics) -> None:
    if figures.users:
        screen.heading("Return visits")
        share = f"{(figures.return_rate or 0) * 100:.1f}%"
        users = format.counted(figures.users, "user")
        said = f"  {figures.returning_users:,} of {users} came back for another session"
        screen.write(screen.text((share, "bold"), said))


def _show_percentiles(screen: Screen, figures: Statistics) -> None:
    screen.heading("Per session")
    rows = [
        ("Cost", *map(format.money, figures.spread("cost"))),
        *(
            (words, *map(format.duration, figures.spread(name)))
            for name, words in DURATIONS.items()
        ),
    ]
    titles = ("average", "p50", "p95", "p99")
    columns = (Column(""), *(Column(title, right=True) for title in titles))
    screen.write(screen.table(columns, rows))
    if note := _without_cost(figures):
        screen.write(screen.text((note, DIM)))


def _without_cost(figures: Statistics) -> str:
    without = figures.sessions_without_calls
    unknown = figures.sessions - figures.priced_sessions
    parts = (
        f"cost covers {format.counted(figures.priced_sessions, 'session')}"
        + (f", {without:,} of them without LLM calls" if without else ""),
        f"unknown for {unknown:,}" if unknown else "",
    )
    return "; ".join(filter(None, parts)) if unknown or without else ""


def _show_extremes(screen: Screen, found: Sequence[Session]) -> None:
    cost, costs = cost_column(screen, found)
    columns = (
        cost,
        Column("Duration", right=True),
        Column("Turns", right=True),
        Column("Session", least=21),
        Column("Title", least=12),
    )
    rows = [
        (
            spent,
            format.duration(one.total_duration),
            format.tokens(one.turn_count),
            screen.text((escaping.line(one.session_id), DIM)),
            escaping.line(one.title),
        )
        for one, spent in zip(found, costs, strict=True)
    ]
    screen.write(screen.table(columns, rows))
