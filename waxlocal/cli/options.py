"""Options that several subcommands share: session filters, ordering, paging."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from waxlocal.cli import complete
from waxlocal.cli.filled import filled
from waxlocal.cli.local_times import TIME_FORMS, local_period
from waxlocal.errors import InvalidQuery
from waxlocal.queries import ORDERINGS, SessionFilter
from waxlocal.queries.criteria import check_order, typed
from waxlocal.queries.run_list import RunFilter
from waxlocal.records import RUN_STATUSES

__all__ = [
    "FRIENDLY_ORDERINGS",
    "filter_options",
    "ordering_of",
    "ordering_option",
    "orderings",
    "period_filter_options",
    "run_filter_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])

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


def ordering_option(help: str, **more: Any) -> Callable[[Command], Command]:
    """Return the option `--order`, by another name `--by`; the command gets it as `ordering`."""
    return click.option(
        *("--order", "--by", "ordering"),
        default="recent",
        show_default=True,
        metavar="FIELD",
        help=help,
        **more,
    )


def orderings(short: Mapping[str, str], fields: Sequence[str]) -> str:
    """Return the help of `ordering_option` where few fields are to choose from."""
    return f"{', '.join(short)}; or a field: {', '.join(fields)}."


class _Option(NamedTuple):
    """An option that filters: its name, field and value, and how it chooses sessions and runs."""

    option: str
    field: str
    metavar: str
    of_sessions: str
    of_runs: str


_STATUSES = f"with this status: {', '.join(RUN_STATUSES)}"
_FILTERS = (
    _Option("--user", "user_id", "USER_ID", "in which this user took part.", "of this user."),
    _Option("--agent", "agent", "NAME", "in which this agent ran.", "of this agent."),
    _Option(
        *("--model", "model", "NAME"),
        *("with a call of this model; gpt-4* is all whose names begin so.",) * 2,
    ),
    _Option(
        *("--tool", "tool", "NAME"),
        *("in which this tool was called; also with a * at the end.",) * 2,
    ),
    _Option("--tag", "tag", "KEY[=VALUE]", "with this tag on a run.", "with this tag."),
    _Option(
        *("--metadata", "metadata", "KEY[=VALUE]"),
        *("with this metadata on a run; customer.plan is a key in a key.", "with this metadata."),
    ),
    _Option(
        *("--status", "status", "STATUS"),
        *(f"{_STATUSES}; of blocked and cancelled, with such a turn.", f"{_STATUSES}."),
    ),
    _Option(
        *("--error-type", "error_type", "TYPE"),
        *(f"{run} failed with this type of error." for run in ("in which a run", "that")),
    ),
    _Option(
        *("--score", "score", "SCORE"),
        *("with this score: a name, or 'rating>=4', helpful=yes, topic=billing.",) * 2,
    ),
    _Option(
        *("--min-cost", "min_cost", "DOLLARS"),
        *("that cost so much or more.", "that cost so much or more by themselves."),
    ),
    _Option("--max-cost", "max_cost", "DOLLARS", *("that cost so much or less.",) * 2),
    _Option(
        *("--min-duration", "min_duration", "TIME"),
        *(
            f"{took} so long or longer: 90, 500ms, 2m, 1h."
            for took in ("whose turns took", "that took")
        ),
    ),
    _Option(
        *("--max-duration", "max_duration", "TIME"),
        "whose turns took so long or shorter.",
        "that took so long or shorter.",
    ),
    _Option(
        "--since", "since", "TIME", f"active since: {TIME_FORMS}", f"begun since: {TIME_FORMS}"
    ),
    _Option("--until", "until", "TIME", "last active until then.", "begun until then."),
    _Option(
        *("--search", "search", "TEXT"),
        *("whose inputs or results contain this text.",) * 2,
    ),
)


_IN_PERIOD = {
    "since": f"with turns or calls since: {TIME_FORMS} The figures are of these.",
    "until": "with turns or calls until then.",
}


_TURNS = (
    _Option("--min-turns", "min_turns", "NUMBER", "of so many turns or more.", ""),
    _Option("--max-turns", "max_turns", "NUMBER", "of so many turns or fewer.", ""),
)
_OF_SESSIONS = (*_FILTERS, *_TURNS)


def filter_options(command: Command) -> Command:
    """Add the options that filter sessions; the command gets them as `filter`."""
    options = [(one, one.of_sessions) for one in _OF_SESSIONS]
    return _filtered(command, SessionFilter, options, "sessions")


def period_filter_options(command: Command) -> Command:
    """Add the options of `filter_options` to a command that counts what happened in a period."""
    options = [(one, _IN_PERIOD.get(one.field, one.of_sessions)) for one in _OF_SESSIONS]
    return _filtered(command, SessionFilter, options, "sessions")


def run_filter_options(command: Command) -> Command:
    """Add the options that filter runs; the command gets them as `filter`."""
    whole_or_begun = "of the session with this id, or the only one that begins so; or: last."
    of_session = _Option("--session", "session_id", "ID", "", whole_or_begun)
    options = [(one, one.of_runs) for one in (of_session, *_FILTERS)]
    added = _filtered(command, RunFilter, options, "runs", flags=("no_session",))
    flag = click.option("--no-session", is_flag=True, help="Only runs without a session.")
    return flag(added)


def _filtered(
    command: Command,
    kind: Callable[..., Any],
    options: Sequence[tuple[_Option, str]],
    noun: str,
    flags: Sequence[str] = (),
) -> Command:
    """Add options; the command gets `kind` of their values, and of those of the flags."""

    @functools.wraps(command)
    def called(*args: Any, **rest: Any) -> Any:
        names = (*(one.field for one, _ in options), *flags)
        chosen = {name: rest.pop(name) for name in names}
        chosen["since"], chosen["until"] = local_period(chosen["since"], chosen["until"])
        filter = kind(**typed(chosen))
        check_order(filter)
        return command(*args, filter=filter, **rest)

    added: Any = called
    for (option, name, metavar, *_), which in reversed(options):
        more: dict[str, Any] = {"metavar": metavar, "help": f"Only {noun} {which}"}
        if name == "status":
            more["shell_complete"] = complete.statuses
        added = click.option(option, name, callback=filled, **more)(added)
    return added  # type: ignore[no-any-return]
