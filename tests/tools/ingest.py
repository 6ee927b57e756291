"""A file that requests arrive at, without HTTP: each in a transaction of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tools.builders import FixedClock
from tests.tools.sdk_rows import only, rows
from waxlocal.ingest.endpoints import OF_RUN, WITHOUT_RUN
from waxlocal.ingest.merge import Result, merge
from waxlocal.storage.connection import writer
from waxlocal.wire.bulk import read_lines

__all__ = ["Hub", "agent_span", "llm_span", "span"]

Json = dict[str, Any]


class Hub:
    """Takes requests, `at` so many seconds after the start of all tests."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, agent_name: str = "chatbot", *, at: float = 0.0, **fields: Any) -> str:
        """Begin a run; return its id."""
        answer = self.ask("start", {"agent_name": agent_name, **fields}, at=at)
        return str(answer["run_id"])

    def ask(self, name: str, body: Json, *, at: float = 0.0) -> Json:
        """Make a request that is about no run; return its answer."""
        with writer(self.path) as connection:
            return WITHOUT_RUN[name](connection, body, FixedClock(at).time_ns())

    def post(self, run_id: str, name: str, body: Json, *, at: float = 1.0) -> Json:
        """Make a request about a run; return its answer."""
        with writer(self.path) as connection:
            return OF_RUN[name](connection, run_id, body, FixedClock(at).time_ns())

    def calls(self, run_id: str, *calls: Json, at: float = 1.0, **more: Any) -> Json:
        """Post LLM calls."""
        return self.post(run_id, "llm-calls", {"calls": list(calls), **more}, at=at)

    def steps(self, run_id: str, *steps: Json, at: float = 1.0, **more: Any) -> Json:
        """Post steps."""
        return self.post(run_id, "steps", {"steps": list(steps), **more}, at=at)

    def spans(self, run_id: str, *spans: Json, at: float = 1.0) -> Json:
        """Post spans."""
        return self.post(run_id, "spans", {"spans": list(spans)}, at=at)

    def complete(self, run_id: str, *, at: float = 2.0, **fields: Any) -> Json:
        """End a run, as a success unless said otherwise."""
        return self.post(run_id, "complete", {"status": "success", **fields}, at=at)

    def merge(self, body: bytes) -> list[Result]:
        """Merge a batch of runs."""
        with writer(self.path) as connection:
            return merge(connection, read_lines(body), FixedClock().time_ns())

    def select(self, sql: str) -> list[tuple[Any, ...]]:
        """Execute any statement; return its rows."""
        with writer(self.path) as connection:
            return connection.execute(sql).fetchall()

    def rows(self, table: str, run_id: str) -> list[Json]:
        """Return what a run has in a table, in order."""
        return rows(self.path, table, run_id=run_id)

    def run(self, run_id: str) -> Json:
        """Return the row of a run."""
        return only(self.path, "runs", run_id=run_id)


def span(name: str, kind: str, position: int | None = None, **fields: Any) -> Json:
    """Return a span as the original SDK sends it."""
    place = {} if position is None else {"position": position}
    given = {"status": "ok", "duration_ms": None, "start_offset_ms": 0, "parent_position": None}
    data: Json = {"attributes": {}, "input_data": None, "output_data": None}
    return {"name": name, "kind": kind, **given, **data, **place, **fields}


def llm_span(position: int, model: str = "gpt-4o", **fields: Any) -> Json:
    """Return the span of a call; what is not a field of a span is one of its attributes."""
    of_span = {"duration_ms", "start_offset_ms", "input_data", "output_data", "status"}
    attributes = {
        "model": model,
        "gen_ai.provider.name": "openai",
        "tokens_in": 100,
        "tokens_out": 50,
        "cost": 0.00075,
        **{name: value for name, value in fields.items() if name not in of_span},
    }
    rest = {name: value for name, value in fields.items() if name in of_span}
    return span(f"chat {model}", "llm", position, attributes=attributes, **rest)


def agent_span(position: int = 0, child_run_id: str = "", name: str = "chatbot") -> Json:
    """Return the span of a run, or of one that it opened."""
    attributes: Json = {"gen_ai.operation.name": "invoke_agent", "agent_name": name}
    if child_run_id:
        attributes |= {"child_run_id": child_run_id, "tokens_in": 100, "cost": 0.5}
    return span(f"{name}.default", "agent", position, attributes=attributes)
