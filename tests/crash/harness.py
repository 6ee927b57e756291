"""A process that records flat out until it is killed, and the check of what it left.

The worker writes one short line into a pipe after each call of the SDK has returned. Whatever
stands in the pipe must be in the file.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.crash.files import environment, rows

__all__ = ["Acknowledged", "kill_cycle", "missing", "read_acknowledged", "start_worker", "work"]

# Kind of acknowledgement, and the query that counts, run by run, what it promises.
PROMISES = {
    "run": "SELECT run_id, count(*) FROM runs GROUP BY run_id",
    "call": "SELECT run_id, count(*) FROM llm_calls GROUP BY run_id",
    "step": "SELECT run_id, count(*) FROM steps GROUP BY run_id",
    "span": "SELECT run_id, count(*) FROM spans WHERE kind = 'custom' GROUP BY run_id",
    "tool": "SELECT run_id, count(*) FROM spans WHERE kind = 'tool' GROUP BY run_id",
    "score": "SELECT run_id, count(*) FROM scores GROUP BY run_id",
    "end": "SELECT run_id, count(*) FROM runs WHERE status = 'success' GROUP BY run_id",
}
# Enough for all acknowledgements of a worker, so that it never waits for the reader of its pipe.
PIPE_BYTES = 1024 * 1024
# Acknowledgements after which a worker is killed at the latest: a few dozen runs.
MOST_LINES = 400

Acknowledged = Counter[tuple[str, str]]


def work(pipe: int, seed: str) -> None:
    """Record runs until killed, acknowledging each call that has returned."""
    from waxlocal import WaxellContext

    number = 0
    os.write(pipe, b"ready -\n")
    while True:
        number += 1
        with WaxellContext(
            "agent", session_id=f"s{seed}-{number % 7}", inputs={"n": number}
        ) as run:

            def acknowledge(kind: str, run_id: str = run.run_id) -> None:
                os.write(pipe, f"{kind} {run_id}\n".encode())

            acknowledge("run")
            run.record_llm_call(model="m", tokens_in=3, tokens_out=2, cost=0.5)
            acknowledge("call")
            run.set_tag("n", str(number))
            run.record_step("think", {"n": number})
            acknowledge("step")
            span = run.enter_span("work")
            acknowledge("span")
            run.record_tool_call(name="search", input={"q": "x" * 200}, output={"hits": [number]})
            acknowledge("tool")
            run.exit_span(span)
            run.record_score("quality", 0.5)
            acknowledge("score")
            history = [
                {"role": "system", "content": "s" * 200},
                {"role": "user", "content": number},
            ]
            run.record_llm_call(
                model="m", tokens_in=1, tokens_out=1, cost=0.25, full_messages=history
            )
            acknowledge("call")
        acknowledge("end")


def start_worker(path: Path, seed: int, **env: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a worker; return it and the end of the pipe that its acknowledgements come from."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = subprocess.Popen(
        [sys.executable, __file__, str(writing), str(seed)],
        env=environment(path, **env),
        pass_fds=(writing,),
    )
    os.close(writing)
    return process, reading


def kill_cycle(path: Path, seed: int, **env: str) -> Acknowledged:
    """Let a worker record, kill it in the midst, return what it had acknowledged.

    It is killed after a random number of acknowledgements, which a busy machine does not change,
    and a random moment, which brings the kill between any two of its instructions.
    """
    chance = random.Random(seed)
    process, reading = start_worker(path, seed, **env)
    with os.fdopen(reading, "rb") as acknowledgements:
        acknowledgements.readline()
        told = [acknowledgements.readline() for _ in range(chance.randint(0, MOST_LINES))]
        time.sleep(chance.uniform(0, 0.005))
        process.send_signal(signal.SIGKILL)
        process.wait()
        return _counted(b"".join((*told, acknowledgements.read())))


def read_acknowledged(reading: int) -> Acknowledged:
    """Return what a worker that has ended had acknowledged; closes the pipe."""
    with os.fdopen(reading, "rb") as acknowledgements:
        return _counted(acknowledgements.read().removeprefix(b"ready -\n"))


def _counted(lines: bytes) -> Acknowledged:
    parts = (line.partition(" ") for line in lines.decode().splitlines())
    return Counter((kind, run_id) for kind, _, run_id in parts)


def missing(path: Path, acknowledged: Acknowledged) -> list[tuple[str, str, int, int]]:
    """Return (kind, run, acknowledged, stored) for all that is not in the file as promised."""
    stored = {kind: dict(rows(path, query)) for kind, query in PROMISES.items()}
    return [
        (kind, run_id, promised, stored[kind].get(run_id, 0))
        for (kind, run_id), promised in acknowledged.items()
        if stored[kind].get(run_id, 0) < promised
    ]


if __name__ == "__main__":
    work(int(sys.argv[1]), sys.argv[2])
