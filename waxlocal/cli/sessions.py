"""`waxlocal sessions`: list conversations."""

from __future__ import annotations

from collections.abc import Sequence

import click

from waxlocal import escaping
from waxlocal.cli import complete, figures
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import LISTS, form_options
from waxlocal.cli.hints import say_beyond, say_nothing
from waxlocal.cli.options import filter_options, ordering_of, ordering_option
from waxlocal.cli.output import DIM, Column, Screen, cost_column, status_style
from waxlocal.cli.row_pages import count_all, page_options, rows_to_show, say_more
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.exports import SESSION_COLUMNS
from waxlocal.queries import (
    EVERYTHING,
    Session,
    SessionFilter,
    count_sessions,
    last_runs,
    list_sessions,
)
from waxlocal.records import RunStatus

__all__ = ["say_no_sessions", "sessions", "show_sessions"]

_WHOLE_SESSIONS = "Figures are of whole sessions; those of the period alone: waxlocal stats"
# From this width on, a session fits on one line.
_ONE_LINE = 132


@click.command(cls=Subcommand)
@filter_options
@ordering_option(
    "cost, duration, tokens, turns, recent; or a field such as total_cost, -total_cost.",
    shell_complete=complete.orderings,
)
@page_options
@form_options(*LISTS)
@click.pass_context
def sessions(
    ctx: click.Context,
    *,
    filter: SessionFilter,
    ordering: str,
    limit: int | None,
    offset: int,
    form: str,
) -> None:
    """List conversations, most recently active first.

    A session is one conversation: all runs with the same session id.
    """
    ordering = ordering_of(ordering)
    with recordings(target_file_of(ctx)) as connection:

        def ask(size: int, start: int) -> list[Session]:
            return list_sessions(
                connection, filter=filter, ordering=ordering, limit=size, offset=start
            )

        page = limit, offset
        found = rows_to_show(connection, ask, page, form, SESSION_COLUMNS)
        if found is None:
            return
        whole = count_all(len(found), page, lambda: count_sessions(connection, filter=filter))
        outside = not found and bool(last_runs(connection, limit=1))
    if found:
        screen = Screen()
        show_sessions(screen, found)
        say_more(screen, "sessions", offset, len(found), whole)
        if not screen.plain and (filter.since or filter.until):
            screen.write(screen.text((_WHOLE_SESSIONS, DIM)))
    elif offset and whole:
        say_beyond("sessions", whole)
    else:
        say_no_sessions(filter, outside=outside)


def say_no_sessions(filter: SessionFilter, *, outside: bool) -> None:
    """Say why no session is there; `outside` says that there are runs."""
    if filter != EVERYTHING:
        say_nothing("No session matches.", "fewer filters, or: waxlocal sessions")
    elif outside:
        hint = "waxlocal runs, or name a session: waxlocal run --session NAME app.py"
        say_nothing("No sessions: no recorded run has a session.", hint)
    else:
        say_nothing("No sessions.", "record runs with a session_id, or: waxlocal demo")


def show_sessions(screen: Screen, found: Sequence[Session]) -> None:
    """Write a table of sessions; on a narrow terminal, two lines per session."""
    if screen.plain or screen.width >= _ONE_LINE:
        _show_wide(screen, found)
    else:
        _show_narrow(screen, found)


def _show_wide(screen: Screen, found: Sequence[Session]) -> None:
    columns = (
        Column("Session", least=21),
        Column("User", least=10),
        Column("Agents", least=10),
        Column("Turns", right=True),
        Column("Tokens", right=True),
        Column("Cost", right=True),
        Column("Duration", right=True),
        Column("Last activity"),
        Column("Status"),
        Column("Title", least=16),
    )
    rows = [
        (
            screen.text((escaping.line(one.session_id), DIM)),
            escaping.line(figures.who(one)),
            escaping.line(", ".join(one.agents)),
            figures.tokens(one.turn_count),
            figures.tokens_of(one.total_tokens, one.metered_share),
            figures.cost_of(one),
            figures.duration(one.total_duration),
            screen.when(one.last_activity_at),
            screen.text((one.status, status_style(one.status))),
            escaping.line(one.title),
        )
        for one in found
    ]
    screen.write(screen.table(columns, rows))


def _show_narrow(screen: Screen, found: Sequence[Session]) -> None:
    """Write two lines per session: title, user and agents, then the figures."""
    cost, costs = cost_column(screen, found)
    columns = (
        Column("Session", least=21),
        Column("Turns", right=True),
        Column("Tokens", right=True),
        cost,
        Column("Duration", right=True),
        Column("Last active"),
    )
    rows = [
        (
            screen.text((escaping.line(one.session_id), DIM)),
            figures.tokens(one.turn_count),
            figures.tokens_of(one.total_tokens, one.metered_share),
            spent,
            figures.duration(one.total_duration),
            screen.when(one.last_activity_at),
        )
        for one, spent in zip(found, costs, strict=True)
    ]
    lines = screen.lines(screen.table(columns, rows))
    screen.put(lines[: -len(found)])
    for one, line in zip(found, lines[-len(found) :], strict=True):
        _show_title(screen, one)
        screen.put([line])


def _show_title(screen: Screen, one: Session) -> None:
    who = escaping.line(screen.facts(figures.who(one), ", ".join(one.agents)))
    who = who if len(who) <= screen.width // 3 else who[: screen.width // 3 - 1] + "…"
    status = "" if one.status == RunStatus.SUCCESS else f"  {one.status}"
    title = screen.text(escaping.line(one.title) or figures.NOTHING)
    title.truncate(screen.width - len(who) - len(status) - 2, overflow="ellipsis")
    screen.write(title.append(f"  {who}", DIM).append(status, status_style(one.status)))
