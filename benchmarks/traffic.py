"""Runs as programs send them to a server: in batches, or by the requests of the original SDK."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from benchmarks.workload import sentences
from waxlocal.clock import utc_text
from waxlocal.ids import RunIds, generate_session_id, trace_id_of
from waxlocal.wire import paths
from waxlocal.wire.bulk import Batch, Offer, batch_of
from waxlocal.wire.recorded_run import RecordedRun

__all__ = ["Recorded", "Runs"]

OFFER = Offer(paths.BULK, 500, 2 * 1024 * 1024)
# One run in so many begins a session; the others go on with one of the last.
RUNS_OF_SESSION = 4.5
LAST_SESSIONS = 200
TEXTS = sentences(500)


class Recorded(NamedTuple):
    """A run as the original SDK sends it: what is sent first, and what after its id has come."""

    start: tuple[str, bytes]
    call: dict[str, object]
    result: dict[str, object]

    def rest(self, run_id: str) -> Iterator[tuple[str, bytes]]:
        """Give the other requests: path and body."""
        for stage, body in (("llm-calls", {"calls": [self.call]}), ("complete", self.result)):
            yield paths.stage_path(stage, run_id), json.dumps(body).encode()


class Runs:
    """Makes runs of conversations of some turns; may be asked by several threads."""

    AGENTS = ("chatbot", "researcher", "support", "planner")
    PLANS = ("free", "team", "enterprise")
    MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "in-house-7b")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ids = RunIds()
        self._sessions: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def batch(self, count: int) -> Batch:
        """Return a batch of runs."""
        with self._lock:
            return batch_of([self._recorded() for _ in range(count)], OFFER)

    def one(self) -> Recorded:
        """Return a run for single requests."""
        with self._lock:
            return self._single()

    def _session(self) -> tuple[str, str]:
        """Return a session and its user."""
        if not self._sessions or self._random.random() < 1 / RUNS_OF_SESSION:
            self._sessions.append((generate_session_id(), f"user_{self._random.randrange(500)}"))
            del self._sessions[:-LAST_SESSIONS]
        return self._random.choice(self._sessions)

    def _call(self) -> dict[str, object]:
        some = self._random
        tokens_in, tokens_out = some.randrange(50, 4_000), some.randrange(10, 600)
        return {
            "model": some.choice(self.MODELS),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "cost": (tokens_in + 4 * tokens_out) / 400_000,
            "task": "answer",
        }

    def _single(self) -> Recorded:
        session, user = self._session()
        start = {
            "agent_name": self._random.choice(self.AGENTS),
            "workflow_name": "default",
            "session_id": session,
            "user_id": user,
            "inputs": {"message": self._random.choice(TEXTS)},
            "tags": {"plan": self._random.choice(self.PLANS)},
            "metadata": {},
        }
        failed = self._random.random() < 0.05
        result = {
            "status": "error" if failed else "success",
            "result": {"response": self._random.choice(TEXTS)},
            "error": "timed out" if failed else "",
        }
        return Recorded((paths.RUN_START, json.dumps(start).encode()), self._call(), result)

    def _recorded(self) -> RecordedRun:
        session, user = self._session()
        now = time.time_ns()
        spent = self._random.uniform(0.2, 8.0)
        run_id = self._ids.next(now)
        run = {
            "run_id": run_id,
            "agent_name": self._random.choice(self.AGENTS),
            "workflow_name": "default",
            "session_id": session,
            "user_id": user,
            "trace_id": trace_id_of(run_id),
            "interaction_mode": "interactive",
            "status": "error" if self._random.random() < 0.05 else "success",
            "started_at": utc_text(now - round(spent * 1e9)),
            "completed_at": utc_text(now),
            "duration": spent,
            "tags": json.dumps({"plan": self._random.choice(self.PLANS)}),
            "inputs": json.dumps({"message": self._random.choice(TEXTS)}),
            "result": json.dumps({"response": self._random.choice(TEXTS)}),
        }
        call = self._call() | {
            "position": 1,
            "recorded_at": utc_text(now),
            "provider": "openai",
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "is_streaming": 0,
            "status": "ok",
            "cost_source": "call",
            "duration_ms": round(spent * 900),
        }
        return RecordedRun(run, None, [call], [], [], [], [])
