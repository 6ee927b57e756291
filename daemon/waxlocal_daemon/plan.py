"""Which requests a run still needs, and how one that was refused is divided."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from waxlocal.delivery.outbox import Due, Part, request_key
from waxlocal.wire.exact import Item
from waxlocal.wire.items import Untold
from waxlocal.wire.paths import LIST_OF_STAGE, MEMORY_STAGES
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal.wire.requests import complete_body, late_item, recorded, stage_body, start_body

__all__ = [
    "divided",
    "encoded",
    "is_divisible",
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
# The run itself among the positions of its records; requests of before 0.3 do not name it. And that
# it was open when its start was made, so that its end says more.
_THE_RUN = 0
_OPEN = -1
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def turn_of(part: Part) -> int:
    """Return when a request goes: the start first, all records after it, the end after all."""
    return {"start": 0, "complete": 2}.get(part.stage, 1)


def needed_in_answer(stage: str) -> tuple[str, ...]:
    """Return the names that an answer must hold to be one."""
    return ("run_id",) if stage == "start" else ()


def start_part(run: RecordedRun, due: Due, parts: Sequence[Part]) -> Part | None:
    """Return the request that starts the run, None when there is one."""
    if any(part.stage == "start" and part.state != "replaced" for part in parts):
        return None
    parent, root = due.parent_workflow_id, due.root_workflow_id
    if not due.parent_known:
        parent = run.run["parent_workflow_id"]
        root = root or run.run["root_workflow_id"]
    body = start_body(run, parent_workflow_id=parent, root_workflow_id=root or parent)
    positions = [_THE_RUN, _OPEN] if run.run["status"] == "running" else [_THE_RUN]
    return _part(run, "start", _free(parts, "start"), positions, body)


def planned(
    run: RecordedRun,
    children: Sequence[ChildRun],
    remote_ids: Mapping[str, str],
    parts: Sequence[Part],
    *,
    hardware_uuid: str = "",
) -> list[Part]:
    """Return the requests for all records that no request carries yet, and the end of the run."""
    found = recorded(run, children, remote_ids)
    running, ended = run.run["status"] == "running", bool(_made(parts, "complete"))
    exact = _is_exact(parts)
    unsettled = {span["position"] for span in run.spans if span["status"] == "running"}
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
    if not running and not ended:
        was_open = any(_OPEN in part.positions for part in _made(parts, "start"))
        body = complete_body(run, exact=exact, untold=told, was_open=was_open)
        positions = [_THE_RUN, *(untold.row["position"] for untold in told)] if exact else []
        new.append(_part(run, "complete", _free(parts, "complete"), positions, body))
    return new


def _made(parts: Iterable[Part], stage: str) -> list[Part]:
    return [part for part in parts if part.stage == stage and part.state != "replaced"]


def _is_exact(parts: Sequence[Part]) -> bool:
    """Return whether a run's requests say where its records lie.

    Not the rest of those that an older waxlocal began: the server has its records in another place.
    """
    return all(_THE_RUN in part.positions for part in _made(parts, "start"))


def _told_with_end(
    run: RecordedRun, untold: Sequence[Untold], parts: Sequence[Part], *, exact: bool
) -> tuple[list[Untold], list[Untold]]:
    """Return what goes with the end of the run, and what needs an item because that has gone."""
    if run.run["status"] == "running":
        return [], []
    if not _made(parts, "complete"):
        size = count = 0
        for count, (_table, row) in enumerate(untold, 1):  # noqa: B007
            size += sum(len(cell) for cell in row.values() if isinstance(cell, str))
            if size > MAX_BYTES // 2:
                break
        return list(untold[:count]), list(untold[count:]) if exact else []
    if exact:
        carried = _carried(parts, "complete")
        return [], [one for one in untold if one.row["position"] not in carried]
    ended_at = str(run.run["completed_at"])
    return [], [one for one in untold if str(one.row[one.table.moment]) > ended_at]


def _carried(parts: Iterable[Part], stage: str) -> set[int]:
    carried: set[int] = set()
    for part in parts:
        if part.stage == stage and part.state != "replaced":
            carried.update(part.positions)
    return carried


def _free(parts: Iterable[Part], stage: str) -> int:
    return max((part.part + 1 for part in parts if part.stage == stage), default=0)


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
    first = _free(before, stage)
    parts: list[Part] = []
    most = 1 if stage in MEMORY_STAGES else MAX_ITEMS
    pieces = [items[at : at + most] for at in range(0, len(items), most)][::-1]
    while pieces:
        piece = pieces.pop()
        body = stage_body(stage, piece, run=run, hardware_uuid=hardware_uuid, exact=exact)
        part = _part(run, stage, first + len(parts), [item.position for item in piece], body)
        if len(piece) > 1 and len(part.body or b"") > MAX_BYTES:
            half = (len(piece) + 1) // 2
            pieces += [piece[half:], piece[:half]]
        else:
            parts.append(part)
    return parts


def _part(
    run: RecordedRun, stage: str, number: int, positions: list[int], body: Mapping[str, Any]
) -> Part:
    key = request_key(run.run["run_id"], stage, number)
    return Part(stage, number, key, "waiting", positions, 0, encoded(body))


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return the body of a request as strict JSON."""
    return _ENCODER.encode(body).encode("utf-8", "replace")


def is_divisible(part: Part) -> bool:
    """Return whether a request carries records that could go in several."""
    return part.stage in LIST_OF_STAGE


def divided(run_id: str, part: Part, parts: Sequence[Part]) -> list[Part]:
    """Return two requests that together carry what this one does.

    With new keys: the server has refused the old one, and stored nothing under it.
    """
    body: dict[str, Any] = json.loads(part.body or b"{}")
    name = LIST_OF_STAGE[part.stage]
    items: list[Any] = body[name]
    half = (len(items) + 1) // 2
    free = _free(parts, part.stage)
    return [
        Part(
            part.stage,
            number,
            request_key(run_id, part.stage, number),
            "waiting",
            part.positions[which],
            0,
            encoded({**body, name: items[which]}),
        )
        for number, which in ((free, slice(half)), (free + 1, slice(half, None)))
    ]
