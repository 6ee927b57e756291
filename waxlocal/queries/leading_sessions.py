"""Which sessions may be on a page of all of them by cost or time: an index of the totals tells."""

from __future__ import annotations

import sqlite3

from waxlocal.queries.filters import check_ordering
from waxlocal.queries.sums import are_usable

__all__ = ["may_lead"]

# For the orderings that are slow without: what is sorted by is not a column of `sessions`.
_INDEXED = {"total_cost": "cost", "total_duration": "duration"}
# Of more sessions than these, to look up each one takes as long as to sort all.
MOST = 2_000

# The value of the last session of the page, were all those apart before it.
_LIMIT = """
SELECT {column} FROM session_sums WHERE {column} IS NOT NULL ORDER BY {column} {direction}
LIMIT 1 OFFSET ?
"""
_REACH = "session_sums WHERE {column} {sign} :reach"
_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM {_REACH} LIMIT :most)"  # noqa: S608
_APART = "SELECT count(*) FROM (SELECT 1 FROM apart_sessions LIMIT ?)"
_MAY_LEAD = f"""
WHERE s.session_id IN (
  SELECT session_id FROM {_REACH} UNION ALL SELECT session_id FROM apart_sessions)
"""  # noqa: S608


def may_lead(conn: sqlite3.Connection, ordering: str, last: int) -> tuple[str, dict[str, object]]:
    """Return a WHERE clause that holds for the first `last` of all sessions, and what it binds.

    Empty where all sessions have to be sorted. Call it in the `snapshot` of the question, with an
    ordering as `order_by` takes it.
    """
    column = _INDEXED.get(check_ordering(ordering))
    if column is None or not are_usable(conn):
        return "", {}
    largest = ordering.startswith("-")
    names = {
        "column": column,
        "direction": "DESC" if largest else "ASC",
        "sign": ">=" if largest else "<=",
    }
    reach = _reach(conn, names, last)
    return ("", {}) if reach is None else (_MAY_LEAD.format(**names), {"reach": reach})


def _reach(conn: sqlite3.Connection, names: dict[str, str], last: int) -> float | None:
    """Return the value up to which a session may lead; None where that is no help."""
    before = last + conn.execute(_APART, (MOST,)).fetchone()[0]
    row = conn.execute(_LIMIT.format(**names), (before,)).fetchone() if before < MOST else None
    # Without one, sessions of unknown cost may be on the page.
    if row is None:
        return None
    reach: float = row[0]
    given = {"reach": reach, "most": MOST}
    count: int = conn.execute(_COUNT.format(**names), given).fetchone()[0]
    return reach if count < MOST else None
