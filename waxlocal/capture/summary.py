"""The line at the end of `waxlocal run`: how much was recorded, or why nothing was.

In the process alone that the command has become: what that starts or forks is part of it. Loaded
when the program ends, so that its start pays nothing.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import BuiltinImporter
from pathlib import Path

from waxlocal.capture.engines import missing, states
from waxlocal.capture.libraries import LIBRARIES
from waxlocal.clock import SYSTEM_CLOCK
from waxlocal.errors import FileMissing, ForeignDatabase, StorageError
from waxlocal.queries.run_list import Begun, begun_between
from waxlocal.recording.notices import say
from waxlocal.recording.recorder import current_recorder
from waxlocal.storage.connection import reader
from waxlocal.storage.log_file import log_changed_ns
from waxlocal.storage.paths import unusable
from waxlocal.wording import counted

__all__ = ["has_summary", "said_of_missing", "summarize"]


def has_summary() -> bool:
    """Return whether this process says at its end what was recorded, or is to say nothing."""
    asked = os.environ.get("WAXLOCAL_SUMMARY", "")
    return asked == "off" or asked.partition(" ")[0] == str(os.getpid())


def summarize(began_ns: int, command: str) -> None:
    """Write one line to stderr.

    `began_ns`: when the program began, in nanoseconds since 1970. `command`: how `waxlocal` is
    typed for this file. What was recorded is said on a terminal only: a log need not have it.
    Raises `ObserveError` and `OSError` where there is no home directory.
    """
    recorder, on_terminal = current_recorder(), sys.stderr.isatty()
    if not recorder.enabled or (recorder.ids.begun and not on_terminal) or not _has_started():
        return
    path = recorder.settings.db
    # Asked first: a reader makes the log of a closed file anew.
    was_changed = _was_changed(path, began_ns)
    try:
        found = _begun(path, began_ns)
    except StorageError as error:
        # Where nobody can record. Elsewhere a child may have, beside the file.
        useless = error if isinstance(error, ForeignDatabase) else unusable(path)
        if useless is not None and not recorder.ids.begun:  # what was in vain has been told
            say(f"waxlocal: nothing was recorded: {useless}. Try: {useless.hint}")
        return
    if not found.runs and not recorder.ids.begun and not was_changed:
        say(f"waxlocal: nothing was recorded: {_why(command)}")
    elif found.runs and on_terminal:
        lists = "sessions" if found.in_sessions else "runs"
        say(f"waxlocal: {counted(found.runs, 'run')} into {path}; see: {command} {lists}")


def _has_started() -> bool:
    """Return whether Python found the program: if not, it has said so itself.

    Until its code runs, `__main__` is the module that Python begins with; text that is no file, of
    `-c` or from stdin, runs in that one.
    """
    began_with = getattr(sys.modules.get("__main__"), "__loader__", None) is BuiltinImporter
    # Not `argv`, which is the program's own.
    return not began_with or "-c" in sys.orig_argv or sys.orig_argv[1:] in ([], ["-"])


def _begun(path: Path, began_ns: int) -> Begun:
    try:
        with reader(path) as connection:
            return begun_between(connection, began_ns, SYSTEM_CLOCK.time_ns())
    except FileMissing:
        return Begun(0, 0)


def _was_changed(path: Path, began_ns: int) -> bool:
    """Return whether somebody has written into the file: a process that the program started, say.

    What it wrote need not be a new run, so that nothing can be said of it.
    """
    changed_ns = path.stat().st_mtime_ns if path.exists() else 0
    return max(changed_ns, log_changed_ns(path)) >= began_ns


def _why(command: str) -> str:
    if said := said_of_missing():
        return f"{said}. Try: {command} doctor"
    if used := [name for name, state in states().items() if state.captured and _is_used(name)]:
        names = ", ".join(LIBRARIES[name].distribution for name in used)
        return f"no call of {names} was made"
    if not os.environ.get("WAXLOCAL_CAPTURE"):
        return "--no-instrument captures no calls, and the program records none itself"
    return f"the program used no model library that is captured. Try: {command} doctor"


def said_of_missing() -> str:
    """Return of which libraries no call is captured for want of a package; empty if of none."""
    found = missing()
    if not found:
        return ""
    names = ", ".join(library.distribution for library in found)
    return f"calls of {names} are not captured ({found[0].engines[0].package} is not installed)"


def _is_used(name: str) -> bool:
    return LIBRARIES[name].module in sys.modules
