"""What the original SDK's capture adds to a call of the openai client, to set ours beside it.

python -m benchmarks.capture_original [--python PATH] [--dir DIR] [--quick]

PATH is a Python that has `waxell-observe` 0.1.10 and `openai`; without it the one that runs this is
tried. Two processes make the same call in turns, one bare and one captured within a run, which the
stand-in for the vendor answers at once; what the original sends goes to a server that does nothing.
The start and the end of the run are not timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.capture import CALLS, WARM_UP
from benchmarks.measure import Samples
from benchmarks.messages import HISTORY, Messages, histories
from benchmarks.original import VERSION, environment_of, version_of
from benchmarks.report import LATENCY, arguments, directory, latency_row, note, number, table, title
from benchmarks.sync import receiver
from benchmarks.workload import MODEL
from tests.vendors.process import vendor_process

BARE = "without capture"
ORIGINAL = f"captured by waxell-observe {VERSION}"
_CHILD = Path(__file__).with_name("capture_child.py")


class _Client:
    """A process that calls the vendor when it is asked."""

    def __init__(self, python: str, vendor: str, to: int, home: Path, *captured: str) -> None:
        self._process = subprocess.Popen(
            [python, str(_CHILD), vendor, MODEL, *captured],
            env=environment_of(to, home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def call(self, messages: Messages) -> int:
        """Return the nanoseconds that one call took."""
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        print(json.dumps(messages), file=pipe, flush=True)
        return int(answers.readline())

    def close(self) -> None:
        """End the process, which may wait for nobody."""
        self._process.kill()
        self._process.communicate()


def _measure(clients: dict[str, _Client], sent: Sequence[Messages]) -> None:
    taken = {name: Samples() for name in clients}
    order = list(clients)
    for index, messages in enumerate(sent):
        for name in order:
            nanoseconds = clients[name].call(messages)
            if index >= WARM_UP:
                taken[name].add(nanoseconds)
        order.reverse()
    bare = taken[BARE]
    rows = [latency_row(name, samples, bare) for name, samples in taken.items()]
    table(("one call", *LATENCY, "x of bare"), rows)
    print()
    added = taken[ORIGINAL].ms(0.5) - bare.ms(0.5)
    note(f"The original adds {number(added)} ms to a call, p50.")


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--python", default=sys.executable, help="a Python with waxell-observe")
    options = parser.parse_args()
    if version_of(options.python) != VERSION:
        note(f"Left out: {options.python} has no waxell-observe {VERSION}.")
        return
    calls = CALLS // (10 if options.quick else 1) + WARM_UP
    with ExitStack() as open_:
        place = open_.enter_context(directory(options.dir))
        vendor, to = open_.enter_context(vendor_process("--quiet")), open_.enter_context(receiver())
        how = {BARE: (), ORIGINAL: ("captured",)}
        clients = {
            name: open_.enter_context(
                closing(_Client(options.python, vendor.url, to, place, *captured))
            )
            for name, captured in how.items()
        }
        title(f"One openai call on loopback by the original SDK ({calls - WARM_UP} calls each)")
        _measure(clients, [[{"role": "user", "content": "What is it?"}]] * calls)
        title(f"The same with a history of {HISTORY} messages")
        _measure(clients, histories(calls))


if __name__ == "__main__":
    main()
