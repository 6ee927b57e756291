"""What a recorder remembers of a damaged file, so that it does not open it again and again."""

from __future__ import annotations

from pathlib import Path

from waxlocal.clock import monotonic
from waxlocal.storage.paths import file_state

__all__ = ["OPEN_AGAIN_S", "Damage"]

# A damaged file that has changed is opened again after so many seconds.
OPEN_AGAIN_S = 60.0


class Damage:
    """The file in which SQLite has found damage, or that was cut off, as it was then; if any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: tuple[int, ...] = ()
        self._open_again_at = 0.0

    def note(self) -> None:
        """Remember the file that is there now."""
        self._state = file_state(self._path)
        self._open_again_at = monotonic() + OPEN_AGAIN_S

    @property
    def is_noted(self) -> bool:
        """Whether damage was found."""
        return bool(self._state)

    @property
    def stays(self) -> bool:
        """Whether the damaged file is still there.

        Another file in its place is opened at once; one that was written over, or that others write
        to, after a while.
        """
        now = file_state(self._path)
        if not self._state or now[:2] != self._state[:2]:
            return False
        return now == self._state or monotonic() <= self._open_again_at
