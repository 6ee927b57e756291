"""Options that several subcommands share: session filters, ordering, paging."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from waxlocal.cli import complete
from waxlocal.cli.filled import filled
from waxlocal.cli.numbers import Count
from waxlocal.errors import InvalidQuery
from waxlocal.queries import ORDERINGS, SessionFilter
from waxlocal.queries.filters import MAX_LIMIT, MAX_OFFSET
from waxlocal.records import RUN_STATUSES

__all__ = [
    "FRIENDLY_ORDERINGS",
    "LIMIT",
    "OFFSET",
    "filter_options",
    "ordering_of",
    "page_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])

# How many to list, and how many to skip first.
LIMIT = Count(1, MAX_LIMIT)
OFFSET = Count(0, MAX_OFFSET)
# Short names for the API's orderings.
FRIENDLY_ORDERINGS = {
    "cost": "-total_cost",
    "duration": "-total_duration",
    "tokens": "-total_tokens",
    "turns": "-turn_count",
    "recent": "-last_activity_at",
}


def ordering_of(
    text: str,
    short: Mapping[str, str] = FRIENDLY_ORDERINGS,
    fields: Sequence[str] = ORDERINGS,
) -> str:
    """Return the ordering for a short name; a field or `-field` is returned as it is.

    Raises `InvalidQuery` for anything else.
    """
    name = text.removeprefix("-")
    if text in short:
        return short[text]
    if name in fields:
        return text
    if name in short:
        hint = f"{name} is in descending order; for ascending order: {short[name][1:]}"
    else:
        hint = (
            f"use one of: {', '.join(short)}; or a field: {', '.join(fields)}; "
            "put - in front of a field for descending order"
        )
    raise InvalidQuery(f"unknown ordering {text!r}", hint=hint)


_FILTERS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("--user", "user_id", "Only sessions of this user.", {"metavar": "USER_ID"}),
    ("--agent", "agent", "Only sessions in which this agent ran.", {"metavar": "NAME"}),
    ("--tag", "tag", "Only sessions with this tag on a run.", {"metavar": "KEY[=VALUE]"}),
    (
        "--metadata",
        "metadata",
        "Only sessions with this metadata on a run.",
        {"metavar": "KEY[=VALUE]"},
    ),
    (
        "--status",
        "status",
        f"Only sessions with this status: {', '.join(RUN_STATUSES)}.",
        {"metavar": "STATUS"},
    ),
    (
        "--since",
        "since",
        "Only sessions active since: 30m, 24h, 7d, 2w, or an ISO time (UTC).",
        {"metavar": "TIME"},
    ),
    ("--until", "until", "Only sessions last active until then.", {"metavar": "TIME"}),
    (
        "--search",
        "search",
        "Only sessions whose inputs or results contain this text.",
        {"metavar": "TEXT"},
    ),
)


def filter_options(command: Command) -> Command:
    """Add the options that filter sessions; the command gets them as `filter`."""

    @functools.wraps(command)
    def called(*args: Any, **rest: Any) -> Any:
        chosen = {name: rest.pop(name) for _, name, _, _ in _FILTERS}
        return command(*args, filter=SessionFilter(**chosen), **rest)

    added: Any = called
    for option, name, help_, more in reversed(_FILTERS):
        if name == "status":
            more = {**more, "shell_complete": complete.statuses}
        added = click.option(option, name, callback=filled, help=help_, **more)(added)
    return added  # type: ignore[no-any-return]


def page_options(command: Command) -> Command:
    """Add `--limit` and `--offset`."""
    limit = click.option(
        "--limit",
        type=LIMIT,
        default=20,
        show_default=True,
        metavar="N",
        help="Show at most this many.",
    )
    offset = click.option(
        "--offset", type=OFFSET, default=0, metavar="N", help="Skip this many first."
    )
    return limit(offset(command))
