"""How runs were scored, by name of the score: those of a user, and those of a session."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from waxlocal import encode
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.user_parts import user_of_run
from waxlocal.queries.users import sessions_of

__all__ = ["ScoreSummary", "session_scores", "user_scores"]

_COLUMNS = """x.name, x.data_type, iif(x.numeric_value IS NULL, x.string_value, NULL) AS word,
  count(*) AS given, avg(x.numeric_value) AS mean"""
_OF_USER = f"""
SELECT NULL, {_COLUMNS}
FROM {{sessions}} AS s CROSS JOIN runs r ON r.session_id = s.session_id
CROSS JOIN scores x ON x.run_id = r.run_id
WHERE {{user}} = :user
GROUP BY 2, 3, 4 ORDER BY 2, 3, given DESC, 4
"""  # noqa: S608
_OF_SESSIONS = f"""
SELECT r.session_id, {_COLUMNS}
FROM json_each(:sessions) AS s CROSS JOIN runs r ON r.session_id = s.value
CROSS JOIN scores x ON x.run_id = r.run_id
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, given DESC, 4
"""  # noqa: S608
MOST_WORDS = 5


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """The scores of one name: the `mean` of `numbers` of them, and the most frequent `words`.

    Of yes and no, the mean is the share of yes. `words` come with how often each was given.
    """

    name: str
    data_type: str
    numbers: int
    mean: float | None
    words: tuple[tuple[str, int], ...]


@in_snapshot
def user_scores(conn: sqlite3.Connection, user_id: str) -> list[ScoreSummary]:
    """Return the scores of a user's runs in sessions, by name."""
    query = _OF_USER.format(sessions=sessions_of(conn), user=user_of_run(conn))
    found = conn.execute(query, {"user": encode.text(user_id)}).fetchall()
    return _together(found).get(None, [])


def session_scores(
    conn: sqlite3.Connection, ids: Sequence[str]
) -> dict[str | None, list[ScoreSummary]]:
    """Return the scores of the runs of these sessions, by session and name; none has no entry."""
    return _together(conn.execute(_OF_SESSIONS, {"sessions": json.dumps(list(ids))}).fetchall())


def _together(rows: Sequence[sqlite3.Row]) -> dict[str | None, list[ScoreSummary]]:
    found: dict[tuple[str | None, str, str], ScoreSummary] = {}
    for session, name, kind, word, given, mean in rows:
        known = found.get((session, name, kind), ScoreSummary(name, kind, 0, None, ()))
        if mean is not None:
            known = ScoreSummary(name, kind, given, mean, known.words)
        elif word is not None and len(known.words) < MOST_WORDS:
            more = (*known.words, (word, given))
            known = ScoreSummary(name, kind, known.numbers, known.mean, more)
        found[session, name, kind] = known
    by_session: dict[str | None, list[ScoreSummary]] = {}
    for (session, _, _), one in found.items():
        by_session.setdefault(session, []).append(one)
    return by_session
