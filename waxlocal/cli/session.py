"""`waxlocal session ID`: show one conversation turn by turn, with its cost and time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import click

from waxlocal import escaping, wording
from waxlocal.cli import complete
from waxlocal.cli import figures as format
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.cost_and_time import show_money, show_timing
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.hints import say_beyond
from waxlocal.cli.local_times import time_of_day
from waxlocal.cli.output import ACCENT, DIM, ERROR, Screen, status_style
from waxlocal.cli.row_pages import LIMIT, OFFSET
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.queries import (
    Money,
    RunSummary,
    Session,
    SessionDetail,
    TurnMoney,
    as_dict,
    get_session,
    money,
    resolve_session_id,
    timing,
)
from waxlocal.queries.turns import Place
from waxlocal.records import RunStatus

__all__ = ["session", "show_session"]

# Lines of a message or answer that are shown; `waxlocal show` prints the rest.
_MOST_LINES = 4
_INDENT = 3
_MOST_USERS = 5
# The whole conversation as a file to keep or to send; `jsonl` has all records of each run.
FILES = ("jsonl", "html", "markdown")


@click.command(cls=Subcommand)
@click.argument("session_id", metavar="ID", shell_complete=complete.sessions)
@click.option(
    "--limit",
    type=LIMIT,
    default=1000,
    show_default=True,
    metavar="N",
    help="Show at most this many runs: turns and, if there are any, those of sub-agents.",
)
@click.option("--offset", type=OFFSET, default=0, metavar="N", help="Skip this many first.")
@form_options("json", *FILES)
@click.pass_context
def session(ctx: click.Context, *, session_id: str, limit: int, offset: int, form: str) -> None:
    """Show one conversation turn by turn, and where its money and time went.

    ID is a session id, or its first characters if only one session begins with them; `last` is the
    session that was active last.
    """
    with recordings(target_file_of(ctx)) as connection:
        found = resolve_session_id(connection, session_id)
        if form in FILES:
            _refuse_page(ctx, form)
            _write_file(connection, found, form)
            return
        detail = get_session(connection, found, limit=limit, offset=offset)
        spent, took = money(connection, found), timing(connection, found)
    if form == "json":
        pairs = zip(detail.runs, detail.places, strict=True)
        runs = [as_dict(run) | place._asdict() for run, place in pairs]
        whole = {**as_dict(detail.session), "runs": runs}
        print_json({**whole, "money": as_dict(spent), "timing": as_dict(took)})
        return
    screen = Screen()
    show_session(screen, detail, offset, spent)
    if not detail.runs:
        say_beyond(f"{_noun_of_runs(detail.session)}s", detail.session.run_count)
    show_money(screen, spent)
    show_timing(screen, took)


def _refuse_page(ctx: click.Context, form: str) -> None:
    for name in ("limit", "offset"):
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            said = f"--{form} writes the whole conversation: --{name} has no effect"
            raise click.UsageError(said, ctx)


def _write_file(connection: sqlite3.Connection, session_id: str, form: str) -> None:
    # Loaded when needed: with the templates of all pages, it takes longer than other commands run.
    from waxlocal.web.pages.session_file import written

    on_screen = not Screen().plain
    for part in written(connection, session_id, form):
        # In a file UTF-8, whatever the terminal has: the HTML says so.
        told = escaping.block(part) if on_screen else part.encode("utf-8", "replace")
        click.echo(told, nl=False)


def show_session(
    screen: Screen,
    detail: SessionDetail,
    offset: int = 0,
    spent: Money | None = None,
) -> None:
    """Write a session's totals and its turns, with the cost of each and how the history changed."""
    one = detail.session
    screen.write(
        screen.text(((one.title and escaping.line(one.title)) or "Untitled session", "bold"))
    )
    _show_totals(screen, one)
    if not screen.plain:
        screen.hairline()
    turns = {} if spent is None else {turn.number: turn for turn in spent.turns}
    marks: dict[str, list[str]] = {}
    for change in () if spent is None else spent.history:
        marks.setdefault(change.run_id, []).append(change.mark)
    before = ""
    for run, place in zip(detail.runs, detail.places, strict=True):
        when = run.started_at if screen.plain else time_of_day(run.started_at, before)
        before = run.started_at
        turn = None if place.nested else turns.get(place.turn)
        _show_run(screen, one, run, place, when, turn, marks.get(run.run_id, ()))
    left = one.run_count - offset - len(detail.runs)
    if left > 0:
        noun = f"more {_noun_of_runs(one)}"
        more = f"{format.counted(left, noun)}: --offset {offset + len(detail.runs)}"
        screen.gap()
        screen.write(screen.text((more, DIM)))


def _noun_of_runs(one: Session) -> str:
    """Return what a run of a session is called: if they are all turns, that."""
    return "turn" if one.run_count == one.turn_count else "run"


def _show_totals(screen: Screen, one: Session) -> None:
    who = (
        one.session_id,
        format.who(one, most=_MOST_USERS),
        ", ".join(one.agents),
        screen.when(one.last_activity_at),
    )
    screen.write(screen.text((screen.facts(*map(escaping.line, who)), DIM)))
    succeeded = one.status == RunStatus.SUCCESS
    figures = screen.facts(
        format.counted(one.turn_count, "turn"),
        f"{one.run_count:,} runs" if one.run_count != one.turn_count else "",
        f"{format.tokens_of(one.total_tokens, one.metered_share)} tokens",
        format.cost_words(one),
        f"{format.duration(one.total_duration)} agent time",
        f"{format.elapsed(one.wall_duration)} elapsed",
    )
    status = ("", "") if succeeded else (f"  {one.status}", status_style(one.status))
    screen.write(screen.text(figures, status))


def _show_run(
    screen: Screen,
    one: Session,
    run: RunSummary,
    place: Place,
    when: str,
    turn: TurnMoney | None,
    marks: Iterable[str],
) -> None:
    """Write a run; as a turn, it has the tokens and the cost of its sub-agents, too."""
    whole = turn if turn is not None and turn.runs > 1 else None
    number = "" if place.nested else f"{place.turn} "
    figures = screen.facts(
        when,
        escaping.line(run.user_id) if one.user_count > 1 and not place.nested else "",
        escaping.line(run.agent_name) if len(one.agents) > 1 else "",
        f"within turn {place.turn}" if place.nested else "",
        format.duration(run.duration) if run.duration is not None else "",
        *format.spent(whole or run),
        f"with {format.counted(whole.runs - 1, 'sub-agent run')}" if whole else "",
        *marks,
    )
    succeeded = run.status == RunStatus.SUCCESS
    status = ("", "") if succeeded else (f"  {run.status}", status_style(run.status))
    screen.gap()
    screen.write(screen.text((number.ljust(_INDENT), f"bold {ACCENT}"), figures, status))
    _say(screen, ">", run.message, "bold")
    _say(screen, "<", run.answer, "")
    if run.error or run.error_type:
        said = wording.failure(run.error_type, run.error)
        _say(screen, "!", said, ERROR)
    screen.write(screen.text((" " * _INDENT + f"run {run.run_id}", DIM)))


def _say(screen: Screen, mark: str, text: str, style: str) -> None:
    """Write a message or answer: the first lines on a terminal, all of it in a pipe."""
    if not text.strip():
        return
    margin = " " * _INDENT
    width = screen.width - _INDENT - 2
    wrapped = (
        _wrapped(text, width) if not screen.plain else escaping.block(text.strip()).split("\n")
    )
    for count, one in enumerate(wrapped):
        sign = mark if not count else " "
        screen.write(screen.text(margin, (f"{sign} ", DIM), (one, style)))


def _wrapped(text: str, width: int) -> list[str]:
    """Return the first lines of a text, wrapped between words."""
    from rich.console import Console
    from rich.text import Text

    # Cut first: a message may have millions of characters.
    head = escaping.block(text.strip()[: 4 * _MOST_LINES * width])
    lines = Text(head).wrap(Console(width=width), width, overflow="fold")
    shown = [line.plain.rstrip() for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        last = Text(f"{shown[-1]} …")
        last.truncate(width, overflow="ellipsis")
        shown[-1] = last.plain
    return shown
