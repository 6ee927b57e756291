"""The totals that are added up now and then: whether a question may use them.

`schema.sql` says what they hold. The rest a question reads itself: the runs after the last one that
was added up, and the `apart_sessions`.
"""

from __future__ import annotations

import sqlite3

from waxlocal.queries.turns import turn_columns
from waxlocal.storage.schema import has_table

__all__ = ["APART", "NEWER", "are_usable", "can_have_sums"]

# If more sessions or runs than these are in no total, reading everything is as fast.
MOST_APART = 20_000

# Of a run `r`: it is in no total.
NEWER = "r.id > (SELECT up_to FROM summary)"
# A set of session ids.
APART = "(SELECT session_id FROM apart_sessions)"

_ARE_NEAR = f"""
SELECT EXISTS (SELECT 1 FROM runs r WHERE r.id <= up_to)
  AND (SELECT count(*) FROM (SELECT 1 FROM runs r WHERE {NEWER} LIMIT :most)) < :most
  AND (SELECT count(*) FROM (SELECT 1 FROM changed_sessions LIMIT :most)) < :most
FROM summary
"""  # noqa: S608


def can_have_sums(conn: sqlite3.Connection) -> bool:
    """Return whether the file has tables for totals, and its sessions' turns are known."""
    return has_table(conn, "sum_changes") and turn_columns(conn).are_counted


def are_usable(conn: sqlite3.Connection) -> bool:
    """Return whether the file has totals, and they hold enough of it to save time."""
    if not can_have_sums(conn):
        return False
    row = conn.execute(_ARE_NEAR, {"most": MOST_APART}).fetchone()
    return bool(row and row[0])
