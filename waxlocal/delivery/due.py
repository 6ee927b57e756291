"""Which runs are to be sent now, and which wait."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from waxlocal.delivery import statements as sql
from waxlocal.delivery.receipts import ReceiptConnection
from waxlocal.delivery.records import is_not_utf_8, leniently, text_or_none
from waxlocal.delivery.requests import OUTSIDE

__all__ = ["ADMITTED_AT_ONCE", "Due", "DueConnection"]

# Runs that get a row in `deliveries` in one transaction: 0.3 ms of the write lock.
ADMITTED_AT_ONCE = 50
# Runs that are looked at together without the write lock.
LOOKED_AT_ONCE = 1_000


class Due(NamedTuple):
    """A run that may be sent now; `size` is about how many bytes it takes."""

    run_id: str
    remote_run_id: str | None
    remote_workflow_id: str | None
    failures: int
    running: bool
    parent_known: bool
    parent_workflow_id: str | None
    root_workflow_id: str | None
    size: int

    @property
    def of_waxlocal(self) -> bool:
        """Whether the server is another waxlocal, where a run has the id that it has here."""
        return self.remote_run_id == self.run_id


class DueConnection(ReceiptConnection):
    """A connection that takes in new runs, and gives those that may be sent.

    For one thread; raises `StorageError`. `admit`, `look_again` and `reopen` begin their own
    transactions.
    """

    def admit(self) -> int:
        """Take in the next new runs, a few at most; return how many ids were looked at."""
        self._check_schema()
        cursor = self._rows(sql.CURSOR, (self._id,))[0][0]
        last = self._rows(sql.LAST_OF_NEXT, (cursor, ADMITTED_AT_ONCE))[0][0]
        if last is None:
            return 0
        self._rest()  # whoever calls this again and again must not keep others from writing
        with self.together():
            self._execute(sql.ADMIT, {"target": self._id, "cursor": cursor, "last": last})
            self._execute(sql.MOVE_CURSOR, (last, self._id))
        return int(last - cursor)

    def admit_events(self) -> None:
        """Make the events outside any run due if there are new ones."""
        self._execute(sql.ADMIT_EVENTS, {"target": self._id})

    def due_events(self, horizon: str) -> Due | None:
        """Return the events outside any run as if they were one, if they may be sent now."""
        named = {"target": self._id, "now": self._now(), "horizon": horizon}
        for (failures,) in self._rows(sql.DUE_EVENTS, named):
            return Due(OUTSIDE, None, None, failures, False, False, None, None, 0)
        return None

    def take_events(self, limit: int) -> list[dict[str, Any]]:
        """Return the next events outside any run, and move past them; within a transaction.

        The caller freezes the requests that carry them in the same transaction. Text that is not
        UTF-8 is read with replacement characters.
        """
        named = {"target": self._id, "limit": limit}
        ((last,),) = self._rows(sql.LAST_OF_EVENTS, named)
        if last is None:
            return []
        named["last"] = last
        with self._errors():
            rows = leniently(self._connection, lambda: self._fetched(sql.NEXT_EVENTS, named))
        self._execute(sql.MOVE_EVENTS_CURSOR, {"target": self._id, "last": last})
        return [dict(zip(sql.NAMES_OF_EVENTS, row, strict=True)) for row in rows]

    def look_again(self) -> None:
        """Make runs pending that 0.2 called delivered or parked too early; once for each server."""
        named = {"target": self._id, "after": b"", "limit": LOOKED_AT_ONCE}
        if self._rows(sql.HAS_LOOKED_AGAIN, named)[0][0]:
            return
        while last := self._rows(sql.LAST_TO_LOOK_AT, named)[0][0]:
            found = self._rows(sql.TOO_EARLY, named | {"last": last})
            self._change(sql.LOOK_AGAIN, found)
            named["after"] = last
        self._execute(sql.LOOKED_AGAIN, named)

    def reopen(self, long_ago: str, stop: threading.Event | None = None) -> int:
        """Make runs due that have ended, or that began before `long_ago` and are still open.

        Until `stop` is set; returns how many.
        """
        named = {"target": self._id, "long_ago": long_ago, "now": self._now()}
        return self._change(sql.REOPEN, self._rows(sql.ENDED, named), stop)

    def _change(
        self, statement: str, ids: Sequence[tuple[bytes]], stop: threading.Event | None = None
    ) -> int:
        """Change the state of runs, by the bytes of their ids; return how many have changed."""

        def change(some: Sequence[tuple[bytes]]) -> int:
            with self.together():
                return self._many(statement, ((self._id, run_id) for (run_id,) in some))

        return self._in_pieces(ids, change, stop)

    def due(
        self,
        limit: int,
        *,
        horizon: str,
        but: Iterable[str] = (),
        whole: bool = False,
        begun: bool = False,
        troubled: bool = False,
    ) -> list[Due]:
        """Return runs that may be sent now, the oldest first; not those of `but`.

        `whole`: for a batch, which may have runs in any order, without those that single requests
        have begun or that no batch can carry; `begun`: only those. `troubled`: the newest that have
        not failed, or else those that have failed least, because some runs may be why nothing goes.
        A time after `horizon` was set by a clock that has been put back since, and counts as past.
        """
        named = {
            "target": self._id,
            "now": self._now(),
            "horizon": horizon,
            "whole": whole,
            "begun": begun,
            "fresh": troubled,
            "but": json.dumps(list(but)),
            "limit": limit,
        }
        found = self._readable(sql.DUE_NEWEST if troubled else sql.DUE, named)
        if troubled and not found:  # then there are few
            found = self._rows(sql.DUE_LEAST_FAILED, {**named, "fresh": False})
        return [Due(*row) for row in found]

    def _readable(self, query: str, named: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Return the rows of a query without runs whose ids are not UTF-8, which are parked."""
        with self._errors():
            try:
                return self._fetched(query, named)
            except sqlite3.OperationalError as error:
                if not is_not_utf_8(error) or not self._park_unreadable():
                    raise
            return self._fetched(query, named)

    def _park_unreadable(self) -> int:
        """Set runs aside that no statement finds by the id that was read; return how many."""
        raw = (row[0] for row in self._rows(sql.NOT_DELIVERED, (self._id,)))
        unreadable = [one for one in raw if text_or_none(one) is None]
        return sum(
            self._execute(sql.PARK_UNREADABLE, (self._id, one)).rowcount for one in unreadable
        )

    def next_due(self, looked_at: str) -> str | None:
        """Return when the next run is due of those that were not yet at the time `looked_at`."""
        found: str | None = self._rows(sql.NEXT_DUE, (self._id, looked_at))[0][0]
        return found
