"""The upload, beside the original SDK that writes straight to the same server.

python -m benchmarks.sync [--python PATH] [--dir DIR] [--quick]

PATH is a Python that has `waxell-observe` 0.1.10; without it the one that runs this is tried.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fill import copy_file, filled
from benchmarks.measure import Samples
from benchmarks.nullserver import COUNTS_PATH
from benchmarks.original import VERSION, Original, version_of
from benchmarks.report import arguments, directory, figure, note, number, progress, table, title
from benchmarks.sdk import Sdk
from benchmarks.workload import AGENT, MODEL, turns
from waxlocal import WaxellContext
from waxlocal.wire.paths import stage_path

ROOT = Path(__file__).parents[1]
RUNS = 10_000
SLOW_RUNS = 1_500
ORIGINAL_RUNS = 300
ROUNDS = 3
RECORDED = 3_000
BACKLOG = 100_000
LATENCY_MS = 50
# What a run of this workload takes: start, call, step, spans, score, end.
STAGES = ("llm-calls", "steps", "spans", "scores", "complete")


@contextmanager
def receiver(*options: str) -> Iterator[int]:
    """Run the receiving server in its own process; give its port."""
    command = [sys.executable, "-m", "benchmarks.receiver", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def record(path: Path, count: int) -> None:
    """Record runs with one LLM call, one step and one score each."""
    with closing(Sdk(path)) as sdk, sdk.current():
        for turn in turns(count):
            _record(turn)


def _record(turn: Any) -> None:
    with WaxellContext(
        AGENT,
        session_id=turn.session_id,
        user_id=turn.user_id,
        inputs=turn.inputs,
        metadata=turn.metadata,
    ) as run:
        run.record_llm_call(
            model=MODEL, tokens_in=turn.tokens_in, tokens_out=turn.tokens_out, task="chat_response"
        )
        run.record_step("plan", output={"found": 3})
        run.record_score("quality", 0.9)
        run.set_result(turn.result)


def start_upload(path: Path, port: int, way: str, seconds: float) -> subprocess.Popen[str]:
    """Start an upload in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sync_child", str(path)]
    command += [f"http://127.0.0.1:{port}", way, str(seconds)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}", "PATH": ""}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def upload(path: Path, port: int, way: str, seconds: float = 0.0) -> dict[str, float]:
    """Upload and return what the process reports."""
    process = start_upload(path, port, way, seconds)
    said, _ = process.communicate()
    report: dict[str, float] = json.loads(said)
    return report


def arrived(port: int) -> int:
    """Return how many runs the server has."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", COUNTS_PATH)
    counts: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return counts["runs"]


def floor(port: int, count: int) -> float:
    """Return the runs per second that http.client reaches, one request after another."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = json.dumps({"calls": [turns(1)[0]._asdict()]})
    began = time.perf_counter()
    for number_ in range(count):
        for stage in ("start", *STAGES):
            path = stage_path(stage, str(number_))
            connection.request("POST", path, body, {"content-type": "application/json"})
            connection.getresponse().read()
    took = time.perf_counter() - began
    connection.close()
    return count / took


def _drained(place: Path, count: int, rounds: int, python: str) -> None:
    """Measure how fast a backlog goes, in turn with the original SDK."""
    source = place / "source.db"
    progress(f"recording {count} runs")
    record(source, count)
    rates: dict[str, list[float]] = {}
    memory = 0.0
    with ExitStack() as open_:
        port = open_.enter_context(receiver())
        original = open_.enter_context(closing(Original(python, port, place)))
        block = turns(ORIGINAL_RUNS if count == RUNS else ORIGINAL_RUNS // 10)
        for index in range(rounds):
            progress(f"round {index + 1} of {rounds}")
            taken = original.record(block, enforce_policy=True, with_step_and_score=True)
            rates.setdefault("original", []).append(len(taken) / (sum(taken) / 1e9))
            rates.setdefault("floor", []).append(floor(port, len(block)))
            for way, options in (("single", ()), ("bulk", ("--bulk",))):
                copied = place / f"{way}.db"
                copy_file(source, copied)
                with receiver(*options) as to:
                    done = upload(copied, to, way)
                    if arrived(to) != count:
                        note(f"NOT VALID: {arrived(to)} of {count} runs arrived.")
                memory = max(memory, done["rss_mb"])
                rates.setdefault(way, []).append(done["runs"] / done["seconds"])
                copied.unlink()
    _print_rates(rates)
    figure(f"memory of the upload, backlog of {count:,} runs", memory, 60, " MB")


def _print_rates(rates: dict[str, list[float]]) -> None:
    middle = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    names = {
        "original": f"waxell-observe {VERSION}, straight to the server",
        "floor": "floor: six POSTs a run by http.client, one thread",
        "single": "upload, the same requests",
        "bulk": "upload, bulk",
    }
    rows = [
        [names[name], rate, min(rates[name]), max(rates[name]), rate / middle["original"]]
        for name, rate in middle.items()
    ]
    table(("runs per second", "median", "least", "most", "x of the original"), rows)
    print()
    for way, bound in (("single", 5.0), ("bulk", 40.0)):
        ratios = [ours / theirs for ours, theirs in zip(rates[way], rates["original"], strict=True)]
        ratio = sorted(ratios)[len(ratios) // 2]
        figure(f"{way}: against the original SDK", ratio, bound, " x", at_least=True)


def _slow(place: Path, count: int) -> None:
    source = place / "slow.db"
    record(source, count)
    with receiver("--latency-ms", str(LATENCY_MS)) as port:
        done = upload(source, port, "single")
    rate = done["runs"] / done["seconds"]
    figure(f"single, {LATENCY_MS} ms latency", rate, 350, " runs/s", at_least=True)


def _beside(place: Path, count: int) -> None:
    """Measure what a recorder notices of the upload of its own file."""
    path = place / "beside.db"
    record(path, count * 4)
    taken = {name: Samples() for name in ("alone", "while it drains")}
    with receiver() as port, closing(Sdk(path)) as sdk, sdk.current():
        for name in ("alone", "while it drains", "alone", "while it drains"):
            process = start_upload(path, port, "single", 0.0) if name != "alone" else None
            time.sleep(1.0)  # the other process imports, and gets to work
            taken[name].time(_record, turns(count // 2))
            if process is not None:
                process.kill()
                process.communicate()
    header = ("one run, recorded", "p50 µs", "p99 µs")
    table(header, [[name, one.us(0.5), one.us(0.99)] for name, one in taken.items()])
    print()
    ratio = taken["while it drains"].us(0.5) / taken["alone"].us(0.5)
    figure("p50 of a recorder while its file is uploaded", ratio, 1.3, " x")


def _backlog(place: Path, shared: Path, count: int) -> None:
    path = place / "backlog.db"
    copy_file(filled(shared, count), path)
    with receiver() as single, receiver("--bulk") as bulk:
        for way, port in (("single", single), ("bulk", bulk)):
            done = upload(path, port, way, 8.0)
            what = f"memory, {way}, {number(count)} pending, {done['runs']:,} of them uploaded"
            figure(what, done["rss_mb"], 60, " MB")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--python", default=sys.executable, help="a Python with waxell-observe")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    title(f"Delivery, server on loopback ({RUNS // part:,} runs: 1 LLM call, 1 step, 1 score)")
    with directory(options.dir) as place:
        if version_of(options.python) == VERSION:
            _drained(place, RUNS // part, 1 if options.quick else ROUNDS, options.python)
        else:
            note(f"Left out: it takes a Python with `waxell-observe` {VERSION}.")
        _slow(place, SLOW_RUNS // part)
        _beside(place, RECORDED // part)
        _backlog(place, options.dir or place, BACKLOG // part)


if __name__ == "__main__":
    main()
