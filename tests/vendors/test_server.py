"""The stand-in as a server: what it remembers, many requests at once, by hand."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import httpx
import pytest

from tests.tools.patience import PATIENCE_S
from tests.vendors.process import ROOT, vendor_process
from tests.vendors.server import VendorServer, vendor_server

CHAT = "/v1/chat/completions"


def test_each_request_is_remembered_as_it_came(vendors: VendorServer, http: httpx.Client) -> None:
    """Path, query, headers and body, in order."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hé"}], "unknown": [1, None]}
    http.post(f"{CHAT}?api-version=1", json=body, headers={"Authorization": "Bearer k"})
    http.get("/v1/models")
    first, second = vendors.requests
    assert (first.method, first.path, first.query) == ("POST", CHAT, "api-version=1")
    assert first.headers["authorization"] == "Bearer k"
    assert (first.body, second.body) == (body, None)
    assert vendors.bodies == [body, None]


@pytest.mark.parametrize(
    ("path", "headers", "where"),
    [
        ("/v1/unknown", {}, ("error", "code")),
        ("/v1/unknown", {"anthropic-version": "1"}, ("error", "type")),
        ("/v1beta/unknown", {"x-goog-api-key": "k"}, ("error", "status")),
        ("/model/m/unknown", {}, ("message",)),
    ],
)
def test_a_path_that_leads_nowhere_is_answered_404(
    http: httpx.Client, path: str, headers: dict[str, str], where: tuple[str, ...]
) -> None:
    """In the words of the vendor whose client asks."""
    answer = http.post(path, json={}, headers=headers)
    assert answer.status_code == 404
    found = answer.json()
    for name in where:
        found = found[name]
    assert found


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_refused(http: httpx.Client, content: bytes) -> None:
    """And the connection goes on."""
    assert http.post(CHAT, content=content).status_code == 400
    assert http.get("/v1/models").status_code == 200


def test_many_requests_at_once_are_told_apart(vendors: VendorServer) -> None:
    """Each gets its own answer, and each answer has an id of its own."""

    async def ask(client: httpx.AsyncClient, number: int) -> tuple[str, str]:
        messages = [{"role": "user", "content": f"number {number}"}]
        answer = (await client.post(CHAT, json={"model": "m", "messages": messages})).json()
        return answer["choices"][0]["message"]["content"], answer["id"]

    async def ask_all() -> list[tuple[str, str]]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(
            base_url=vendors.url, limits=limits, timeout=PATIENCE_S, trust_env=False
        ) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(100)))

    answers = asyncio.run(ask_all())
    assert [text for text, _ in answers] == [f"You said: number {n}" for n in range(100)]
    assert len({answer_id for _, answer_id in answers}) == 100


def test_a_stand_in_ends_while_answers_hang() -> None:
    """Nobody has to release them."""
    with socket.socket() as client, vendor_server() as vendors:
        client.connect(("127.0.0.1", vendors.port))
        body = b'{"model": "hang-0", "messages": [{"role": "user", "content": "x"}]}'
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        vendors.wait_for(hanging=1)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{vendors.url}/v1/models", trust_env=False)


def test_what_goes_wrong_in_the_stand_in_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for an answer that a test has asked for."""
    monkeypatch.setattr("tests.vendors.server.say", lambda *_: 1 / 0)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        _ask_once()


def _ask_once() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    with vendor_server() as vendors, pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{vendors.url}{CHAT}", json=body, trust_env=False)


def test_by_hand_it_says_how_to_reach_it() -> None:
    """It prints its address and each request, and ends with Ctrl-C."""
    body = {"model": "m", "input": "x"}
    with vendor_process("--log") as vendors:
        url = f"{vendors.url}/v1/embeddings"
        answer = httpx.post(url, json=body, timeout=PATIENCE_S, trust_env=False)
        assert answer.json()["usage"]["prompt_tokens"] == 1
        requests = (line.rstrip() for line in vendors.lines if line.startswith("POST"))
        assert next(requests) == 'POST /v1/embeddings {"model": "m", "input": "x"}'


def test_by_hand_it_can_be_quiet() -> None:
    """Then nobody has to take its lines."""
    with vendor_process("--quiet") as vendors:
        assert httpx.get(f"{vendors.url}/v1/models", trust_env=False).status_code == 200


def test_a_port_that_is_taken_is_said_in_a_line(vendors: VendorServer) -> None:
    """By hand; the exit code is 1."""
    command = [sys.executable, "-m", "tests.vendors", "--port", str(vendors.port)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: port {vendors.port} cannot be had")
