"""Identifiers: time-ordered ids of runs, session ids, trace ids."""

from __future__ import annotations

import os
import sys
from _random import Random  # all of `random` takes a millisecond to import
from collections.abc import Callable
from typing import Any

from waxlocal.clock import SYSTEM_CLOCK

__all__ = [
    "WORKFLOW_PREFIX",
    "RunIds",
    "daily_run_id",
    "first_run_id",
    "foreign_trace_id",
    "generate_session_id",
    "process_id_of",
    "run_id_of",
    "session_id_at",
    "trace_id_of",
    "workflow_id_of",
]

# The workflow id that the file gives a run is this and the run's id.
WORKFLOW_PREFIX = "wf_"
# RFC 9562 method 3: the 12 bits after the version hold the fraction of the millisecond.
_TICKS_PER_MS = 4096
_HEAD_BITS = (1 << 60) - 1
_ONE_BEFORE = 1 << 60
_SESSION_SECONDS = (1 << 25) - 1
_SESSION_RANDOM_BITS = 39


def _random_bits() -> Callable[[int], int]:
    # Not secrets: these numbers only have to differ, and the system's cost a call of it each.
    return Random(int.from_bytes(os.urandom(32), "big")).getrandbits


class RunIds:
    """A source of UUIDv7 text, strictly increasing within one process.

    Time-ordered ids keep the rows and index entries that are written together on the same pages;
    at a million runs that saves a third of each write. A clock that steps back does not make ids
    step back: they go on from the last one until time has caught up.
    """

    def __init__(self, bits: Callable[[int], int] | None = None) -> None:
        """`bits` returns that many random bits, as `getrandbits` does; by default, of its own."""
        self._last = 0
        if bits is None:
            self.reseed()
        else:
            self._bits = bits

    def reseed(self) -> None:
        """Start a new random stream; a forked child must not repeat its parent's ids."""
        self._bits = _random_bits()

    @property
    def begun(self) -> bool:
        """Whether an id was given already."""
        return self._last > 0

    def next(self, ns: int) -> str:
        """Return a new id for a run that starts at `ns` nanoseconds since 1970."""
        ticks = ns * _TICKS_PER_MS // 1_000_000
        if ticks <= self._last:
            ticks = self._last + 1
        self._last = ticks
        # Milliseconds (12 digits) and their fraction (3); `hex` and a one before them take half the
        # time of formats with zeros.
        head = hex(ticks & _HEAD_BITS | _ONE_BEFORE)
        tail = hex(0x8000000000000000 | self._bits(62))
        return f"{head[3:11]}-{head[11:15]}-7{head[15:]}-{tail[2:6]}-{tail[6:]}"


_session_bits = _random_bits()


def generate_session_id() -> str:
    """Return a new session id: `sess_` and 16 lower-case hexadecimal digits.

    25 bits of the time in seconds, 39 random bits. The time part keeps sessions of the same hour
    on the same pages; it wraps after 388 days, so over the years ids are as unlikely to meet as 64
    random bits are. Any other string works as a session id, too.
    """
    return session_id_at(SYSTEM_CLOCK.time_ns(), _session_bits)


def session_id_at(ns: int, bits: Callable[[int], int]) -> str:
    """Return such an id for a session that begins at `ns` nanoseconds since 1970.

    `bits` returns that many random bits, as `getrandbits` does.
    """
    seconds = ns // 1_000_000_000 & _SESSION_SECONDS
    return f"sess_{seconds << _SESSION_RANDOM_BITS | bits(_SESSION_RANDOM_BITS):016x}"


def _sha256(data: bytes) -> Any:
    """Return a digest as hashlib does, which would load OpenSSL: 2 to 5 ms of every first run."""
    from importlib import import_module

    name = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    try:
        module = import_module(name)
    except ImportError:  # a Python that was built without its own
        module = import_module("hashlib")
    return module.sha256(data)


def daily_run_id(host: str, agent_type: str, agent_slug: str, day: str) -> str:
    """Return the id of the run that collects an agent's records of a day on one host.

    A UUIDv8 (RFC 9562), the same in every process there that asks. Of two hosts it differs: their
    records meet in one file when both deliver to the same hub.
    """
    digest = _sha256("\0".join((host, agent_type, agent_slug, day)).encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-a{digest[15:18]}-{digest[18:30]}"


def first_run_id(ns: int) -> str:
    """Return what sorts before the id of each run that `RunIds` names from this moment on."""
    milliseconds = f"{ns // 1_000_000:012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"


def workflow_id_of(run_id: str) -> str:
    """Return the workflow id that the file gives a run (`runs.workflow_id` computes the same)."""
    return f"{WORKFLOW_PREFIX}{run_id}"


def run_id_of(workflow_id: object) -> str | None:
    """Return the id of the run that the file gives this workflow id; None where it gives none."""
    if isinstance(workflow_id, str) and workflow_id.startswith(WORKFLOW_PREFIX):
        return workflow_id.removeprefix(WORKFLOW_PREFIX)
    return None


def foreign_trace_id(run_id: str) -> str:
    """Return the trace id of a run whose id another program made: it need not be a UUID."""
    digest: str = _sha256(run_id.encode("utf-8", "replace")).hexdigest()
    return digest[:32]


def trace_id_of(run_id: str) -> str:
    """Return the 32 hexadecimal digits that name the trace begun by this run."""
    return run_id.replace("-", "")


def _reseed_sessions() -> None:
    global _session_bits
    _session_bits = _random_bits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed_sessions)


def process_id_of(*identity: str) -> int:
    """Return 56 bits that stand for a process, the same wherever they are computed."""
    joined = "\0".join(identity).encode("utf-8", "replace")
    return int.from_bytes(_sha256(joined).digest()[:7], "big")
