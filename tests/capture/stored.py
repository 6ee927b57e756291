"""What lies in a file, in the form in which tests compare it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from waxlocal.storage.contents import expand

__all__ = ["Stored", "said", "stored"]


class Stored:
    """The runs, calls and spans of a file, the oldest first."""

    def __init__(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row

            def rows(query: str) -> list[dict[str, Any]]:
                return [dict(row) for row in connection.execute(query)]

            self.runs = rows("SELECT * FROM runs ORDER BY id")
            self.spans = rows("SELECT * FROM spans ORDER BY run_id, position")
            self.calls = rows("SELECT * FROM llm_calls ORDER BY run_id, position")
            expand(connection, self.calls)

    def run(self, agent_name: str) -> dict[str, Any]:
        """Return the only run of an agent."""
        (found,) = (run for run in self.runs if run["agent_name"] == agent_name)
        return found

    def calls_of(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the calls of a run."""
        return [call for call in self.calls if call["run_id"] == run["run_id"]]

    def spans_of(self, run: dict[str, Any] | None = None) -> list[tuple[str, str, str | None]]:
        """Return (kind, name, name of the span around) of the spans of a run, or the only run."""
        if run is None:
            (run,) = self.runs
        mine = [span for span in self.spans if span["run_id"] == run["run_id"]]
        names = {span["position"]: span["name"] for span in mine}
        return [(one["kind"], one["name"], names.get(one["parent_position"])) for one in mine]

    def parents(self) -> dict[str, str | None]:
        """Return for each agent the agent of the run around its run."""
        names = {run["workflow_id"]: run["agent_name"] for run in self.runs}
        return {run["agent_name"]: names.get(run["parent_workflow_id"]) for run in self.runs}

    def tokens(self) -> list[tuple[int, int]]:
        """Return (in, out) of each call."""
        return [(call["tokens_in"], call["tokens_out"]) for call in self.calls]


def said(run: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return what a run was asked, and what it answered."""
    inputs, result = (json.loads(run[name] or "{}") for name in ("inputs", "result"))
    return inputs.get("message"), result.get("response")


def stored(path: Path) -> Stored:
    """Return what lies in a file now."""
    return Stored(path)
