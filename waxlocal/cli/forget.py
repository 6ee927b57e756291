"""`waxlocal forget`: delete all recordings of a user, a session or a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from waxlocal import escaping, wording
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.filled import filled
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.hints import say_hint
from waxlocal.cli.output import Screen
from waxlocal.cli.target_file import need_own, target_file_of
from waxlocal.errors import NotFound, RunsStillOpen
from waxlocal.storage.connection import reader

if TYPE_CHECKING:
    from waxlocal.maintenance.chosen_runs import Choice
    from waxlocal.maintenance.forget_preview import Preview
    from waxlocal.maintenance.forgetting import Forgetting

__all__ = ["forget", "preview_lines"]

_NOUNS = {
    "llm_calls": "LLM call",
    "steps": "step",
    "spans": "span",
    "scores": "score",
    "events": "event",
}
_LISTS = {"user": "waxlocal users", "session": "waxlocal sessions", "run": "waxlocal runs"}
# The answer no, and nothing to repeat.
DECLINED = 1


@click.command(cls=Subcommand)
@click.option("--user", callback=filled, metavar="ID", help="All runs of this user.")
@click.option("--session", callback=filled, metavar="ID", help="All runs of this session.")
@click.option("--run", callback=filled, metavar="ID", help="This run.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", "-y", is_flag=True, help="Delete without asking.")
@click.option(
    "--compact",
    is_flag=True,
    help="Also write a large file anew: programs that record wait meanwhile.",
)
@form_options()
@click.pass_context
def forget(
    ctx: click.Context,
    *,
    user: str | None,
    session: str | None,
    run: str | None,
    dry_run: bool,
    yes: bool,
    compact: bool,
    form: str,
) -> None:
    """Delete all recordings of a user, a session or a run, with the runs below them, for good.

    Shows what would be deleted, and asks. What is deleted does not come back by an upload from
    another machine. Copies elsewhere stay: backups, other machines, servers that have it already.
    """
    choice = _choice(ctx, user=user, session=session, run=run)
    path = target_file_of(ctx).path
    need_own(path)
    found = _preview(path, choice, compact=compact)
    if form == "screen":
        screen = Screen()
        for line in preview_lines(found, choice):
            screen.write(screen.text(line))
    if dry_run:
        if form == "json":
            print_json({"preview": asdict(found), "done": None})
        return
    if not yes and not _agrees(ctx, form):
        ctx.exit(DECLINED)
    _delete(path, choice, found, compact=compact, form=form)


def _choice(ctx: click.Context, **given: str | None) -> Choice:
    from waxlocal.maintenance.chosen_runs import Choice, Kind

    chosen = [Choice(Kind(kind), name) for kind, name in given.items() if name is not None]
    if len(chosen) != 1:
        raise click.UsageError("give exactly one of these: --user, --session, --run", ctx)
    return chosen[0]


def _preview(path: Path, choice: Choice, *, compact: bool) -> Preview:
    """Return what would be deleted; raises `NotFound`, unless what is left is to be compacted."""
    from waxlocal.maintenance.forget_preview import files_beside, preview
    from waxlocal.maintenance.side_files import take_in_all

    take_in_all(path)
    with reader(path) as connection:
        found = files_beside(path, preview(connection, choice))
    if found.is_nothing_to_do(compact=compact):
        hint = f"give the whole id; list what there is with: {_LISTS[choice.kind.value]}"
        raise NotFound(f"no runs of {choice.kind.value} {choice.name!r}", hint=hint)
    return found


def preview_lines(found: Preview, choice: Choice) -> Iterator[str]:
    """Yield what a preview says, for people."""
    runs = wording.counted(found.runs, "run")
    yield f"{escaping.line(str(choice))}: {runs}, {wording.counted(found.turns, 'turn')}"
    if found.runs:
        counts = [wording.counted(found.records[name], noun) for name, noun in _NOUNS.items()]
        yield f"  {', '.join([*counts, wording.counted(found.messages, 'message')])}"
        yield f"  {found.bytes:,} bytes of values"
        whole = f"{found.whole_sessions:,} of them whole"
        yield f"  in {wording.counted(found.sessions, 'session')}, {whole}"
    for server in found.uploads:
        url = escaping.line(server.url)
        if server.waiting:
            waiting = wording.counted(server.waiting, "run")
            yield f"  {waiting} waiting for {url}: will not be sent"
        if server.uploaded:
            there = wording.counted(server.uploaded, "run")
            yield f"  {there} already at {url}: delete them there, too"
    if found.open_runs:
        yield f"  {wording.counted(found.open_runs, 'run')} still open: not deleted"
    for side in found.side_files:
        yield f"  not in the file yet, and not deleted: {escaping.line(side)}"
    for copy in found.copies:
        yield f"  a copy of an earlier state, not changed: {escaping.line(copy)}"
    if found.unfinished:
        yield "  an earlier deletion was stopped before its end, and goes on"


def _agrees(ctx: click.Context, form: str) -> bool:
    if form != "screen" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("nobody can be asked here: give --yes, or --dry-run", ctx)
    agreed = click.confirm("Delete this for good?", default=False)
    if not agreed:
        click.echo("Nothing was deleted.")
    return agreed


def _delete(path: Path, choice: Choice, found: Preview, *, compact: bool, form: str) -> None:
    from waxlocal.maintenance.forgetting import forget as delete

    done = delete(path, choice, compact=compact)
    if form == "json":
        print_json({"preview": asdict(found), "done": asdict(done)})
    else:
        click.echo(f"Deleted {wording.counted(done.runs, 'run')}.")
        _say_rest(done)
    if done.open_runs:
        still = wording.counted(done.open_runs, "run")
        raise RunsStillOpen(f"{still} not deleted: still open")


def _say_rest(done: Forgetting) -> None:
    """Say which bytes may still be in the file."""
    if not done.log_is_empty:
        click.echo("Note: somebody reads an older state, which stays in the log", err=True)
        say_hint("run the same command again when that program has ended")
    if not done.compacted:
        click.echo(
            "Note: free space of the file may hold bytes of earlier states of what was deleted",
            err=True,
        )
        say_hint("run the same command with --compact; programs that record wait meanwhile")
