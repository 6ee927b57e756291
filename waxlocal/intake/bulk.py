"""Whole runs as they arrive in a batch: one line of JSON each, checked before anything is written.

docs/bulk.md has the format. A line that cannot be stored as it is is refused with the reason; the
others do not suffer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from math import isfinite, isnan
from typing import Any, NamedTuple

from waxlocal.encode import dumps
from waxlocal.encode import text as storable
from waxlocal.ids import trace_id_of
from waxlocal.intake.devices import process_id_of
from waxlocal.intake.values import LARGEST, as_time

__all__ = ["RECORDS", "RUN_COLUMNS", "Line", "Refused", "read_line", "read_lines"]

Row = tuple[Any, ...]

# Ids go into addresses and into workflow ids.
_RUN_ID = re.compile(r"[0-9A-Za-z_.:-]{1,200}")
_STATUSES = frozenset(("running", "success", "error", "blocked", "interrupted"))
# A time as the file has it, of the year 2000 or later; days from the 29th on need a closer look.
_PLAIN_TIME = re.compile(
    r"2\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3])(?::[0-5]\d){2}\.\d{6}Z"
).fullmatch


class Refused(ValueError):
    """A line that is not stored, and why."""


class _Missing:
    """Stands for the default of a column that must be there."""


MISSING = _Missing()


class Column(NamedTuple):
    """A column: its name, what it holds, and its value where a line has none."""

    name: str
    check: Callable[[Any], Any]
    default: Any = None


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


# -- the tables -----------------------------------------------------------------------------------

_RUN = (
    Column("run_id", _run_id, MISSING),
    Column("agent_name", _text, MISSING),
    Column("workflow_name", _text, "default"),
    Column("session_id", _id),
    Column("user_id", _id),
    Column("user_group", _text),
    Column("parent_workflow_id", _text),
    Column("root_workflow_id", _text),
    Column("trace_id", _text, ""),
    Column("interaction_mode", _text, ""),
    Column("status", _status, MISSING),
    Column("started_at", _time, MISSING),
    Column("completed_at", _time),
    Column("duration", _number),
    Column("error", _text),
    Column("error_type", _text),
    Column("traceback", _text),
    Column("metadata", _json),
    Column("tags", _json),
    Column("inputs", _json),
    Column("result", _json),
)
_PLACE = (Column("position", _whole, MISSING), Column("recorded_at", _time, MISSING))
_PROCESS = (
    Column("host", _text, ""),
    Column("boot_id", _text, ""),
    Column("pid_namespace", _text, ""),
    Column("pid", _whole, 0),
    Column("started", _text, ""),
    Column("program", _text, ""),
    Column("python", _text, ""),
    Column("waxlocal", _text, ""),
    Column("first_seen_at", _time, MISSING),
)
_LLM_CALL = (
    *_PLACE,
    Column("model", _text, ""),
    Column("provider", _text, ""),
    Column("task", _text, ""),
    Column("tokens_in", _whole, 0),
    Column("tokens_out", _whole, 0),
    Column("cached_tokens", _whole, 0),
    Column("cache_write_tokens", _whole, 0),
    Column("cost", _number),
    Column("cost_source", _text),
    Column("duration_ms", _whole),
    Column("ttft_ms", _whole),
    Column("is_streaming", _whole, 0),
    Column("status", _text, "ok"),
    Column("error_type", _text),
    Column("error_message", _text),
    Column("prompt_preview", _text),
    Column("response_preview", _text),
    Column("messages", _json),
    Column("response", _text),
    Column("details", _json),
)
_STEP = (
    *_PLACE,
    Column("step_name", _text, ""),
    Column("kind", _text, "chain"),
    Column("output", _json),
    Column("attributes", _json),
)
_SPAN = (
    Column("position", _whole, MISSING),
    Column("parent_position", _whole),
    Column("started_at", _time, MISSING),
    Column("duration_ms", _number),
    Column("name", _text, ""),
    Column("kind", _text, "custom"),
    Column("status", _text, "ok"),
    Column("error", _text),
    Column("attributes", _json),
    Column("input", _json),
    Column("output", _json),
)
_SCORE = (
    *_PLACE,
    Column("name", _text, ""),
    Column("data_type", _text, "numeric"),
    Column("numeric_value", _score),
    Column("string_value", _text),
    Column("comment", _text, ""),
)
_EVENT = (*_PLACE, Column("event", _text, "event"), Column("data", _json))

RUN_COLUMNS = tuple(column.name for column in _RUN)
# Each table of records, with its columns in the order of the rows made here.
RECORDS: dict[str, tuple[Column, ...]] = {
    "llm_calls": _LLM_CALL,
    "steps": _STEP,
    "spans": _SPAN,
    "scores": _SCORE,
    "events": _EVENT,
}


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
            name: _record_rows(run_id, name, columns, document[name])
            for name, columns in RECORDS.items()
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


def _record_rows(run_id: str, name: str, columns: Iterable[Column], records: Any) -> list[Row]:
    if type(records) is not list:
        raise Refused(f"{name}: no array")
    return [(run_id, *_row(columns, record, name)) for record in records]


def _row(columns: Iterable[Column], record: Any, where: str) -> Row:
    """Return the values of a record in the order of its columns; raises `Refused`."""
    if type(record) is not dict:
        raise Refused(f"{where}: no JSON object")
    get = record.get
    row = []
    for name, check, default in columns:
        value = get(name)
        if value is None:
            if default is MISSING:
                raise Refused(f"{where}: no {name}")
            row.append(default)
            continue
        try:
            row.append(check(value))
        except ValueError as error:
            raise Refused(f"{where}: {name} is {error}") from None
    return tuple(row)
