"""`waxlocal prices`: list and set model prices, and recompute costs."""

from __future__ import annotations

import shlex

import click

from waxlocal import escaping
from waxlocal.cli import complete, figures
from waxlocal.cli.commands import CommandGroup
from waxlocal.cli.filled import filled
from waxlocal.cli.formats import ROWS, form_options, print_json, printed_rows
from waxlocal.cli.hints import as_typed, say_hint, say_nothing
from waxlocal.cli.numbers import Number
from waxlocal.cli.output import DIM, Column, Screen
from waxlocal.cli.target_file import (
    existing,
    recordings,
    target_file_of,
)
from waxlocal.prices.catalogue import Price
from waxlocal.prices.finer import FINER_COUNTS
from waxlocal.prices.lookup import PriceSource
from waxlocal.prices.table import (
    Repriced,
    list_prices,
    reprice,
    set_price,
    unset_price,
)

__all__ = ["prices"]

_CSV_COLUMNS = (
    "model",
    "provider",
    "input_per_mtok",
    "output_per_mtok",
    "cache_read_per_mtok",
    "cache_write_per_mtok",
    "source",
    "matched",
    "updated_at",
)
_WITHOUT = (PriceSource.PENDING, PriceSource.UNKNOWN)


@click.group(cls=CommandGroup, invoke_without_command=True)
@form_options(*ROWS)
@click.pass_context
def prices(ctx: click.Context, *, form: str) -> None:
    """List, set and unset model prices (dollars per million tokens), and recompute costs."""
    if ctx.invoked_subcommand is None:
        _list(ctx, form)
    elif form != "screen":
        raise click.UsageError(
            f"--{form} goes after the verb, if that has it: waxlocal prices list --{form}"
        )


@prices.command("list", short_help="List prices, missing ones first.")
@form_options(*ROWS)
@click.pass_context
def list_(ctx: click.Context, *, form: str) -> None:
    """List the prices of the models called and those that were set, with the command to set one.

    Models without a price come first.
    """
    _list(ctx, form)


def _list(ctx: click.Context, form: str) -> None:
    with recordings(target_file_of(ctx)) as connection:
        found = sorted(list_prices(connection), key=lambda price: price.source not in _WITHOUT)
    rows = [dict(vars(price)) for price in found]
    if printed_rows(form, _CSV_COLUMNS, rows):
        return
    if found:
        _show(Screen(), found)
    else:
        say_nothing("No LLM calls yet.", "waxlocal demo")


@prices.command("set", short_help="Set the price of a model.")
@click.argument("model", shell_complete=complete.models)
@click.option(
    "--input",
    "input_",
    type=Number(),
    required=True,
    metavar="X",
    help="Dollars per million input tokens.",
)
@click.option(
    "--output", type=Number(), required=True, metavar="Y", help="Dollars per million output tokens."
)
@click.option(
    "--cached",
    type=Number(),
    metavar="Z",
    help="Dollars per million tokens read from the provider's cache (default: as --input).",
)
@click.option(
    "--cache-write",
    type=Number(),
    metavar="W",
    help="Dollars per million tokens written to that cache (default: as --input).",
)
@click.option(
    "--provider",
    default="",
    callback=filled,
    metavar="P",
    help="Only calls recorded with this provider.",
)
@form_options()
@click.pass_context
def set_(
    ctx: click.Context,
    *,
    model: str,
    input_: float,
    output: float,
    cached: float | None,
    cache_write: float | None,
    provider: str,
    form: str,
) -> None:
    """Set the price of a model, and recompute the cost of its calls.

    The price applies until `prices unset`. Costs that the program recorded itself do not change.
    A price can be set before the first call; a note says so.
    """
    done = set_price(
        existing(target_file_of(ctx)),
        model,
        provider=provider,
        input_per_mtok=input_,
        output_per_mtok=output,
        cache_read_per_mtok=cached,
        cache_write_per_mtok=cache_write,
    )
    _report(done, form)
    if not done.calls:
        _say_unused(model, provider)


@prices.command("unset", short_help="Remove a price that was set.")
@click.argument("model", shell_complete=complete.models)
@click.option(
    "--provider",
    default="",
    callback=filled,
    metavar="P",
    help="The provider that was given to `prices set`.",
)
@form_options()
@click.pass_context
def unset(ctx: click.Context, *, model: str, provider: str, form: str) -> None:
    """Remove a price that was set, so that the price list applies again, and recompute costs."""
    _report(unset_price(existing(target_file_of(ctx)), model, provider), form)


@prices.command("reprice", short_help="Recompute costs from today's prices.")
@click.argument("model", required=False, shell_complete=complete.models)
@form_options()
@click.pass_context
def reprice_(ctx: click.Context, *, model: str | None, form: str) -> None:
    """Recompute the cost of all calls, or of one MODEL's, from today's prices.

    Costs that the program recorded itself do not change.
    """
    _report(reprice(existing(target_file_of(ctx)), model), form)


def _say_unused(model: str, provider: str) -> None:
    """Say that a price changes nothing yet; most often its name is not the one of the calls."""
    of = f" with the provider {provider!r}" if provider else ""
    click.echo(
        f"Note: no recorded call of {model!r}{of} has a cost to compute; the price applies to "
        "later ones.",
        err=True,
    )
    say_hint("see the names of the recorded models: waxlocal models")


def _report(done: Repriced, form: str) -> None:
    if form == "json":
        print_json(dict(vars(done)))
        return
    screen = Screen()
    calls = f"{figures.counted(done.calls, 'call')} checked, {done.changed:,} changed"
    arrow = "->" if screen.ascii_only else "→"
    sums = f"{figures.money(done.before)} {arrow} {figures.money(done.after)}" if done.calls else ""
    screen.write(screen.text(screen.facts(calls, sums)))


def _show(screen: Screen, found: list[Price]) -> None:
    columns = (
        Column("Model", least=16),
        Column("Input", right=True),
        Column("Output", right=True),
        Column("Cached", right=True),
        Column("Cache write", right=True),
        Column("Source"),
    )
    rows = [
        (
            screen.text(escaping.line(one.model), (_at(one.provider), DIM)),
            figures.rate(one.input_per_mtok),
            figures.rate(one.output_per_mtok),
            figures.rate(one.cache_read_per_mtok),
            figures.rate(one.cache_write_per_mtok),
            screen.text((escaping.line(one.source) + (", tiered" if one.is_tiered else ""), DIM)),
        )
        for one in found
    ]
    screen.write(screen.table(columns, rows))
    _show_finer(screen, found)
    missing = [one for one in found if one.source in _WITHOUT]
    if missing:
        screen.gap()
        screen.write(screen.text(("These models have no price. Set one with:", DIM)))
    for one in missing:
        screen.command(_set_command(one))


def _show_finer(screen: Screen, found: list[Price]) -> None:
    """Name the prices that the columns have no room for."""
    finer = {one: rates for one in found if (rates := one.finer)}
    if finer:
        screen.gap()
        screen.write(screen.text(("What has a price of its own:", DIM)))
    for one, rates in finer.items():
        told = (
            f"{FINER_COUNTS[name].price(rate)} for {FINER_COUNTS[name].words}"
            for name, rate in rates.items()
        )
        model = escaping.line(one.model)
        screen.write(screen.text(f"{model}{_at(one.provider)}: {', '.join(told)}"))


def _set_command(one: Price) -> str:
    """Return the command to type. A name with control characters is escaped, so it only shows."""
    provider = f" --provider {shlex.quote(escaping.line(one.provider))}" if one.provider else ""
    model = shlex.quote(escaping.line(one.model))
    return as_typed(f"waxlocal prices set {model}{provider} --input X --output Y")


def _at(provider: str) -> str:
    return f" ({escaping.line(provider)})" if provider else ""
