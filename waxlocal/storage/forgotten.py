"""What a file was told to forget: runs, users and sessions that must not come back.

They are known by salted hashes alone. Whoever puts rows of another file in here asks first; a
program that records does not, for what it records is new.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import sha256

from waxlocal.ids import run_id_of
from waxlocal.storage.schema import has_table

__all__ = ["Forgotten", "Tombstone", "has_forgotten_run"]

_SALT = "SELECT salt FROM forgetting"
_BEGIN = """
INSERT INTO forgetting (id, salt, unfinished) VALUES (1, :salt, :token)
ON CONFLICT (id) DO UPDATE SET unfinished = excluded.unfinished
"""
_FINISH = "UPDATE forgetting SET unfinished = 0 WHERE unfinished = ?"
_IS_UNFINISHED = "SELECT EXISTS (SELECT 1 FROM forgetting WHERE unfinished)"
# A later time covers more.
_ADD = """
INSERT INTO forgotten (kind, digest, before) VALUES (?, ?, ?)
ON CONFLICT (kind, digest) DO UPDATE SET before = max(before, excluded.before)
"""
_BEFORE = "SELECT before FROM forgotten WHERE kind = ? AND digest = ?"


class Tombstone(Enum):
    """What a tombstone stands for; `UNNAMED`: the runs of a session that name no user.

    `PART` bars nothing: it says that a session has lost some of its runs.
    """

    RUN = "run"
    USER = "user"
    SESSION = "session"
    UNNAMED = "unnamed"
    PART = "part"


class Forgotten:
    """The tombstones of a file, as they are in the transaction of this connection.

    False where there are none, which is one look at a table without rows.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._salt = ""
        if has_table(connection, "forgetting"):
            for row in connection.execute(_SALT).fetchall():
                self._salt = str(row[0])

    def __bool__(self) -> bool:
        return bool(self._salt)

    @property
    def is_unfinished(self) -> bool:
        """Whether somebody was stopped between deleting rows and removing their bytes."""
        return bool(self and self._connection.execute(_IS_UNFINISHED).fetchone()[0])

    def begin(self, names: Iterable[tuple[Tombstone, str]], before: str) -> int:
        """Bar the runs of these names that began before a UTC time; note that it is unfinished.

        Returns what `finish` is told at the end.
        """
        self._salt = self._salt or secrets.token_hex(16)
        token = secrets.randbits(62) | 1
        self._connection.execute(_BEGIN, {"salt": self._salt, "token": token})
        for kind, name in names:
            self._add(kind, name, before)
        return token

    def finish(self, token: int) -> None:
        """Note that nothing is left of what was deleted, unless another deletion has begun since.

        Should that one be killed, its bytes are left.
        """
        self._connection.execute(_FINISH, (token,))

    def add_run(self, run_id: str, at: str) -> None:
        """Bar a run, whenever it began, and the runs below it."""
        self._add(Tombstone.RUN, run_id, at)

    def note_part(self, session_id: str, at: str) -> None:
        """Note that runs of a session were deleted, and others were not."""
        self._add(Tombstone.PART, session_id, at)

    def has(self, kind: Tombstone, name: str) -> bool:
        """Return whether there is this tombstone."""
        return bool(self) and self._before(kind, name) is not None

    def has_run(self, run_id: str | None) -> bool:
        """Return whether this very run is barred."""
        return run_id is not None and self.has(Tombstone.RUN, run_id)

    def take(self, run: Mapping[str, object]) -> bool:
        """Return whether a run that is not in the file must not come into it; then bar it.

        Barred by its id, so that its records and the runs below it are known, too. `run` has the
        columns of `runs` that its start gives.
        """
        run_id, at = str(run["run_id"]), str(run["started_at"])
        if not self or not (self._has_family(run) or self._has_name(run, at)):
            return False
        self.add_run(run_id, at)
        return True

    def _has_family(self, run: Mapping[str, object]) -> bool:
        above = (run_id_of(run[name]) for name in ("parent_workflow_id", "root_workflow_id"))
        return any(map(self.has_run, (str(run["run_id"]), *above)))

    def _has_name(self, run: Mapping[str, object], started_at: str) -> bool:
        user, session = run["user_id"], run["session_id"]
        names = [(Tombstone.USER, user), (Tombstone.SESSION, session)]
        if user is None:
            names.append((Tombstone.UNNAMED, session))
        found = (self._before(kind, str(name)) for kind, name in names if name is not None)
        return any(before is not None and started_at < before for before in found)

    def _before(self, kind: Tombstone, name: str) -> str | None:
        row = self._connection.execute(_BEFORE, (kind.value, self._digest(kind, name))).fetchone()
        return None if row is None else str(row[0])

    def _add(self, kind: Tombstone, name: str, before: str) -> None:
        self._connection.execute(_ADD, (kind.value, self._digest(kind, name), before))

    def _digest(self, kind: Tombstone, name: str) -> str:
        text = f"{self._salt}\0{kind.value}\0{name}"
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def has_forgotten_run(connection: sqlite3.Connection, run_id: str | None) -> bool:
    """Return whether this run was deleted on purpose; one that is in the file again is not."""
    return run_id is not None and Forgotten(connection).has_run(run_id)
