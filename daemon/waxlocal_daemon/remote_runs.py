"""Finds the runs of this file among those that a server has in a session, which others share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from waxlocal.clock import Clock
from waxlocal.errors import ServerRefused, ServerUnreachable
from waxlocal.records import RUN_STATUSES, RunStatus
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire.paths import SESSIONS
from waxlocal_daemon.answers import Unreadable, read_json
from waxlocal_daemon.remote_sessions import (
    MAX_VALUES,
    Page,
    RemoteSession,
    is_last,
    number_of,
    pages,
    read_body,
)

__all__ = ["PAGE", "OwnRuns", "own_runs"]

PAGE = 100
_FAILED = (RunStatus.ERROR, RunStatus.BLOCKED, RunStatus.INTERRUPTED)


class OwnRuns:
    """What a server has of some runs: each of them counted, and their figures added up.

    `cancelled`: by id, whether it was cancelled. A server that knows no such status has it as an
    error. A figure that the server does not give for each of them is unknown.
    """

    def __init__(self, cancelled: Mapping[str, bool]) -> None:
        self._cancelled = cancelled
        self._found: Counter[str] = Counter()
        self._sums: dict[str, float | None] = dict.fromkeys(("open", "failed", "tokens", "cost"), 0)

    def add(self, row: dict[str, Any]) -> None:
        """Count a run of the server's if it is one of these."""
        run_id, status = row["run_id"], row.get("status")
        if run_id not in self._cancelled:
            return
        self._found[run_id] += 1
        known = status in RUN_STATUSES
        failed = status in _FAILED and not self._cancelled[run_id]
        self._add("open", status == RunStatus.RUNNING if known else None)
        self._add("failed", failed if known else None)
        self._add("tokens", number_of(row.get("total_tokens")))
        # That of calls without a price is null.
        self._add("cost", (number_of(row["total_cost"]) or 0.0) if "total_cost" in row else None)

    def _add(self, name: str, figure: float | None) -> None:
        before = self._sums[name]
        self._sums[name] = None if before is None or figure is None else before + figure

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
            total_cost=self._sums["cost"],
            has_cost=self._sums["cost"] is not None,
        )


def own_runs(
    client: httpx.Client,
    settings: UploadSettings,
    clock: Clock,
    session_id: str,
    cancelled: Mapping[str, bool],
    most: float,
) -> OwnRuns | None:
    """Return what the server has of the runs with these ids; None if it does not list runs.

    `most`: so many runs the server says it has in the session; no more than a page beyond them is
    read. Uses memory for one page. Raises nothing: the list of sessions has been read, and a server
    that does not list runs may answer anything to the question.
    """
    found = OwnRuns(cancelled)
    count = 0

    def read(offset: int) -> Page[dict[str, Any]]:
        if offset > most + PAGE:
            raise Unreadable("more runs than the server has", is_json=True)
        query = f"?session_id={quote(session_id, safe='')}&limit={PAGE}&offset={offset}"
        body, _ = read_body(client, settings, clock, f"{SESSIONS}detail/{query}")
        return _page(body, offset, settings)

    try:
        for rows in pages(read, PAGE):
            count += len(rows)
            for row in rows:
                found.add(row)
    except (ServerRefused, ServerUnreachable, Unreadable):
        return None
    return found if count >= most else None


def _page(body: bytes, offset: int, settings: UploadSettings) -> Page[dict[str, Any]]:
    answer = read_json(body, settings.api_key, most_values=MAX_VALUES)
    rows = answer.get("runs") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(map(_is_run, rows)):
        raise Unreadable("no list of runs", is_json=True)
    return Page(rows, [row["run_id"] for row in rows], is_last(answer, offset + len(rows)))


def _is_run(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("run_id"), str)
