"""The upload status as a line of text: for the page header, and per target."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from waxlocal.clock import utc_text
from waxlocal.delivery.status import TargetStatus, delivery_status
from waxlocal.queries.times import microseconds
from waxlocal.web.cache import Cached, ask_kept
from waxlocal.wording import ago, counted, duration

__all__ = ["UploadLine", "host_of", "take_status", "target_state", "upload_line"]

# Seconds that a page waits for the status line; less than for its content.
PATIENCE_S = 0.03


@dataclass(frozen=True)
class UploadLine:
    """The state as text; `kind` is ok, work, needs (the user must act) or none."""

    kind: str
    text: str


async def take_status(
    request: Request, patience: float = PATIENCE_S
) -> Cached[tuple[TargetStatus, ...]]:
    """Return the state of all targets."""
    return await ask_kept(request, "upload", _status, patience=patience)


def _status(connection: sqlite3.Connection) -> tuple[TargetStatus, ...]:
    return delivery_status(connection)


async def upload_line(request: Request, now_ns: int) -> UploadLine:
    """Return the status line for the page header; never delays or fails a page."""
    taken = await take_status(request)
    if taken.value is None:
        return UploadLine("none", "counting …" if taken.pending else "the file did not respond")
    return line_of(taken.value, now_ns)


def line_of(targets: Sequence[TargetStatus], now_ns: int) -> UploadLine:
    """Return the line for several targets: the most urgent state."""
    if not targets:
        return UploadLine("none", "no sync yet")
    states = [target_state(one, now_ns) for one in targets]
    for kind in ("needs", "offline", "work", "ok"):
        for state in states:
            if state.kind == kind:
                return UploadLine("work" if kind == "offline" else kind, state.text)
    return states[0]


def target_state(one: TargetStatus, now_ns: int) -> UploadLine:
    """Return the state of one target; its kind may also be `offline`."""
    if one.paused_at:
        return UploadLine("needs", "paused: the server rejects the key")
    if one.parked:
        waiting = f", {one.pending:,} pending" if one.pending else ""
        return UploadLine("needs", f"{one.parked:,} parked{waiting}")
    if one.failures and one.pending:
        since = one.last_success_at
        return UploadLine("offline", f"offline for {_since(since, now_ns)}" if since else "offline")
    if one.pending:
        last = f" · last upload {ago(one.last_success_at, now_ns)}" if one.last_success_at else ""
        return UploadLine("work", f"{one.pending:,} pending{last}")
    running = f" · {counted(one.open, 'run')} in progress" if one.open else ""
    return UploadLine("ok", f"up to date{running}")


def _since(stored: str, now_ns: int) -> str:
    seconds = (microseconds(utc_text(now_ns)) - microseconds(stored)) / 1e6
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds / unit)} {name}"
    return duration(max(seconds, 0))


def host_of(url: str) -> str:
    """Return host, port and account of a target, without the path and any user before an `@`."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        account = f"#{parts.fragment}" if parts.fragment else ""
        return f"{parts.hostname or '?'}{port}{account}"
    except ValueError:
        return "?"
