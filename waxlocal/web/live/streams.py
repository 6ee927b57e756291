"""The streams of a server: how many there may be, what they share, and their end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

from waxlocal.web.live.file_watch import FileWatch
from waxlocal.web.live.parts import Snapshot

__all__ = ["MOST_STREAMS", "LivePage", "Streams"]

# Each holds a connection, and the state of its page. Beyond that, pages ask now and then.
MOST_STREAMS = 100
# A browser opens six connections to a server over HTTP/1.1, for all of its tabs: some stay free.
MOST_OF_CLIENT = 3
# Pages of which a state is kept while nobody looks at them.
KEPT_PAGES = 8
# Pages that are made anew at once: others that ask do not wait behind all of them.
MOST_AT_ONCE = 2
# A page is made anew at most so often (seconds), and all pages for at most this part of the time: a
# file may be written to all the time, by a program whose runs are not on them.
PACE_S = 0.3
# Nobody waits longer for a change: a page that once took long, on a busy machine, need not again.
LONGEST_PACE_S = 5.0
SHARE = 1 / 5

Render = Callable[[], Awaitable[str]]


class LivePage:
    """A page that is open, perhaps more than once: it is made anew once for all `users`.

    `took`: seconds for that, the last time.
    """

    def __init__(self, turns: asyncio.Semaphore, clock: Callable[[], float]) -> None:
        self._turns = turns
        self._clock = clock
        self._lock = asyncio.Lock()
        self.took = 0.0
        self.users = 0
        self._snapshot: Snapshot | None = None

    @property
    def made_at(self) -> float:
        """When its state was read."""
        return self._snapshot.made_at if self._snapshot else float("-inf")

    async def state(self, since: float, render: Render) -> Snapshot:
        """Return its state, not older than `since`; raises what `render` raises."""
        async with self._lock:
            if self._snapshot is None or self.made_at < since:
                async with self._turns:
                    began = self._clock()
                    text = await render()
                    # In a thread, as a long conversation takes a while.
                    self._snapshot = await asyncio.to_thread(Snapshot, text, began)
                    self.took = self._clock() - began
            return self._snapshot


class Streams:
    """The streams that are open; for one event loop at a time.

    `most` is how many there may be, 0 for none.
    """

    def __init__(
        self,
        path: Path,
        *,
        most: int = MOST_STREAMS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._path = path
        self._most = most
        self._open: Counter[str] = Counter()
        self._pages: OrderedDict[Hashable, LivePage] = OrderedDict()
        self.is_closing = False
        self.watch = FileWatch(path, clock=clock)

    def open(self) -> None:
        """Begin in the running event loop."""
        self.is_closing = False
        self.watch = FileWatch(self._path, clock=self.clock)
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._pages.clear()

    def close(self) -> None:
        """End all streams at once: a server that stops waits for its responses."""
        self.is_closing = True
        self.watch.wake()

    def has_room(self, client: str) -> bool:
        """Return whether this client may have one more stream."""
        few = self._open[client] < MOST_OF_CLIENT and self._open.total() < self._most
        return few and not self.is_closing

    @contextmanager
    def opened(self, client: str, page: LivePage) -> Iterator[None]:
        """Count a stream of a client within the block."""
        self._open[client] += 1
        page.users += 1
        try:
            with self.watch.watching():
                yield
        finally:
            page.users -= 1
            self._open[client] -= 1
            self._open += Counter()  # forgets who has none

    def page(self, key: Hashable) -> LivePage:
        """Return the page that all streams with this key share."""
        page = self._pages.setdefault(key, LivePage(self._turns, self.clock))
        self._pages.move_to_end(key)
        unused = [one for one, kept in self._pages.items() if not kept.users and kept is not page]
        for one in unused[: -KEPT_PAGES or None]:
            del self._pages[one]
        return page

    def next_at(self, page: LivePage) -> float:
        """Return when a page may be made anew."""
        pages = sum(one.users > 0 for one in self._pages.values())
        return page.made_at + min(max(PACE_S, pages * page.took / SHARE), LONGEST_PACE_S)
