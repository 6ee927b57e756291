"""The requests that an upload would send; sends none and does not change the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from waxlocal.delivery.outbox import Due
from waxlocal.delivery.preview import known_parts, remote_ids, waiting_events, waiting_runs
from waxlocal.delivery.progress import RequestState
from waxlocal.delivery.records import load_children, load_runs
from waxlocal.delivery.requests import OUTSIDE, Part
from waxlocal.ids import run_id_of
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.storage.connection import reader
from waxlocal.wire import request_keys
from waxlocal.wire.paths import of_stage
from waxlocal_daemon.device import hardware_uuid
from waxlocal_daemon.outside_events import planned_events
from waxlocal_daemon.plan import planned, start_part, turn_of

__all__ = ["Preview", "previews"]

# Stands for an id that the server has not assigned yet.
UNKNOWN_RUN = "RUN_ID"


class Preview(NamedTuple):
    """A request as it would be sent; `headers` do not include the API key."""

    run_id: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def previews(path: Path, settings: UploadSettings) -> Iterator[Preview]:
    """Yield the requests of all ended runs that the server does not have, in the order of sending.

    One run at a time, even if the server accepts batches: it is not asked. `RUN_ID` stands for an
    id that it has not assigned yet. Raises `StorageError`.
    """
    uuid = hardware_uuid() if settings.send_hardware_uuid else ""
    with reader(path) as connection:
        for run_id in waiting_runs(connection, settings.api_url):
            parts = sorted(_parts(connection, run_id, settings.api_url, uuid), key=turn_of)
            remote = remote_ids(connection, run_id, settings.api_url)[0] or UNKNOWN_RUN
            for part in parts:
                headers = {
                    "Content-Type": "application/json",
                    request_keys.HEADER: part.idempotency_key,
                }
                url = settings.api_url + of_stage(part.stage, remote)
                yield Preview(run_id, "POST", url, headers, part.body or b"")
        for part in planned_events(waiting_events(connection, settings.api_url), 0):
            yield Preview(
                OUTSIDE,
                "POST",
                settings.api_url + of_stage(part.stage),
                {"Content-Type": "application/json", request_keys.HEADER: part.idempotency_key},
                part.body or b"",
            )


def _parts(connection: sqlite3.Connection, run_id: str, url: str, uuid: str) -> list[Part]:
    (run,) = load_runs(connection, [run_id])
    made = known_parts(connection, run_id, url)
    parent = run_id_of(run.run["parent_workflow_id"]) or ""
    root = run_id_of(run.run["root_workflow_id"]) or ""
    due = Due(
        run_id,
        None,
        None,
        0,
        False,
        False,
        remote_ids(connection, parent, url)[1],
        remote_ids(connection, root, url)[1],
        0,
    )
    start = start_part(run, due, made)
    children = load_children(connection, run.run["workflow_id"])
    known = {child.run_id: remote_ids(connection, child.run_id, url)[0] for child in children}
    remote = {child: one for child, one in known.items() if one}
    of_waxlocal = remote_ids(connection, run_id, url)[0] == run_id
    new = planned(run, children, remote, made, of_waxlocal=of_waxlocal, hardware_uuid=uuid)
    waiting = [part for part in made if part.state == RequestState.WAITING]
    return [*waiting, *([start] if start else []), *new]
