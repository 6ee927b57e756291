"""The log of the daemon: one line for each change of state, on stderr."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Collection, Mapping
from typing import TextIO

from waxlocal import escaping
from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.encode import as_text

__all__ = ["FORMS", "LEVELS", "Log"]

FORMS = ("logfmt", "json")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# A lasting state is logged again after this time, with the number of repetitions.
AGAIN_NS = 30 * 1_000_000_000
# Longer values are cut: the message of a server may be a page of HTML.
MOST_CHARS = 500
_MOST_KEYS = 1_000
_BARE = re.compile(r"[A-Za-z0-9_.:/@%+,<>*()\[\]-]+")
_NAME = re.compile(r"[^A-Za-z0-9_.]")


class Log:
    """Writes logfmt, or JSON with one object per line; safe for use by any thread.

    Control characters are escaped in both formats, so text from a server cannot begin a new line. A
    stream that can no longer be written does not stop the daemon.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        form: str = "logfmt",
        level: str = "info",
        clock: Clock = SYSTEM_CLOCK,
        without: Collection[str] = (),
    ) -> None:
        self._without = without
        self._stream = sys.stderr if stream is None else stream
        self._line = _json if form == "json" else _logfmt
        self._least = LEVELS.get(level, LEVELS["info"])
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[int, int]] = {}

    @classmethod
    def from_environment(
        cls,
        form: str = "logfmt",
        environ: Mapping[str, str] = os.environ,
        *,
        without: Collection[str] = (),
    ) -> Log:
        """Return a log on stderr with the threshold of `WAXLOCAL_LOG_LEVEL`."""
        level = environ.get("WAXLOCAL_LOG_LEVEL", "").lower()
        return cls(form=form, level=level, without=without)

    def event(self, name: str, /, level: str = "info", **fields: object) -> None:
        """Write one line: time, level, name, and the fields that are not None.

        Events that the log is `without` are left out.
        """
        if LEVELS[level] < self._least or name in self._without:
            return
        told = {
            "ts": utc_text(self._clock.time_ns()),
            "level": level,
            "event": name,
            **{_NAME.sub("_", key): _plain(value) for key, value in fields.items()},
        }
        line = self._line({key: value for key, value in told.items() if value is not None})
        try:
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError):  # the reader is gone, or the stream is closed
            return

    def once(
        self, name: str, /, level: str = "warning", *, key: object = "", **fields: object
    ) -> bool:
        """Write an event unless it was written for this `key` in the last 30 seconds.

        The next line then has the number of skipped ones as `repeated`. Returns whether it was
        written.
        """
        now, mark = self._clock.monotonic_ns(), (name, as_text(key))
        with self._lock:
            said_at, kept_back = self._said.pop(mark, (now - AGAIN_NS, 0))
            due = now - said_at >= AGAIN_NS
            self._said[mark] = (now, 0) if due else (said_at, kept_back + 1)
            if len(self._said) > _MOST_KEYS:
                del self._said[next(iter(self._said))]
        if due:
            self.event(name, level, **fields, repeated=kept_back or None)
        return due

    def over(self, name: str, /, *, key: object = "") -> bool:
        """Forget a state that `once` wrote, as it is over; return whether there was one."""
        with self._lock:
            return self._said.pop((name, as_text(key)), None) is not None


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3)
    text = as_text(value)
    return text if len(text) <= MOST_CHARS else text[: MOST_CHARS - 1] + "…"


def _json(fields: Mapping[str, object]) -> str:
    return escaping.document(fields, indent=None)


def _logfmt(fields: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in fields.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if _BARE.fullmatch(text) else escaping.document(text, indent=None)
