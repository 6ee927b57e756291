"""The write-ahead log under writers that record flat out: its size, the slowest call, the speed.

python -m benchmarks.writers [--dir DIR] [--processes 8] [--seconds 60] [--slow-fsync MS]
    [--before CHECKOUT] [--quick]

`--before` measures another checkout of waxlocal in the same way, for comparison. `--slow-fsync`
lets each sync take longer, by a small library that is compiled for it: it needs `cc`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from benchmarks.report import arguments, directory, figure, number, progress, table, title

ROOT = Path(__file__).parents[1]
MIB = 1024 * 1024
# Only names that every version of waxlocal has.
WORKER = """
import json, os, sys, time
from waxlocal import WaxellContext
name, seconds = sys.argv[1], float(sys.argv[2])
text, clock = "words " * 25, time.perf_counter
with WaxellContext("warm"):
    pass
print("ready", flush=True)
sys.stdin.readline()
runs, slowest, end = 0, 0.0, clock() + seconds
while (began := clock()) < end:
    runs += 1
    with WaxellContext(name, session_id=f"{name}-{runs // 10}", inputs={"message": text}) as run:
        started = clock()
        run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.1)
        called = clock()
        run.set_result({"response": text})
    slowest = max(slowest, started - began, called - started, clock() - called)
print(json.dumps({"runs": runs, "slowest": slowest}), flush=True)
"""
SLOW = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int later(const char *name, int file) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  usleep(MICROSECONDS);
  return real(file);
}
int fsync(int file) { return later("fsync", file); }
int fdatasync(int file) { return later("fdatasync", file); }
"""


def _slow_syncs(place: Path, milliseconds: int) -> dict[str, str]:
    """Return the environment in which each sync takes so much longer; empty for 0."""
    if not milliseconds:
        return {}
    source, library = place / "slow.c", place / "slow.so"
    source.write_text(SLOW.replace("MICROSECONDS", str(milliseconds * 1_000)))
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library)}


def _largest_log(log: Path, seconds: float) -> int:
    """Watch the log until the workers are done; return its largest size."""
    largest, deadline = 0, time.monotonic() + seconds + 0.1
    while time.monotonic() < deadline:
        with suppress(OSError):
            largest = max(largest, log.stat().st_size)
        time.sleep(0.003)
    return largest


def measure(
    path: Path, package: Path, *, count: int, seconds: float, env: dict[str, str]
) -> dict[str, Any]:
    """Let `count` processes record flat out with the waxlocal of a checkout."""
    python_path = os.pathsep.join((str(package), str(package / "daemon")))
    environment = {**os.environ, **env, "PYTHONPATH": python_path, "WAXLOCAL_DB": str(path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, f"w{index}", str(seconds)],
            env=environment,
            cwd=path.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    for process in processes:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("a worker did not start")
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("\n")
            process.stdin.flush()
    largest = _largest_log(path.with_name(path.name + "-wal"), seconds)
    said = [json.loads(process.communicate()[0]) for process in processes]
    runs = sum(one["runs"] for one in said)
    with closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute(
            "SELECT count(*) FROM runs WHERE status = 'success' AND agent_name <> 'warm'"
        ).fetchone()
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
    return {
        "speed": runs / seconds,
        "slowest": max(one["slowest"] for one in said) * 1e3,
        "log": largest / MIB,
        "lost": runs - stored,
        "sound": sound,
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--slow-fsync", type=int, default=0, metavar="MS")
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    options = parser.parse_args()
    seconds = options.seconds / (10 if options.quick else 1)
    syncs = f", each sync {options.slow_fsync} ms longer" if options.slow_fsync else ""
    title(f"{options.processes} processes flat out into one file, {number(seconds)} s{syncs}")
    packages = {"waxlocal": ROOT}
    if options.before is not None:
        packages = {"before": options.before.resolve(), **packages}
    found = {}
    for name, package in packages.items():
        progress(name)
        with directory(options.dir) as place:
            env = _slow_syncs(place, options.slow_fsync)
            found[name] = measure(
                place / "shared.db", package, count=options.processes, seconds=seconds, env=env
            )
    header = ("", "runs/s", "slowest call ms", "longest log MB", "lost", "integrity")
    keys = ("speed", "slowest", "log", "lost", "sound")
    table(header, [[name, *(one[key] for key in keys)] for name, one in found.items()])
    print()
    ours = found["waxlocal"]
    figure("longest log", ours["log"], 64, " MB")
    figure("slowest call", ours["slowest"], 300, " ms")
    figure("runs lost", ours["lost"], 0, "")
    if "before" in found:
        figure("speed", ours["speed"] / found["before"]["speed"], 0.9, " x before", at_least=True)


if __name__ == "__main__":
    main()
