"""The published SDK against a server on loopback that answers at once, beside waxlocal.

python -m benchmarks.original [--python PATH] [--dir DIR] [--quick]

PATH is a Python that has `waxell-observe` 0.1.10; without it the one that runs this is tried.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.measure import BLOCK, WARM_UP, Samples, Variant, alternated
from benchmarks.nullserver import COUNTS_PATH
from benchmarks.report import (
    LATENCY,
    arguments,
    directory,
    figure,
    latency_row,
    note,
    number,
    progress,
    table,
    title,
)
from benchmarks.sdk import Sdk
from benchmarks.workload import AGENT, MODEL, Turn, turns
from waxlocal.wire.paths import stage_path

ROUNDS = 10
# Runs of the original in a round; ours are `BLOCK`.
ORIGINAL_BLOCK = 40
VERSION = "0.1.10"
OURS = "waxlocal"
POST = "floor: one POST by http.client, kept alive"
DEFAULTS = f"waxell-observe {VERSION}"
NO_POLICY = "the same, enforce_policy=False"
_ASK_VERSION = "import importlib.metadata as m; print(m.version('waxell-observe'))"


def environment_of(port: int, home: Path) -> dict[str, str]:
    """Return what a program with the original SDK is started with: it sends to this port."""
    return {
        "PATH": os.environ.get("PATH", ""),
        # It keeps a file of its own there.
        "HOME": str(home),
        "WAXELL_API_URL": f"http://127.0.0.1:{port}",
        "WAXELL_API_KEY": "wax_sk_benchmark",
    }


class Original:
    """The original SDK in a process of its own."""

    def __init__(self, python: str, port: int, home: Path) -> None:
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("original_child.py"))],
            env=environment_of(port, home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def record(
        self, block: Sequence[Turn], *, enforce_policy: bool, with_step_and_score: bool = False
    ) -> list[int]:
        """Record a block of turns; return nanoseconds for each."""
        more = {"agent_name": AGENT, "model": MODEL, "with_step_and_score": with_step_and_score}
        given = [{**turn._asdict(), **more} for turn in block]
        request = json.dumps({"turns": given, "enforce_policy": enforce_policy})
        print(request, file=_pipe(self._process.stdin), flush=True)
        answer: list[int] = json.loads(_pipe(self._process.stdout).readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Post:
    """The least that one request over a kept connection costs."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def record(self, turn: Turn) -> None:
        """Send a turn and read the answer."""
        body = json.dumps({"calls": [turn._asdict()]})
        headers = {"content-type": "application/json"}
        self._connection.request("POST", stage_path("floor", "1"), body, headers)
        self._connection.getresponse().read()

    def counts(self) -> dict[str, int]:
        """Return how many requests of each kind the server has answered."""
        self._connection.request("GET", COUNTS_PATH)
        answer: dict[str, int] = json.loads(self._connection.getresponse().read())
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _pipe(pipe: IO[Any] | None) -> IO[Any]:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    return pipe


@contextmanager
def _null_server() -> Iterator[int]:
    """Run the server in its own process; give its port."""
    command = [sys.executable, "-m", "benchmarks.nullserver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(_pipe(process.stdout).readline())
        finally:
            process.terminate()


def version_of(python: str) -> str:
    """Return the version of the original SDK that this Python has, empty when it has none."""
    asked = subprocess.run([python, "-c", _ASK_VERSION], capture_output=True, text=True)
    return asked.stdout.strip()


def _measure(open_: ExitStack, python: str, place: Path, rounds: int) -> None:
    port = open_.enter_context(_null_server())
    original = open_.enter_context(closing(Original(python, port, place)))
    ours = open_.enter_context(closing(Sdk(place / "ours.db")))
    post = open_.enter_context(closing(Post(port)))
    work = turns(WARM_UP + rounds * BLOCK)
    variants = [Variant(OURS, ours.record, work[:WARM_UP], ours.current)]
    alternated(variants)
    original.record(work[:ORIGINAL_BLOCK], enforce_policy=True)
    taken = {name: Samples() for name in (OURS, POST, DEFAULTS, NO_POLICY)}
    before = post.counts()
    for index in range(rounds):
        progress(f"round {index + 1} of {rounds}")
        block = work[WARM_UP + index * BLOCK :][:BLOCK]
        _one_by_one(taken, block, ours, post)
        for name, policy in ((DEFAULTS, True), (NO_POLICY, False)):
            taken[name].values.extend(
                original.record(block[:ORIGINAL_BLOCK], enforce_policy=policy)
            )
    _print(taken, before, post.counts())


def _one_by_one(taken: dict[str, Samples], block: Sequence[Turn], ours: Sdk, post: Post) -> None:
    for name, variant in (
        (OURS, Variant(OURS, ours.record, block, ours.current)),
        (POST, Variant(POST, post.record, block[:ORIGINAL_BLOCK])),
    ):
        with variant.block():
            taken[name].time(variant.record, variant.turns)


def _print(taken: dict[str, Samples], before: dict[str, int], after: dict[str, int]) -> None:
    rows = [latency_row(name, samples, taken[OURS]) for name, samples in taken.items()]
    table(("one run", *LATENCY, "x of waxlocal"), rows)
    runs = len(taken[DEFAULTS]) + len(taken[NO_POLICY])
    sent = {kind: after[kind] - before.get(kind, 0) for kind in after if kind != "floor"}
    arrived = ", ".join(f"{number(count / runs)} {kind}" for kind, count in sorted(sent.items()))
    note(f"Requests of the original SDK for each run, by the server's count: {arrived}.")
    if sent.get("complete") != runs:
        note(f"NOT VALID: the server saw {sent.get('complete')} of {runs} runs complete.")
    ratio = taken[DEFAULTS].us(0.5) / taken[OURS].us(0.5)
    figure("the original SDK's p50 against ours", ratio, 80, " x", at_least=True)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--python", default=sys.executable, help="a Python with waxell-observe")
    options = parser.parse_args()
    rounds = 2 if options.quick else ROUNDS
    title(f"The original SDK, server on loopback ({rounds} rounds, alternated)")
    if (version := version_of(options.python)) != VERSION:
        found = f"it has {version}" if version else "it has none"
        note(f"Left out: it takes a Python with `waxell-observe` {VERSION}; {found}.")
        return
    with directory(options.dir) as place, ExitStack() as open_:
        _measure(open_, options.python, place, rounds)


if __name__ == "__main__":
    main()
