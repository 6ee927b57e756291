"""Batches of runs over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.tools.builders import run_id
from tests.tools.bulk_lines import batch, line
from tests.tools.ingest import Hub
from tests.tools.web import OBSERVE, serving
from waxlocal.storage.connection import writer

BULK = f"{OBSERVE}/runs/bulk/"
NDJSON = {"Content-Type": "application/x-ndjson"}
PACKED = {**NDJSON, "Content-Encoding": "gzip"}


@pytest.fixture
def client(db_path: Path) -> Iterator[httpx.Client]:
    """Return a client of a server for the test's file."""
    with serving(db_path) as opened:
        yield opened


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return what looks into the test's file."""
    return Hub(db_path)


@pytest.mark.parametrize("packed", [False, True])
def test_each_line_is_answered_in_order(client: httpx.Client, hub: Hub, packed: bool) -> None:
    """A batch, packed or not, is stored line by line; each line has its result."""
    deep = b"[" * 300 + b"]" * 300
    body = batch(line(1), b"", b"no json", deep, line(2), line(status="weird"))
    sent = gzip.compress(body) if packed else body
    answer = client.post(BULK, content=sent, headers=PACKED if packed else NDJSON)
    assert answer.status_code == 200
    assert answer.json() == {
        "results": [
            {"run_id": run_id(1), "status": "stored"},
            {"run_id": "", "status": "refused", "reason": "the line is not valid JSON"},
            {
                "run_id": "",
                "status": "refused",
                "reason": "the line is nested more than 200 levels deep",
            },
            {"run_id": run_id(2), "status": "stored"},
            {
                "run_id": run_id(1),
                "status": "refused",
                "reason": "run: status is not a run status",
            },
        ]
    }
    assert hub.select("SELECT count(*) FROM runs") == [(2,)]


def test_a_batch_that_comes_twice_is_merged(client: httpx.Client, hub: Hub) -> None:
    """Nothing is there twice, with its key or without; what was lost meanwhile is stored again."""
    body = batch(line(1))
    headers = {**NDJSON, "Idempotency-Key": hashlib.sha256(body).hexdigest()}

    def send(headers: dict[str, str]) -> str:
        (told,) = client.post(BULK, content=body, headers=headers).json()["results"]
        assert told["run_id"] == run_id(1)
        return str(told["status"])

    assert [send(headers), send(headers), send(NDJSON)] == ["stored", "merged", "merged"]
    assert len(hub.rows("llm_calls", run_id(1))) == 1
    with writer(hub.path) as connection:
        connection.execute("DELETE FROM runs")
    assert send(headers) == "stored"
    assert len(hub.rows("llm_calls", run_id(1))) == 1


def test_a_refusal_is_not_remembered(client: httpx.Client, hub: Hub) -> None:
    """A batch with a refused line is merged anew under its key; the other lines are there once."""
    body, key = batch(line(1), line(2)), {"Idempotency-Key": "k"}
    with writer(hub.path) as connection:
        connection.execute(
            f"CREATE TRIGGER no BEFORE INSERT ON runs WHEN NEW.run_id = '{run_id(2)}'"
            " BEGIN SELECT raise(ABORT, 'not today'); END"
        )
    told = [client.post(BULK, content=body, headers=NDJSON | key).json()["results"]]
    with writer(hub.path) as connection:
        connection.execute("DROP TRIGGER no")
    told += [client.post(BULK, content=body, headers=NDJSON | key).json()["results"]] * 2
    assert [[one["status"] for one in results] for results in told] == [
        ["stored", "refused"],
        ["merged", "stored"],
        ["merged", "stored"],
    ]
    assert told[0][1]["reason"] == "not today"
    assert hub.select("SELECT count(*) FROM runs") == [(2,)]
    assert hub.select("SELECT count(*) FROM scores") == [(2,)]


def test_a_key_stands_for_one_batch(client: httpx.Client) -> None:
    """Another batch under the same key is refused; packing is not a difference."""
    headers = {"Idempotency-Key": "k"}
    body = batch(line(1))
    assert client.post(BULK, content=body, headers=NDJSON | headers).status_code == 200
    packed = client.post(BULK, content=gzip.compress(body), headers=PACKED | headers)
    assert packed.status_code == 200
    other = client.post(BULK, content=batch(line(2)), headers=NDJSON | headers)
    assert other.status_code == 422


def test_an_empty_batch_is_no_error(client: httpx.Client) -> None:
    """Nothing to store is stored."""
    assert client.post(BULK, content=b"\n\n", headers=NDJSON).json() == {"results": []}


def test_too_many_runs_are_too_large(client: httpx.Client, hub: Hub) -> None:
    """A batch has at most 500 runs; the sender halves it."""
    runs = [line(number, records=False) for number in range(501)]
    answer = client.post(BULK, content=batch(*runs), headers=NDJSON)
    assert (answer.status_code, answer.json()["max_runs"]) == (413, 500)
    assert client.post(BULK, content=batch(*runs[:500]), headers=NDJSON).status_code == 200
    assert hub.select("SELECT count(*) FROM runs") == [(500,)]


def test_a_small_body_may_not_become_a_large_one(client: httpx.Client, hub: Hub) -> None:
    """A gzip bomb is given up as soon as it is larger than a batch may be."""
    bomb = gzip.compress(b" " * (256 * 1024 * 1024))
    answer = client.post(BULK, content=bomb, headers=PACKED)
    assert (answer.status_code, answer.json()["max_bytes"]) == (413, 8 * 1024 * 1024)
    assert hub.select("SELECT count(*) FROM runs") == [(0,)]


def test_a_batch_may_be_packed_in_parts(client: httpx.Client, hub: Hub) -> None:
    """As programs do that compress in parallel; zeros at the end are no part."""
    parts = b"".join(gzip.compress(batch(line(number))) for number in range(1, 21))
    answer = client.post(BULK, content=parts + b"\0" * 600, headers=PACKED)
    assert [one["status"] for one in answer.json()["results"]] == ["stored"] * 20
    assert hub.select("SELECT count(*) FROM runs") == [(20,)]


def test_a_body_of_empty_parts_is_given_up(client: httpx.Client, hub: Hub) -> None:
    """To take 700,000 of them apart would take minutes."""
    answer = client.post(BULK, content=gzip.compress(b"") * 700_000, headers=PACKED)
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "the gzip body has more than 1,000 members",
    )
    cut = client.post(BULK, content=gzip.compress(batch(line(1)))[:-9], headers=PACKED)
    assert (cut.status_code, cut.json()["detail"]) == (400, "the gzip body is truncated")


def test_a_line_of_very_many_values_is_refused(client: httpx.Client, hub: Hub) -> None:
    """Each takes three bytes, and twenty times as many in memory; the other lines are stored."""
    many = json.dumps(line(2)).encode()[:-1] + b', "more": [' + b"[]," * 2_000_000 + b"[]]}"
    answer = client.post(BULK, content=batch(line(1), many), headers=NDJSON)
    first, second = answer.json()["results"]
    assert (first["status"], second["status"]) == ("stored", "refused")
    assert second["reason"] == "the line is JSON of more than 1,000,000 values"


def test_a_large_body_is_too_large(client: httpx.Client) -> None:
    """So is a body that is as large as it looks."""
    answer = client.post(BULK, content=b" " * (17 * 1024 * 1024), headers=NDJSON)
    assert answer.status_code == 413


def test_one_large_run_is_taken(client: httpx.Client, hub: Hub) -> None:
    """A single run may be larger than what a batch should have."""
    large = line(result='{"text":"' + "x" * (9 * 1024 * 1024) + '"}')
    answer = client.post(BULK, content=gzip.compress(batch(large), 1), headers=PACKED)
    assert answer.json()["results"][0]["status"] == "stored"
    assert len(hub.run(run_id(1))["result"]["text"]) == 9 * 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b"x" * 1000)[:-10], gzip.compress(b"{}\n") + b"rest", b"\x1f\x8b"],
    ids=["no gzip", "cut off", "with a rest", "a magic number"],
)
def test_what_cannot_be_unpacked_is_a_problem(client: httpx.Client, body: bytes) -> None:
    """A body that is not a whole gzip file is refused with 400."""
    answer = client.post(BULK, content=body, headers=PACKED)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:waxlocal:problem:invalid-body")


def test_a_gzip_file_may_have_several_parts(client: httpx.Client) -> None:
    """As the tool writes it that appends to a file."""
    body = gzip.compress(batch(line(1))) + gzip.compress(batch(line(2)))
    answer = client.post(BULK, content=body, headers=PACKED).json()
    assert [result["status"] for result in answer["results"]] == ["stored", "stored"]


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "text/plain"}, {**NDJSON, "Content-Encoding": "br"}],
)
def test_other_kinds_of_bodies_are_not_taken(client: httpx.Client, headers: dict[str, str]) -> None:
    """A batch is JSON lines, as they are or as gzip."""
    assert client.post(BULK, content=batch(line(1)), headers=headers).status_code == 415
