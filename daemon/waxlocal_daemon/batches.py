"""Uploads many runs at once, to a server that offers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from waxlocal.clock import utc_text
from waxlocal.delivery.outbox import Line, Outbox
from waxlocal.delivery.progress import DeliveryState
from waxlocal.errors import StorageError
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire.bulk import Batch, LineStatus, Offer, answers, batch_of
from waxlocal_daemon.answers import Answer
from waxlocal_daemon.circuit import Circuit
from waxlocal_daemon.connection import Request
from waxlocal_daemon.doubts import Doubts
from waxlocal_daemon.log import Log
from waxlocal_daemon.verdicts import Action, Verdict

__all__ = ["Batches", "SentBatch"]

# One is made while the server works on the other.
IN_FLIGHT = 2
# Loaded together, whatever the server takes: some 10 MB of memory.
MAX_BYTES = 2 * 1024 * 1024
# A batch as large as one that was refused is tried again after so many smaller ones: each try
# costs a request that brings nothing.
TRY_LARGER_AFTER = 16

# What a server answers that no longer takes batches: runs go one by one then.
_NOT_OFFERED = frozenset((404, 405, 415, 501))


class SentBatch(NamedTuple):
    """A batch on its way: when it left, and how many had been refused as a whole before."""

    batch: Batch
    sent_at: str
    refusals: int

    @property
    def records(self) -> int:
        """How many runs it carries: one that carries several can be divided."""
        return len(self.batch.sizes)


class Batches:
    """The batches on their way; for one thread.

    A batch that fails as a whole is not kept: the next ones are half as large, until the run that
    is to blame goes alone, and the rest past it. One that is refused is left to single requests,
    where one bad record does not hold up the others of its run.
    """

    def __init__(
        self,
        outbox: Outbox,
        circuit: Circuit,
        doubts: Doubts,
        settings: UploadSettings,
        offer: Offer,
        log: Log,
        at: Callable[[str], None],
    ) -> None:
        self._outbox = outbox
        self._circuit = circuit
        self._doubts = doubts
        self._settings = settings
        self._log = log
        self._at = at
        self._offer = offer._replace(max_bytes=min(offer.max_bytes, MAX_BYTES))
        self._most = self._offer.max_runs
        # How many runs the last batch had that was refused as a whole, and batches taken since.
        self._refused = self._taken = 0
        # How many batches were refused as a whole.
        self._refusals = 0
        self._hand: set[str] = set()
        self.in_flight = 0
        # The server has offered batches, but does not know them. What is in flight may still be
        # taken, and must not go twice.
        self.gone = False

    def requests(self, room: int) -> Iterator[Request]:
        """Give batches that may leave now."""
        while not self.gone and self.in_flight < min(IN_FLIGHT, room):
            batch = self._next()
            if batch is None:
                return
            self.in_flight += 1
            sent_at = utc_text(self._outbox.clock.time_ns())
            about = SentBatch(batch, sent_at, self._refusals)
            yield Request("POST", batch.path, batch.body, batch.headers, about)

    def _next(self) -> Batch | None:
        while run_ids := self._due():
            self._outbox.mark_sending(run_ids)
            self._at("marked")
            batch = self._made(run_ids)
            self._release([one for one in run_ids if batch is None or one not in batch.sizes])
            if batch is not None:
                self._hand.update(batch.sizes)
                return batch
        return None

    def _due(self) -> list[str]:
        """Return as many of the next runs as a batch may hold, at least one if there is one."""
        run_ids: list[str] = []
        size = 0
        found = self._outbox.due(
            self._most, horizon=self._circuit.horizon(), whole=True, troubled=self._circuit.troubled
        )
        for due in found:
            size += due.size
            # One that has failed by itself goes so again: the others must not wait with it.
            if run_ids and (due.failures or size > self._offer.max_bytes):
                break
            run_ids.append(due.run_id)
            if due.failures:
                break
        return run_ids

    def _made(self, run_ids: list[str]) -> Batch | None:
        """Return a batch of these runs without those that it cannot carry; None if it can none."""
        try:
            return self._batch(run_ids)
        except StorageError:
            raise
        except Exception:  # text that is not valid, for example: find out whose
            good = [run_id for run_id in run_ids if self._can_be_sent(run_id)]
        if len(good) == len(run_ids):  # each by itself, but not together
            good = good[: len(good) // 2]
        return self._made(good) if good else None

    def _batch(self, run_ids: list[str]) -> Batch | None:
        runs = self._outbox.load(run_ids)
        return batch_of(runs, self._offer._replace(max_runs=self._most)) if runs else None

    def _can_be_sent(self, run_id: str) -> bool:
        try:
            self._batch([run_id])
        except StorageError:
            raise
        except Exception as error:  # a row that somebody else wrote: the other runs go on
            reason = f"cannot be sent: {type(error).__name__}: {error}"
            self._outbox.keep_from_batches(run_id, reason)
            self._tell(run_id, reason)
            return False
        return True

    # -- settling -------------------------------------------------------------------------------

    def settle(self, about: SentBatch, answer: Answer, verdict: Verdict) -> Verdict:
        """Write down what an answer means for the runs of its batch; within a transaction."""
        self.in_flight -= 1
        self._hand.difference_update(about.batch.sizes)
        if verdict.action is Action.NEW_KEY:  # that of a batch is its content: it has no other
            verdict = Verdict(Action.PARK, verdict.reason)
        if verdict.action is Action.DELIVERED:
            told = answers(verdict.body)
            if told.keys() & about.batch.sizes.keys():
                return self._accepted(about, answer, verdict, told)
            verdict = Verdict(Action.RETRY, "the answer names none of the runs", of_host=True)
        if answer.status in _NOT_OFFERED:
            self.gone = True
            self._release(list(about.batch.sizes))
        else:
            self._failed(about, answer, verdict)
            if verdict.action is Action.PARK and len(about.batch.sizes) == 1:
                # Of several the next ones are half as large, at once; but this may go on.
                return Verdict(Action.RETRY, verdict.reason)
        return verdict

    def _accepted(
        self, about: SentBatch, answer: Answer, verdict: Verdict, told: dict[str, tuple[str, str]]
    ) -> Verdict:
        batch = about.batch
        lines: list[Line] = []
        for run_id, size in batch.sizes.items():
            status, reason = told.get(run_id, ("", ""))
            if status in (LineStatus.STORED, LineStatus.MERGED):
                goes_on = run_id in batch.running
                state = DeliveryState.OPEN if goes_on else DeliveryState.DELIVERED
                lines.append(Line(run_id, state, size))
            elif status == LineStatus.REFUSED:
                lines.append(Line(run_id, DeliveryState.PENDING, size, reason or "refused"))
                self._doubts.refuse_line(run_id)
                self._tell(run_id, reason)
            else:  # not named, or with an unknown status: tried again later
                self._postpone(run_id, f"the answer says {status[:40]!r} of it")
        if any(line.state != DeliveryState.PENDING for line in lines):
            self._doubts.accept_batch()
        self._note(about, answer, lines)
        # The other one in flight says nothing of what was refused since it was made.
        if about.refusals == self._refusals:
            self._grow(len(batch.sizes))
        return verdict

    def _note(self, about: SentBatch, answer: Answer, lines: list[Line]) -> None:
        self._outbox.note_batch(
            lines,
            key=about.batch.key,
            status=answer.status or 0,
            sent_at=about.sent_at,
            open_until=self._circuit.text(self._circuit.now() + self._settings.open_after),
        )

    def _grow(self, taken: int) -> None:
        """Make batches larger again, after one with so many runs was taken."""
        self._taken += 1
        if taken >= self._refused:
            self._refused = 0
        larger = self._most * 2
        if not self._refused or larger < self._refused or self._taken >= TRY_LARGER_AFTER:
            self._most = min(larger, self._offer.max_runs)

    def _failed(self, about: SentBatch, answer: Answer, verdict: Verdict) -> None:
        runs = list(about.batch.sizes)
        alone = len(runs) == 1
        busy = answer.status == 429 or verdict.retry_after is not None
        if verdict.action is not Action.PAUSE and not busy:
            # Also when no answer came: a run may be why, or a line that is slow for so much.
            self._most = max(len(runs) // 2, 1)
        if not verdict.of_host:
            self._refused, self._taken = len(runs), 0
            self._refusals += 1
        if verdict.action is Action.PARK and alone:
            size = about.batch.sizes[runs[0]]
            line = Line(runs[0], DeliveryState.PENDING, size, verdict.reason)
            self._note(about, answer, [line])
            self._doubts.refuse_line(runs[0])
            self._tell(runs[0], verdict.reason)
        elif verdict.action is Action.RETRY and alone:
            self._postpone(runs[0], verdict.reason)
        else:
            self._release(runs)

    def _postpone(self, run_id: str, reason: str) -> None:
        slot = self._circuit.postponed(self._outbox.failures(run_id) + 1)
        self._outbox.postpone(run_id, self._circuit.text(slot.at), reason)

    def _tell(self, run_id: str, reason: str) -> None:
        """Say that no batch can carry a run; what becomes of it, its single requests say."""
        self._log.event("single_requests", run_id=run_id, reason=reason)

    def _release(self, run_ids: list[str]) -> None:
        for run_id in run_ids:
            self._outbox.release(run_id)

    def release(self) -> None:
        """Let go of all runs; what was not answered is sent again another time."""
        self._release(list(self._hand))
        self._hand.clear()
        self.in_flight = 0
