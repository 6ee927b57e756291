"""Conversations with all of their messages: bytes on disk, and what the messages cost a call.

python -m benchmarks.messages [--dir DIR] [--quick]
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.measure import Samples
from benchmarks.report import LATENCY, arguments, directory, figure, latency_row, note, table, title
from benchmarks.sdk import Sdk
from benchmarks.workload import AGENT, MODEL, sentences
from waxlocal import WaxellContext
from waxlocal.encode import dumps
from waxlocal.storage.connection import open_writer

SESSIONS = 10
TURNS = 30
CALLS = 2_000
# The history that a call sends, and how many of its messages no call before has sent.
HISTORY, NEW = 30, 2
# In sentences: with the history of 30 turns a call sends some 20 KB at most.
QUESTION, ANSWER = 2, 4

Messages = list[dict[str, str]]

WITH, WITHOUT = "with its messages", "without"


def conversations(count: int, turns: int) -> Iterator[tuple[str, list[Messages]]]:
    """Give sessions, each with the messages of its calls: the whole history in each call."""
    texts = iter(sentences(count * turns * (QUESTION + ANSWER)))

    def said(role: str, length: int) -> dict[str, str]:
        return {"role": role, "content": " ".join(next(texts) for _ in range(length))}

    for number in range(count):
        history: Messages = [{"role": "system", "content": f"Answer briefly. Session {number}."}]
        calls = []
        for _ in range(turns):
            history.append(said("user", QUESTION))
            calls.append(list(history))
            history.append(said("assistant", ANSWER))
        yield f"sess_{number:04}", calls


def _call(context: WaxellContext, **more: Any) -> None:
    context.record_llm_call(model=MODEL, tokens_in=1_000, tokens_out=100, task="chat", **more)


def _size(place: Path, sessions: int) -> None:
    title(f"{sessions} sessions of {TURNS} turns, each call with its whole history")
    path = place / "messages.db"
    whole = texts = 0
    with closing(_recorder(path)) as sdk, sdk.current():
        for session_id, calls in conversations(sessions, TURNS):
            for messages in calls:
                whole += len(dumps(messages).encode())
                with WaxellContext(
                    agent_name=AGENT, session_id=session_id, inputs={"message": "…"}
                ) as context:
                    _call(context, full_messages=messages)
            texts += len(dumps(messages).encode())
    with closing(open_writer(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size / 1e6
    table(
        ("what", "MB"),
        [
            ("the messages as the calls send them", whole / 1e6),
            ("each message once", texts / 1e6),
            ("the file, with runs, calls and indexes", size),
        ],
    )
    print()
    figure("the file", size, 1.5 * sessions / SESSIONS, " MB")


def _recorder(path: Path) -> Sdk:
    return Sdk(path)


def _time(place: Path, calls: int) -> None:
    title(f"One call with a history of {HISTORY} messages, {HISTORY - NEW} of them stored")
    sent = histories(calls)
    taken = {WITH: Samples(), WITHOUT: Samples()}
    with (
        closing(_recorder(place / "calls.db")) as sdk,
        sdk.current(),
        WaxellContext(agent_name=AGENT, session_id="sess") as context,
    ):
        _call(context, full_messages=sent[0])
        for number, messages in enumerate(sent[1:]):
            for name, more in _in_turn(number, messages):
                before = time.perf_counter_ns()
                _call(context, **more)
                taken[name].add(time.perf_counter_ns() - before)
    floor = taken[WITHOUT]
    table(
        ("one call", *LATENCY, "x of without"),
        [latency_row(name, samples, floor) for name, samples in taken.items()],
    )
    print()
    cost = (taken[WITH].us(0.5) - floor.us(0.5)) / 1_000
    figure("what the messages add to a call, p50", cost, 0.4, " ms")
    note(f"The messages of one call are {len(dumps(sent[-1])):,} bytes of JSON.")


def _in_turn(number: int, messages: Messages) -> Sequence[tuple[str, dict[str, Any]]]:
    pair = [(WITH, {"full_messages": messages}), (WITHOUT, {})]
    return pair if number % 2 else pair[::-1]


def histories(calls: int) -> list[Messages]:
    """Return the messages of calls that each have `NEW` others than the call before."""
    texts = sentences(HISTORY + NEW * calls)
    roles = ("user", "assistant")
    said = [
        {"role": roles[number % 2], "content": f"{number}: {text} {text}"}
        for number, text in enumerate(texts)
    ]
    return [said[NEW * number : NEW * number + HISTORY] for number in range(calls)]


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__).parse_args()
    share = 10 if options.quick else 1
    with directory(options.dir) as place:
        _size(place, SESSIONS if not options.quick else 2)
        _time(place, CALLS // share)


if __name__ == "__main__":
    main()
