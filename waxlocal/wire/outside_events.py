"""Events outside any run: what the events endpoint is sent of them, and what it makes of that.

To any server an event is what the program gave. To another waxlocal it also says, in `waxlocal`,
when it was recorded and where it lies, so that one that comes twice is there once. What the program
itself has under that name is `kept` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from waxlocal.encode import dumps
from waxlocal.records import LARGEST_INTEGER
from waxlocal.wire.exact import KEY
from waxlocal.wire.values import Json, as_object, as_text, as_time, fields_of, text_of

__all__ = ["OutsideEvent", "event_body", "outside_event"]


class OutsideEvent(NamedTuple):
    """A row of `events` without a run; `data` is JSON text."""

    position: int
    recorded_at: str
    event: str
    data: str


def event_body(row: Mapping[str, Any]) -> Json:
    """Return what the events endpoint is sent of a row."""
    name, data = text_of(row["event"]), fields_of(row["data"])
    own: Json = {
        "outside": True,
        "position": row["position"],
        "recorded_at": text_of(row["recorded_at"]),
    }
    if "event" not in data:
        own["named"] = True
    elif data["event"] != name:
        own["event"] = data["event"]
    if KEY in data:
        own["kept"] = data[KEY]
    return {**data, "event": name, KEY: own}


def outside_event(body: Json) -> OutsideEvent | None:
    """Return the row that another waxlocal speaks of; None for any other event."""
    own = as_object(body.get(KEY))
    position, recorded_at = own.get("position"), as_time(own.get("recorded_at"))
    if own.get("outside") is not True or recorded_at is None:
        return None
    if type(position) is not int or not 0 <= position < LARGEST_INTEGER:
        return None
    data = {name: value for name, value in body.items() if name != KEY or "kept" in own}
    if "kept" in own:
        data[KEY] = own["kept"]
    if own.get("named") is True:
        data.pop("event", None)
    elif "event" in own:
        data["event"] = own["event"]
    return OutsideEvent(position, recorded_at, as_text(body.get("event")) or "event", dumps(data))
