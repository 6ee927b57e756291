"""The endpoints that the original SDK writes to, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.ingest import Hub, agent_span, llm_span
from tests.tools.web import OBSERVABILITY, OBSERVE, serving
from waxlocal.decode import DEEPEST_LEVELS
from waxlocal.records import RECORD_TABLES

RUNS = f"{OBSERVE}/runs"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def client(db_path: Path) -> Iterator[httpx.Client]:
    """Return a client of a server for the test's file."""
    with serving(db_path) as opened:
        yield opened


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return what looks into the test's file."""
    return Hub(db_path)


def start(client: httpx.Client, **fields: Any) -> str:
    """Begin a run; return its id."""
    answer = client.post(f"{RUNS}/start/", json={"agent_name": "chatbot", **fields})
    assert answer.status_code == 201
    return str(answer.json()["run_id"])


def test_what_is_asked_before_a_run_is_answered(client: httpx.Client) -> None:
    """Configuration, policies and manifest have the fields that the SDK reads."""
    config = client.get(f"{OBSERVE}/config/").json()
    assert config == {
        "bulk": {"path": f"{RUNS}/bulk/", "max_runs": 500, "max_bytes": 8 * 1024 * 1024},
        "tenant_id": "local",
        "tenant_slug": "local",
    }
    check = client.post(f"{OBSERVE}/policy-check/", json={"agent_name": "a"}).json()
    assert (check["action"], check["metadata"], check["evaluations"]) == ("allow", {}, [])
    manifest = client.get(f"{OBSERVE}/policy-manifest/?agent_name=a&workflow_name=b").json()
    assert manifest == {
        "manifest_version": "1",
        "ttl_seconds": 3600,
        "checkpoints": [],
        "surfaces": {},
        "policies": [],
    }


def test_a_run_is_recorded(client: httpx.Client, hub: Hub) -> None:
    """The five requests of a run give a run with a call."""
    run = start(client, session_id="s")
    call = {"model": "gpt-4o", "tokens_in": 100, "tokens_out": 50, "cost": 0.00075}
    posts = [
        ("llm-calls", {"calls": [call]}, {"recorded": 1}),
        ("spans", {"spans": [agent_span(0), llm_span(1)]}, {"recorded": 2}),
        ("scores", {"scores": [{"name": "q", "numeric_value": 1.0}]}, {"recorded": 1}),
    ]
    for name, body, answer in posts:
        response = client.post(f"{RUNS}/{run}/{name}/", json=body)
        assert (response.status_code, response.json()) == (200, answer)
    ended = client.post(f"{RUNS}/{run}/complete/", json={"status": "success"}).json()
    assert (ended["run_id"], ended["governance"]) == (run, {"action": "allow"})
    assert hub.run(run)["duration"] == ended["duration"]
    assert len(hub.rows("llm_calls", run)) == 1


BODIES: dict[str, dict[str, object]] = {
    "llm-calls": {"calls": [{"model": "m"}]},
    "steps": {"steps": [{"step_name": "s"}]},
    "spans": {"spans": [{"name": "t", "kind": "tool"}]},
    "scores": {"scores": [{"name": "q", "numeric_value": 1}]},
    "complete": {"status": "success", "result": {"r": 1}},
    "partial": {"partial": "so far", "chunk_count": 1},
    "memory/episodic": {"slot_name": "s", "data": [1]},
    "memory/semantic": {"slot_name": "s", "content": "c"},
}


@pytest.mark.parametrize("run_id", ["", "nobody", "01942000-0000-7000-8000-000000000001", "%00"])
@pytest.mark.parametrize("stage", BODIES)
def test_records_of_an_unknown_run_are_refused(
    client: httpx.Client, hub: Hub, stage: str, run_id: str
) -> None:
    """Whatever they are: a problem that says what to do, and nothing is kept under no run.

    An empty id is none either: the original SDK goes on with it when the start of its run failed.
    """
    base = OBSERVABILITY if stage.startswith("memory") else OBSERVE
    headers = {"Idempotency-Key": "k1"}
    path = f"{base}/runs/{run_id}/{stage}/"
    answers = [client.post(path, json=BODIES[stage], headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert "start" in answers[0].json()["hint"]
    for table in ("runs", *(table.name for table in RECORD_TABLES)):
        assert hub.select(f"SELECT count(*) FROM {table}") == [(0,)]


def test_prompts_are_not_found(client: httpx.Client) -> None:
    """There is no prompt server; the SDK turns a 404 into `PromptNotFoundError`."""
    assert client.get(f"{OBSERVE}/prompts/greeting/?label=production").status_code == 404


def test_bare_nan_is_json_enough(client: httpx.Client, hub: Hub) -> None:
    """Python's encoder writes NaN and Infinity; the file holds JSON that SQLite can read."""
    body = b'{"agent_name":"a","inputs":{"x":NaN,"y":-Infinity}}'
    run = client.post(f"{RUNS}/start/", content=body, headers=JSON).json()["run_id"]
    scores = b'{"scores":[{"name":"n","numeric_value":NaN}]}'
    assert client.post(f"{RUNS}/{run}/scores/", content=scores, headers=JSON).status_code == 200
    assert hub.run(run)["inputs"] == {"x": {"$float": "nan"}, "y": {"$float": "-inf"}}
    (score,) = hub.rows("scores", run)
    assert (score["numeric_value"], score["string_value"]) == (None, "nan")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *((one, "invalid-body") for one in (b"{", b"[1]", b'"x"', b"\xff\xfe", b"1" * 5000)),
        (b"[" * 100_000, "too-deep"),
    ],
)
def test_what_is_no_json_object_is_a_problem(client: httpx.Client, body: bytes, kind: str) -> None:
    """A body that cannot be read is refused with 400, and nothing is stored."""
    answer = client.post(f"{RUNS}/start/", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["type"].endswith(kind)


def test_what_the_page_says_of_the_deepest_inputs_is_so(client: httpx.Client) -> None:
    """On every Python, which counts levels in its own way."""
    for levels, status in ((DEEPEST_LEVELS - 2, 201), (DEEPEST_LEVELS - 1, 400)):
        nested = b"[" * levels + b"]" * levels  # in the body, and in the inputs
        body = b'{"agent_name":"a","inputs":{"x":%s}}' % nested
        answer = client.post(f"{RUNS}/start/", content=body, headers=JSON)
        assert answer.status_code == status
    assert answer.json()["detail"] == f"the body is nested more than {DEEPEST_LEVELS} levels deep"
    api = Path(__file__).parents[3] / "docs" / "api.md"
    assert f"({DEEPEST_LEVELS} in ingest" in api.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "field"), [("llm-calls", "calls"), ("spans", "spans")])
def test_a_body_without_its_list_is_a_problem(client: httpx.Client, name: str, field: str) -> None:
    """Nothing is not the same as an empty list."""
    run = start(client)
    answer = client.post(f"{RUNS}/{run}/{name}/", json={field: "x"})
    assert answer.status_code == 400
    assert field in answer.json()["detail"]


# -- keys ---------------------------------------------------------------------------------------


def test_a_request_that_comes_twice_is_done_once(client: httpx.Client, hub: Hub) -> None:
    """With an `Idempotency-Key` a repetition gets the first answer, and adds nothing."""
    body = {"agent_name": "a"}
    headers = {"Idempotency-Key": "k1"}
    first, again = (client.post(f"{RUNS}/start/", json=body, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    run = first.json()["run_id"]
    for _ in range(2):
        calls = {"calls": [{"model": "m"}]}
        client.post(f"{RUNS}/{run}/llm-calls/", json=calls, headers={"Idempotency-Key": "k2"})
    assert hub.select("SELECT count(*) FROM runs") == [(1,)]
    assert hub.select("SELECT count(*) FROM llm_calls") == [(1,)]


def test_a_key_of_another_request_is_a_problem(client: httpx.Client, hub: Hub) -> None:
    """A key stands for one request: another body under it is refused with 422."""
    headers = {"Idempotency-Key": "k1"}
    client.post(f"{RUNS}/start/", json={"agent_name": "a"}, headers=headers)
    answer = client.post(f"{RUNS}/start/", json={"agent_name": "b"}, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:waxlocal:problem:key-reused")
    assert hub.select("SELECT agent_name FROM runs") == [("a",)]


def test_a_refused_request_may_come_again_under_its_key(client: httpx.Client) -> None:
    """What was refused was not done: its key is free."""
    own = {"run_id": "01942000-0000-7000-8000-000000000001"}
    path, headers = f"{RUNS}/{own['run_id']}/steps/", {"Idempotency-Key": "k1"}
    assert client.post(path, json={"steps": []}, headers=headers).status_code == 404
    start(client, metadata={"waxlocal": own})
    assert client.post(path, json={"steps": []}, headers=headers).status_code == 200


# -- many at a time -----------------------------------------------------------------------------


def test_the_requests_of_a_run_may_come_in_parallel(client: httpx.Client, hub: Hub) -> None:
    """Calls, steps, scores and spans of many runs at once, each complete when its end is posted."""
    numbers = range(1, 21)

    def record(which: int) -> str:
        run = start(client, session_id=f"s{which % 3}")
        call = {"model": "gpt-4o", "tokens_in": 100, "tokens_out": 50, "cost": 0.00075}
        steps = [{"step_name": f"s{n}", "position": 2 * n} for n in numbers]
        bodies = {
            "llm-calls": {"calls": [call] * len(numbers)},
            "steps": {"steps": steps},
            "scores": {"scores": [{"name": "q", "numeric_value": 1.0}]},
            "spans": {"spans": [llm_span(2 * n - 1, duration_ms=n) for n in numbers]},
        }
        with ThreadPoolExecutor(4) as posting:
            posted = [
                posting.submit(client.post, f"{RUNS}/{run}/{name}/", json=body)
                for name, body in bodies.items()
            ]
        assert [answer.result().status_code for answer in posted] == [200] * 4
        client.post(f"{RUNS}/{run}/complete/", json={"status": "success"})
        return run

    with ThreadPoolExecutor(6) as recording:
        runs = list(recording.map(record, range(12)))
    for run in runs:
        calls = hub.rows("llm_calls", run)
        assert [row["duration_ms"] for row in calls] == list(numbers)
        assert [row["position"] for row in calls] == [2 * n - 1 for n in numbers]
        assert [row["position"] for row in hub.rows("steps", run)] == [2 * n for n in numbers]
        assert [row["position"] for row in hub.rows("scores", run)] == [41]
        assert hub.rows("spans", run) == []
    sums = "SELECT sum(run_count), sum(llm_calls), sum(open_runs) FROM sessions"
    assert hub.select(sums) == [(12, 240, 0)]


def test_a_large_body_is_taken(client: httpx.Client, hub: Hub) -> None:
    """All of a long run may come at its end in one request."""
    run = start(client)
    step = {"output": {"text": "x" * 500}}
    steps = [{"step_name": f"s{n}", "position": n, **step} for n in range(1, 3001)]
    answer = client.post(f"{RUNS}/{run}/steps/", content=json.dumps({"steps": steps}), headers=JSON)
    assert answer.json() == {"recorded": 3000}
    client.post(f"{RUNS}/{run}/complete/", json={})
    assert [row["position"] for row in hub.rows("steps", run)] == list(range(1, 3001))
