"""A request of the upload as the file keeps it, and the key under which it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import uuid4

from waxlocal.delivery.progress import RequestState

__all__ = [
    "OUTSIDE",
    "Part",
    "StoredPart",
    "encoded",
    "key_of_run",
    "new_key",
    "new_part",
    "next_part",
    "read_part",
    "request_key",
]

# Stage, part and what makes a key new are added to the id, and all must fit into a key: see
# `MAX_CHARS` in `wire.request_keys`.
_FIT_FOR_A_KEY = re.compile(r"[0-9A-Za-z_.-]{1,100}").fullmatch
_ENCODER = json.JSONEncoder(separators=(",", ":"))
# Stands for the id of a run where events outside any run are meant.
OUTSIDE = ""


class Part(NamedTuple):
    """One request of a run, as the file keeps it; `body` only while it waits.

    `positions` are those of the records that it carries, `states` the states in which it carries
    them, as far as they are not the usual one: see `waxlocal_daemon.sent_states`.
    """

    stage: str
    part: int
    idempotency_key: str
    state: str
    positions: list[int]
    attempts: int
    body: bytes | None
    states: Mapping[str, Any] = {}


# The columns of a request's row, as `read_part` takes them.
StoredPart = tuple[Any, ...]


def new_part(
    run_id: str,
    stage: str,
    number: int,
    positions: list[int],
    body: bytes,
    states: Mapping[str, Any] = {},
) -> Part:
    """Return a request that waits for its first attempt, under the key of its number."""
    key = request_key(run_id, stage, number)
    return Part(stage, number, key, RequestState.WAITING, positions, 0, body, states)


def read_part(
    stage: str,
    part: int,
    idempotency_key: str,
    state: str,
    positions: str,
    attempts: int,
    body: bytes | None,
    states: str | None,
) -> Part:
    """Return a request from the columns of its row, two of which hold JSON."""
    known = json.loads(states) if states else {}
    carried = json.loads(positions)
    return Part(stage, part, idempotency_key, state, carried, attempts, body, known)


def encoded(value: object) -> str:
    """Return positions or states as the JSON of their column."""
    return _ENCODER.encode(value)


def next_part(parts: Iterable[Part], stage: str) -> int:
    """Return the number of the next request of a stage; `parts`: all that were ever made of it.

    Where they are not at hand, `NEXT_PART` in `statements` asks the file.
    """
    return max((part.part + 1 for part in parts if part.stage == stage), default=0)


def request_key(run_id: str, stage: str, part: int) -> str:
    """Return the `Idempotency-Key` of one request of a run.

    Events outside any run have none to be named by: theirs is another one at each call.
    """
    return f"{key_of_run(run_id)}:{stage}:{part}"


def key_of_run(run_id: str) -> str:
    """Return what the keys of all requests of a run begin with, before a colon.

    Programs give runs any ids; one that is not fit for a header is named by its hash.
    """
    if _FIT_FOR_A_KEY(run_id):
        return run_id
    return sha256(run_id.encode("utf-8", "replace")).hexdigest() if run_id else str(uuid4())


def new_key(run_id: str, stage: str, part: int) -> str:
    """Return a key that no request ever had, even if the numbers of earlier ones are unknown."""
    return f"{request_key(run_id, stage, part)}:{uuid4().hex[:12]}"
