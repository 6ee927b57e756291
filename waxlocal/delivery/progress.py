"""How far a run has come on its way to a server, and how far each of its requests.

The values of the columns `state` in `deliveries` and `requests`; the SQL of this package and the
triggers in `schema.sql` write and read the same words.
"""

from __future__ import annotations

from typing import Final

__all__ = ["IS_OPEN", "IS_PARKED", "IS_PENDING", "IS_SENDING", "DeliveryState", "RequestState"]


class DeliveryState:
    """The state of a run on its way to one server."""

    OPEN: Final = "open"  # still running: it waits for its end
    PENDING: Final = "pending"
    SENDING: Final = "sending"  # in hand; a record that comes now makes it pending again
    PARKED: Final = "parked"  # refused, until a person wants it tried again
    DELIVERED: Final = "delivered"


class RequestState:
    """The state of one request of a run."""

    WAITING: Final = "waiting"
    DELIVERED: Final = "delivered"
    PARKED: Final = "parked"
    REPLACED: Final = "replaced"  # by later parts, which carry the same records


def _is(state: str) -> str:
    return f"d.state = '{state}' AND d.state <> '{DeliveryState.DELIVERED}'"


# SQL conditions: a row `d` of `deliveries` has this state. Each says more than would do: SQLite
# takes a partial index only where the condition holds the very term of the index, see
# https://www.sqlite.org/partialindex.html. Without `deliveries_waiting` each look would read all
# runs that were ever delivered.
IS_OPEN = _is(DeliveryState.OPEN)
IS_PENDING = _is(DeliveryState.PENDING)
IS_SENDING = _is(DeliveryState.SENDING)
IS_PARKED = _is(DeliveryState.PARKED)
