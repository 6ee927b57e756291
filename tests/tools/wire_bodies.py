"""The bodies of a capture and those made of a file, run by run, in a form that can be compared."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.tools.run_paths import run_and_stage
from waxlocal.delivery.records import load_children, load_runs
from waxlocal.storage.connection import reader
from waxlocal.wire.exact import Item
from waxlocal.wire.paths import (
    EVENTS,
    LIST_OF_STAGE,
    MEMORY_STAGES,
    RUN_START,
)
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.requests import Recorded, complete_body, recorded, stage_body, start_body

__all__ = [
    "CAPTURES",
    "captured",
    "differences",
    "items_of",
    "loaded",
    "made",
    "strict_json",
    "strict_json_of",
]

Json = dict[str, Any]
CAPTURES = Path(__file__).parents[1] / "data" / "captures"

_LISTS = {stage: name for stage, name in LIST_OF_STAGE.items() if stage != "events"}
# Times are another matter in each run of a program, and so are measured durations: of agents, and
# of what was open around a block. Durations that the program says are compared.
_MEASURED = re.compile(r"phase:gather|custom|paused|human_turn:act|outer|inner|a-\w+")


def captured(path: Path) -> list[Json]:
    """Return what was sent for each run of a capture, by stage, in the order of the starts.

    What the original sent in several requests of one stage is put together; the steps that carry
    the conversation's state to policies in between (`__governance_check`) are left out, as is that
    state wherever it is not the last, and the machine's id.
    """
    requests = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    runs: dict[str, Json] = {}
    workflows: dict[str, str] = {}
    for request in requests:
        found = run_and_stage(request["path"])
        body = request["body"]
        if request["path"] == RUN_START:
            answer = request["answer"]
            runs[answer["run_id"]] = {"start": body}
            workflows[answer["workflow_id"]] = answer["run_id"]
        elif found and found[1] in _LISTS:
            items = [item for item in body[_LISTS[found[1]]] if not _is_carrier(item)]
            if items:
                runs[found[0]].setdefault(found[1], []).extend(items)
        elif found and found[1] == "complete":
            runs[found[0]]["complete"] = body
        elif found:
            runs[found[0]].setdefault(found[1], []).append(body)
        elif request["path"] == EVENTS:
            for event in body["events"]:
                runs[workflows[event["workflow_id"]]].setdefault("events", []).append(event)
    return _named(runs, workflows)


def _is_carrier(item: Json) -> bool:
    return item.get("step_name") == "__governance_check"


def made(path: Path) -> list[Json]:
    """Return what would be sent for each run of a file, by stage, in the order of the starts.

    Without what only waxlocal says of its runs (`metadata.waxlocal`).
    """
    runs: dict[str, Json] = json.loads(strict_json(path))
    for bodies in runs.values():
        del bodies["start"]["metadata"]["waxlocal"]
        for stage, name in _LISTS.items():
            found = [item for body in bodies.pop(stage, ()) for item in body[name]]
            bodies |= {stage: found} if found else {}
        if "events" in bodies:
            bodies["events"] = bodies["events"][0]["events"]
    return _named(runs, {f"wf_{run_id}": run_id for run_id in runs})


def strict_json(path: Path) -> str:
    """Return all bodies of a file by run and stage, as JSON that is valid everywhere."""
    with reader(path) as conn:
        ids = [row[0] for row in conn.execute("SELECT run_id FROM runs ORDER BY id")]
        bodies = {
            run_id: _bodies(loaded(conn, run_id), recorded_of(conn, run_id)) for run_id in ids
        }
    return json.dumps(bodies, allow_nan=False)


def strict_json_of(run: RecordedRun) -> str:
    """Return all bodies of a run that opened no other, as JSON that is valid everywhere."""
    return json.dumps(_bodies(run, recorded(run, [], {})), allow_nan=False)


def loaded(conn: sqlite3.Connection, run_id: str) -> RecordedRun:
    """Return a run of the file."""
    (run,) = load_runs(conn, [run_id])
    return run


def items_of(conn: sqlite3.Connection, run_id: str, **remote_ids: str) -> dict[str, list[Item]]:
    """Return the items of a run of the file."""
    return recorded_of(conn, run_id, **remote_ids).items


def recorded_of(conn: sqlite3.Connection, run_id: str, **remote_ids: str) -> Recorded:
    """Return what a run of the file recorded."""
    return recorded(loaded(conn, run_id), load_children(conn, f"wf_{run_id}"), remote_ids)


def _bodies(run: RecordedRun, found: Recorded) -> Json:
    """Return the bodies of a run: of start and end one each, of the other stages a list."""
    row = run.run
    is_child = row["parent_workflow_id"] is not None
    bodies: Json = {
        "start": start_body(
            run,
            parent_workflow_id=row["parent_workflow_id"] if is_child else None,
            root_workflow_id=row["root_workflow_id"] if is_child else None,
        ),
        "complete": complete_body(run, untold=found.untold),
    }
    for stage, items in found.items.items():
        parts = [[item] for item in items] if stage in MEMORY_STAGES else [items] if items else []
        bodies[stage] = [stage_body(stage, part, run=run) for part in parts]
    return bodies


def _named(runs: Mapping[str, Json], workflows: Mapping[str, str]) -> list[Json]:
    """Replace ids by numbers, and what differs from one run of a program to the next."""
    numbers = {run_id: f"run {number}" for number, run_id in enumerate(runs)}
    names = numbers | {workflow: numbers[run_id] for workflow, run_id in workflows.items()}
    return [_plain(body, names) for body in runs.values()]


def _plain(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        plain = {name: _plain(item, names) for name, item in value.items()}
        if "start_offset_ms" in plain:
            plain["start_offset_ms"] = 0
            if plain["kind"] == "agent" or _MEASURED.fullmatch(plain["name"]):
                plain["duration_ms"] = plain["duration_ms"] and 0
        if "tools_used" in plain:
            plain["tools_used"] = sorted(plain["tools_used"])  # a set's order in the original
        return plain
    if isinstance(value, list):
        return [_plain(item, names) for item in value]
    if isinstance(value, float):
        return float(f"{value:.12g}")  # the order of additions differs
    return _plain_text(value, names) if isinstance(value, str) else value


def _plain_text(text: str, names: Mapping[str, str]) -> str:
    if text.startswith("Traceback (most recent call last)"):
        # The frames are those of each SDK and of each program's file.
        return "Traceback: " + text.rstrip().rpartition("\n")[2]
    agent, colon, run_id = text.partition(":")
    return f"{agent}:{names[run_id]}" if colon and run_id in names else names.get(text, text)


def differences(ours: list[Json], theirs: list[Json]) -> dict[str, tuple[Any, Any]]:
    """Return (ours, theirs) of all that differs, by path: `1.spans.0.attributes.cost`."""
    left, right = dict(_leaves(ours)), dict(_leaves(theirs))
    return {
        path: (left.get(path, "absent"), right.get(path, "absent"))
        for path in left.keys() | right.keys()
        if path not in left or path not in right or left[path] != right[path]
    }


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if not items or not value:
        yield path, (type(value).__name__, value)
        return
    for name, item in items:
        yield from _leaves(item, f"{path}.{name}" if path else str(name))
