"""A server that fails as told: what the uploader's promises are tried against.

python -m tests.faults.server [--script NAME|FILE|-] [--seed N] [--bulk] [--latency MS]
                              [--state DIR] [--until-eof]

Prints the port of the API, the port for questions (the paths /_control/..., which the API's port
answers, too) and the port of another origin, one a line, then serves until SIGTERM or, with
--until-eof, until its standard input ends. NAME: one of `tests.faults.scripts.NAMED`; with `-` the
first line of the standard input is the script. DIR: where state and log are written at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import http.client
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.faults.doors import HOST
from tests.faults.nursery import Nursery, serve_forks
from tests.faults.rules import Rule, as_json, from_json
from tests.faults.scripts import NAMED
from tests.faults.serving import CONTROL, Server
from tests.tools.patience import PATIENCE_S

__all__ = ["FaultServer", "fault_server"]


class FaultServer:
    """A running server: where it is, what it has stored, what it shall do from now on."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port, self._control_port, self._other_port = ports

    @property
    def url(self) -> str:
        """The address of the API, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def elsewhere(self) -> str:
        """The address of the origin that redirects lead to."""
        return f"http://{HOST}:{self._other_port}"

    def state(self) -> dict[str, Any]:
        """Return everything but bodies; `tests.faults.audit` reads it."""
        found: dict[str, Any] = self._ask("state")
        return found

    def counts(self) -> dict[str, int]:
        """Return arrivals, answered, stored (keys), started and completed (runs), hanging."""
        found: dict[str, int] = self._ask("counts")
        return found

    def runs(self) -> list[dict[str, Any]]:
        """Return the stored runs: run_id, workflow_id, local_id, start, records, completes."""
        found: list[dict[str, Any]] = self._ask("runs")
        return found

    def requests(self) -> list[dict[str, Any]]:
        """Return what was carried out, in that order: path, headers (no API key), body."""
        found: list[dict[str, Any]] = self._ask("requests")
        return found

    def log(self) -> list[dict[str, Any]]:
        """Return all arrivals by the time of their end: method, path, key, fault, status."""
        found: list[dict[str, Any]] = self._ask("log")
        return found

    def wait_for(self, *, timeout: float = PATIENCE_S, **counts: int) -> None:
        """Wait until each of the counts is reached; raises AssertionError after `timeout` s."""
        if not self._ask("wait", counts=counts, timeout=timeout)["reached"]:
            raise AssertionError(f"{counts} not reached in {timeout} s: {self.counts()}")

    def use_script(self, rules: Sequence[Rule]) -> None:
        """Use other rules from now on."""
        self._ask("script", rules=json.loads(as_json(rules)))

    def demand_key(self, key: str | None) -> None:
        """Answer 401 to requests with any other X-Wax-Key; None lets all in."""
        self._ask("key", key=key)

    def release(self) -> None:
        """Let requests that hang go: their connections are closed without an answer."""
        self._ask("release")

    def close_doors(self) -> None:
        """Refuse connections until `open_doors`; those there are go on."""
        self._ask("close")

    def open_doors(self) -> None:
        """Let connections in again."""
        self._ask("open")

    def _ask(self, name: str, **given: Any) -> Any:
        timeout = PATIENCE_S + given.get("timeout", 0)
        connection = http.client.HTTPConnection(HOST, self._control_port, timeout=timeout)
        try:
            connection.request("POST", CONTROL + name, json.dumps(given))
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise AssertionError(f"the server did not understand {name}: {body}")
        return body


@contextmanager
def fault_server(
    script: Sequence[Rule] = (),
    *,
    seed: int = 0,
    bulk: bool = False,
    latency_ms: float = 0,
    state: Path | None = None,
) -> Iterator[FaultServer]:
    """Run a server in a process of its own; it ends with the block, or with this process.

    The script goes through the pipe: a file would be left behind by a test that is killed.
    """
    arguments = ["--until-eof", "--script", "-", "--seed", str(seed), "--latency", str(latency_ms)]
    arguments += ["--bulk"] if bulk else []
    arguments += ["--state", str(state)] if state else []
    process = _nursery().start(arguments)
    try:
        process.stdin.write(as_json(script) + "\n")
        process.stdin.flush()
        yield FaultServer([int(process.stdout.readline()) for _ in range(3)])
    finally:
        process.stdin.close()
        process.stdout.close()
        if status := _nursery().wait(process.pid):
            raise AssertionError(f"the fault server ended with {status}")


@functools.cache
def _nursery() -> Nursery:
    return Nursery("tests.faults.server")


def _rules(name: str) -> Sequence[Rule]:
    if name in NAMED:
        return NAMED[name]
    return from_json(sys.stdin.readline() if name == "-" else Path(name).read_text())


async def _main(options: argparse.Namespace) -> None:
    server = Server(
        _rules(options.script), options.seed, bulk=options.bulk, latency_ms=options.latency
    )
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    if options.until_eof:
        loop.add_reader(sys.stdin.fileno(), end.set)
    await server.open()
    for doors in (server.doors, server.control, server.other):
        print(doors.port, flush=True)
    await end.wait()
    server.end()
    if options.state:
        options.state.mkdir(parents=True, exist_ok=True)
        server.save(options.state)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", default="clean", metavar="NAME|FILE|-")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bulk", action="store_true", help="offer bulk requests")
    parser.add_argument("--latency", type=float, default=0, metavar="MS")
    parser.add_argument("--state", type=Path, metavar="DIR")
    parser.add_argument("--until-eof", action="store_true")
    return parser.parse_args(arguments)


def _run(arguments: Sequence[str]) -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(_options(arguments)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--fork", descriptor]:
            serve_forks(int(descriptor), _run)
        case arguments:
            _run(arguments)
