"""JSON as RFC 8259 has it, and the shapes that the API's bodies must have."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from tests.faults.wire import BadRequest, Head

__all__ = ["ITEMS", "TABLES", "checked", "count_items", "lines", "strict_object"]

# The name under which a stage's body holds its records.
ITEMS = {
    "llm-calls": "calls",
    "steps": "steps",
    "spans": "spans",
    "scores": "scores",
    "events": "events",
}
_NAMES: dict[str, dict[str, type]] = {
    "start": {
        "agent_name": str,
        "workflow_name": str,
        "inputs": dict,
        "metadata": dict,
        "trace_id": str,
    },
    "complete": {"result": dict, "status": str, "error": str, "steps": list},
    "partial": {"partial": str},
    "episodic": {"slot_name": str, "scope_key": str},
    "semantic": {"slot_name": str, "scope_key": str},
    "bulk": {"run": dict},
    **{stage: {name: list} for stage, name in ITEMS.items()},
}
# The same in a line of a bulk request.
TABLES = ("llm_calls", "steps", "spans", "scores", "events")


def strict_object(head: Head, text: bytes) -> dict[str, Any]:
    """Return a JSON object; NaN, a name that comes twice and the like raise BadRequest."""
    kind = head.headers.get("content-type", "").partition(";")[0]
    if kind not in ("application/json", "application/x-ndjson"):
        raise BadRequest(415, f"content-type: {kind!r}")
    try:
        found = json.loads(text.decode(), parse_constant=_no_constant, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise BadRequest(400, f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest(400, "no JSON object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


def checked(stage: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a stage; raises BadRequest when something in it has the wrong type."""
    for name, kind in _NAMES[stage].items():
        if not isinstance(given.get(name), kind):
            raise BadRequest(400, f"{name} must be a {kind.__name__}")
    if stage == "bulk":
        _check_line(given)
    elif stage in ITEMS:
        _check_items(given[ITEMS[stage]])
    return given


def _check_line(given: dict[str, Any]) -> None:
    if not isinstance(given["run"].get("run_id"), str):
        raise BadRequest(400, "run.run_id must be a str")
    for table in TABLES:
        items = given.get(table, [])
        _check_items(items)
        if not all(isinstance(item.get("position"), int) for item in items):
            raise BadRequest(400, f"{table}: each must have a position")


def _check_items(items: Any) -> None:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadRequest(400, "records must be a list of objects")


def lines(head: Head, body: bytes) -> list[bytes]:
    """Return the lines of a bulk request."""
    if head.headers.get("content-type", "").partition(";")[0] != "application/x-ndjson":
        raise BadRequest(415, "a bulk request is application/x-ndjson")
    return [line for line in body.split(b"\n") if line.strip()]


def count_items(body: bytes, *, bulk: bool) -> int:
    """Return how many records, or lines of a bulk request, a body holds; 0 if it is not JSON."""
    if bulk:
        return sum(1 for line in body.split(b"\n") if line.strip())
    try:
        found = json.loads(body)
    except ValueError:
        return 0
    if not isinstance(found, dict):
        return 0
    return sum(len(found[name]) for name in ITEMS.values() if isinstance(found.get(name), list))
