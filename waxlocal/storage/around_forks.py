"""What is done around each fork of this process, as a whole, whatever signals come meanwhile.

Python drops what a signal handler raises in a function that `os.register_at_fork` has named, and
forks all the same: half of the work would be undone, a lock kept for good. So the work is done
again until it is done, and the signal is sent once more after the fork.
"""

from __future__ import annotations

import os
from _thread import get_ident, start_new_thread
from collections.abc import Callable
from functools import partial

from waxlocal.signal_handlers import raise_signal, signal_of

__all__ = ["around_forks", "in_forked_child"]

Act = Callable[[], object]

# The signal whose handler has raised around the fork that a thread is making.
_struck: dict[int, int] = {}


def around_forks(before: Act, after_in_parent: Act, after_in_child: Act) -> None:
    """Have these called around each fork; the first two may be called several times each.

    They must do no more when they are called again, and can rely on nothing that they have noted of
    their own work: a handler can raise between the work and the note. Does nothing on systems
    without forks.
    """
    if not hasattr(os, "register_at_fork"):
        return
    # Twice: a handler that raises just where a function begins is beyond what it could catch.
    for last in (False, True):
        os.register_at_fork(
            before=partial(_to_the_end, before),
            after_in_parent=partial(_afterwards if last else _to_the_end, after_in_parent),
        )
    os.register_at_fork(after_in_child=after_in_child)


def in_forked_child(act: Act) -> None:
    """Have this called in each forked child; does nothing on systems without forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=act)


in_forked_child(_struck.clear)


def _to_the_end(act: Act) -> None:
    while True:
        try:
            act()
            return
        except BaseException as error:
            number = signal_of(error)
            if not number:
                raise
        _struck[get_ident()] = number


def _afterwards(act: Act) -> None:
    _to_the_end(act)
    if number := _struck.pop(get_ident(), 0):
        # From another thread: from this one it would strike here, and be dropped.
        start_new_thread(raise_signal, (number,))
