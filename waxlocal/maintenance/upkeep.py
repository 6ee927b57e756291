"""What recorders leave to others, who do it now and then: the daemon, `sync` and the server."""

from __future__ import annotations

import math
from pathlib import Path

from waxlocal.maintenance.changed_contents import mark_calls
from waxlocal.maintenance.contents import sweep
from waxlocal.maintenance.session_counts import count_turns
from waxlocal.maintenance.side_files import take_in_all
from waxlocal.maintenance.sums import add_up

__all__ = ["keep_up"]

# To add up a million runs takes half a minute, and nobody waits for it.
ADD_UP_S = 1.0


def keep_up(path: Path, seconds: float = math.inf) -> None:
    """Put a file in order: side files, sessions, totals, each for about so long, and contents.

    Takes milliseconds where nothing has come since the last time. Does nothing if this version may
    not write to the file; raises nothing.
    """
    take_in_all(path, seconds)
    count_turns(path, seconds)
    mark_calls(path)
    sweep(path)
    add_up(path, min(seconds, ADD_UP_S))
