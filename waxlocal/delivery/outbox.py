"""The write side of the upload: which requests carry the runs, and what was answered.

One process at a time works on it (a lock file sees to that), so nothing is claimed for others: what
is in hand is marked `sending` only so that the triggers of the file can tell when a record comes
too late for what is being sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from waxlocal.delivery import statements as sql
from waxlocal.delivery.due import DueConnection
from waxlocal.delivery.progress import DeliveryState, RequestState
from waxlocal.delivery.records import load_children, load_runs
from waxlocal.delivery.requests import OUTSIDE, Part, StoredPart, encoded, new_key, read_part
from waxlocal.wire.recorded_run import ChildRun, RecordedRun

__all__ = ["Line", "Outbox"]


class Line(NamedTuple):
    """What became of a run's line of a batch, which took `size` bytes.

    A state is `delivered`, `pending`: left to single requests, or `open`: taken as far as the run
    was, and the rest is to follow.
    """

    run_id: str
    state: str
    size: int
    reason: str | None = None


class Outbox(DueConnection):
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

    # -- what is sent ---------------------------------------------------------------------------

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
        """Return how often a run has failed in a row; 0 of one that was deleted meanwhile."""
        return sum(row[0] for row in self._rows(sql.FAILURES, (run_id, self._id)))

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

    def stored(self, run_ids: Sequence[str]) -> dict[str, list[StoredPart]]:
        """Return all requests that were ever made for runs in hand, for `read_part`."""
        found: dict[str, list[StoredPart]] = {run_id: [] for run_id in run_ids}
        named = {"run_ids": json.dumps(list(run_ids)), "target": self._id}
        for run_id, *columns in self._rows(sql.KNOWN, named):
            found[run_id].append(tuple(columns))
        return found

    def refused(self, run_id: str) -> tuple[str, str] | None:
        """Return stage and reason of a request that the server refused, the start before others."""
        for stage, reason in self._rows(sql.REFUSED, {"run_id": run_id, "target": self._id}):
            return stage, reason or ""
        return None

    def waiting_parts(self, run_id: str) -> list[Part]:
        """Return the requests of a run that were made and not answered."""
        rows = self._rows(sql.WAITING, {"run_id": run_id, "target": self._id})
        return [read_part(*row) for row in rows]

    def next_part(self, run_id: str, stage: str) -> int:
        """Return the number of the next request of a stage."""
        named = {"run_id": run_id, "target": self._id, "stage": stage}
        return int(self._rows(sql.NEXT_PART, named)[0][0])

    def freeze(self, parts: Mapping[str, Sequence[Part]]) -> None:
        """Write requests of runs down before their first attempt.

        In place of a line of a batch that was refused.
        """
        self._many(sql.REPLACE_LINE, ((run_id, self._id) for run_id in parts))
        rows = ((run_id, part) for run_id, some in parts.items() for part in some)
        self._many(
            sql.FREEZE,
            (
                (
                    part.stage,
                    part.part,
                    part.idempotency_key,
                    encoded(part.positions),
                    encoded(part.states) if part.states else None,
                    part.body,
                    len(part.body or b""),
                    run_id,
                    self._id,
                )
                for run_id, part in rows
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
            line = Line(run_id, DeliveryState.PENDING, 0, reason)
            self._note_line(line, key=new_key(run_id, "bulk", 0))

    def note_batch(
        self, lines: Sequence[Line], *, key: str, status: int, sent_at: str, open_until: str
    ) -> None:
        """Note the answers to a batch.

        Within a transaction, which is committed and begun anew every few runs; a run that was not
        noted then is sent once more, and the server knows it. A run left `open` follows when it
        ends, or after `open_until`.
        """
        at = 0
        while at < len(lines):
            if at:
                self._let_others_write()
            end = at + self._at_a_time()
            in_short = max(at, min(end, self._short_of(lines)))
            for line in (*self._note_in_short(lines[at:in_short]), *lines[in_short:end]):
                self._note_line(line, key=key, status=status, sent_at=sent_at)
                if line.state == DeliveryState.OPEN:
                    self.leave_open(line.run_id, open_until)
                elif line.state == DeliveryState.DELIVERED:
                    self.deliver(line.run_id)
            at = end

    def _note_in_short(self, lines: Sequence[Line]) -> list[Line]:
        """Note delivered runs that have no other request; return the lines of all others."""
        left = [
            line
            for line in lines
            if line.state != DeliveryState.DELIVERED or not self._deliver_in_short(line.run_id)
        ]
        if delivered := len(lines) - len(left):
            self._execute(sql.COUNT_SEVERAL, (delivered, self._id))
            self._delivered_now += delivered
        return left

    def _note_line(
        self, line: Line, *, key: str, status: int | None = None, sent_at: str | None = None
    ) -> None:
        """Note what became of a run's line of a batch; one that is refused leaves batches."""
        refused = line.state == DeliveryState.PENDING
        receipt = {"run_id": line.run_id, "target": self._id, "stage": "bulk", "key": key,
                   "bytes": line.size, "status": status, "reason": line.reason,
                   "state": RequestState.PARKED if refused else RequestState.DELIVERED,
                   "sent_at": sent_at, "now": self._now()}  # fmt: skip
        self._execute(sql.RECEIPT, receipt)
        if refused:
            self.release(line.run_id)
