"""The totals that are added up now and then: whether a question may use them.

What they hold, and of what, says `schema.sql`. A question looks at what they do not hold itself: at
the runs after the last one that was added up, and at the `apart_sessions`.
"""

from __future__ import annotations

import sqlite3

from waxlocal.queries.turns import turn_columns

__all__ = ["APART", "NEWER", "are_usable"]

# With more sessions or runs than these to look at itself, a question had better read all as ever.
MOST_APART = 20_000

# Of a run `r`: it is in no total.
NEWER = "r.id > (SELECT up_to FROM summary)"
# A set of session ids.
APART = "(SELECT session_id FROM apart_sessions)"

_EXIST = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'summary')"
_ARE_NEAR = f"""
SELECT EXISTS (SELECT 1 FROM runs r WHERE r.id <= up_to)
  AND (SELECT count(*) FROM (SELECT 1 FROM runs r WHERE {NEWER} LIMIT :most)) < :most
  AND (SELECT count(*) FROM (SELECT 1 FROM changed_sessions LIMIT :most)) < :most
FROM summary
"""  # noqa: S608


def are_usable(conn: sqlite3.Connection) -> bool:
    """Return whether the file has totals, and so little beside them that they save time."""
    if not conn.execute(_EXIST).fetchone()[0] or not turn_columns(conn).are_counted:
        return False
    row = conn.execute(_ARE_NEAR, {"most": MOST_APART}).fetchone()
    return bool(row and row[0])
