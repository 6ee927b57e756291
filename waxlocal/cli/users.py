"""`waxlocal users`: list users with their usage and cost."""

from __future__ import annotations

import click

from waxlocal import escaping
from waxlocal.cli import figures
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import LISTS, form_options
from waxlocal.cli.hints import say_beyond, say_nothing
from waxlocal.cli.options import ordering_of, ordering_option, orderings
from waxlocal.cli.output import Column, Screen, cost_column
from waxlocal.cli.row_pages import page_options, rows_to_show
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.exports import USER_COLUMNS
from waxlocal.queries import USER_ORDERINGS, User, list_users
from waxlocal.queries.users import count_users

__all__ = ["users"]

_FRIENDLY = {
    "cost": "-total_cost",
    "duration": "-total_duration",
    "tokens": "-total_tokens",
    "turns": "-turn_count",
    "sessions": "-session_count",
    "recent": "-last_activity_at",
}


@click.command(cls=Subcommand)
@ordering_option(orderings(_FRIENDLY, USER_ORDERINGS))
@page_options
@form_options(*LISTS)
@click.pass_context
def users(ctx: click.Context, *, ordering: str, limit: int | None, offset: int, form: str) -> None:
    """List users with sessions, tokens, cost and duration, most recently active first."""
    ordering = ordering_of(ordering, _FRIENDLY, USER_ORDERINGS)
    with recordings(target_file_of(ctx)) as connection:

        def ask(size: int, start: int) -> list[User]:
            return list_users(connection, ordering=ordering, limit=size, offset=start)

        found = rows_to_show(connection, ask, (limit, offset), form, USER_COLUMNS)
        if found is None:
            return
        whole = count_users(connection) if offset and not found else 0
    if found:
        _show(Screen(), found)
    elif whole:
        say_beyond("users", whole)
    else:
        say_nothing("No users.", "record runs with a user_id, or: waxlocal run --user NAME app.py")


def _show(screen: Screen, found: list[User]) -> None:
    cost, costs = cost_column(screen, found)
    columns = [
        Column("User", least=8),
        Column("Sessions", right=True),
        Column("Turns", right=True),
        Column("Tokens", right=True),
        cost,
        Column("Duration", right=True),
        Column("Last active"),
    ]
    rows = [
        [
            escaping.line(one.user_id),
            figures.tokens(one.session_count),
            figures.tokens(one.turn_count),
            figures.tokens_of(one.total_tokens, one.metered_share),
            spent,
            figures.duration(one.total_duration),
            screen.when(one.last_activity_at),
        ]
        for one, spent in zip(found, costs, strict=True)
    ]
    if screen.roomy:
        columns.append(Column("Agents", least=8))
        for row, one in zip(rows, found, strict=True):
            row.append(escaping.line(", ".join(one.agents)))
    screen.write(screen.table(columns, rows))
