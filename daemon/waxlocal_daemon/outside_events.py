"""Which requests carry events outside any run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from waxlocal.delivery.requests import OUTSIDE, Part, new_part
from waxlocal.wire.outside_events import event_body
from waxlocal_daemon.plan import MAX_BYTES, encoded

__all__ = ["STAGE", "planned_events"]

STAGE = "events"


def planned_events(rows: Sequence[Mapping[str, Any]], first: int) -> list[Part]:
    """Return as many requests as it takes to keep each of them small, numbered from `first`."""
    parts: list[Part] = []
    pieces = [list(rows)] if rows else []
    while pieces:
        piece = pieces.pop()
        body = encoded({"events": [event_body(row) for row in piece]})
        if len(piece) > 1 and len(body) > MAX_BYTES:
            half = (len(piece) + 1) // 2
            pieces += [piece[half:], piece[:half]]
            continue
        positions = [row["position"] for row in piece]
        parts.append(new_part(OUTSIDE, STAGE, first + len(parts), positions, body))
    return parts
