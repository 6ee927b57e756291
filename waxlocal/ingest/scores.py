"""Scores that arrive."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.ingest.known_runs import KnownRun
from waxlocal.records import SCORES
from waxlocal.storage.record_sql import insert
from waxlocal.wire.scores import columns_of_score

__all__ = ["add_scores"]

_ADD = insert(SCORES, on_conflict="DO NOTHING")


def add_scores(
    connection: sqlite3.Connection, run: KnownRun, scores: Iterable[Any], now_ns: int
) -> int:
    """Add scores to a run, in order; return how many."""
    given = [score for score in scores if isinstance(score, dict)]
    first = run.next_free(connection)
    at = utc_text(now_ns)
    rows = []
    for free, score in enumerate(given, first):
        place = run.position_of(score.get("position"))
        position = free if place is None else place
        key = {"run_id": run.run_id, "position": position, "recorded_at": at}
        rows.append(key | columns_of_score(score))
    connection.executemany(_ADD, rows)
    return len(given)
