"""The application as a whole: errors for programs and for people, faults, its own parts."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S
from tests.tools.web import (
    OBSERVABILITY,
    OBSERVE,
    get,
    serving,
)
from waxlocal.errors import AmbiguousId, ConfigurationError, DiskFull, FileLocked, NotFound
from waxlocal.web.api.problems import Problem, problem_of, problem_response
from waxlocal.web.app import create_app
from waxlocal.web.auth import Authentication
from waxlocal.web.middleware.forwarded import Forwarded
from waxlocal.web.middleware.guards import PROGRESS_BYTES, Guards
from waxlocal.web.middleware.hosts import Hosts
from waxlocal.web.middleware.request_log import Counts, RequestLog
from waxlocal.web.middleware.security_headers import SecurityHeaders
from waxlocal.wire.paths import DOCUMENT


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve an empty file."""
    with serving(tmp_path_factory.mktemp("app") / "waxlocal.db") as client:
        yield client


# -- problems -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "kind", "hint"),
    [
        (NotFound("no session 'x'"), 404, "not-found", "list them with GET"),
        (NotFound("no price", hint="see here"), 404, "not-found", "see here"),
        (AmbiguousId("two"), 400, "ambiguous-id", "give a few more"),
        (FileLocked("locked"), 503, "storage", "try again"),
        (DiskFull("full"), 503, "storage", "free some space"),
        (ConfigurationError("odd"), 500, "configuration", None),
        (Problem(409, "twice", hint="once"), 409, "conflict", "once"),
        (RuntimeError("secret detail"), 500, "fault", "see the server's log"),
    ],
)
def test_every_error_is_a_problem(
    error: Exception, status: int, kind: str, hint: str | None
) -> None:
    """Each kind has its status, a type of its own, and a hint where there is one."""
    problem = problem_of(error)
    document = problem.document()
    assert (document["status"], document["type"]) == (status, f"urn:waxlocal:problem:{kind}")
    assert document.get("hint", "").startswith(hint or "")
    assert "secret" not in str(document)
    assert ("Retry-After" in problem.headers) is (status == 503)


def test_a_problem_says_any_text() -> None:
    """Text that no encoding has, and members of its own, come out as JSON."""
    answer = problem_response(Problem(400, "a \ud800 b", field="name", empty=""))
    assert answer.media_type == "application/problem+json"
    assert answer.body == (
        b'{"type":"urn:waxlocal:problem:invalid-request","title":"Bad Request","status":400,'
        b'"detail":"a \xef\xbf\xbd b","field":"name"}'
    )


def test_programs_get_problems_and_people_pages(client: httpx.Client) -> None:
    """The same error is JSON below /api/, and a page elsewhere, with the same status."""
    data = client.get("/api/v1/nowhere/")
    assert (data.status_code, data.headers["content-type"]) == (404, "application/problem+json")
    assert "openapi.json" in data.json()["hint"]
    page = client.get("/nowhere")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    wrong = client.post(DOCUMENT, json={})
    assert (wrong.status_code, wrong.json()["hint"]) == (405, "use GET, HEAD")
    assert client.head("/healthz").status_code == 200


def test_nothing_is_a_redirect(client: httpx.Client) -> None:
    """The original SDK drops what is redirected; both forms of an address are answered."""
    for end in ("", "/"):
        answer = client.post(f"{OBSERVE}/runs/start{end}", json={"agent_name": "a"})
        assert answer.status_code == 201
    assert get(client, "runs/")["count"] == 2


# -- faults ---------------------------------------------------------------------------------------


async def _fails(_request: Request) -> Response:
    raise RuntimeError("canary detail")


async def _fails_late(_request: Request) -> Response:
    async def body() -> None:
        raise AssertionError

    answer = PlainTextResponse("first half")
    answer.background = body  # type: ignore[assignment]
    return answer


async def _is_slow(_request: Request) -> Response:
    await asyncio.sleep(3600)
    return PlainTextResponse("never")


async def _goes_on(_request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(12):
            await asyncio.sleep(0.25)
            yield b"x" * PROGRESS_BYTES

    return StreamingResponse(pieces())


def _small(*routes: Route, request_s: float = 0.05) -> Starlette:
    return Starlette(
        routes=list(routes),
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(RequestLog, counts=Counts()),
            Middleware(
                Guards,
                hosts=Hosts(),
                forwarded=Forwarded(hosts=Hosts()),
                auth=Authentication(),
                request_s=request_s,
            ),
        ],
    )


def _asked(app: Starlette, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000"
        ) as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_fault_is_a_problem_with_its_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client learns that it was not its doing, the log what happened."""
    answer = _asked(_small(Route("/x", _fails)), "/x")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:waxlocal:problem:fault"
    assert "canary detail" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("waxlocal.web", logging.ERROR)
    assert "canary detail" in caplog.text


def test_an_answer_that_does_not_come_is_given_up() -> None:
    """A request ends within its time, even if what answers it does not."""
    answer = _asked(_small(Route("/x", _is_slow)), "/x")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:waxlocal:problem:too-slow"


def test_an_answer_that_goes_on_is_not_given_up() -> None:
    """Each part of it gives it more time: a large file takes minutes."""
    answer = _asked(_small(Route("/x", _goes_on), request_s=2.0), "/x")
    assert answer.status_code == 200
    assert len(answer.content) == 12 * PROGRESS_BYTES


def test_a_fault_after_the_answer_began_leaves_it(caplog: pytest.LogCaptureFixture) -> None:
    """What was sent cannot be taken back; the log has the fault."""
    answer = _asked(_small(Route("/x", _fails_late)), "/x")
    assert (answer.status_code, answer.text) == (200, "first half")
    assert "AssertionError" in caplog.text


# -- its parts ------------------------------------------------------------------------------------


def test_an_application_may_be_started_again(db_path: Path) -> None:
    """Ending it closes the file; starting it opens it anew."""
    app = create_app(db_path)

    async def once() -> int:
        async with app.router.lifespan_context(app):
            count = "SELECT count(*) FROM runs"

            def question(connection: sqlite3.Connection) -> int:
                return int(connection.execute(count).fetchone()[0])

            found = await app.state.database.ask(question)
            assert isinstance(found, int)
            return found

    assert asyncio.run(once()) == 0
    with recorded(db_path) as builder:
        builder.run("s1")
    assert asyncio.run(once()) == 1


def test_what_is_being_counted_as_the_server_ends_opens_no_file_any_more(db_path: Path) -> None:
    """Nobody would close it again."""
    app = create_app(db_path)
    asked: list[str] = []

    async def live() -> None:
        ended = asyncio.Event()

        async def count(_show: object) -> int:
            await ended.wait()
            asked.append("after the end")
            return 0

        async with app.router.lifespan_context(app):
            counted = await app.state.cache.take("runs", count, patience=0.01)
            assert counted.pending
        ended.set()
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(live())
    assert asked == []


def test_a_name_that_is_none_is_an_error_at_once(db_path: Path) -> None:
    """A slip in a setting is found before the server starts."""
    with pytest.raises(ConfigurationError):
        create_app(db_path, allowed_hosts=["http://hub"])


def test_many_ask_at_once(db_path: Path) -> None:
    """Questions from many clients are answered side by side, and all alike."""
    with recorded(db_path) as builder:
        for number in range(50):
            builder.run(f"s{number}", at=number)

    async def scenario(address: str) -> set[bytes]:
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as client:
            asked = [client.get(f"{OBSERVABILITY}/sessions/?limit=50") for _ in range(100)]
            answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}
        return {answer.content for answer in answers}

    with serving(db_path) as client:
        assert len(asyncio.run(scenario(str(client.base_url)))) == 1
