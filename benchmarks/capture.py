"""What capture adds to a call of the real openai client, answered on loopback at once.

python -m benchmarks.capture [--dir DIR] [--quick]

The stand-in for the vendor runs in a process of its own. Call by call the same request is made
without capture, with capture and its row committed, and (if `opentelemetry-sdk` is installed) with
OpenTelemetry's instrumentation and its queue, which a kill empties. Switching is not timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.imports import loaded, starts
from benchmarks.measure import Samples, timed
from benchmarks.messages import HISTORY, Messages, histories
from benchmarks.peers import tracer_provider
from benchmarks.report import (
    LATENCY,
    arguments,
    directory,
    figure,
    latency_row,
    note,
    number,
    table,
    title,
)
from benchmarks.sdk import Sdk
from benchmarks.workload import AGENT, MODEL
from tests.vendors.clients import openai_client
from tests.vendors.process import vendor_process
from waxlocal import WaxellContext
from waxlocal.capture.engines import instrument, uninstrument

CALLS = 400
WARM_UP = 20
INIT_ROUNDS = 20
BARE = "without capture"
CAPTURED = "captured and committed"
OTEL = "OpenTelemetry's instrumentation, in its queue"
_INIT = "import waxlocal; waxlocal.init()"
INIT = {"import waxlocal": "import waxlocal", "and init()": _INIT}
RUN = "under `waxlocal run`"
UNCHANGED = {"bare Python": "pass", RUN: "pass"}
# What a program finds in its environment under `waxlocal run`.
_ENVIRON = "import json, os; print(json.dumps(dict(os.environ)))"

# What is on for the time of a block.
Switch = Callable[[], AbstractContextManager[None]]


@contextmanager
def _captured() -> Iterator[None]:
    instrument(["openai"])
    try:
        yield
    finally:
        uninstrument()


def _open_telemetry() -> Switch | None:
    """Return what switches OpenTelemetry's own tracing on, None where it is not installed."""
    try:
        from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

        provider = tracer_provider()
    except ImportError:
        note("OpenTelemetry is left out: `opentelemetry-sdk` is not installed.")
        return None

    @contextmanager
    def traced() -> Iterator[None]:
        instrumentor = OpenAIInstrumentor()
        instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
        try:
            yield
        finally:
            instrumentor.uninstrument()

    return traced


def _time(client: Any, switches: dict[str, Switch], sent: Sequence[Messages]) -> dict[str, Samples]:
    taken = {name: Samples() for name in switches}
    order = list(switches)
    for index, messages in enumerate(sent):
        for name in order:
            with switches[name](), WaxellContext(agent_name=AGENT, session_id="sess"):
                before = time.perf_counter_ns()
                client.chat.completions.create(model=MODEL, messages=messages)
                if index >= WARM_UP:
                    taken[name].add(time.perf_counter_ns() - before)
        order.reverse()
    return taken


def _print(taken: dict[str, Samples], bound_ms: float) -> None:
    bare = taken[BARE]
    table(
        ("one call", *LATENCY, "x of bare"),
        [latency_row(name, samples, bare) for name, samples in taken.items()],
    )
    print()
    added = {name: samples.ms(0.5) - bare.ms(0.5) for name, samples in taken.items()}
    figure("capture and commit, added to a call, p50", added[CAPTURED], bound_ms, " ms")
    if OTEL in added:
        note(f"{OTEL}: {number(added[OTEL])} ms more than without.")


def _calls(place: Path, calls: int) -> None:
    switches: dict[str, Switch] = {BARE: nullcontext, CAPTURED: _captured}
    peer = _open_telemetry()
    if peer is not None:
        switches[OTEL] = peer
    short: list[Messages] = [[{"role": "user", "content": "What is it?"}]] * (calls + WARM_UP)
    with (
        vendor_process("--quiet") as vendor,
        openai_client(vendor.url) as client,
        closing(Sdk(place / "capture.db")) as sdk,
        sdk.current(),
    ):
        title(f"One openai call on loopback ({calls} calls each)")
        _print(_time(client, switches, short), 0.8)
        title(f"The same with a history of {HISTORY} messages, 28 of them stored")
        _print(_time(client, switches, histories(calls + WARM_UP)), 1.2)


def _init(rounds: int) -> None:
    title("init() in a program that imports no model library")
    taken = starts(INIT, rounds)
    table(("program", *LATENCY), [latency_row(name, samples) for name, samples in taken.items()])
    print()
    first, second = taken.values()
    figure("init(), added to the start", second.ms(0.5) - first.ms(0.5), 5, " ms")
    of_peer = _count_of(loaded(_INIT), "opentelemetry")
    figure("modules of OpenTelemetry that it loads", of_peer, 0, "")


def _under_run(rounds: int) -> None:
    title("`waxlocal run`: a program that imports no model library")
    command = [sys.executable, "-m", "waxlocal", "run", sys.executable, "-c"]
    done = subprocess.run([*command, _ENVIRON], check=True, capture_output=True, text=True)
    environ = json.loads(done.stdout)
    taken = starts(UNCHANGED, rounds, {RUN: environ})
    table(("program", *LATENCY), [latency_row(name, samples) for name, samples in taken.items()])
    print()
    bare, run = taken.values()
    figure("waxlocal run, added to the start of the program", run.ms(0.5) - bare.ms(0.5), 5, " ms")
    heavy = _count_of(loaded("pass", environ), "opentelemetry", "waxlocal")
    figure("modules of OpenTelemetry and waxlocal that it loads", heavy, 0, "")
    whole = timed([(RUN, partial(subprocess.run, [*command, "pass"]))], rounds)[RUN]
    before_it = whole.ms(0.5) - run.ms(0.5)
    note(f"Before that, the command itself takes {number(before_it)} ms.")


def _count_of(modules: list[str], *packages: str) -> int:
    return sum(name.partition(".")[0] in packages for name in modules)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    share = 10 if options.quick else 1
    with directory(options.dir) as place:
        _calls(place, CALLS // share)
    _init(INIT_ROUNDS // share)
    _under_run(INIT_ROUNDS // share)


if __name__ == "__main__":
    main()
