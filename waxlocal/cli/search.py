"""`waxlocal search LINE`: find the turns in which something was said."""

from __future__ import annotations

import math
import re
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from waxlocal import escaping
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import ROWS, form_options, printed_rows
from waxlocal.cli.hints import say_nothing
from waxlocal.cli.local_times import LocalZone
from waxlocal.cli.numbers import Count
from waxlocal.cli.output import DIM, Screen, status_style
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.errors import FileLocked, FileReadOnly, InvalidQuery
from waxlocal.maintenance.changed_contents import mark_calls
from waxlocal.queries.filters import MAX_LIMIT
from waxlocal.queries.rows import as_dict
from waxlocal.records import LARGEST_INTEGER, RunStatus
from waxlocal.search.building import bring_up_to_date
from waxlocal.search.hits import Hit, HitRow, Hits, by_session
from waxlocal.search.hits import search as find
from waxlocal.search.index_file import IndexDamaged, index_path, index_reader, remove_index
from waxlocal.search.line import Line, parse_line
from waxlocal.storage.connection import writer
from waxlocal.storage.paths import file_id

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["search"]

ON_SCREEN = 20
_COLUMNS = tuple(one.name for one in fields(HitRow))
# Between two lines that say how far the index has come.
SAY_S = 1.0
# How long to wait for another process that adds to the index, and between two looks at it.
WAIT_S, LOOK_S = 10.0, 0.05
_INDENT = "  "
_BEHIND = "Note: the last runs are not in the index yet."
_COPY = "copy the file to where its index can be made beside it"
_LOOSE = "No turn has these words. These have words that begin so:\n"


class _WithWords(Subcommand):
    """Takes `-draft` for a word of the line; what begins with `--` is an option, right or wrong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put such words behind the options: their order in a line says nothing."""
        if "--" in args:
            return super().parse_args(ctx, args)
        options = [one for one in self.params if isinstance(one, click.Option) and not one.is_flag]
        valued = {name for one in options for name in one.opts}
        words: list[str] = []
        others: list[str] = []
        for before, one in zip(["", *args], args, strict=False):
            is_word = re.match(r"-(?!-|h$)", one) and before not in valued
            (words if is_word else others).append(one)
        return super().parse_args(ctx, [*others, *(["--", *words] if words else [])])


@click.command(cls=_WithWords)
@click.argument("words", metavar="LINE...", nargs=-1, required=True)
@click.option(
    "--limit",
    type=Count(1, LARGEST_INTEGER),
    metavar="N",
    help=f"Show at most this many: {ON_SCREEN} as text, else all.",
)
@form_options(*ROWS)
@click.pass_context
def search(ctx: click.Context, *, words: tuple[str, ...], limit: int | None, form: str) -> None:
    """Find the turns in which something was said, the last recorded first.

    Searches messages, answers, prompts, what tools were given and gave back, and errors. All words
    must occur in a turn, whatever their case and accents; "a phrase" in quotes as it stands,
    refund* with any ending, -draft not at all. Filters: user: agent: model: tool: status: tag:
    session: error: before: after:, and of the session cost:>0.5 and turns:>10. Quote the line:

    \b
      waxlocal search 'refund "14 days" user:42 after:7d'
    """
    line = parse_line(" ".join(words), zone=LocalZone(later=False))
    if line.is_empty:
        raise InvalidQuery("no word to search for", hint="waxlocal search 'refund user:42'")
    target = target_file_of(ctx)
    with recordings(target) as main:
        hits: Iterator[Hit] = iter(())
        if file_id(target.path) is not None:
            _bring_up(target.path)
            hits = _found(main, target.path, line, limit or _without_limit(form))
        if printed_rows(form, _COLUMNS, (as_dict(hit.row()) for hit in hits)):
            return
        shown = list(hits)
    if shown:
        if shown[0].is_loose:
            click.echo(_LOOSE, err=True)
        _show(Screen(), shown)
        if limit is None and len(shown) == ON_SCREEN:
            click.echo(f"\nThe last {ON_SCREEN}; more with --limit", err=True)
    else:
        say_nothing(
            "Nothing found.", "fewer words or filters; what there is: waxlocal search --help"
        )


def _without_limit(form: str) -> int:
    return ON_SCREEN if form == "screen" else LARGEST_INTEGER


def _bring_up(path: Path) -> None:
    """Add to the index what has come; says how far it is if that takes long.

    While another process adds to it this one waits, as long as that makes progress. Where it may
    not be written, it is used as it is.
    """
    try:
        _bring_up_while(path)
    except FileReadOnly as error:
        if not index_path(path).exists():
            error.hint = _COPY
            raise


def _bring_up_while(path: Path) -> None:
    mark_calls(path)
    seen, waited = None, 0.0
    while waited < WAIT_S:
        try:
            done = bring_up_to_date(path, SAY_S)
        except FileLocked:
            time.sleep(LOOK_S)
            waited += LOOK_S
            continue
        if done is None:  # a file of an earlier version
            waited += LOOK_S
            with writer(path):
                continue
        if done.is_complete:
            break
        waited = 0.0 if done != seen else waited
        seen = done
        _say(f"Indexing: {max(done.up_to, 0):,} of {done.newest:,} runs")
    if seen and sys.stderr.isatty():
        click.echo("\033[K", err=True, nl=False)


def _say(progress: str) -> None:
    click.echo(progress + ("\r" if sys.stderr.isatty() else "\n"), err=True, nl=False)


def _found(main: sqlite3.Connection, path: Path, line: Line, limit: int) -> Iterator[Hit]:
    try:
        page = _page(main, path, line, limit, None)
    except IndexDamaged:  # which only who reads that part of it notices
        _make_anew(path)
        page = _page(main, path, line, limit, None)
    if page.behind:
        click.echo(_BEHIND, err=True)
    yield from page.hits
    while page.below is not None and (limit := limit - len(page.hits)) > 0:
        page = _page(main, path, line, limit, page.below)
        yield from page.hits


def _make_anew(path: Path) -> None:
    try:
        remove_index(path)
    except FileReadOnly as error:
        error.hint = _COPY
        raise
    _bring_up(path)


def _page(main: sqlite3.Connection, path: Path, line: Line, limit: int, below: int | None) -> Hits:
    size = min(limit, MAX_LIMIT)
    with index_reader(path) as index:
        page = find(main, index, line, limit=size, below=below, seconds=math.inf)
    if page is None:
        raise IndexDamaged(f"{index.path} is of another file")
    return page


def _show(screen: Screen, hits: Sequence[Hit]) -> None:
    for place, of_session in enumerate(by_session(hits)):
        if place:
            screen.gap()
        _show_heading(screen, of_session[0])
        for hit in of_session:
            _show_hit(screen, hit)


def _show_heading(screen: Screen, hit: Hit) -> None:
    heading = (escaping.line(hit.session_title) or "Untitled session", "bold")
    where = escaping.line(hit.session_id or hit.run_id)
    screen.write(screen.text(heading, "  ", (where, DIM)))


def _show_hit(screen: Screen, hit: Hit) -> None:
    facts = screen.facts(
        _turn_of(hit),
        escaping.line(hit.agent_name),
        escaping.line(hit.user_id or ""),
        screen.when(hit.started_at),
        escaping.line(hit.snippet.place),
    )
    parts: list[str | tuple[str, str]] = [_INDENT, (facts, DIM)]
    if hit.status != RunStatus.SUCCESS:
        parts += ["  ", (hit.status, status_style(hit.status))]
    screen.write(screen.text(*parts))
    screen.write(_words(screen, hit))


def _turn_of(hit: Hit) -> str:
    if hit.place is None:
        return ""
    turn = f"turn {hit.place.turn:,}"
    return f"{turn}, sub-agent" if hit.place.nested else turn


def _words(screen: Screen, hit: Hit) -> Text:
    pieces = [
        (escaping.block(text), "bold yellow" if is_word else "")
        for text, is_word in hit.snippet.parts
    ]
    return screen.text(_INDENT, *pieces)
