"""Times calls of the openai client, bare or captured by the original SDK.

`benchmarks.capture_original` starts it. It reads one line of JSON for each call from stdin, the
messages to send, and writes a line with the nanoseconds that the call took. It imports nothing of
ours, as its Python need not have it.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

# The folder of this file, where modules of ours could hide others of the same name.
del sys.path[0]


def main() -> None:
    url, model, captured = sys.argv[1], sys.argv[2], len(sys.argv) > 3
    # By name: type checkers are not to ask for optional packages.
    client: Any = import_module("openai").OpenAI(
        base_url=f"{url}/v1", api_key="sk-stand-in", max_retries=0
    )
    if captured:
        waxell: Any = import_module("waxell_observe")
        waxell.init(instrument=["openai"], instrument_infra=False)
    for line in sys.stdin:
        messages = json.loads(line)
        run: AbstractContextManager[Any] = nullcontext()
        if captured:
            run = waxell.WaxellContext(agent_name="guide", session_id="sess")
        with run:
            before = time.perf_counter_ns()
            client.chat.completions.create(model=model, messages=messages)
            taken = time.perf_counter_ns() - before
        print(taken, flush=True)


if __name__ == "__main__":
    main()
