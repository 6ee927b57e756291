"""What the file knows of a server: how far it has come, and when it may be asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.delivery import accounts
from waxlocal.delivery import statements as sql
from waxlocal.delivery.accounts import url_of_account
from waxlocal.delivery.connection import DeliveryConnection

__all__ = ["Target", "TargetConnection"]


class Target(NamedTuple):
    """What the file knows of the server; times are UTC text."""

    target_id: int
    cursor: int
    failures: int
    not_before: str | None
    backoff_until: str | None
    paused_at: str | None
    reason: str | None


class TargetConnection(DeliveryConnection):
    """A writing connection to the file, for the upload to one account at one server.

    `sleep` is called with the seconds for which others may write between two transactions. For one
    thread; raises `StorageError`.
    """

    def __init__(
        self,
        path: Path,
        url: str,
        clock: Clock = SYSTEM_CLOCK,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(path, sleep, lambda: clock.monotonic_ns() / 1e9)
        self.clock = clock
        self._url = url
        with ExitStack() as opened:
            opened.callback(self.close)  # if what follows fails
            self.take_up(self._current())
            opened.pop_all()

    def _current(self) -> int:
        """Return the account that was sent to last, until the server says whose the key is."""
        named = {"url": self._url}
        if not (found := self._rows(accounts.CURRENT, named)):
            self._execute(sql.ADD_TARGET, (self._url,))
            found = self._rows(accounts.CURRENT, named)
        return int(found[0][0])

    def take_account(self, account: str) -> int:
        """Return the number of an account, which is new if the file does not know it."""
        named = {"url": self._url, "account": account}
        found = self._rows(accounts.OF_ACCOUNT, named)
        found = found or self._rows(sql.NAME_ACCOUNT, (account, self._url))
        if not found:
            further = url_of_account(self._url, account)
            found = self._rows(sql.ADD_ACCOUNT, (further, account))
        return int(found[0][0])

    def accounts(self) -> int:
        """Return how many accounts the server at this address has named."""
        return int(self._rows(accounts.NAMED, {"url": self._url})[0][0])

    def take_up(self, target_id: int) -> None:
        """Begin with an account at the address, or go on with another one."""
        self.target = Target(*self._rows(sql.READ_TARGET, (target_id,))[0])
        self._id = target_id
        # Whoever was sending before has ended, or we would not have the lock.
        self._execute(sql.RELEASE, (target_id,))

    def counts(self) -> tuple[int, int]:
        """Return how many runs are pending and how many parked."""
        pending, parked = self._rows(sql.COUNTS, {"target": self._id})[0]
        return pending, parked

    def host_failed(self, failures: int, not_before: str, until: str, reason: str) -> None:
        """Keep when the server may be asked again."""
        self._execute(sql.HOST_FAILED, (failures, not_before, until, reason, self._now(), self._id))

    def host_paused(self, not_before: str, reason: str) -> None:
        """Keep that the server refuses the key."""
        self._execute(sql.HOST_PAUSED, (self._now(), not_before, reason, self._now(), self._id))

    def host_answered(self, *, accepted: bool) -> None:
        """Keep that the server answers and, with `accepted`, that it has taken something."""
        values = {"now": self._now(), "target": self._id, "accepted": accepted}
        self._execute(sql.HOST_ANSWERED, values)

    def forget_waits(self) -> None:
        """Let the next upload try at once, as somebody asks for, and begin with short waits.

        Of all accounts at the address: whose the key is, the server has still to say.
        """
        for (target_id,) in self._rows(accounts.ALL, {"url": self._url}):
            self._execute(sql.FORGET_WAIT_OF_HOST, (target_id,))
            postponed = self._rows(sql.POSTPONED, (target_id,))
            self._in_pieces([(target_id, *one) for one in postponed], self._forget_waits)

    def _forget_waits(self, runs: Sequence[tuple[int, bytes]]) -> int:
        with self.together():
            return self._many(sql.FORGET_WAIT, runs)

    def _now(self) -> str:
        return utc_text(self.clock.time_ns())
