"""Waits until another connection has written to the file.

`PRAGMA data_version` on a reading connection decides: it changes with every commit of any other
connection, and only then. File system events and a poll only say when to ask. The caller looks at
everything committed before a wait returned; the next wait compares with that moment, so no commit
is missed between looking and waiting.

The daemon's own writes after that moment change the number too. So a cycle that wrote is followed
by one that finds nothing, writes nothing, and then sleeps. That is cheaper than querying the tables
for news, and has no gap, as ignoring events for a while would have. Between two wakes there is
always a pause; while others write continuously, no events are received at all.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import StorageError
from waxlocal.storage.connection import reader
from waxlocal.storage.paths import FileId, file_id, real_path
from waxlocal.storage.transaction import commits_of_others
from waxlocal_daemon.log import Log

watch: Callable[..., Iterator[object]] | None
try:
    from watchfiles import watch
except ImportError:  # written in Rust and not built for every platform; without it only the poll
    watch = None

__all__ = ["Watch"]

# The least number of seconds between two wakes, however fast others commit.
REST_S = 1.0
# How often the thread of watchfiles checks for events and the stop event. Idle, it takes 0.13 % of
# a core at 50 ms, its default, and 0.04 % at 200 ms.
STEP_MS = 200
# Several writes of one commit are one event.
DEBOUNCE_MS = 200

# A file and a commit in it: device, inode, number of the connection, data_version.
State = tuple[int, int, int, int]
# A file that cannot be read now; connections count from 1, so no readable file has this state.
_UNREADABLE: State = (0, 0, 0, 0)


class Watch:
    """Wakes on commits by others; for use by one thread.

    `interrupt` ends every wait at once. `on_wait` is called at least every `poll` seconds while
    waiting. The directory need not exist, and may be deleted and created again.
    """

    def __init__(
        self,
        path: Path,
        interrupt: threading.Event,
        *,
        log: Log,
        poll: float = 5.0,
        rest: float = REST_S,
        on_wait: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        # Events name the real file, and SQLite puts the log beside it.
        self._path = real_path(path)
        self._interrupt = interrupt
        self._log = log
        self.poll = poll
        self._rest = rest
        self._on_wait = on_wait
        self._clock = clock
        self._deaf = False
        self._open = ExitStack()
        self._ask: Callable[[], int] | None = None
        self._identity = (0, 0)
        self._connections = 0
        self._woken_at = float("-inf")
        self._seen = self._state()

    def __enter__(self) -> Watch:
        """Return the watch, to be closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the watch."""
        self.close()

    def wait(self, seconds: float) -> bool:
        """Wait for a commit; return whether there may be one, False after `seconds`.

        Also returns False when interrupted. A file that appears, disappears or is replaced counts
        as a commit.
        """
        deadline = self._now() + seconds
        new = self._wait(deadline)
        if new:
            self._woken_at = self._now()
        return new

    def close(self) -> None:
        """Close the connection; do not use the watch afterwards."""
        self._ask = None
        self._open.close()

    def _wait(self, deadline: float) -> bool:
        rested = min(self._woken_at + self._rest, deadline)
        while (left := rested - self._now()) > 0 and not self._interrupt.is_set():
            self._on_wait()
            self._interrupt.wait(min(left, self.poll))
        pauses = self._pauses(deadline)
        try:
            while not (new := self._changed()) and self._now() < deadline:
                self._on_wait()
                if next(pauses, True):
                    break
            return new
        finally:
            pauses.close()

    def _pauses(self, deadline: float) -> Generator[bool]:
        """Pause repeatedly, each time until an event or a poll; ends when interrupted.

        Events are received only here: otherwise the daemon's own writes would fill the queue. Only
        the directory is opened, never the database.
        """
        yield from self._events(deadline)
        while not self._interrupt.wait(min(max(deadline - self._now(), 0.0), self.poll)):
            yield False

    def _events(self, deadline: float) -> Generator[bool]:
        directory = self._path.parent
        if not directory.is_dir():
            return
        if watch is None:
            self._hear(ImportError("watchfiles is not installed"))
            return
        # A commit before the kernel watches the directory is noticed by the poll.
        poll_ms = max(1, int(min(deadline - self._now(), self.poll) * 1000))
        try:
            # No filter: while others write to this directory continuously, watchfiles would never
            # return from filtered events, not even for the poll.
            for _ in watch(
                directory,
                watch_filter=None,
                debounce=DEBOUNCE_MS,
                step=min(STEP_MS, poll_ms),
                stop_event=self._interrupt,
                rust_timeout=poll_ms,
                yield_on_timeout=True,
                recursive=False,
            ):
                self._hear(None)
                yield False
        except (OSError, RuntimeError) as error:  # no inotify instances left, a deleted directory
            self._hear(error)

    def _hear(self, trouble: Exception | None) -> None:
        """Log when events stop arriving, and when they arrive again."""
        if trouble is not None and not self._deaf:
            self._log.event(
                "watch_unavailable", level="warning", reason=trouble, poll_seconds=self.poll
            )
        elif trouble is None and self._deaf:
            self._log.event("watch_available")
        self._deaf = trouble is not None

    def _changed(self) -> bool:
        before, self._seen = self._seen, self._state()
        return self._seen != before

    def _state(self) -> State | None:
        """Return the commit that the file is at; None without a file."""
        identity = file_id(self._path)
        if identity is None:
            self._disconnect()
            return None
        try:
            if self._ask is None or self._identity != identity:
                self._connect(identity)
            version = self._ask() if self._ask else 0
        except (OSError, sqlite3.Error, StorageError):
            self._disconnect()
            return _UNREADABLE
        return (*self._identity, self._connections, version)

    def _connect(self, identity: FileId) -> None:
        self._disconnect()
        connection = self._open.enter_context(reader(self._path))
        self._ask = lambda: commits_of_others(connection)
        self._identity = identity
        self._connections += 1  # the numbers of two connections cannot be compared

    def _disconnect(self) -> None:
        self._ask = None
        self._open.close()

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9
