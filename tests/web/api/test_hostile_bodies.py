"""Well-formed JSON with any value in any place: refused with a reason, no fault of ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.examples import examples
from tests.tools.run_paths import run_and_stage
from tests.tools.sync import settings_for
from tests.tools.web import OBSERVE, serving
from tests.tools.wire_bodies import CAPTURES
from tests.tools.wire_programs_more import x01_spans, x02_memory, x03_state, x04_nested, x05_llm
from waxlocal.recording.recorder import Recorder
from waxlocal.wire.paths import stage_path
from waxlocal_daemon.dry_run import previews

Json = dict[str, Any]
Step = str | int
# A request: its path, and its body.
Sent = tuple[str, Json]

JSON = {"Content-Type": "application/json"}
START = f"{OBSERVE}/runs/start/"
RUN_ID = "0196f0aa-0000-7000-8000-000000000001"
HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 2**70, 10**400),
    *(float("nan"), float("inf"), -1e308, 1e308),
    *("", "x", "\0", "a\0b", "\ud83d", "\udc00x", "x" * 5000, "-5", "1e999", "nan", "٣", "1_000"),
    *("2026-01-31T09:30:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00"),
    *([], [None], [[]], [{}], [1, 2], ["\ud83d"], {}, {"a": 1}, {"a": "\ud83d"}, {"\ud83d": 1}),
    *({"a": {"b": [1, {"c": None}]}}, {"waxlocal": 1}),
]


def post(client: httpx.Client, path: str, body: object) -> httpx.Response:
    """Post JSON as Python writes it, with NaN and half characters."""
    return client.post(path, content=json.dumps(body).encode(), headers=JSON)


def of_original(client: httpx.Client) -> Iterator[Sent]:
    """Replay what the original SDK sent; yield each request with the run ids of this server."""
    for capture in sorted(CAPTURES.glob("*.jsonl")):
        named: dict[str, str] = {}
        for line in capture.read_text(encoding="utf-8").splitlines():
            request = json.loads(line)
            path, body = request["path"], request["body"]
            if request["method"] != "POST" or not isinstance(body, dict):
                continue
            if (found := run_and_stage(path)) and found[0] in named:
                path = stage_path(found[1], named[found[0]])
            answer = post(client, path, body)
            assert answer.status_code < 300, (path, answer.text)
            yield path, body
            if path == START:
                named[request["answer"]["run_id"]] = answer.json()["run_id"]


def of_waxlocal(db_path: Path) -> Iterator[Sent]:
    """Yield what another waxlocal sends for a file."""
    for preview in previews(db_path, settings_for("")):
        yield preview.url.replace("RUN_ID", preview.run_id), json.loads(preview.body)


def places(value: Any, above: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Yield where each member of a body is, at any depth."""
    members: Iterable[tuple[Step, Any]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for step, member in members:
        yield (*above, step)
        yield from places(member, (*above, step))


def changed(body: Json, place: tuple[Step, ...], value: Any) -> Json:
    """Return a body with another value at a place."""
    found: Json = json.loads(json.dumps(body))
    inner: Any = found
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return found


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """Return a client of a server for a file of its own."""
    with serving(tmp_path / "hub.db") as opened:
        yield opened


def test_any_value_in_any_place(client: httpx.Client, db_path: Path, recorder: Recorder) -> None:
    """In every request of the original SDK and of another waxlocal: a status below 500."""
    import waxlocal

    for program in (x01_spans, x02_memory, x03_state, x04_nested, x05_llm):
        program(waxlocal)
    sent = [*of_original(client), *of_waxlocal(db_path)]
    assert len({path.rstrip("/").rpartition("/")[2] for path, _ in sent}) >= 9
    # The same member of the same kind of request once.
    all_places = {
        (path.rstrip("/").rpartition("/")[2], tuple("*" if type(s) is int else s for s in place)): (
            path,
            body,
            place,
        )
        for path, body in sent
        for place in places(body)
    }

    @settings(max_examples=examples(600), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(list(all_places.values())), st.sampled_from(HOSTILE))
    def is_no_fault(at: tuple[str, Json, tuple[Step, ...]], value: Any) -> None:
        path, body, place = at
        answer = post(client, path, changed(body, place, value))
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["type"].startswith("urn:waxlocal:problem:")

    is_no_fault()
    for path, body in sent:
        assert post(client, path, body).status_code < 500
    assert post(client, START, {"agent_name": "a"}).status_code == 201


@pytest.mark.parametrize("run_id", [[1], {"a": 1}, 2**70, True, "\ud83d", "a/b"])
def test_a_run_id_that_is_none_is_refused(client: httpx.Client, run_id: Any) -> None:
    """In the start that another waxlocal sends: with the reason, and no time to try again."""
    own = {"waxlocal": {"run_id": run_id, "run": {}}}
    answer = post(client, START, {"agent_name": "a", "metadata": own})
    assert (answer.status_code, answer.headers.get("retry-after")) == (400, None)
    assert "run_id" in answer.json()["detail"]


def test_a_child_with_half_a_character_costs_nothing(client: httpx.Client) -> None:
    """Nobody's id: the span that names it is taken like any other."""
    run_id = post(client, START, {"agent_name": "a"}).json()["run_id"]
    span = {"name": "a", "kind": "agent", "attributes": {"child_run_id": "\ud83d"}}
    answer = post(client, stage_path("spans", run_id), {"spans": [span]})
    assert (answer.status_code, answer.json()) == (200, {"recorded": 1})


def test_a_body_of_very_many_values_is_too_large(tmp_path: Path) -> None:
    """Fifteen megabytes of `[],` would be a gigabyte in memory."""
    with serving(tmp_path / "hub.db") as client:
        body = b'{"agent_name": "a", "inputs": {"a": [' + b"[]," * 5_000_000 + b"[]]}}"
        answer = client.post(START, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:waxlocal:problem:too-large")
    assert answer.json()["detail"] == "the body is JSON of more than 1,000,000 values"
