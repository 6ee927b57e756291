"""`waxlocal models`: which models were called, how fast, for how much."""

from __future__ import annotations

import click

from waxlocal import escaping
from waxlocal.cli import figures
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.filled import filled
from waxlocal.cli.formats import ROWS, form_options, printed_rows
from waxlocal.cli.hints import as_typed, say_nothing
from waxlocal.cli.local_times import TIME_FORMS, local_period
from waxlocal.cli.output import DIM, Column, Screen
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.queries import ModelUse, as_dict, list_models

__all__ = ["models"]

_CSV_COLUMNS = (
    "model",
    "provider",
    "calls",
    "errors",
    "error_share",
    "tokens_in",
    "tokens_out",
    "cached_tokens",
    "total_tokens",
    "total_cost",
    "priced_share",
    "metered_share",
    "p50_ms",
    "p95_ms",
    "price_source",
)


@click.command(cls=Subcommand)
@click.option(
    "--since",
    callback=filled,
    metavar="TIME",
    help=f"Only calls that ended since: {TIME_FORMS}",
)
@click.option("--until", callback=filled, metavar="TIME", help="Only calls that ended until then.")
@form_options(*ROWS)
@click.pass_context
def models(ctx: click.Context, *, since: str | None, until: str | None, form: str) -> None:
    """List models: calls, errors, tokens, cost, latency.

    Models without a price come first. p50 and p95 cover the calls whose duration is known.
    """
    since, until = local_period(since, until)
    with recordings(target_file_of(ctx)) as connection:
        found = list_models(connection, since=since, until=until)
    if printed_rows(form, _CSV_COLUMNS, [as_dict(one) for one in found]):
        return
    if found:
        _show(Screen(), found)
    else:
        _say_none(limited=bool(since or until))


def _say_none(*, limited: bool) -> None:
    if limited:
        say_nothing("No LLM call matches.", "a longer time, or: waxlocal models")
    else:
        say_nothing("No LLM calls.", "waxlocal sessions, or: waxlocal demo")


def _show(screen: Screen, found: list[ModelUse]) -> None:
    columns = (
        Column("Model", least=16),
        Column("Calls", right=True),
        Column("Failed", right=True),
        Column("In", right=True),
        Column("Out", right=True),
        Column("Cached", right=True),
        Column("Cost", right=True),
        Column("p50", right=True),
        Column("p95", right=True),
    )
    rows = [
        (
            screen.text(escaping.line(one.model), (_at(one.provider), DIM)),
            figures.tokens(one.calls),
            figures.percent(one.error_share) if one.errors else figures.NOTHING,
            figures.tokens_of(one.tokens_in, one.metered_share),
            figures.told_tokens(one.tokens_out, one.metered_share),
            figures.tokens(one.cached_tokens) if one.cached_tokens else figures.NOTHING,
            figures.cost_of(one),
            figures.duration(None if one.p50_ms is None else one.p50_ms / 1000),
            figures.duration(None if one.p95_ms is None else one.p95_ms / 1000),
        )
        for one in found
    ]
    screen.write(screen.table(columns, rows))
    if any(one.priced_share is not None and one.priced_share < 1 for one in found):
        screen.gap()
        screen.write(screen.text(("Some prices are missing. See which, and how to set them:", DIM)))
        screen.command(as_typed("waxlocal prices list"))


def _at(provider: str) -> str:
    return f" ({escaping.line(provider)})" if provider else ""
