"""Which requests a run still needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from waxlocal.delivery.due import Due
from waxlocal.delivery.progress import RequestState
from waxlocal.delivery.requests import Part, new_part, next_part
from waxlocal.records import RecordStatus, RunStatus
from waxlocal.wire.exact import Item
from waxlocal.wire.items import Untold
from waxlocal.wire.paths import MEMORY_STAGES
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal.wire.requests import complete_body, late_item, recorded, stage_body, start_body
from waxlocal_daemon.sent_states import THE_RUN, SentStates, states_of_end, states_of_items

__all__ = [
    "encoded",
    "has_start",
    "needed_in_answer",
    "planned",
    "start_part",
    "turn_of",
]

# What goes while a run is still open; the rest is not settled before its end.
_WHILE_OPEN = ("llm-calls", "steps")
MAX_ITEMS = 500
# Far below what servers commonly take; a single record may be larger.
MAX_BYTES = 2 * 1024 * 1024
# Among the positions of a start: that the run was open when it was made, so that its end says more.
_OPEN = -1
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def turn_of(part: Part) -> tuple[int, int]:
    """Return when a request goes: the start first, all records after it, the end after all.

    What has changed since follows the first end, one after the other: a server that does not know
    which is newer keeps the last one. The records that an end has had to leave behind come last,
    however often it was divided or cut: 0.2 takes the first request to that endpoint for the end.
    """
    if part.stage == "complete":
        ends = THE_RUN in part.positions or not part.positions
        return (2 if ends else 3), part.part
    return int(part.stage != "start"), 0


def needed_in_answer(stage: str) -> tuple[str, ...]:
    """Return the names that a response must have to be accepted."""
    return ("run_id",) if stage == "start" else ()


def has_start(parts: Iterable[Part]) -> bool:
    """Return whether the server knows the run, or is still to be told of it."""
    states = (RequestState.WAITING, RequestState.DELIVERED)
    return any(part.stage == "start" and part.state in states for part in parts)


def start_part(run: RecordedRun, due: Due, parts: Sequence[Part]) -> Part | None:
    """Return the request that starts the run, None when there is one."""
    if any(part.stage == "start" and part.state != RequestState.REPLACED for part in parts):
        return None
    parent, root = due.parent_workflow_id, due.root_workflow_id
    if not due.parent_known:
        parent = run.run["parent_workflow_id"]
        root = root or run.run["root_workflow_id"]
    body = start_body(run, parent_workflow_id=parent, root_workflow_id=root or parent)
    positions = [THE_RUN, _OPEN] if run.run["status"] == RunStatus.RUNNING else [THE_RUN]
    return _part(run, "start", next_part(parts, "start"), positions, body)


def planned(
    run: RecordedRun,
    children: Sequence[ChildRun],
    remote_ids: Mapping[str, str],
    parts: Sequence[Part],
    *,
    of_waxlocal: bool,
    hardware_uuid: str = "",
) -> list[Part]:
    """Return the requests for all that no request carries yet: records, the end, later changes.

    `of_waxlocal`: the server is another waxlocal, which takes changed records.
    """
    found = recorded(run, children, remote_ids)
    running = run.run["status"] == RunStatus.RUNNING
    exact = _is_exact(parts)
    unsettled = {span["position"] for span in run.spans if span["status"] == RecordStatus.RUNNING}
    told, late = _told_with_end(run, found.untold, parts, exact=exact)
    for untold in late:
        stage, item = late_item(untold, run, remote_ids)
        found.items.setdefault(stage, []).append(item)
    new: list[Part] = []
    for stage, items in found.items.items():
        if running and stage not in _WHILE_OPEN:
            continue
        carried = _carried(parts, stage)
        left = [
            item
            for item in items
            if item.position not in carried and not (running and item.position in unsettled)
        ]
        new += _record_parts(run, stage, left, parts, hardware_uuid, exact=exact)
    if not running:
        new += _ends(run, told, parts, of_waxlocal=of_waxlocal, exact=exact)
    return new


def _ends(
    run: RecordedRun,
    told: Sequence[Untold],
    parts: Sequence[Part],
    *,
    of_waxlocal: bool,
    exact: bool,
) -> list[Part]:
    """Return the request that ends a run if there is none yet, and those that carry changes.

    The API has no change of a record, so that only another waxlocal is told of those: in the end
    of the run, once more. Any other server gets another end where that says something else.
    """
    sent = SentStates(parts)
    was_open = any(_OPEN in part.positions for part in _made(parts, "start"))
    number = next_part(parts, "complete")
    ends: list[Part] = []
    if not _made(parts, "complete"):
        body = complete_body(run, exact=exact, untold=told, was_open=was_open)
        ends.append(_end(run, number, body, told, exact=exact))
    elif not of_waxlocal:
        body = complete_body(run, exact=exact, was_open=was_open)
        if sent.run_changed(run) and sent.end_differs(body):
            ends.append(_end(run, number, body, (), exact=exact))
    if not of_waxlocal:
        return ends
    pieces = _pieces(sent.changed(run)) if exact else []
    if not pieces and not ends and sent.run_changed(run):
        pieces = [[]]
    for piece in pieces:
        body = complete_body(run, untold=piece, was_open=was_open, with_state=False)
        ends.append(_end(run, number + len(ends), body, piece, exact=True))
    return ends


def _end(
    run: RecordedRun,
    number: int,
    body: Mapping[str, Any],
    records: Sequence[Untold],
    *,
    exact: bool,
) -> Part:
    positions = [THE_RUN, *(record.row["position"] for record in records)] if exact else []
    states = states_of_end(run, body, records)
    return new_part(run.run["run_id"], "complete", number, positions, encoded(body), states)


def _pieces(records: Sequence[Untold]) -> list[list[Untold]]:
    """Return the records in as many pieces as it takes to keep each of them small."""
    pieces: list[list[Untold]] = []
    size = 0
    for record in records:
        size += _size(record)
        if not pieces or size > MAX_BYTES // 2 or len(pieces[-1]) == MAX_ITEMS:
            pieces.append([])
            size = _size(record)
        pieces[-1].append(record)
    return pieces


def _size(record: Untold) -> int:
    return sum(len(cell) for cell in record.row.values() if isinstance(cell, str))


def _made(parts: Iterable[Part], stage: str) -> list[Part]:
    return [part for part in parts if part.stage == stage and part.state != RequestState.REPLACED]


def _is_exact(parts: Sequence[Part]) -> bool:
    """Return whether a run's requests say where its records lie.

    Not the rest of those that an older waxlocal began: the server has its records in another place.
    """
    return all(THE_RUN in part.positions for part in _made(parts, "start"))


def _told_with_end(
    run: RecordedRun, untold: Sequence[Untold], parts: Sequence[Part], *, exact: bool
) -> tuple[list[Untold], list[Untold]]:
    """Return what goes with the end of the run, and what needs an item because that has gone."""
    if run.run["status"] == RunStatus.RUNNING:
        return [], []
    if not _made(parts, "complete"):
        first = next(iter(_pieces(untold)), [])
        return first, list(untold[len(first) :]) if exact else []
    if exact:
        carried = _carried(parts, "complete")
        return [], [one for one in untold if one.row["position"] not in carried]
    ended_at = str(run.run["completed_at"])
    return [], [one for one in untold if str(one.row[one.table.moment]) > ended_at]


def _carried(parts: Iterable[Part], stage: str) -> set[int]:
    carried: set[int] = set()
    for part in parts:
        if part.stage == stage and part.state != RequestState.REPLACED:
            carried.update(part.positions)
    return carried


def _record_parts(
    run: RecordedRun,
    stage: str,
    items: Sequence[Item],
    before: Sequence[Part],
    hardware_uuid: str,
    *,
    exact: bool,
) -> list[Part]:
    """Return as many requests as it takes to keep each of them small."""
    first = next_part(before, stage)
    parts: list[Part] = []
    most = 1 if stage in MEMORY_STAGES else MAX_ITEMS
    pieces = [items[at : at + most] for at in range(0, len(items), most)][::-1]
    while pieces:
        piece = pieces.pop()
        body = stage_body(stage, piece, run=run, hardware_uuid=hardware_uuid, exact=exact)
        positions = [item.position for item in piece]
        part = _part(run, stage, first + len(parts), positions, body)
        if len(piece) > 1 and len(part.body or b"") > MAX_BYTES:
            half = (len(piece) + 1) // 2
            pieces += [piece[half:], piece[:half]]
        else:
            parts.append(part._replace(states=states_of_items(run, stage, positions)))
    return parts


def _part(
    run: RecordedRun, stage: str, number: int, positions: list[int], body: Mapping[str, Any]
) -> Part:
    return new_part(run.run["run_id"], stage, number, positions, encoded(body))


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return the body of a request as strict JSON."""
    return _ENCODER.encode(body).encode("utf-8", "replace")
