"""How many requests may leave over one connection before the first of them is answered."""

from __future__ import annotations

import threading

__all__ = ["MOST_TOGETHER", "Pipelining"]

MOST_TOGETHER = 16
# So many responses over connections that stay open show that a server keeps them apart; after a
# connection was lost with several requests in it, twice as many each time, up to a limit.
TRUSTED_AFTER = 64
MOST_NEEDED = 1_024
# What the end of a connection that was announced takes back: servers do that every 1,000 requests,
# and one that does it every few is better sent one request at a time.
ENDED = 64


class Pipelining:
    """Whether a server is sent several requests at once; for any threads.

    Over a link with 50 ms of latency a connection that waits for each response carries 20 requests
    a second. RFC 9112, section 9.3.2, allows more at a time to a client that finds out what was
    lost when the connection ended: each of ours has its key. That responses come in the order of
    the requests, as the RFC has it, nothing but their order can show: so no request leaves behind
    others whose response says what the next ones are about.
    """

    def __init__(self) -> None:
        self._needed = TRUSTED_AFTER
        self._answered = 0
        self._lock = threading.Lock()

    @property
    def most(self) -> int:
        """How many requests may leave together."""
        return MOST_TOGETHER if self._answered >= self._needed else 1

    def answered(self, count: int) -> None:
        """Note responses over a connection that stays open."""
        with self._lock:
            self._answered = min(self._answered + count, MOST_NEEDED)

    def ended(self, *, together: bool, was_lost: bool) -> None:
        """Note the end of a connection, and whether several requests were in it.

        Of the connections that are lost at once, when a server fails, only the first counts.
        """
        with self._lock:
            if not was_lost:
                self._answered = max(self._answered - ENDED, 0)
                return
            if together and self._answered >= self._needed:
                self._needed = min(self._needed * 2, MOST_NEEDED)
            self._answered = 0
