"""The requests of delivered runs in short form: what a later upload must know of them."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence

from waxlocal.delivery.requests import OUTSIDE
from waxlocal.delivery.target import TargetConnection

__all__ = ["ReceiptConnection", "unpack"]

# Delivered runs whose requests stay as they are, for people who look at the last attempts.
KEPT = 50
# Runs that are looked at together without the write lock.
LOOKED_AT_ONCE = 500

# Of those that were replaced the last of each stage says which numbers were used.
# Requests without an answer, and those that were refused, stay: they are sent or read again. So do
# rows whose JSON is invalid.
_PACK = """
UPDATE deliveries SET receipts = (
  SELECT json_group_array(json(CASE
    WHEN state = 'replaced' THEN json_array(stage, part)
    WHEN states IS NULL THEN json_array(stage, part, json(positions))
    ELSE json_array(stage, part, json(positions), json(states)) END))
  FROM requests q WHERE q.run_id = deliveries.run_id AND q.target_id = deliveries.target_id
    AND (q.state <> 'replaced' OR q.part = (
      SELECT max(part) FROM requests last WHERE last.run_id = q.run_id
        AND last.target_id = q.target_id AND last.stage = q.stage)))
WHERE target_id = :target AND run_id = :run_id AND state = 'delivered' AND receipts IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM requests q
    WHERE q.run_id = deliveries.run_id AND q.target_id = deliveries.target_id
      AND (q.state NOT IN ('delivered', 'replaced') OR NOT json_valid(q.positions)
        OR NOT json_valid(coalesce(q.states, '{}'))))
"""
# A run that a batch carried, and that has no other request: the short form at once. `_PACK` would
# make the same of the row.
_DELIVER_IN_SHORT = """
UPDATE deliveries SET state = 'delivered', delivered_at = :now, not_before = NULL, reason = NULL,
  receipts = '[["bulk",0,[]]]'
WHERE target_id = :target AND run_id = :run_id AND state = 'sending' AND delivered_at IS NULL
  AND receipts IS NULL AND NOT EXISTS (
    SELECT 1 FROM requests q
    WHERE q.run_id = deliveries.run_id AND q.target_id = deliveries.target_id)
"""
_REMOVE = "DELETE FROM requests WHERE run_id = :run_id AND target_id = :target"
_PACKED = """
SELECT run_id FROM deliveries
WHERE target_id = ? AND run_id IN (SELECT value FROM json_each(?)) AND receipts IS NOT NULL
"""
_UNPACK = """
INSERT OR IGNORE INTO requests (run_id, target_id, stage, part, idempotency_key, state, positions,
  states, bytes, attempts, last_attempt_at)
SELECT run_id, target_id, stage, part, run_id || ':' || stage || ':' || part, state, positions,
  states, 0, 1, last_attempt_at
FROM known_requests WHERE run_id = :run_id AND target_id = :target AND bytes IS NULL
"""
_FORGET_PACKED = """
UPDATE deliveries SET receipts = NULL
WHERE run_id = :run_id AND target_id = :target AND receipts IS NOT NULL
"""
_NEXT_IN_FULL = """
SELECT DISTINCT q.run_id FROM requests q JOIN deliveries d USING (run_id, target_id)
WHERE q.run_id > ? AND q.target_id = ? AND d.state = 'delivered' ORDER BY q.run_id LIMIT ?
"""


class ReceiptConnection(TargetConnection):
    """A connection that keeps the requests of most delivered runs in short form.

    In full a run's receipts take more room than a small run itself. What a later upload needs of
    them are the numbers, because a number that was used is never given again, and which records
    were sent in which state. For one thread; raises `StorageError`.
    """

    def take_up(self, target_id: int) -> None:
        """Begin with an account at the address, or go on with another one."""
        super().take_up(target_id)
        # Runs whose requests may be shortened, the oldest first: those that earlier uploads have
        # left, as far as they were read, and those of this one.
        self._from_before: deque[str] = deque()
        self._read_to: str | None = OUTSIDE  # None: all were
        self._in_full: dict[str, None] = {}

    def shorten(self, stop: threading.Event) -> None:
        """Shorten what was delivered some time ago, and a page from before, until `stop` is set."""
        self._read_from_before()
        surplus = len(self._from_before) + len(self._in_full) - KEPT
        self._in_pieces([self._oldest() for _ in range(surplus)], self._pack, stop)

    def _oldest(self) -> str:
        if self._from_before:
            return self._from_before.popleft()
        run_id = next(iter(self._in_full))
        del self._in_full[run_id]
        return run_id

    def _short_of(self, lines: Sequence[object]) -> int:
        """Return how many lines of a batch, from the first on, are noted in short form only."""
        return max(len(lines) - KEPT, 0)

    def _deliver_in_short(self, run_id: str) -> bool:
        """Note that a batch has delivered a run in hand, with the request in short form.

        Returns False, and does nothing, if the run was delivered before or has other requests.
        """
        named = {"run_id": run_id, "target": self._id, "now": self._now()}
        return bool(self._execute(_DELIVER_IN_SHORT, named).rowcount)

    def _note_delivered(self, run_id: str) -> None:
        self._in_full.pop(run_id, None)  # of a run that is delivered again the last time counts
        self._in_full[run_id] = None

    def _read_from_before(self) -> None:
        """Read which runs have requests: what was not shortened when the last upload ended."""
        if self._read_to is None:
            return
        found = self._rows(_NEXT_IN_FULL, (self._read_to, self._id, LOOKED_AT_ONCE))
        self._read_to = found[-1][0] if len(found) == LOOKED_AT_ONCE else None
        self._from_before.extend(run_id for (run_id,) in found if run_id not in self._in_full)

    def _pack(self, run_ids: Sequence[str]) -> int:
        with self.together():
            return sum(self._pack_one(run_id) for run_id in run_ids)

    def _pack_one(self, run_id: str) -> int:
        named = {"run_id": run_id, "target": self._id}
        packed = self._execute(_PACK, named).rowcount
        if packed:
            self._execute(_REMOVE, named)
        return packed

    def _unpack(self, run_ids: Sequence[str]) -> None:
        """Put the requests of runs that go on back in their rows; within a transaction."""
        for (run_id,) in self._rows(_PACKED, (self._id, json.dumps(run_ids))):
            unpack(self._execute, run_id, self._id)


def unpack(execute: Callable[[str, dict[str, object]], object], run_id: str, target: int) -> None:
    """Put the requests of a run back in their rows, by a connection's way to execute a statement.

    Within a transaction; does nothing where they are in their rows already.
    """
    named: dict[str, object] = {"run_id": run_id, "target": target}
    execute(_UNPACK, named)
    execute(_FORGET_PACKED, named)
