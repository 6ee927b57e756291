"""What goes in place of a request that the server refuses.

One bad record must not hold up the others: a request is divided until the record goes alone. Nor
must one large value hold up its run, whose start or end cannot be divided: it goes cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from waxlocal.delivery.progress import RequestState
from waxlocal.delivery.requests import Part, new_key, new_part, request_key
from waxlocal.wire import cut_values
from waxlocal.wire.exact import KEY, is_derived, said_of
from waxlocal.wire.paths import LIST_OF_STAGE
from waxlocal.wire.runs import end_with, only_records, records_of_end
from waxlocal_daemon.plan import encoded
from waxlocal_daemon.sent_states import THE_RUN

__all__ = ["divided", "divisible_into", "with_cut_values", "with_new_key", "without_state"]

Json: TypeAlias = dict[str, Any]
_STATE = "conversation_state"
# A piece of a request: the positions that it carries, and its body.
_Piece: TypeAlias = tuple[list[int], Json]


def divisible_into(part: Part) -> int:
    """Return how many requests could carry what this one does: 1 if it cannot be divided."""
    if part.stage in LIST_OF_STAGE or part.stage == "complete":
        return max(len(part.positions), 1)
    return 1


def divided(run_id: str, part: Part, number: int, *, of_waxlocal: bool) -> list[Part]:
    """Return the requests that together carry what this one does; none if it cannot be divided.

    `number` is that of the first. `of_waxlocal`: the server is another waxlocal. The pieces have
    new keys: the server has refused the old one, and stored nothing under it. Each keeps the states
    of all records: those of the others are not among its positions.
    """
    body: Json = json.loads(part.body or b"{}")
    if part.stage == "complete":
        pieces = _pieces_of_end(part, body, of_waxlocal=of_waxlocal)
    else:
        pieces = _halves(part, body)
    return [
        _piece(run_id, part, one, positions, piece)
        for one, (positions, piece) in enumerate(pieces, number)
    ]


def _piece(run_id: str, part: Part, number: int, positions: list[int], body: Json) -> Part:
    return new_part(run_id, part.stage, number, positions, encoded(body), part.states)


def _halves(part: Part, body: Json) -> list[_Piece]:
    name = LIST_OF_STAGE[part.stage]
    items: list[Any] = body[name]
    half = (len(items) + 1) // 2
    return [
        (part.positions[which], {**body, name: items[which]})
        for which in (slice(half), slice(half, None))
    ]


def _pieces_of_end(part: Part, body: Json, *, of_waxlocal: bool) -> list[_Piece]:
    """Divide the request that ends a run, or one that brings records to the same endpoint.

    The end goes alone, and before its records: 0.2 does not know a request that ends nothing. It
    keeps the positions of records that are not in its body: nobody could store those, and they
    count as sent. Only another waxlocal reads the records, so that any other server gets the end
    without them: a second end would take the place of the first.
    """
    records = records_of_end(body)
    ends = THE_RUN in part.positions
    if not records or len(records) + ends < 2:
        return []
    if ends and not of_waxlocal:
        return [(part.positions, end_with(body, ()))]
    half = 0 if ends else (len(records) + 1) // 2
    later = _positions(records[half:])
    first = [position for position in part.positions if position not in later]
    here = end_with(body, records[:half]) if ends else only_records(records[:half])
    return [(first, here), (later, only_records(records[half:]))]


def _positions(records: Iterable[tuple[str, Json]]) -> list[int]:
    return [said["position"] for _table, said in records]


def without_state(run_id: str, part: Part, number: int, *, of_waxlocal: bool) -> list[Part]:
    """Return a request without the state of the conversation; none if it has none or needs it.

    The state grows with the run, and each request with calls or steps repeats it: they are not
    refused because of it. The end keeps it, but not to another waxlocal, which has the records.
    """
    body: Json = json.loads(part.body or b"{}")
    if _STATE not in body:
        return []
    if part.stage == "complete":
        if not of_waxlocal or KEY not in body:
            return []
        body = end_with(body, records_of_end(body))
    left = {name: value for name, value in body.items() if name != _STATE}
    return [_piece(run_id, part, number, part.positions, left)]


def with_cut_values(
    run_id: str, part: Part, number: int, *, of_waxlocal: bool
) -> tuple[list[Part], list[str]]:
    """Return a request with its large values cut, and the names of those that the server lacks.

    The start or the end of a run, or an item that the original SDK makes of other records, which
    another waxlocal does not store. Nothing where there is no large value, or for a record itself.
    """
    body: Json = json.loads(part.body or b"{}")
    derived = _is_derived(part, body)
    of_run = part.stage == "start" or (part.stage == "complete" and not records_of_end(body))
    if not derived and not of_run:
        return [], []
    cut, names = cut_values.with_cut_values(body)
    if not names:
        return [], []
    piece = _piece(run_id, part, number, part.positions, cut)
    return [piece], [] if derived and of_waxlocal else names


def _is_derived(part: Part, body: Json) -> bool:
    items = body[LIST_OF_STAGE[part.stage]] if part.stage in LIST_OF_STAGE else ()
    said = [said_of(item) for item in items]
    return bool(said) and all(one is not None and is_derived(one) for one in said)


def with_new_key(run_id: str, part: Part, number: int) -> list[Part]:
    """Return the same request under a key that was never used; nothing if it has had a second one.

    A server that refuses the second key, too, would otherwise be asked for ever.
    """
    if part.idempotency_key != request_key(run_id, part.stage, part.part):
        return []
    key = new_key(run_id, part.stage, number)
    return [part._replace(part=number, idempotency_key=key, state=RequestState.WAITING, attempts=0)]
