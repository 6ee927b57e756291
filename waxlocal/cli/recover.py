"""`waxlocal recover`: put a file that can be read in the place of a damaged one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from waxlocal import escaping, wording
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.hints import say_hint
from waxlocal.cli.output import Screen
from waxlocal.cli.target_file import target_file_of
from waxlocal.errors import FileDamaged, FileMissing
from waxlocal.storage.connection import writer
from waxlocal.storage.paths import file_id, file_size

if TYPE_CHECKING:
    from waxlocal.maintenance.recovery import Recovered

__all__ = ["recover"]


# What is said of a new file: its tables, and what a row of each is called.
_NOUNS = {
    "runs": "run",
    "llm_calls": "LLM call",
    "steps": "step",
    "spans": "span",
    "scores": "score",
    "events": "event",
}


@click.command(cls=Subcommand)
@form_options()
@click.pass_context
def recover(ctx: click.Context, *, form: str) -> None:
    """Save what can be read of a damaged file, and go on with that.

    Checks the whole file first; a sound one stays as it is. The damaged file is kept beside the new
    one. Stop the server and the daemon before; programs that record may go on.
    """
    from waxlocal.maintenance.recovery import recover as make
    from waxlocal.maintenance.side_files import take_in_all, waiting

    path = target_file_of(ctx).path
    if file_id(path) is None:
        _need_readable(path, [side.path for side in waiting(path) if file_size(side.path)])
        with writer(path):  # what was recorded beside it is all that there is
            pass
    done = make(path)
    took_in = take_in_all(path)
    if form == "json":
        print_json({**done._asdict(), "kept": done.kept and str(done.kept)})
        return
    _show(Screen(), path, done, took_in)


def _need_readable(path: Path, beside: list[Path]) -> None:
    """Raise `StorageError` unless something was recorded beside a file, and can be read."""
    from waxlocal.maintenance.recovery import is_sound

    if not beside:
        raise FileMissing(
            f"{path} does not exist", hint="name the damaged file: waxlocal --db FILE recover"
        )
    for side in beside:
        if not is_sound(side):
            file = shlex.quote(str(side))
            raise FileDamaged(
                f"{path} does not exist, and {side}, recorded beside it, is damaged",
                hint="save what can be read of that, and put it in the place of the file: "
                f"waxlocal --db {file} recover && mv {file} {shlex.quote(str(path))}",
            )


def _show(screen: Screen, path: Path, done: Recovered, took_in: bool) -> None:
    if took_in:
        screen.write(screen.text("what was recorded beside the file is in it now"))
    if done.kept is None:
        screen.write(screen.text(f"{escaping.line(str(path))} is sound, and stays as it is"))
        return
    if done.log:
        screen.write(screen.text("the file is sound; what its log had was another file's, or lost"))
    else:
        said = (wording.counted(done.rows.get(name, 0), noun) for name, noun in _NOUNS.items())
        screen.write(screen.text(f"recovered {', '.join(said)}"))
        screen.write(screen.text(f"{wording.counted(done.unread, 'place')} could not be read"))
    if done.refused:
        rows = wording.counted(done.refused, "row")
        screen.write(screen.text(f"{rows} had values that no file can have"))
    kept = escaping.line(str(done.kept))
    screen.write(screen.text(f"the damaged file is kept: {kept}"))
    if not done.log and not done.rows.get("runs"):
        by_hand = f"the sqlite3 shell may read more: sqlite3 {shlex.quote(str(done.kept))} .recover"
        only_log = "recording goes on in a new file; that one is SQLite's log of the lost one"
        is_log = done.kept.suffix == ".log"
        raise FileDamaged("no run could be read", hint=only_log if is_log else by_hand)
    say_hint("once all is well, remove it; its log, if it has one, ends in -wal")
