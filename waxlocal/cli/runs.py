"""`waxlocal runs`: list runs with filters, with or without a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from waxlocal import escaping
from waxlocal.cli import figures
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import LISTS, form_options
from waxlocal.cli.hints import say_beyond, say_nothing
from waxlocal.cli.options import ordering_of, ordering_option, orderings, run_filter_options
from waxlocal.cli.output import DIM, Column, Screen, status_style
from waxlocal.cli.row_pages import count_all, page_options, rows_to_show, say_more
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.errors import InvalidQuery
from waxlocal.exports import RUN_COLUMNS
from waxlocal.queries import RunSummary, resolve_session_id, short_run_id
from waxlocal.queries.run_list import ALL_RUNS, RUN_ORDERINGS, RunFilter, count_runs, list_runs

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["runs"]

_FRIENDLY = {"recent": "-id", "started": "-started_at", "duration": "-duration"}


@click.command(cls=Subcommand)
@run_filter_options
@ordering_option(orderings(_FRIENDLY, RUN_ORDERINGS))
@page_options
@form_options(*LISTS)
@click.pass_context
def runs(
    ctx: click.Context,
    *,
    filter: RunFilter,
    ordering: str,
    limit: int | None,
    offset: int,
    form: str,
) -> None:
    """List runs, the last recorded first: turns, runs of sub-agents, and runs without a session.

    `waxlocal show RUN_ID` shows all of one; `waxlocal show last` the last.
    """
    if filter.no_session and filter.session_id:
        raise InvalidQuery("a run has a session or none", hint="leave one of the two out")
    ordering = ordering_of(ordering, _FRIENDLY, RUN_ORDERINGS)
    with recordings(target_file_of(ctx)) as connection:
        if filter.session_id:
            whole_id = resolve_session_id(connection, filter.session_id)
            filter = replace(filter, session_id=whole_id)

        def ask(size: int, start: int) -> list[RunSummary]:
            return list_runs(connection, filter=filter, ordering=ordering, limit=size, offset=start)

        page = limit, offset
        found = rows_to_show(connection, ask, page, form, RUN_COLUMNS)
        if found is None:
            return
        whole = count_all(len(found), page, lambda: count_runs(connection, filter=filter))
        ids = [short_run_id(connection, one.run_id) for one in found]
    if found:
        screen = Screen()
        _show(screen, found, ids)
        say_more(screen, "runs", offset, len(found), whole)
    elif offset and whole:
        say_beyond("runs", whole)
    elif filter != ALL_RUNS:
        say_nothing("No run matches.", "fewer filters, or: waxlocal runs")
    else:
        say_nothing("No runs.", "waxlocal run app.py, or: waxlocal demo")


def _show(screen: Screen, found: Sequence[RunSummary], ids: Sequence[str]) -> None:
    columns = [
        Column("Run", least=18),
        Column("Agent", least=8),
        Column("Tokens", right=True),
        Column("Cost", right=True),
        Column("Duration", right=True),
        Column("Started"),
        Column("Status"),
        Column("Session", least=8),
        Column("Message", least=12),
    ]
    rows: list[Sequence[str | Text]] = [
        [
            screen.text((escaping.line(one.run_id if screen.plain else short), DIM)),
            escaping.line(one.agent_name),
            figures.tokens_of(one.total_tokens, one.metered_share),
            figures.cost_of(one),
            figures.NOTHING if one.duration is None else figures.duration(one.duration),
            screen.when(one.started_at),
            screen.text((one.status, status_style(one.status))),
            figures.NOTHING if one.session_id is None else escaping.line(one.session_id),
            escaping.line(one.message if screen.plain else one.message[:200]),
        ]
        for one, short in zip(found, ids, strict=True)
    ]
    screen.write(screen.table(columns, rows))
