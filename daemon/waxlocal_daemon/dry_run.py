"""The requests that an upload would send; sends none and does not change the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from waxlocal.delivery.accounts import current_target
from waxlocal.delivery.due import Due
from waxlocal.delivery.preview import (
    KnownRun,
    known_parts,
    known_run,
    waiting_events,
    waiting_runs,
)
from waxlocal.delivery.progress import DeliveryState, RequestState
from waxlocal.delivery.records import load_children, load_runs
from waxlocal.delivery.requests import OUTSIDE, Part
from waxlocal.ids import run_id_of
from waxlocal.records import RunStatus
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.storage.connection import reader
from waxlocal.wire import request_keys
from waxlocal.wire.paths import of_stage
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal_daemon.device import hardware_uuid
from waxlocal_daemon.outside_events import planned_events
from waxlocal_daemon.plan import planned, start_part, turn_of

__all__ = ["PLACEHOLDERS", "Preview", "previews"]

# Stand for ids that the server has not assigned yet: in the path of a run its own, and in a body
# with the id that the run has here. That id itself would look like what is sent.
PLACEHOLDERS = _RUN, _WORKFLOW = ("RUN_ID", "WORKFLOW_ID")
# The server has what it takes of such a run.
_SETTLED = (DeliveryState.DELIVERED, DeliveryState.PARKED)


class Preview(NamedTuple):
    """A request as it would be sent; `headers` do not include the API key."""

    run_id: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def has_placeholders(self) -> bool:
        """Whether something stands for an id; also where recorded text looks like it."""
        in_body = any(f"{name}(".encode() in self.body for name in PLACEHOLDERS)
        return in_body or _RUN in self.url


def previews(path: Path, settings: UploadSettings) -> Iterator[Preview]:
    """Yield the requests of all ended runs that the server does not have, in the order of sending.

    One run at a time, even if the server accepts batches: it is not asked. `RUN_ID` in a path, and
    `RUN_ID(id)` and `WORKFLOW_ID(id)` in a body, stand for what it has not assigned yet to the run
    of that id here. Raises `StorageError`.
    """
    uuid = hardware_uuid() if settings.send_hardware_uuid else ""
    with reader(path) as connection:
        target = current_target(connection, settings.api_url)
        for run_id in waiting_runs(connection, target):
            known = known_run(connection, run_id, target)
            parts = _parts(connection, run_id, known, target, uuid)
            remote = known.remote_run_id or _RUN
            for part in sorted(parts, key=turn_of):
                headers = {
                    "Content-Type": "application/json",
                    request_keys.HEADER: part.idempotency_key,
                }
                url = settings.api_url + of_stage(part.stage, remote)
                yield Preview(run_id, "POST", url, headers, part.body or b"")
        for part in planned_events(waiting_events(connection, target), 0):
            yield Preview(
                OUTSIDE,
                "POST",
                settings.api_url + of_stage(part.stage),
                {"Content-Type": "application/json", request_keys.HEADER: part.idempotency_key},
                part.body or b"",
            )


def _parts(
    connection: sqlite3.Connection, run_id: str, known: KnownRun, target: int | None, uuid: str
) -> list[Part]:
    (run,) = load_runs(connection, [run_id])
    made = known_parts(connection, run_id, target)
    start = start_part(run, _due(connection, run, target), made)
    children = load_children(connection, run.run["workflow_id"])
    new = planned(
        run,
        children,
        _ids_there(connection, run, known, children, target),
        made,
        of_waxlocal=known.remote_run_id == run_id,
        hardware_uuid=uuid,
    )
    waiting = [part for part in made if part.state == RequestState.WAITING]
    return [*waiting, *([start] if start else []), *new]


def _due(connection: sqlite3.Connection, run: RecordedRun, target: int | None) -> Due:
    """Return a run as the outbox will give it once the starts before it have been answered."""
    run_id = run.run["run_id"]
    parent_id, root_id = (
        run_id_of(run.run[name]) or "" for name in ("parent_workflow_id", "root_workflow_id")
    )
    parent, root = (known_run(connection, one, target) for one in (parent_id, root_id))
    return Due(
        run_id=run_id,
        remote_run_id=None,
        remote_workflow_id=None,
        failures=0,
        running=False,
        parent_known=bool(parent.status or parent.delivery),
        parent_workflow_id=_workflow_there(parent, parent_id, before=run_id),
        root_workflow_id=_workflow_there(root, root_id, before=run_id),
        size=0,
    )


def _workflow_there(known: KnownRun, run_id: str, *, before: str) -> str | None:
    """Return the workflow id of a parent or a root at the server, or what stands for it.

    None where it will have none: the server is not told of that run, or after the run `before`.
    """
    never_told = known.delivery in _SETTLED or run_id >= before
    if known.remote_run_id or known.status is None or never_told:
        return known.remote_workflow_id
    return f"{_WORKFLOW}({run_id})"


def _ids_there(
    connection: sqlite3.Connection,
    run: RecordedRun,
    known: KnownRun,
    children: Sequence[ChildRun],
    target: int | None,
) -> dict[str, str]:
    """Return the ids of a run's children, and its own workflow id, as `planned` takes them."""
    ids = [child.run_id for child in children]
    found = {one: _run_there(known_run(connection, one, target), one) for one in ids}
    own = known.remote_workflow_id if known.remote_run_id else f"{_WORKFLOW}({run.run['run_id']})"
    if own:
        found[run.run["workflow_id"]] = own
    return found


def _run_there(known: KnownRun, run_id: str) -> str:
    """Return the id of a child at the server, or what stands for it.

    A parent does not wait for a child that goes on, or that the server refuses: it names it by the
    id that it has here.
    """
    unawaited = known.status in (None, RunStatus.RUNNING) or known.delivery in _SETTLED
    return known.remote_run_id or (run_id if unawaited else f"{_RUN}({run_id})")
