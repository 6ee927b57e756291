"""Finds the runs of this file among those that a server has in a session, which others share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import quote

import httpx

from waxlocal.clock import Clock
from waxlocal.errors import ServerRefused
from waxlocal.records import RunStatus
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire.paths import SESSIONS
from waxlocal_daemon.answers import Unreadable, read_json
from waxlocal_daemon.remote_sessions import MAX_VALUES, RemoteSession, number_of, read_body

__all__ = ["PAGE", "OwnRuns", "own_runs"]

PAGE = 100
_NOT_FAILED = (RunStatus.RUNNING, RunStatus.SUCCESS, RunStatus.CANCELLED)


class OwnRuns:
    """What a server has of some runs: each of them counted, and their figures added up."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self._found: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._cost = 0.0

    def add(self, row: dict[str, Any]) -> None:
        """Count a run of the server's if it is one of these."""
        if row["run_id"] not in self._ids:
            return
        self._found[row["run_id"]] += 1
        self._sums["open"] += row.get("status") == RunStatus.RUNNING
        self._sums["failed"] += row.get("status") not in _NOT_FAILED
        self._sums["tokens"] += int(number_of(row.get("total_tokens")) or 0)
        self._cost += number_of(row.get("total_cost")) or 0.0

    @property
    def doubled(self) -> bool:
        """Whether one of them is there more than once."""
        return max(self._found.values(), default=0) > 1

    def session(self, session_id: str) -> RemoteSession:
        """Return them as the session that they would be without the runs of others."""
        return RemoteSession(
            session_id,
            run_count=self._found.total(),
            open_runs=self._sums["open"],
            failed_runs=self._sums["failed"],
            total_tokens=self._sums["tokens"],
            total_cost=self._cost,
            has_cost=True,
        )


def own_runs(
    client: httpx.Client,
    settings: UploadSettings,
    clock: Clock,
    session_id: str,
    ids: Collection[str],
) -> OwnRuns | None:
    """Return what the server has of the runs with these ids; None if it does not list runs.

    Uses memory for one page. Raises `ServerUnreachable`.
    """
    found = OwnRuns(ids)
    try:
        for rows in _pages(client, settings, clock, session_id):
            for row in rows:
                found.add(row)
    except (ServerRefused, Unreadable):
        return None
    return found


def _pages(
    client: httpx.Client, settings: UploadSettings, clock: Clock, session_id: str
) -> Iterator[list[dict[str, Any]]]:
    offset = 0
    while True:
        query = f"?session_id={quote(session_id, safe='')}&limit={PAGE}&offset={offset}"
        body, _ = read_body(client, settings, clock, f"{SESSIONS}detail/{query}")
        answer = read_json(body, settings.api_key, most_values=MAX_VALUES)
        rows = answer.get("runs") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(map(_is_run, rows)):
            raise Unreadable("no list of runs", is_json=True)
        yield rows
        offset += PAGE
        if not rows or not answer.get("next"):
            return


def _is_run(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("run_id"), str)
