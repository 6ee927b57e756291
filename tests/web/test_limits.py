"""What is too much: bodies, depths, addresses, times, connections; and what fails inside."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S
from tests.tools.web import (
    OBSERVABILITY,
    OBSERVE,
    get,
    memory_of,
    raw,
    serving,
    spawned,
)
from waxlocal.errors import FileLocked, FileMissing, InvalidQuery
from waxlocal.storage.connection import open_writer
from waxlocal.web import write_queue
from waxlocal.web.api.bodies import parse_json
from waxlocal.web.api.problems import Problem
from waxlocal.web.db import Database
from waxlocal.web.engine import Engine
from waxlocal.web.middleware.guards import MAX_BODY, MAX_URL
from waxlocal.web.read_pool import ReadPool
from waxlocal.web.write_queue import WriteQueue

# For what a server does; the rest is the same whoever parses.
served_by_each = pytest.mark.usefixtures("engine")

COST = f"{OBSERVE}/model-costs/gpt-4o/"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


@pytest.fixture(scope="module")
def client(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve an empty file."""
    with serving(tmp_path_factory.mktemp("limits") / "waxlocal.db") as client:
        yield client


@pytest.fixture(scope="module")
def hasty(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve an empty file, with little patience for what does not come."""
    path = tmp_path_factory.mktemp("hasty") / "waxlocal.db"
    with serving(path, headers_s=0.2, request_s=0.2, linger_s=0.2) as client:
        yield client


@pytest.fixture(scope="module")
def brief(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve an empty file; whoever sends a rejected body is let go soon."""
    path = tmp_path_factory.mktemp("brief") / "waxlocal.db"
    with serving(path, linger_s=0.2) as client:
        yield client


# -- sizes ----------------------------------------------------------------------------------------


def _head(client: httpx.Client, line: str, *headers: str) -> bytes:
    host = client.base_url.netloc.decode()
    lines = [f"{line} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def test_a_body_that_says_it_is_too_large_is_not_read(brief: httpx.Client) -> None:
    """The answer comes before the body does."""
    head = _head(
        brief, f"PUT {COST}", "Content-Type: application/json", f"Content-Length: {MAX_BODY + 1}"
    )
    answer = raw(str(brief.base_url), head)
    assert b" 413 " in answer.partition(b"\r\n")[0]
    assert f'"max_bytes":{MAX_BODY}'.encode() in answer


def test_a_body_without_an_end_is_cut_off(brief: httpx.Client) -> None:
    """A body in chunks is counted while it comes in; the answer arrives, the connection ends."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"[" * 65_536

    answer = brief.put(COST, content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert brief.get("/healthz").status_code == 200


def test_a_large_body_that_is_refused_gets_its_answer(client: httpx.Client) -> None:
    """A client that sends all of a large body before it reads still reads why it was in vain."""
    body = b" " * (MAX_BODY + 1)
    answer = client.put(COST, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    typed = client.put(COST, content=body[: 1 << 20], headers={"Content-Type": "text/plain"})
    assert typed.status_code == 415


def test_a_small_body_that_is_refused_leaves_the_connection_open(client: httpx.Client) -> None:
    """A program with a wrong type of body goes on with the connection it has."""
    for _ in range(3):
        answer = client.put(COST, content=b"a=1", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415
        assert "connection" not in answer.headers


@pytest.mark.parametrize("depth", [101, 1_000, 10_000, 200_000])
def test_deep_bodies_are_refused(client: httpx.Client, depth: int) -> None:
    """Levels beyond a hundred are a problem, not a crash."""
    headers = {"Content-Type": "application/json"}
    for body in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth):
        assert client.put(COST, content=body, headers=headers).status_code == 400


def test_depth_is_not_size() -> None:
    """A wide body of few levels passes; exactly a hundred levels do, too."""
    assert len(parse_json("[" + "[]," * 10_000 + "1]")) == 10_001
    assert parse_json("[" * 100 + "]" * 100)
    assert parse_json(b'{"text": "' + b"[" * 1_000 + b'"}')
    with pytest.raises(Problem):
        parse_json("[" * 101 + "]" * 101)


def test_long_addresses_are_refused(client: httpx.Client) -> None:
    """Up to a length they are answered, above it refused, in either way a client reads."""
    path = f"{OBSERVABILITY}/sessions/?search="
    assert client.get(path + "a" * (MAX_URL - len(path))).status_code == 200
    assert client.get(path + "a" * MAX_URL).status_code == 414
    assert raw(str(client.base_url), _head(client, "GET /" + "a" * 200_000))[9:12] == b"400"


def test_many_headers_are_refused(client: httpx.Client) -> None:
    """Ten thousand headers are more than any client has."""
    headers = [f"X-Header-{number}: {number}" for number in range(10_000)]
    assert raw(str(client.base_url), _head(client, "GET /healthz", *headers))[9:12] == b"400"


def test_paths_lead_nowhere_else(client: httpx.Client) -> None:
    """No way of writing a path opens a file that is none of the three."""
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%252e%252e%252fapp.py",
        "/static/..\\app.py",
        "/static//etc/passwd",
        "/static/app.css%00.py",
        "/static/" + "a" * 5_000,
        "//etc/passwd",
        "/../../etc/passwd",
    ):
        answer = raw(str(client.base_url), _head(client, f"GET {path}", "Connection: close"))
        assert answer[9:12] == b"404", path
        assert b"import annotations" not in answer
        assert b"root:" not in answer


# -- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET ", b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: "])
def test_headers_that_do_not_come_end_the_connection(hasty: httpx.Client, sent: bytes) -> None:
    """Whoever connects and does not ask is let go."""
    assert raw(str(hasty.base_url), sent) == b""


def test_a_body_that_does_not_come_is_given_up(hasty: httpx.Client) -> None:
    """A request is to arrive within its time; then the answer says so."""
    head = _head(hasty, f"PUT {COST}", "Content-Type: application/json", "Content-Length: 10")
    assert raw(str(hasty.base_url), head + b"{")[9:12] == b"408"


def test_hundreds_of_silent_connections_hinder_nobody(client: httpx.Client) -> None:
    """While others connect and say nothing, requests are answered."""
    with ExitStack() as stack:
        for _ in range(300):
            silent = socket.create_connection((client.base_url.host, client.base_url.port or 0))
            stack.enter_context(closing(silent))
            silent.sendall(b"GET /")
        assert client.get("/healthz").status_code == 200


def test_a_question_without_an_end_is_interrupted(db_path: Path) -> None:
    """SQLite is stopped after the time; the connection answers the next question."""
    pool = ReadPool(db_path)
    with recorded(db_path):
        pass
    with closing(pool):
        with pytest.raises(Problem) as caught:
            pool.answer(lambda connection: connection.execute(ENDLESS).fetchone(), 0.2)
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
        assert pool.answer(lambda connection: tuple(connection.execute("SELECT 1").fetchone()))


def test_closing_does_not_wait_for_long_questions(db_path: Path) -> None:
    """What is being asked when the server ends is given up at once."""
    with recorded(db_path):
        pass
    asked = threading.Event()

    def question(connection: object) -> None:
        asked.set()
        connection.execute(ENDLESS).fetchone()  # type: ignore[attr-defined]

    async def scenario() -> None:
        pool = ReadPool(db_path)
        task = asyncio.create_task(pool.ask(question, PATIENCE_S))
        await asyncio.to_thread(asked.wait)
        await asyncio.to_thread(pool.close)
        with pytest.raises(Problem):
            await task

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S / 2))


def test_questions_cannot_change_anything(db_path: Path) -> None:
    """Neither write, nor open another file, whatever a query says."""
    pool = ReadPool(db_path)
    with recorded(db_path):
        pass
    with closing(pool):
        for sql in ("DELETE FROM runs", "CREATE TABLE t (a)", f"ATTACH '{db_path}x' AS other"):
            with pytest.raises(Exception, match=r"may not be written|not authorized"):
                pool.answer(lambda connection, sql=sql: connection.execute(sql))
    assert not db_path.with_name(db_path.name + "x").exists()


# -- the file -------------------------------------------------------------------------------------


def test_a_locked_file_is_a_problem_that_passes(db_path: Path) -> None:
    """A change that has to wait too long says when to come again; reading goes on."""
    with recorded(db_path) as builder:
        builder.run("s1")
    writes = WriteQueue(db_path, wait=0.05)
    with closing(writes), closing(open_writer(db_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FileLocked):
            writes.change_now(lambda connection: connection.execute("DELETE FROM runs"))
        other.execute("ROLLBACK")
        deleted = writes.change_now(lambda connection: connection.execute("DELETE FROM runs"))
        assert deleted.rowcount == 1


def test_a_file_replaced_while_it_is_opened_is_noticed(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one now at the path is not taken for the one that was opened."""
    add = "INSERT INTO received VALUES (?, '', '', '')"

    def open_and_replace(path: Path, **more: Any) -> sqlite3.Connection:
        opened = open_writer(path, **more)
        monkeypatch.undo()
        for ending in ("", "-wal", "-shm"):
            Path(f"{path}{ending}").unlink()
        open_writer(path).close()
        return opened

    monkeypatch.setattr(write_queue, "open_writer", open_and_replace)
    with closing(WriteQueue(db_path)) as writes:
        for key in ("lost", "kept"):
            writes.change_now(lambda file, key=key: file.execute(add, (key,)))
    with closing(open_writer(db_path)) as file:
        assert file.execute("SELECT idempotency_key FROM received").fetchall() == [("kept",)]


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize(
    "value", [[1], {"a": 1}, 2**70, "\ud83d", None], ids=["list", "dict", "large", "half", "none"]
)
def test_a_value_that_cannot_be_stored_is_the_requests_fault(
    db_path: Path, value: object, small: bool
) -> None:
    """It is refused as wrong, not as a file that is to be tried again; the next write works."""
    add = "INSERT INTO received VALUES (?, '', '', '')"

    async def scenario(database: Database) -> int:
        with pytest.raises(InvalidQuery, match="cannot be stored"):
            await database.write_queue.change(lambda file: file.execute(add, (value,)), small=small)
        return (await database.write_queue.change(lambda file: file.execute(add, ("k",)))).rowcount

    with closing(Database(db_path)) as database:
        assert asyncio.run(scenario(database)) == 1


def test_changes_that_share_a_commit_fail_alone(db_path: Path) -> None:
    """Of many at once, those that raise undo their own work and no other."""

    def work(number: int) -> int:
        def change(connection: object) -> int:
            connection.execute(  # type: ignore[attr-defined]
                "INSERT INTO received VALUES (?, '', '', '')", (str(number),)
            )
            if number % 3 == 0:
                raise ValueError(number)
            return number

        return change  # type: ignore[return-value]

    async def scenario(database: Database) -> list[object]:
        changes = [database.write_queue.change(work(number)) for number in range(200)]  # type: ignore[arg-type]
        return await asyncio.gather(*changes, return_exceptions=True)

    with closing(Database(db_path)) as database:
        outcomes = asyncio.run(scenario(database))
        kept = database.read_pool.answer(
            lambda connection: {
                int(row[0]) for row in connection.execute("SELECT idempotency_key FROM received")
            }
        )
    good = {number for number in range(200) if number % 3}
    assert {one for one in outcomes if isinstance(one, int)} == good == kept
    assert sum(isinstance(one, ValueError) for one in outcomes) == 200 - len(good)


def test_a_full_disk_fails_all_that_share_the_commit(db_path: Path) -> None:
    """Nothing counts as done that is not in the file; with space again, changes are made."""
    with closing(Database(db_path)) as database:
        database.open()

        def limit(pages: int) -> None:
            sql = f"PRAGMA max_page_count = {pages}"
            database.write_queue.change_now(lambda connection: connection.execute(sql).fetchone())

        async def scenario() -> list[object]:
            sql = "INSERT INTO received VALUES (hex(randomblob(16)), '', hex(zeroblob(20000)), '')"
            changes = [
                database.write_queue.change(lambda c: c.execute(sql).rowcount) for _ in range(50)
            ]
            return await asyncio.gather(*changes, return_exceptions=True)

        limit(1)  # SQLite takes the least that is possible: the file as it is
        outcomes = asyncio.run(scenario())
        limit(2**30)
        done = sum(1 for one in outcomes if one == 1)
        count = "SELECT count(*) FROM received"
        assert done == database.read_pool.answer(lambda c: c.execute(count).fetchone()[0]) < 50
        assert {type(one).__name__ for one in outcomes if one != 1} == {"DiskFull"}
        assert [one for one in asyncio.run(scenario()) if one != 1] == []


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """A question to no file is an error of ours, not of SQLite."""
    with closing(ReadPool(tmp_path / "none.db")) as pool, pytest.raises(FileMissing):
        pool.answer(lambda connection: connection.execute("SELECT 1"))


@served_by_each
def test_a_damaged_file_does_not_stop_the_server(db_path: Path) -> None:
    """What cannot be read is a problem of the request; the process goes on and says it lives."""
    with recorded(db_path) as builder:
        for number in range(200):
            builder.run(f"s{number}", inputs={"message": "x" * 2_000})
        builder.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = db_path.stat().st_size
    with serving(db_path) as client:
        assert get(client, "sessions/", limit=1)["count"] == 200
    data = bytearray(db_path.read_bytes())
    data[size // 2 :] = os.urandom(size - size // 2)
    db_path.write_bytes(data)
    with serving(db_path) as client:
        answer = client.get(f"{OBSERVABILITY}/runs/?limit=1000")
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:waxlocal:problem:storage"
        assert client.get("/healthz").status_code == 200


@served_by_each
def test_memory_stays_bounded_under_abuse(db_path: Path) -> None:
    """Large bodies, deep ones and long lists leave the process under 150 MB."""
    with recorded(db_path) as builder:
        for number in range(300):
            builder.run(f"s{number}", inputs={"message": "x" * 1_000})
    with spawned(db=db_path) as (process, address), httpx.Client(base_url=address) as client:
        headers = {"Content-Type": "application/json"}
        for _ in range(5):
            assert (
                client.put(COST, content=b"[" * (MAX_BODY + 1), headers=headers).status_code == 413
            )
            assert client.put(COST, content=b"[" * 1_000_000, headers=headers).status_code == 400
            assert get(client, "runs/", limit=1000)["count"] == 300
        assert memory_of(process.pid) < 150 * 1024 * 1024
