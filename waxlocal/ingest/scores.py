"""Scores that arrive."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from math import isnan
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.ingest.runs import Json, KnownRun
from waxlocal.records import SCORES
from waxlocal.storage.record_sql import insert
from waxlocal.wire.values import as_text

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
        place = run.place_of(score.get("position"))
        position = free if place is None else place
        key = {"run_id": run.run_id, "position": position, "recorded_at": at}
        rows.append(key | _values(score))
    connection.executemany(_ADD, rows)
    return len(given)


def _values(score: Json) -> Json:
    """Return the columns that the sender fills."""
    number = score.get("numeric_value", score.get("value"))
    word = score.get("string_value")
    if isinstance(number, str):
        try:
            number = float(number)
        except ValueError:
            word = number if word is None else word
    if not isinstance(number, int | float):
        number = None
    elif isnan(number):
        number, word = None, word or "nan"  # SQLite has no such number
    return {
        "name": as_text(score.get("name")),
        "data_type": as_text(score.get("data_type")) or "numeric",
        "numeric_value": None if number is None else _float(number),
        "string_value": None if word is None else as_text(word),
        "comment": as_text(score.get("comment")),
    }


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
