"""Many whole runs in one request, for servers that offer it: one line of JSON each.

docs/bulk.md has the format. A line that cannot be stored as it is is refused with the reason; the
others do not suffer.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from waxlocal.decode import TooDeep, TooMany, loads
from waxlocal.encode import text as storable
from waxlocal.ids import trace_id_of
from waxlocal.records import (
    NEEDED,
    PROCESSES,
    RECORD_TABLES,
    RUNS,
    Kind,
    RunStatus,
    Table,
    mode_of,
)
from waxlocal.wire import request_keys
from waxlocal.wire.columns import CHECKS, Refused, missing, unfit
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.runs import process_id

__all__ = [
    "LINE_STATUSES",
    "MAX_BYTES",
    "MAX_RUNS",
    "RUN_COLUMNS",
    "Batch",
    "Line",
    "LineStatus",
    "Offer",
    "answers",
    "batch_of",
    "offer_of",
    "read_line",
    "read_lines",
]


class LineStatus:
    """What the answer to a batch says became of a line."""

    STORED: Final = "stored"  # the run is new
    MERGED: Final = "merged"  # the run was here; what was new of it is stored
    REFUSED: Final = "refused"  # nothing of it is stored


LINE_STATUSES = (LineStatus.STORED, LineStatus.MERGED, LineStatus.REFUSED)

Row = tuple[Any, ...]
Headers = tuple[tuple[str, str], ...]

# The largest batch: what a waxlocal offers, and what it sends though a server offers more. Bytes
# before compression.
MAX_RUNS = 500
MAX_BYTES = 8 * 1024 * 1024
# Level 1 makes JSON a sixth as large in a third of the time that level 6 takes for a seventh.
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS
# What can stand in the first line of a request.
_PATH = re.compile(r"/[!-~]{0,500}")
# Only an escape can make half a character; few lines hold one.
_may_hold_halves = re.compile(rb"\\u[dD]").search


class _Column(NamedTuple):
    """How a column of a line is read: its place in the row, and the check of its value.

    `plain`: a value of this type needs no check, which saves a call for most values.
    """

    place: int
    plain: type | None
    check: Callable[[Any], Any]


class _Columns(NamedTuple):
    """The columns of a row by name, in order; the row of a record without values; what it needs."""

    by_name: Mapping[str, _Column]
    defaults: list[Any]
    needed: tuple[tuple[int, str], ...]


def _columns(table: Table, before: int = 0) -> _Columns:
    """Return the columns of a table, in a row that has so many other values in front."""
    columns = list(enumerate(table.travelling, start=before))
    return _Columns(
        {
            column.name: _Column(
                place, str if column.kind is Kind.TEXT else None, CHECKS[column.kind]
            )
            for place, column in columns
        },
        [None] * before + [column.default for _, column in columns],
        tuple((place, column.name) for place, column in columns if column.default is NEEDED),
    )


_RUN = _columns(RUNS)
# Rows of processes have their id in front, rows of records that of their run.
_PROCESS = _columns(PROCESSES, 1)
_RECORDS = {table.name: _columns(table, 1) for table in RECORD_TABLES}
# The columns of the rows made here, in their order.
RUN_COLUMNS = tuple(_RUN.by_name)
_SESSION, _TRACE, _MODE = map(RUN_COLUMNS.index, ("session_id", "trace_id", "interaction_mode"))


# -- from the wire ---------------------------------------------------------------------------------


class Line(NamedTuple):
    """A run as it is to be stored; each row has the columns of its table in the order above.

    `process` has its id in front. Rows of records have the run's id in front.
    """

    run_id: str
    run: Row
    process: Row | None
    records: dict[str, list[Row]]


def read_lines(body: bytes) -> list[Line | tuple[str, str]]:
    """Return for each line that is not empty the run, or (run id, why it is refused)."""
    return [_read(line) for line in body.split(b"\n") if line.strip()]


def _read(line: bytes) -> Line | tuple[str, str]:
    document: dict[str, Any] = {}
    try:
        document = _document(line)
        return read_line(document)
    except ValueError as refused:
        return _run_id_of(document), str(refused)  # whole: the sender looks for it


def _run_id_of(document: dict[str, Any]) -> str:
    run = document.get("run")
    run_id = run.get("run_id") if isinstance(run, dict) else None
    return run_id if isinstance(run_id, str) else ""


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = loads(line)
    except TooDeep as error:
        raise Refused(f"the line is {error}") from None
    except TooMany as error:
        raise Refused(f"the line is JSON {error}") from None
    except ValueError:
        raise Refused("the line is not valid JSON") from None
    if not isinstance(document, dict):
        raise Refused("the line is not a JSON object")
    return _storable(document) if _may_hold_halves(line) else document


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(name): _storable(item) for name, item in value.items()}
    return value


def read_line(document: dict[str, Any]) -> Line:
    """Return the run of a line; raises `Refused`."""
    run = _row(_RUN, document.get("run"), "run")
    run_id: str = run[0]
    process = document.get("process")
    return Line(
        run_id,
        _completed(run),
        None if process is None else _process_row(process),
        {
            name: _record_rows(run_id, name, columns, document[name])
            for name, columns in _RECORDS.items()
            if document.get(name)
        },
    )


def _completed(run: list[Any]) -> Row:
    """Fill what can be computed."""
    run[_TRACE] = run[_TRACE] or trace_id_of(run[0])
    run[_MODE] = run[_MODE] or mode_of(run[_SESSION])
    return tuple(run)


def _process_row(process: Any) -> Row:
    row = _row(_PROCESS, process, "process")
    row[0] = process_id(process, row[1:])
    return tuple(row)


def _record_rows(run_id: str, name: str, columns: _Columns, records: Any) -> list[Row]:
    if type(records) is not list:
        raise Refused(f"{name}: not an array")
    rows = []
    for record in records:
        row = _row(columns, record, name)
        row[0] = run_id
        rows.append(tuple(row))
    return rows


def _row(columns: _Columns, record: Any, where: str) -> list[Any]:
    """Return the values of a record in the order of its columns; raises `Refused`.

    It goes through what the record has, which is half of the columns.
    """
    if type(record) is not dict:
        raise Refused(f"{where}: not a JSON object")
    by_name, defaults, needed = columns
    row = [*defaults]
    for name, value in record.items():
        if value is None or name not in by_name:
            continue
        place, plain, check = by_name[name]
        if type(value) is plain:
            row[place] = value
            continue
        try:
            row[place] = check(value)
        except ValueError as error:
            raise unfit(where, name, error) from None
    for place, name in needed:
        if row[place] is NEEDED:
            raise missing(where, name)
    return row


# -- to the wire -----------------------------------------------------------------------------------


class Offer(NamedTuple):
    """What a server takes at once: its path, runs, and bytes before compression."""

    path: str
    max_runs: int
    max_bytes: int


class Batch(NamedTuple):
    """A request that carries runs: where it goes, what it is, and the bytes of each run's line.

    `running`: those of them that had not ended, so that more of them is to follow.
    """

    path: str
    headers: Headers
    body: bytes
    key: str
    sizes: Mapping[str, int]
    running: frozenset[str]


def offer_of(config: Mapping[str, Any]) -> Offer | None:
    """Return what the server's configuration offers, None when it does not, or not so as known."""
    bulk = config.get("bulk")
    if not isinstance(bulk, dict):
        return None
    path, runs, size = bulk.get("path"), bulk.get("max_runs"), bulk.get("max_bytes")
    if not (isinstance(path, str) and _PATH.fullmatch(path)):
        return None
    if not (isinstance(runs, int) and isinstance(size, int) and runs > 0 and size > 0):
        return None
    return Offer(path, min(runs, MAX_RUNS), min(size, MAX_BYTES))


def batch_of(runs: Iterable[RecordedRun], offer: Offer) -> Batch:
    """Return the batch of the first of these runs that fit; the first fits always.

    Its key is the hash of its bytes: the same batch has the same key, and no other has it.
    """
    lines: list[bytes] = []
    sizes: dict[str, int] = {}
    running: set[str] = set()
    total = 0
    for run in runs:
        line = _line_of(run)
        total += len(line)
        if lines and (total > offer.max_bytes or len(lines) == offer.max_runs):
            break
        lines.append(line)
        sizes[run.run["run_id"]] = len(line)
        if run.run["status"] == RunStatus.RUNNING:
            running.add(run.run["run_id"])
    body = b"".join(lines)
    key = hashlib.sha256(body).hexdigest()
    headers = (
        ("Content-Type", "application/x-ndjson"),
        ("Content-Encoding", "gzip"),
        (request_keys.HEADER, key),
    )
    return Batch(offer.path, headers, _compressed(body), key, sizes, frozenset(running))


def _compressed(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def _line_of(run: RecordedRun) -> bytes:
    document: dict[str, Any] = {
        "run": {name: value for name in RUN_COLUMNS if (value := run.run.get(name)) is not None},
        "process": run.process,
    }
    for name in _RECORDS:
        records = getattr(run, name)
        if records:
            document[name] = [_present(record) for record in records]
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def _present(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None and name != "run_id"}


def answers(body: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return (status, reason) by run id from the answer to a batch; skip anything else."""
    results = body.get("results")
    found: dict[str, tuple[str, str]] = {}
    for result in results if isinstance(results, list) else ():
        if isinstance(result, dict) and isinstance(result.get("run_id"), str):
            found[result["run_id"]] = (str(result.get("status")), str(result.get("reason") or ""))
    return found
