"""What a recorder says to people, which must never hurt the program that records."""

from __future__ import annotations

import sys
from _thread import get_ident
from collections import deque
from collections.abc import Callable

from waxlocal.signal_handlers import Suppress

__all__ = ["Notices", "say", "say_nothing_while", "text_of", "warn"]

# Whether this thread holds what a log handler of the program may wait for.
_holding: list[Callable[[], bool]] = []


def say_nothing_while(is_held: Callable[[], bool]) -> None:
    """Let a thread say no notice while this is true of it; for the life of the process.

    It says afterwards what has come together: `Store.say_notices`.
    """
    _holding.append(is_held)


class Notices(deque[str]):
    """Warnings that wait until they can be said; true while there are some. Safe for threads.

    What is said goes to the program's log handlers, each behind a lock of its own. A handler that
    records waits for the store while its lock is held. So whoever has the store must not wait for a
    handler: a warning is noted there, and said when the store is free.
    """

    def __init__(self) -> None:
        super().__init__()
        # The threads that are saying something now.
        self._saying: set[int] = set()

    def say_all(self) -> None:
        """Log what waits; raises nothing of the logging.

        What is noted meanwhile, by a log handler that records, waits until the next time: its own
        record may be what cannot be written, each time anew.
        """
        me = get_ident()
        if me in self._saying or any(is_held() for is_held in _holding):
            return
        self._saying.add(me)
        try:
            for _ in range(len(self)):
                try:
                    message = self.popleft()
                except IndexError:  # another thread has said it
                    return
                warn(message)
        finally:
            self._saying.discard(me)


def warn(message: str) -> None:
    """Log a warning under the name `waxlocal`; raises nothing of the logging.

    To be called while nothing is held that a log handler of the program may wait for.
    """
    # Not imported: that takes 5 ms, and fails where no file can be opened any more or the
    # interpreter ends. Where nobody else has, there are no handlers, and logging itself would do
    # no more than write the line to stderr.
    logging = sys.modules.get("logging")
    if logging is None:
        say(message)
        return
    with Suppress(Exception):  # of the program's own log handlers
        logging.getLogger("waxlocal").warning(message)


def text_of(error: BaseException) -> str:
    """Return what an exception says; of one that says nothing, such as `MemoryError`, its name."""
    return str(error) or type(error).__name__


def say(line: str) -> None:
    """Write a line to stderr; nothing happens where there is none. Raises nothing."""
    with Suppress(OSError, ValueError, AttributeError):  # stderr closed, or no stderr at all
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
