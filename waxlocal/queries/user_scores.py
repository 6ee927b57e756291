"""How the runs of one user were scored."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from waxlocal import encode
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.user_parts import user_of_run
from waxlocal.queries.users import sessions_of

__all__ = ["UserScore", "user_scores"]

_SCORES = """
SELECT x.name, x.data_type, iif(x.numeric_value IS NULL, x.string_value, NULL) AS word,
  count(*) AS given, avg(x.numeric_value) AS mean
FROM {sessions} AS s CROSS JOIN runs r ON r.session_id = s.session_id
CROSS JOIN scores x ON x.run_id = r.run_id
WHERE {user} = :user
GROUP BY 1, 2, 3 ORDER BY 1, 2, given DESC, 3
"""
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
    query = _SCORES.format(sessions=sessions_of(conn), user=user_of_run(conn))
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
