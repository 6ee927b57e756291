"""Whole runs as they arrive in a batch: one line of JSON each, checked before anything is written.

docs/bulk.md has the format. A line that cannot be stored as it is is refused with the reason; the
others do not suffer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite, isnan
from typing import Any, NamedTuple

from waxlocal.encode import dumps
from waxlocal.encode import text as storable
from waxlocal.ids import trace_id_of
from waxlocal.intake.devices import process_id_of
from waxlocal.intake.values import LARGEST, as_time
from waxlocal.records import NEEDED, PROCESSES, RECORD_TABLES, RUN_STATUSES, RUNS, Kind, Table

__all__ = ["RUN_COLUMNS", "Line", "Refused", "read_line", "read_lines"]

Row = tuple[Any, ...]

# Ids go into addresses and into workflow ids.
_RUN_ID = re.compile(r"[0-9A-Za-z_.:-]{1,200}")
_STATUSES = frozenset(RUN_STATUSES)
# A time as the file has it, of the year 2000 or later; days from the 29th on need a closer look.
_PLAIN_TIME = re.compile(
    r"2\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3])(?::[0-5]\d){2}\.\d{6}Z"
).fullmatch


class Refused(ValueError):
    """A line that is not stored, and why."""


# -- what a column holds --------------------------------------------------------------------------


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("no text")
    return value


def _id(value: Any) -> str:
    return _text(value).replace("\0", "\ufffd")


def _json(value: Any) -> str:
    if type(value) is not str:
        return dumps(value)  # JSON that was not put into text first
    try:
        if "\\ud" not in value and "\\uD" not in value:
            _decode(value)
            return value
    except _NoNumber:
        pass
    except (RecursionError, ValueError):
        raise ValueError("no JSON") from None
    # Half a character, or NaN: SQLite would not read it.
    return dumps(json.loads(value))


class _NoNumber(ValueError):
    pass


def _no_number(token: str) -> None:
    raise _NoNumber(token)


_decode = json.JSONDecoder(parse_constant=_no_number).decode


def _whole(value: Any) -> int:
    if type(value) is not int or not -LARGEST <= value <= LARGEST:
        raise ValueError("no whole number of 64 bits")
    return value


def _number(value: Any) -> float | None:
    if type(value) is int and abs(value) <= LARGEST:
        return value
    if type(value) is not float:
        raise ValueError("no number")
    if not isfinite(value):
        raise ValueError("no finite number")
    return value


def _score(value: Any) -> float | None:
    """Return a number that may be infinite, as that of a score may; SQLite has no NaN."""
    if type(value) is float and not isfinite(value):
        return None if isnan(value) else value
    return _number(value)


def _time(value: Any) -> str:
    if type(value) is str and _PLAIN_TIME(value):
        return value
    known = as_time(value)
    if known is None:
        raise ValueError("no ISO time")
    return known


def _run_id(value: Any) -> str:
    if type(value) is not str or not _RUN_ID.fullmatch(value):
        raise ValueError("not 1 to 200 letters, digits and -_.:")
    return value


def _status(value: Any) -> str:
    if type(value) is not str or value not in _STATUSES:
        raise ValueError("no status of a run")
    return value


_CHECKS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.RUN_ID: _run_id,
    Kind.ID: _id,
    Kind.TEXT: _text,
    Kind.STATUS: _status,
    Kind.TIME: _time,
    Kind.JSON: _json,
    Kind.INTEGER: _whole,
    Kind.NUMBER: _number,
    Kind.SCORE: _score,
}


class _Field(NamedTuple):
    """A column of a line: its name, the check of its value, and the value where there is none."""

    name: str
    check: Callable[[Any], Any]
    default: object


def _fields(table: Table) -> tuple[_Field, ...]:
    return tuple(
        _Field(column.name, _CHECKS[column.kind], column.default) for column in table.travelling
    )


_RUN = _fields(RUNS)
_PROCESS = _fields(PROCESSES)
_RECORDS = {table.name: _fields(table) for table in RECORD_TABLES}
# The columns of the rows made here, in their order; rows of records have the run's id in front.
RUN_COLUMNS = tuple(field.name for field in _RUN)


# -- lines ----------------------------------------------------------------------------------------


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
    run_id = ""
    try:
        document = _document(line)
        run = document.get("run")
        run_id = run["run_id"] if isinstance(run, dict) and _is_text(run.get("run_id")) else ""
        return read_line(document)
    except ValueError as refused:
        return run_id[:200], str(refused)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (RecursionError, ValueError):
        raise Refused("the line is no JSON") from None
    if not isinstance(document, dict):
        raise Refused("the line is no JSON object")
    # Only an escape can make half a character; few lines hold one.
    halves = b"\\ud" in line or b"\\uD" in line
    return _storable(document) if halves else document


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
            name: _record_rows(run_id, name, fields, document[name])
            for name, fields in _RECORDS.items()
            if document.get(name)
        },
    )


def _completed(row: Row) -> Row:
    """Fill what can be computed."""
    run = dict(zip(RUN_COLUMNS, row, strict=True))
    if run["trace_id"] and run["interaction_mode"]:
        return row
    mode = "interactive" if run["session_id"] else "autonomous"
    run["trace_id"] = run["trace_id"] or trace_id_of(run["run_id"])
    run["interaction_mode"] = run["interaction_mode"] or mode
    return tuple(run.values())


def _process_row(process: Any) -> Row:
    row = _row(_PROCESS, process, "process")
    known = process.get("process_id")
    if type(known) is int and 0 < known < 1 << 56:
        return (known, *row)
    return (process_id_of(*map(str, row[:6])), *row)


def _record_rows(run_id: str, name: str, fields: Iterable[_Field], records: Any) -> list[Row]:
    if type(records) is not list:
        raise Refused(f"{name}: no array")
    return [(run_id, *_row(fields, record, name)) for record in records]


def _row(fields: Iterable[_Field], record: Any, where: str) -> Row:
    """Return the values of a record in the order of its columns; raises `Refused`."""
    if type(record) is not dict:
        raise Refused(f"{where}: no JSON object")
    get = record.get
    row = []
    for name, check, default in fields:
        value = get(name)
        if value is None:
            if default is NEEDED:
                raise Refused(f"{where}: no {name}")
            row.append(default)
            continue
        try:
            row.append(check(value))
        except ValueError as error:
            raise Refused(f"{where}: {name} is {error}") from None
    return tuple(row)
