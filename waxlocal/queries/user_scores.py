"""How the runs of one user were scored."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from waxlocal import encode
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.turns import turn_columns
from waxlocal.queries.users import sessions_of

__all__ = ["UserScore", "user_scores"]

# In a session of one user all runs are theirs, also those that name nobody. In a session of
# several, and in a file of an earlier version, those that name them.
_SCORES = """
SELECT x.name, x.data_type, iif(x.numeric_value IS NULL, x.string_value, NULL) AS word,
  count(*) AS given, avg(x.numeric_value) AS mean
FROM {sessions} AS s CROSS JOIN runs r ON r.session_id = s.session_id
CROSS JOIN scores x ON x.run_id = r.run_id
WHERE r.user_id = :user{alone}
GROUP BY 1, 2, 3 ORDER BY 1, 2, given DESC, 3
"""
_ALONE = """ OR (r.user_id IS NULL AND NOT EXISTS (SELECT 1 FROM session_users u
  WHERE u.session_id = s.session_id AND u.user_id <> :user))"""
MOST_WORDS = 5


@dataclass(frozen=True, slots=True)
class UserScore:
    """The scores of one name: the `mean` of `numbers` of them, and the most frequent `words`.

    Of yes and no, the mean is the share of yes. `words` come with how often each was given.
    """

    name: str
    data_type: str
    numbers: int
    mean: float | None
    words: tuple[tuple[str, int], ...]


@in_snapshot
def user_scores(conn: sqlite3.Connection, user_id: str) -> list[UserScore]:
    """Return the scores of a user's runs in sessions, by name."""
    alone = _ALONE if turn_columns(conn).are_counted else ""
    query = _SCORES.format(sessions=sessions_of(conn), alone=alone)
    found: dict[tuple[str, str], UserScore] = {}
    for name, kind, word, given, mean in conn.execute(query, {"user": encode.text(user_id)}):
        known = found.get((name, kind), UserScore(name, kind, 0, None, ()))
        if mean is not None:
            known = UserScore(name, kind, given, mean, known.words)
        elif word is not None and len(known.words) < MOST_WORDS:
            more = (*known.words, (word, given))
            known = UserScore(name, kind, known.numbers, known.mean, more)
        found[name, kind] = known
    return list(found.values())
