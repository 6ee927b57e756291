"""Shell completion of ids (read from the file), orderings and statuses. Never raises."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from waxlocal import escaping
from waxlocal.cli.target_file import target_file_of
from waxlocal.errors import ObserveError
from waxlocal.storage.connection import reader

__all__ = ["models", "orderings", "runs", "sessions", "statuses"]

Items = list[CompletionItem]
# A file may hold a million ids; people complete recent ones.
_MOST = 200


def sessions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Return the newest sessions' ids, with their titles."""
    from waxlocal.queries import list_sessions

    return _ask(ctx, incomplete, lambda connection: [
        (one.session_id, one.title) for one in list_sessions(connection, limit=_MOST)
    ])  # fmt: skip


def runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Return the newest runs' ids, with agent and message."""
    from waxlocal.queries import last_runs

    return _ask(ctx, incomplete, lambda connection: [
        (one.run_id, f"{one.agent_name}: {one.message[:60]}")
        for one in reversed(last_runs(connection, limit=_MOST))
    ])  # fmt: skip


def models(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Return the models in the price table."""
    from waxlocal.prices.table import list_prices

    return _ask(ctx, incomplete, lambda connection: [
        (one.model, one.source) for one in list_prices(connection)
    ])  # fmt: skip


def orderings(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Return the orderings of sessions, ascending and descending."""
    from waxlocal.queries import ORDERINGS

    known = ("cost", "duration", "tokens", "turns", "recent", *ORDERINGS)
    names = (*known, *(f"-{name}" for name in ORDERINGS))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def statuses(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Return the run statuses."""
    from waxlocal.records import RUN_STATUSES

    return [CompletionItem(name) for name in RUN_STATUSES if name.startswith(incomplete)]


def _ask(
    ctx: click.Context,
    incomplete: str,
    question: Callable[[sqlite3.Connection], list[tuple[str, str]]],
) -> Items:
    try:
        with reader(target_file_of(ctx).path) as connection:
            found = question(connection)
    except (ObserveError, OSError):
        return []
    # Skip ids with control characters: the shell would insert them into the command line.
    return [
        CompletionItem(one, help=escaping.line(words))
        for one, words in found
        if one.startswith(incomplete) and escaping.line(one) == one
    ]
