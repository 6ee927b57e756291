"""Writes rows by plain SQL into a fresh file, so that queries can be tested without a recorder."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tools.patience import PATIENCE_S
from waxlocal.clock import utc_text
from waxlocal.process import current_process
from waxlocal.storage.connection import open_writer, reader

__all__ = ["Builder", "FixedClock", "moment", "recording", "run_id"]

# 2026-01-31T09:30:00Z; every time in a test is given in seconds after it.
START_NS = 1_769_851_800_000_000_000


def moment(seconds: float) -> str:
    """Return the stored text of a time, given in seconds after the start of all tests."""
    return utc_text(START_NS + round(seconds * 1e9))


def run_id(number: int) -> str:
    """Return the id of the n-th run (from 1) that a builder made."""
    return f"01942000-0000-7000-8000-{number:012x}"


class FixedClock:
    """A clock that stands at a number of seconds after the start of all tests."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._ns = START_NS + round(seconds * 1e9)

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return self._ns

    def monotonic_ns(self) -> int:
        """Return nanoseconds since 1970, too."""
        return self._ns


class Builder:
    """Adds runs and their records; each method commits."""

    def __init__(self, conn: sqlite3.Connection, *, first: int = 1) -> None:
        """Write by a connection; the first run has the id of this number."""
        self.conn = conn
        self._runs = first - 1
        self._processes = 0
        self._positions: dict[str, int] = {}

    def insert(self, table: str, **columns: object) -> None:
        """Insert one row; dicts and lists become JSON."""
        values = [
            json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            if isinstance(value, dict | list)
            else value
            for value in columns.values()
        ]
        marks = ", ".join("?" * len(values))
        self.conn.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)

    def process(self, *, alive: bool) -> int:
        """Add this process, or one of before the last start of this machine."""
        self._processes += 1
        identity = current_process()
        self.insert(
            "processes",
            process_id=self._processes,
            host=identity.host,
            boot_id=identity.boot_id if alive else "another boot",
            pid_namespace=identity.pid_namespace,
            pid=identity.pid,
            started=identity.started,
            program="app.py",
            python="3.11.7",
            waxlocal="1.0",
            first_seen_at=moment(0),
        )
        return self._processes

    def run(
        self,
        session: str | None = "s1",
        *,
        at: float = 0.0,
        seconds: float | None = 1.0,
        agent: str = "chatbot",
        user: str | None = None,
        status: str = "success",
        parent: str | None = None,
        process: int | None = None,
        **columns: Any,
    ) -> str:
        """Add a run that began `at` and took `seconds` (None: it has not ended); return its id."""
        self._runs += 1
        new = run_id(self._runs)
        self.insert(
            "runs",
            run_id=new,
            agent_name=agent,
            workflow_name="default",
            session_id=session,
            user_id=user,
            parent_workflow_id=parent and f"wf_{parent}",
            root_workflow_id=f"wf_{parent or new}",
            trace_id=new.replace("-", ""),
            interaction_mode="interactive",
            process_id=process,
            status="running" if seconds is None else status,
            started_at=moment(at),
            completed_at=None if seconds is None else moment(at + seconds),
            duration=seconds,
            **columns,
        )
        return new

    def _next(self, run: str) -> int:
        self._positions[run] = self._positions.get(run, 0) + 1
        return self._positions[run]

    def llm(
        self,
        run: str,
        tokens_in: int = 100,
        tokens_out: int = 50,
        *,
        at: float = 0.0,
        cost: float | None = None,
        model: str = "gpt-4o",
        provider: str = "openai",
        status: str = "ok",
        **columns: Any,
    ) -> int:
        """Add an LLM call that ended `at`; return its position."""
        position = self._next(run)
        given: dict[str, Any] = {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "is_streaming": 0,
            "task": "",
            "cost_source": None if cost is None else "call",
            "recorded_at": moment(at),
        }
        self.insert(
            "llm_calls",
            run_id=run,
            position=position,
            model=model,
            provider=provider,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost=cost,
            status=status,
            **(given | columns),
        )
        return position

    def span(
        self,
        run: str,
        kind: str = "tool",
        *,
        at: float = 0.0,
        seconds: float | None = None,
        name: str = "",
        status: str = "ok",
        inside: int | None = None,
        **columns: Any,
    ) -> int:
        """Add a span that began `at`; return its position."""
        position = self._next(run)
        self.insert(
            "spans",
            run_id=run,
            position=position,
            parent_position=inside,
            started_at=moment(at),
            duration_ms=None if seconds is None else seconds * 1000,
            name=name or kind,
            kind=kind,
            status=status,
            **columns,
        )
        return position

    def step(self, run: str, name: str, *, at: float = 0.0, **columns: Any) -> None:
        """Add a step."""
        given = {"kind": "chain"} | columns
        place = {"run_id": run, "position": self._next(run), "recorded_at": moment(at)}
        self.insert("steps", **place, step_name=name, **given)

    def score(self, run: str, name: str, **columns: Any) -> None:
        """Add a score."""
        given = {"data_type": "numeric", "comment": ""} | columns
        place = {"run_id": run, "position": self._next(run), "recorded_at": moment(0)}
        self.insert("scores", **place, name=name, **given)

    def event(self, run: str, event: str, *, at: float = 0.0, **columns: Any) -> None:
        """Add an event."""
        place = {"run_id": run, "position": self._next(run), "recorded_at": moment(at)}
        self.insert("events", **place, event=event, **columns)


@contextmanager
def recording(directory: Path) -> Iterator[tuple[Builder, sqlite3.Connection]]:
    """Open a fresh file in a directory: a builder to write with, a connection to read with."""
    path = directory / "waxlocal.db"
    writer = open_writer(path, wait=PATIENCE_S)
    try:
        with reader(path) as conn:
            yield Builder(writer), conn
    finally:
        writer.close()
