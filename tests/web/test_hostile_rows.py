"""Figures beyond all sense, which another program wrote into the file: everything still answers."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import httpx
import pytest

from tests.tools.builders import Builder
from tests.tools.cli import invoke, recorded
from tests.tools.patience import PATIENCE_S
from tests.tools.web import serving
from waxlocal.queries import ORDERINGS
from waxlocal.web.api.openapi import openapi_document

LARGEST = 2**63 - 1
INFINITE = math.inf
SESSIONS = ("sess_a", "sess_b")
# Of the parameters that a path needs.
NEEDED = {"session_id": SESSIONS[0], "q": "turns:>0 cost:>=0"}


class Hostile(NamedTuple):
    """What the calls and runs of a file say; each value goes round."""

    tokens: tuple[int, ...] = (100,)
    seconds: tuple[float, ...] = (1.5,)
    milliseconds: tuple[float, ...] = (800,)
    cost: tuple[float, ...] = (0.01,)
    position: int = 1_000


FILES = {
    "tokens": Hostile(tokens=(LARGEST,)),
    "tokens below zero": Hostile(tokens=(-LARGEST, LARGEST, -1)),
    "durations": Hostile(seconds=(1.7e308,), milliseconds=(LARGEST,)),
    "infinite durations": Hostile(seconds=(INFINITE,), milliseconds=(LARGEST, -LARGEST)),
    "durations below zero": Hostile(seconds=(-INFINITE, -1.7e308), milliseconds=(-1,)),
    "costs": Hostile(cost=(1e308,)),
    "infinite costs": Hostile(cost=(INFINITE, -INFINITE)),
    "positions": Hostile(position=LARGEST),
    "all": Hostile(
        tokens=(LARGEST, -LARGEST, LARGEST),
        seconds=(1.7e308, -INFINITE, INFINITE, -1.7e308),  # of a session: not to NaN
        milliseconds=(LARGEST, -LARGEST, 800),
        cost=(1e308, INFINITE, -INFINITE, -1e308, 0.01),
        position=LARGEST,
    ),
}


class Asked(NamedTuple):
    """A served file, and the ids of its runs."""

    path: Path
    client: httpx.Client
    runs: list[str]


@pytest.fixture(scope="module", params=FILES)
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    """Serve a file of sound rows that another program has changed."""
    path = tmp_path_factory.mktemp("hostile") / "waxlocal.db"
    with recorded(path) as builder:
        runs = [_run(builder, number) for number in range(10)]
    with closing(sqlite3.connect(path)) as other:
        for number, run in enumerate(runs):
            _spoil(other, number, run, FILES[request.param])
        other.commit()
    with serving(path) as client:
        yield Asked(path, client, runs)


def _run(builder: Builder, number: int) -> str:
    session = SESSIONS[number % 2] if number < 8 else None
    run = builder.run(session, at=100 * number, user=f"user{number % 3}")
    for at in (1, 2):
        builder.llm(run, at=100 * number + at, model=("gpt-4o", "house-model")[at % 2], cost=0.01)
    builder.span(run, at=100 * number + 3, seconds=0.5)
    builder.step(run, "plan", at=100 * number + 4)
    builder.score(run, "good", numeric_value=1.0)
    return run


def _spoil(other: sqlite3.Connection, number: int, run: str, figures: Hostile) -> None:
    tokens, seconds, milliseconds, cost = (
        values[number % len(values)]
        for values in (figures.tokens, figures.seconds, figures.milliseconds, figures.cost)
    )
    named: dict[str, Any] = {
        "run": run, "tokens": tokens, "seconds": seconds, "ms": milliseconds, "cost": cost,
        "position": figures.position,
    }  # fmt: skip
    other.execute("UPDATE runs SET duration = :seconds WHERE run_id = :run", named)
    other.execute(
        """UPDATE llm_calls SET tokens_in = :tokens, tokens_out = :tokens, cached_tokens = :tokens,
        cache_write_tokens = :tokens, reasoning_tokens = :tokens, cost = :cost, duration_ms = :ms,
        ttft_ms = :ms WHERE run_id = :run""",
        named,
    )
    other.execute("UPDATE spans SET duration_ms = :ms WHERE run_id = :run", named)
    other.execute("UPDATE scores SET numeric_value = :cost WHERE run_id = :run", named)
    other.execute("UPDATE steps SET position = :position WHERE run_id = :run", named)


def test_every_route_of_the_api_answers(asked: Asked) -> None:
    """Each GET of the OpenAPI document, by each choice of its parameters; the JSON is valid."""
    for path, operations in openapi_document(with_key=False)["paths"].items():
        if "get" in operations and not path.endswith("/prompts/{name}/"):  # there are none
            for address in _addresses(path, asked.runs):
                for choice in _choices(operations["get"]):
                    _answers(asked.client, address, choice)


def _addresses(path: str, runs: list[str]) -> list[str]:
    """Return a path for each id that can stand in it."""
    if "{" not in path:
        return [path]
    begin, _, rest = path.partition("{")
    name, _, end = rest.partition("}")
    return [f"{begin}{one}{end}" for one in (SESSIONS if name == "session_id" else runs)]


def _choices(operation: dict[str, Any]) -> list[dict[str, str]]:
    parameters = operation.get("parameters", ())
    queries = (one["name"] for one in parameters if one["required"] and one["in"] == "query")
    needed = {name: NEEDED[name] for name in queries}
    found = [needed]
    for parameter in parameters:
        values = parameter.get("schema", {}).get("enum", ())
        found += [{**needed, parameter["name"]: value} for value in values]
    return found


def _answers(client: httpx.Client, address: str, choice: dict[str, str]) -> None:
    until = time.monotonic() + PATIENCE_S
    answer = client.get(address, params=choice, follow_redirects=True)
    while "index is being made" in answer.text and time.monotonic() < until:
        answer = client.get(address, params=choice, follow_redirects=True)
    assert answer.status_code == 200, (address, choice, answer.text[:500])
    if "json" in answer.headers["content-type"]:
        json.loads(answer.text, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def test_every_page_answers(asked: Asked) -> None:
    pages = [
        "/",
        "/search?q=turns:>0",
        "/analytics",
        "/models",
        "/runs",
        "/sync",
        "/users",
        "/users/user0",
        "/errors",
    ]
    pages += [f"/sessions/{one}" for one in SESSIONS] + [f"/runs/{one}" for one in asked.runs]
    pages += [f"/?ordering=-{one}" for one in ORDERINGS]
    for page in pages:
        answer = asked.client.get(page, follow_redirects=True)
        assert answer.status_code == 200, (page, answer.text[:500])
        assert "NaN" not in answer.text, page


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["screen", "json"])
def test_every_reading_command_answers(asked: Asked, form: tuple[str, ...]) -> None:
    """And so does the one that computes costs anew, the last of them."""
    commands: list[tuple[str, ...]] = [("sessions",), ("stats",), ("users",), ("models",)]
    commands += [("prices", "list"), ("sync", "status"), ("sync", "parked")]
    commands += [("session", one) for one in SESSIONS]
    commands += [("show", one) for one in asked.runs]
    for order in ("cost", "duration", "tokens", "turns", "recent"):
        commands += [("sessions", "--order", order)]
    if form:
        commands.append(("sql", "SELECT * FROM run_totals"))
    else:
        commands.append(("show", asked.runs[0], "--explain"))
    for command in (*commands, ("prices", "reprice")):
        done = invoke(*command, *form, db=asked.path)
        assert done.exit_code == 0, (command, done.stderr)
        if form:
            json.loads(done.stdout, parse_constant=_refuse)
