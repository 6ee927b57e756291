"""What SQLite itself costs: raw loops that write comparable rows, or the very same ones."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.workload import AGENT, MODEL, PRICE_IN, PRICE_OUT, Turn
from waxlocal.clock import utc_text
from waxlocal.ids import RunIds, trace_id_of
from waxlocal.recording.statements import ADD_LLM_CALL, BEGIN_RUN, FINISH_RUN
from waxlocal.storage.connection import open_writer

__all__ = ["NOT_SAID", "Execute", "LeanLoop", "SameRowsLoop"]

Execute = Callable[..., object]

# Two tables, three secondary indexes, and session totals kept by triggers: the least that can
# answer the questions of a session list.
_LEAN_SCHEMA = """
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY, agent_name TEXT, workflow_name TEXT, session_id TEXT, user_id TEXT,
  inputs TEXT, metadata TEXT, tags TEXT, result TEXT, status TEXT, started_at REAL,
  completed_at REAL, duration REAL);
CREATE TABLE llm_calls (
  id INTEGER PRIMARY KEY, run_id TEXT, model TEXT, task TEXT, tokens_in INTEGER,
  tokens_out INTEGER, cost REAL, recorded_at REAL);
CREATE INDEX runs_by_session ON runs (session_id);
CREATE INDEX runs_by_user ON runs (user_id, started_at);
CREATE INDEX llm_calls_by_run ON llm_calls (run_id);
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, user_id TEXT, run_count INTEGER, total_cost REAL,
  total_tokens INTEGER, total_duration REAL, first_run_at REAL, last_run_at REAL);
CREATE TRIGGER runs_insert AFTER INSERT ON runs BEGIN
  INSERT INTO sessions VALUES (
    NEW.session_id, NEW.user_id, 1, 0, 0, 0, NEW.started_at, NEW.started_at)
  ON CONFLICT (session_id) DO UPDATE SET
    run_count = run_count + 1, last_run_at = excluded.last_run_at;
END;
CREATE TRIGGER llm_calls_insert AFTER INSERT ON llm_calls BEGIN
  UPDATE sessions SET
    total_cost = total_cost + NEW.cost,
    total_tokens = total_tokens + NEW.tokens_in + NEW.tokens_out
  WHERE session_id = (SELECT session_id FROM runs WHERE run_id = NEW.run_id);
END;
CREATE TRIGGER runs_update AFTER UPDATE OF status ON runs BEGIN
  UPDATE sessions SET total_duration = total_duration + NEW.duration
  WHERE session_id = NEW.session_id;
END;
"""
_BEGIN = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, 'running', ?, NULL, NULL)"
_CALL = """
INSERT INTO llm_calls (run_id, model, task, tokens_in, tokens_out, cost, recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_END = "UPDATE runs SET status = ?, result = ?, completed_at = ?, duration = ? WHERE run_id = ?"
# What SQLite does by itself; waxlocal's own connections have it off, and a `Checkpointer` instead.
AUTOCHECKPOINT_PAGES = 1_000
# The columns of a call behind its status, of those that nearly every call fills.
NOT_SAID = (None,) * len(ADD_LLM_CALL.names[ADD_LLM_CALL.names.index("status") + 1 :])
_TAGS = {"session_type": "chat"}


class LeanLoop:
    """The raw loop that someone would write by hand: three statements in autocommit mode."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_LEAN_SCHEMA)
        self._execute = self._connection.cursor().execute

    def record(self, turn: Turn) -> None:
        """Write one run in three commits."""
        execute = self._execute
        run_id, started = str(uuid.uuid4()), time.time()
        inputs, metadata = json.dumps(turn.inputs), json.dumps(turn.metadata)
        tags = json.dumps(_TAGS)
        begin = (run_id, AGENT, "default", turn.session_id, turn.user_id, inputs, metadata, tags)
        execute(_BEGIN, (*begin, started))
        cost = (turn.tokens_in * PRICE_IN + turn.tokens_out * PRICE_OUT) / 1e6
        tokens = (turn.tokens_in, turn.tokens_out)
        execute(_CALL, (run_id, MODEL, "chat_response", *tokens, cost, time.time()))
        ended = time.time()
        execute(_END, ("success", json.dumps(turn.result), ended, ended - started, run_id))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class SameRowsLoop:
    """Our own rows into our own schema, by three statements and nothing around them.

    Texts and ids are made as cheaply as we know how: what is left is what the schema costs.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str = "normal",
        wait: float = 0.0,
        around: Callable[[Execute], Execute] = lambda execute: execute,
        checkpoint_pages: int = AUTOCHECKPOINT_PAGES,
    ) -> None:
        self._connection = open_writer(path, durability=durability, wait=wait)
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        self._execute = around(self._connection.cursor().execute)
        self._ids = RunIds()
        self._dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

    def record(self, turn: Turn) -> None:
        """Write one run in three commits."""
        execute, dumps = self._execute, self._dumps
        now_ns, started = time.time_ns(), time.monotonic_ns()
        run_id, metadata = self._ids.next(now_ns), dumps(turn.metadata)
        execute(
            BEGIN_RUN.sql,
            (
                *(run_id, AGENT, "default", turn.session_id, turn.user_id, None, None, None),
                *(trace_id_of(run_id), "interactive", None, utc_text(now_ns)),
                *(metadata, dumps(turn.inputs)),
            ),
        )
        cost = (turn.tokens_in * PRICE_IN + turn.tokens_out * PRICE_OUT) / 1e6
        execute(
            ADD_LLM_CALL.sql,
            (
                *(run_id, 1, utc_text(time.time_ns()), MODEL, "", "chat_response"),
                *(turn.tokens_in, turn.tokens_out, 0, 0, cost, "price", None, None, 0, "ok"),
                *NOT_SAID,
            ),
        )
        duration = (time.monotonic_ns() - started) / 1e9
        execute(
            FINISH_RUN.sql,
            (
                *("success", utc_text(time.time_ns()), duration, None, None, None),
                *(metadata, None, dumps(turn.result), run_id),
            ),
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
