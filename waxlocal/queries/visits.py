"""How many users took part in sessions, and how many of them came back for another one."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["VisitCounts", "Visits", "visits_of_all"]

_OF_ALL = """
SELECT count(*), coalesce(sum(visits > 1), 0)
FROM (SELECT count(*) AS visits FROM session_users GROUP BY user_id)
"""


class Visits(NamedTuple):
    """The users who took part in some sessions, and those of them who did in more than one."""

    users: int
    returning: int


def visits_of_all(conn: sqlite3.Connection) -> Visits:
    """Return the visits to all sessions of a file that has their users beside them."""
    return Visits(*conn.execute(_OF_ALL).fetchone())


class VisitCounts:
    """The visits to sessions that are read one by one."""

    def __init__(self) -> None:
        # Their hashes: eight bytes for a visit, whatever users are called.
        self._users = array("q")

    def add(self, users: Iterable[str | None]) -> None:
        """Add sessions, each with its users with commas between."""
        if named := ",".join(filter(None, users)):
            self._users.extend(map(hash, named.split(",")))

    def visits(self) -> Visits:
        """Return them together."""
        counts = Counter(self._users)
        return Visits(len(counts), sum(count > 1 for count in counts.values()))
