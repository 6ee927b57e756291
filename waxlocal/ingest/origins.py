"""Where runs come from: one row of `processes` for each sending device."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import cache

from waxlocal.clock import utc_text
from waxlocal.ids import process_id_of
from waxlocal.process import current_process
from waxlocal.records import PROCESSES
from waxlocal.storage.record_sql import insert
from waxlocal.wire.values import as_text

__all__ = ["ELSEWHERE", "note_device", "note_hardware"]

# The program of runs by the original SDK, which does not send its name.
SDK = "waxell-observe"
# The sender does not name its process. This namespace keeps the liveness check from looking for it
# on this machine, even if the device has the same host name.
ELSEWHERE = "another"

_NOTE = insert(PROCESSES, on_conflict="DO NOTHING")
_CLAIM = "UPDATE runs SET process_id = ? WHERE run_id = ? AND process_id IS NULL"


def note_device(connection: sqlite3.Connection, device: Mapping[str, object], now_ns: int) -> int:
    """Store the device that our own uploader names; return the id of its row."""
    host, program, version = (
        as_text(device.get(name)) for name in ("device", "program", "version")
    )
    return _note(connection, host, program, version, now_ns)


def note_hardware(
    connection: sqlite3.Connection, run_id: str, hardware_uuid: object, now_ns: int
) -> None:
    """Store the machine that the original SDK names as the origin of a run without one."""
    host = as_text(hardware_uuid)
    if host:
        process_id = _note(connection, host, SDK, "", now_ns)
        connection.execute(_CLAIM, (process_id, run_id))


def _note(
    connection: sqlite3.Connection, host: str, program: str, version: str, now_ns: int
) -> int:
    process_id = process_id_of(host, program, version)
    row = {
        "process_id": process_id,
        "host": host,
        "boot_id": _boot_id(),
        "pid_namespace": ELSEWHERE,
        "pid": 0,
        "started": "",
        "program": program,
        "python": "",
        "waxlocal": version,
        "first_seen_at": utc_text(now_ns),
    }
    connection.execute(_NOTE, row)
    return process_id


@cache
def _boot_id() -> str:
    return current_process().boot_id
