"""What recorders leave to others, who do it now and then: the daemon, `sync` and the server."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

from waxlocal.errors import FileLocked
from waxlocal.maintenance.changed_contents import mark_calls
from waxlocal.maintenance.contents import sweep
from waxlocal.maintenance.session_counts import count_turns
from waxlocal.maintenance.side_files import take_in_all
from waxlocal.maintenance.sums import add_up
from waxlocal.search.building import bring_up_to_date

__all__ = ["index_words", "keep_up"]

# To add up a million runs takes half a minute, to index their words some minutes, and nobody waits
# for it.
ADD_UP_S = 1.0
INDEX_S = 1.0


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


def index_words(path: Path, seconds: float = INDEX_S) -> None:
    """Add to the search index what has come, for about so long, unless somebody else does.

    A server does it in a thread of its own: no question waits for it. Raises `StorageError`.
    """
    with suppress(FileLocked):
        bring_up_to_date(path, seconds)
