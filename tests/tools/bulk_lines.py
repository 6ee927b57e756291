"""Lines of a batch, as a sender would write them."""

from __future__ import annotations

import json
from typing import Any

from tests.tools.builders import moment, run_id

__all__ = ["batch", "line"]

Json = dict[str, Any]


def line(number: int = 1, *, records: bool = True, **run: Any) -> Json:
    """Return the n-th run, with one record of each kind; fields of the run may be replaced."""
    document: Json = {
        "run": {
            "run_id": run_id(number),
            "agent_name": "chatbot",
            "workflow_name": "default",
            "session_id": "s1",
            "trace_id": run_id(number).replace("-", ""),
            "interaction_mode": "interactive",
            "status": "success",
            "started_at": moment(number),
            "completed_at": moment(number + 0.5),
            "duration": 0.5,
            "inputs": '{"q":1}',
            **run,
        },
        "process": {
            "process_id": 4711,
            "host": "pi-7",
            "boot_id": "b",
            "pid_namespace": "p",
            "pid": 17,
            "started": "1",
            "program": "bot.py",
            "python": "3.11.7",
            "waxlocal": "1.2",
            "first_seen_at": moment(0),
        },
    }
    at = {"recorded_at": moment(number)}
    if records:
        document |= {
            "llm_calls": [{"position": 1, **at, "model": "gpt-4o", "tokens_in": 7, "cost": 0.5}],
            "steps": [{"position": 2, **at, "step_name": "s", "output": '{"n":1}'}],
            "spans": [{"position": 3, "started_at": moment(number), "name": "t", "kind": "tool"}],
            "scores": [{"position": 4, **at, "name": "q", "numeric_value": 0.5}],
            "events": [{"position": 5, **at, "event": "e", "data": '{"x":1}'}],
        }
    return document


def batch(*lines: object) -> bytes:
    """Return the body of a batch; bytes are a line as they are."""
    return b"".join(
        (one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines
    )
