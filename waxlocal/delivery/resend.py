"""Sends delivered runs again, to a server that has lost them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from waxlocal.delivery import statements as sql
from waxlocal.delivery.accounts import target_of
from waxlocal.delivery.connection import DeliveryConnection
from waxlocal.delivery.receipts import unpack
from waxlocal.delivery.requests import OUTSIDE

__all__ = ["Resend"]

# Runs that are read without the write lock.
_READ_AT_ONCE = 1_000
_ALL_TARGETS = "SELECT target_id FROM targets"
_DELIVERED = """
SELECT run_id, remote_run_id FROM deliveries
WHERE target_id = :target AND run_id > :after AND state = 'delivered' AND delivered_at >= :since
ORDER BY run_id LIMIT :limit
"""
_OF_SESSIONS = """
SELECT d.run_id, d.remote_run_id
FROM json_each(:sessions) s CROSS JOIN runs r ON r.session_id = s.value
CROSS JOIN deliveries d ON d.run_id = r.run_id AND d.target_id = :target
WHERE d.state = 'delivered'
"""
# A server that has the run after all knows these keys, and gives its old answers. So they are made
# again from the first one, with the same names; another waxlocal goes by the content instead.
_SAME_KEYS = """
DELETE FROM requests WHERE run_id = :run_id AND target_id = :target AND stage <> 'bulk'
"""
_MAKE_PENDING = """
UPDATE deliveries SET state = 'pending', failures = 0, not_before = NULL, reason = NULL
WHERE run_id = :run_id AND target_id = :target AND state = 'delivered'
"""
_EVENTS_AGAIN = "UPDATE targets SET events_cursor = 0 WHERE target_id = :target"


class Resend(DeliveryConnection):
    """A connection that makes delivered runs pending again, a few in each transaction.

    For the server with this URL, or without one for all that the file knows. At one address it is
    the account of that name, without a name the one that was sent to last. What is being sent at
    this moment is left alone, so an upload may go on meanwhile. For one thread; raises
    `StorageError`.
    """

    def __init__(
        self,
        path: Path,
        url: str | None = None,
        account: str | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(path, sleep)
        if url is None:
            self._targets = [row[0] for row in self._rows(_ALL_TARGETS)]
        else:
            found = target_of(self.connection, url, account)
            self._targets = [] if found is None else [found]

    def sessions(self, session_ids: Sequence[str]) -> int:
        """Make the delivered runs of these sessions pending; return how many."""
        # SQLite's JSON functions end a text at NUL: such an id would stand for another session.
        wanted = json.dumps([one for one in session_ids if "\0" not in one])
        return sum(
            self._again(target, self._rows(_OF_SESSIONS, {"target": target, "sessions": wanted}))
            for target in self._targets
        )

    def since(self, moment: str) -> int:
        """Make the runs that were delivered at that UTC time or later pending; return how many."""
        return sum(self._since(target, moment) for target in self._targets)

    def all(self) -> int:
        """Make all delivered runs pending, and all events outside any run; return how many runs."""
        for target in self._targets:
            self._events_again(target)
        return self.since("")

    def _since(self, target: int, moment: str) -> int:
        named = {"target": target, "since": moment, "limit": _READ_AT_ONCE}
        after, made = OUTSIDE, 0
        while found := self._rows(_DELIVERED, {**named, "after": after}):
            made += self._again(target, found)
            after = found[-1][0]
        return made

    def _again(self, target: int, runs: Sequence[tuple[Any, ...]]) -> int:
        def change(some: Sequence[tuple[Any, ...]]) -> int:
            with self.together():
                return sum(self._begin_anew(target, *one) for one in some)

        return self._in_pieces(runs, change)

    def _begin_anew(self, target: int, run_id: str, remote_run_id: str | None) -> int:
        named = {"run_id": run_id, "target": target}
        made = self._execute(_MAKE_PENDING, named).rowcount
        if made:
            unpack(self._execute, run_id, target)
            self._execute(sql.REPLACE_ALL if remote_run_id == run_id else _SAME_KEYS, named)
            self._execute(sql.BEGIN_ANEW, named)
        return made

    def _events_again(self, target: int) -> None:
        named = {"run_id": OUTSIDE, "target": target}
        with self.together():
            if self._execute(_MAKE_PENDING, named).rowcount:
                self._execute(_SAME_KEYS, named)
                self._execute(_EVENTS_AGAIN, named)
