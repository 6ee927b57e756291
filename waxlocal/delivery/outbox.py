"""The write side of the upload: which runs are due, which requests carry them, what was answered.

One process at a time works on it (a lock file sees to that), so nothing is claimed for others: what
is in hand is marked `sending` only so that the triggers of the file can tell when a record comes
too late for what is being sent.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from waxlocal.delivery import statements as sql
from waxlocal.delivery.connection import AT_A_TIME
from waxlocal.delivery.progress import DeliveryState, RequestState
from waxlocal.delivery.receipts import ReceiptConnection
from waxlocal.delivery.records import (
    is_not_utf_8,
    leniently,
    load_children,
    load_runs,
    text_or_none,
)
from waxlocal.delivery.requests import OUTSIDE, Part, encoded, new_key, read_part
from waxlocal.wire.recorded_run import ChildRun, RecordedRun

__all__ = ["Due", "Outbox"]

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


class Outbox(ReceiptConnection):
    """What is to be delivered to one server, on a writing connection of its own.

    For one thread; raises `StorageError`. Each statement commits by itself, except in a block of
    `together`: what must be in the file as a whole is written in one. `admit`, `look_again`,
    `reopen`, `mark_sending` and `keep_from_batches` begin their own transactions, and are called
    outside of such a block. All of them and `note_batch` commit every few runs, and let others
    write in between.
    """

    # How many runs were delivered on this connection, each time that something of one was; and
    # those of the open transaction.
    delivered = 0
    _delivered_now = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit what happens in the block at once, or none of it: see `DeliveryConnection`."""
        self._delivered_now = 0
        with super().together():
            yield

    def _committed(self) -> None:
        self.delivered += self._delivered_now
        self._delivered_now = 0
        super()._committed()

    # -- what is due ----------------------------------------------------------------------------

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

    def next_due(self) -> str | None:
        """Return the time at which the next postponed run is due."""
        found: str | None = self._rows(sql.NEXT_DUE, (self._id, self._now()))[0][0]
        return found

    def load(self, run_ids: Sequence[str]) -> list[RecordedRun]:
        """Return runs in hand with all that they recorded, as `load_runs` does.

        One that is not found is parked; let go of, it would be taken again and again.
        """
        with self._errors():
            found = load_runs(self._connection, run_ids)
        for run_id in set(run_ids).difference(one.run["run_id"] for one in found):
            self.park(run_id, "it cannot be read by its id")
        return found

    def load_children(self, workflow_id: str) -> list[ChildRun]:
        """Return the runs that a run has opened, as `load_children` does."""
        with self._errors():
            return load_children(self._connection, workflow_id)

    def children_wait(self, run_id: str) -> bool:
        """Return whether a run waits for the starts of its children."""
        named = {"target": self._id, "run_id": run_id}
        return bool(self._rows(sql.CHILDREN_WAIT, named)[0][0])

    def remote_ids_of_children(self, run_id: str) -> dict[str, str]:
        """Return the ids that the server gave a run's children, by their own."""
        return dict(self._rows(sql.CHILDREN_IDS, {"target": self._id, "run_id": run_id}))

    def failures(self, run_id: str) -> int:
        """Return how often a run has failed in a row."""
        return int(self._rows(sql.FAILURES, (run_id, self._id))[0][0])

    # -- requests -------------------------------------------------------------------------------

    def mark_sending(self, run_ids: Sequence[str]) -> None:
        """Take runs in hand: a record that comes from now on makes them pending again.

        In several transactions; one that is killed in between leaves some in hand, and whoever
        sends next lets go of them.
        """

        def take(some: Sequence[str]) -> int:
            with self.together():
                self._unpack(some)
                return self._many(sql.SENDING, ((self._id, run_id) for run_id in some))

        self._in_pieces(run_ids, take)

    def parts(self, run_id: str) -> list[Part]:
        """Return all requests that were ever made for a run."""
        return self._parts(sql.KNOWN, run_id)

    def refused(self, run_id: str) -> tuple[str, str] | None:
        """Return stage and reason of a request that the server refused, the start before others."""
        for stage, reason in self._rows(sql.REFUSED, {"run_id": run_id, "target": self._id}):
            return stage, reason or ""
        return None

    def waiting_parts(self, run_id: str) -> list[Part]:
        """Return the requests of a run that were made and not answered."""
        return self._parts(sql.WAITING, run_id)

    def _parts(self, query: str, run_id: str) -> list[Part]:
        rows = self._rows(query, {"run_id": run_id, "target": self._id})
        return [read_part(*row) for row in rows]

    def next_part(self, run_id: str, stage: str) -> int:
        """Return the number of the next request of a stage."""
        named = {"run_id": run_id, "target": self._id, "stage": stage}
        return int(self._rows(sql.NEXT_PART, named)[0][0])

    def freeze(self, run_id: str, parts: Sequence[Part]) -> None:
        """Write requests down before their first attempt, in place of a refused line of a batch."""
        self._execute(sql.REPLACE_LINE, (run_id, self._id))
        self._many(
            sql.FREEZE,
            (
                (
                    run_id,
                    self._id,
                    part.stage,
                    part.part,
                    part.idempotency_key,
                    encoded(part.positions),
                    encoded(part.states) if part.states else None,
                    part.body,
                    len(part.body or b""),
                )
                for part in parts
            ),
        )

    def note_attempt(
        self, run_id: str, part: Part, state: str, status: int | None, reason: str, sent_at: str
    ) -> None:
        """Note an attempt and what became of the request: its receipt."""
        done = state in (RequestState.DELIVERED, RequestState.REPLACED)
        outcome = (state, status, reason or None, sent_at, self._now(), done)
        self._execute(sql.NOTE_ATTEMPT, (*outcome, run_id, self._id, part.stage, part.part))

    def note_started(self, run_id: str, remote_run_id: str, remote_workflow_id: str | None) -> None:
        """Keep the ids that the server gave a run."""
        self._execute(sql.STARTED, (remote_run_id, remote_workflow_id, run_id, self._id))

    # -- what becomes of a run ------------------------------------------------------------------

    def forgive(self, run_id: str) -> None:
        """Forget the failures of a run: a request of it was accepted."""
        self._execute(sql.FORGIVE, (run_id, self._id))

    def postpone(self, run_id: str, not_before: str, reason: str) -> None:
        """Try a run again later."""
        self._execute(sql.POSTPONE, (not_before, reason, run_id, self._id))

    def deliver(self, run_id: str) -> bool:
        """Call a run delivered; False if something was recorded meanwhile, which is to go, too."""
        if run_id != OUTSIDE:
            self._execute(sql.COUNT, {"run_id": run_id, "target": self._id})
        done = self._execute(sql.DELIVER, (self._now(), run_id, self._id)).rowcount
        if done and run_id != OUTSIDE:
            self._delivered_now += 1
            self._note_delivered(run_id)
        return bool(done)

    def release(self, run_id: str) -> None:
        """Let go of a run that is not finished."""
        self._execute(sql.SET_STATE, (DeliveryState.PENDING, None, None, run_id, self._id))

    def leave_open(self, run_id: str, not_before: str) -> None:
        """Wait for a run that goes on; look at it again at that time if it has not ended."""
        self._execute(sql.SET_STATE, (DeliveryState.OPEN, None, not_before, run_id, self._id))

    def begin_anew(self, run_id: str) -> None:
        """Forget what the server has accepted of a run: it does not know the run any more."""
        named = {"run_id": run_id, "target": self._id}
        self._execute(sql.REPLACE_ALL, named)
        self._execute(sql.BEGIN_ANEW, named)

    def set_aside(self, run_id: str, reason: str) -> None:
        """Park a run in hand; not if something was recorded meanwhile, which is to go, too.

        Without a time to wait for: what it records later makes it pending, and may go at once.
        """
        self._execute(sql.SET_STATE, (DeliveryState.PARKED, reason, None, run_id, self._id))

    def park(self, run_id: str, reason: str) -> None:
        """Set a run aside that cannot be sent at all, neither by requests nor in a batch."""
        self._execute(sql.REPLACE_LINE, (run_id, self._id))
        self.set_aside(run_id, reason)

    def keep_from_batches(self, run_id: str, reason: str) -> None:
        """Have a run in hand go by single requests: no line of a batch can be made of it."""
        with self.together():
            self._note_line(
                run_id, DeliveryState.PENDING, 0, reason, key=new_key(run_id, "bulk", 0)
            )

    def note_batch(
        self,
        runs: Iterable[tuple[str, str, int, str | None]],
        *,
        key: str,
        status: int,
        sent_at: str,
        open_until: str,
    ) -> int:
        """Note the answers to a batch: (run id, state, bytes, reason); return those delivered.

        A state is `delivered`, `pending`: left to single requests, or `open`: taken as far as it
        was, and the rest follows when it ends, or after `open_until`. Within a transaction, which
        is committed and begun anew every few runs; a run that was not noted then is sent once more,
        and the server knows it.
        """
        delivered = 0
        for number, (run_id, state, size, reason) in enumerate(runs):
            if number and number % AT_A_TIME == 0:
                self._let_others_write()
            self._note_line(run_id, state, size, reason, key=key, status=status, sent_at=sent_at)
            if state == DeliveryState.OPEN:
                self.leave_open(run_id, open_until)
            elif state == DeliveryState.DELIVERED:
                delivered += self.deliver(run_id)
        return delivered

    def _note_line(
        self,
        run_id: str,
        state: str,
        size: int,
        reason: str | None,
        *,
        key: str,
        status: int | None = None,
        sent_at: str | None = None,
    ) -> None:
        """Note what became of a run's line of a batch; one that is refused leaves batches."""
        refused = state == DeliveryState.PENDING
        receipt = {"run_id": run_id, "target": self._id, "stage": "bulk", "key": key, "bytes": size,
                   "state": RequestState.PARKED if refused else RequestState.DELIVERED,
                   "status": status, "reason": reason, "sent_at": sent_at,
                   "now": self._now()}  # fmt: skip
        self._execute(sql.RECEIPT, receipt)
        if refused:
            self.release(run_id)
