"""Records turns with the original SDK, in a Python that has it; `benchmarks.original` starts this.

Reads one line of JSON for each block of turns from stdin, writes one with nanoseconds per turn to
stdout. It imports nothing of ours, as its Python need not have it.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any

# The folder of this file, where modules of ours could hide others of the same name.
del sys.path[0]

# By name: type checkers are not to ask for an optional package.
WaxellContext: Any = import_module("waxell_observe").WaxellContext


def record(turn: dict[str, Any], enforce_policy: bool) -> None:
    with WaxellContext(
        agent_name=turn["agent_name"],
        session_id=turn["session_id"],
        user_id=turn["user_id"],
        inputs=turn["inputs"],
        metadata=turn["metadata"],
        enforce_policy=enforce_policy,
    ) as context:
        context.record_llm_call(
            model=turn["model"],
            tokens_in=turn["tokens_in"],
            tokens_out=turn["tokens_out"],
            task="chat_response",
        )
        if turn.get("with_step_and_score"):
            context.record_step("plan", output={"found": 3})
            context.record_score("quality", 0.9)
        context.set_result(turn["result"])


def main() -> None:
    for line in sys.stdin:
        block = json.loads(line)
        taken: list[int] = []
        for turn in block["turns"]:
            before = time.perf_counter_ns()
            record(turn, block["enforce_policy"])
            taken.append(time.perf_counter_ns() - before)
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
