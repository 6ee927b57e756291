"""What the stand-in is told to answer: scripted by the test, or chosen by the model's name."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NAMES", "Fault", "Reply", "Script", "ToolCall", "Usage"]


@dataclass(frozen=True)
class ToolCall:
    """A tool that the answer asks for; no id: the stand-in makes one."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens of a call in one form for all vendors; each endpoint writes them as its vendor does.

    `tokens_in` is all input, with what was cached, written to the cache (for an hour or less) and
    heard; `tokens_out` is all output, with reasoning and what was spoken. `web_searches` are what
    the vendor looked up itself.
    """

    tokens_in: int
    tokens_out: int
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    web_searches: int = 0


@dataclass(frozen=True)
class Fault:
    """An error in the vendor's own words; no type or message: what it uses for that status."""

    status: int
    message: str = ""
    type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """One answer; what is left out, the stand-in makes up from the request.

    Counts of chunks are those of the vendor's stream: events of SSE or of AWS.
    """

    # None: the first tool that is offered and not called yet, or an echo of the last user message.
    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    # None: counted by words. `raw_usage` is sent in its place as it is; an empty one, not at all.
    usage: Usage | None = None
    raw_usage: Mapping[str, Any] | None = None
    # None: the model that was asked for.
    model: str | None = None
    response_id: str | None = None
    # "stop", "length", "filter" or "tools" in the vendor's word. None: as the answer is.
    finish: str | None = None
    # Seconds before the answer, and between the chunks of a stream.
    before_s: float = 0.0
    between_s: float = 0.0
    # An error in place of the answer; with `after`, in a stream that has brought so many chunks.
    fault: Fault | None = None
    after: int | None = None
    # So many chunks come, then the connection breaks, or nothing comes until the test releases it.
    # An answer that is not streamed breaks in the middle of its body, or hangs before it.
    breaks_after: int | None = None
    hangs_after: int | None = None
    # Break by RST, in place of an end that comes too early.
    reset: bool = False


NAMES = "fail-429, break-3, hang-2, slow-50 or late-50 (ms), cached-900 or thinks-5 (tokens)"

# Model names that say what happens, for programs which can script nothing else.
_BY_NAME: dict[str, Callable[[int], Reply]] = {
    "fail": lambda status: Reply(fault=Fault(status)),
    "break": lambda chunks: Reply(breaks_after=chunks),
    "hang": lambda chunks: Reply(hangs_after=chunks),
    "slow": lambda ms: Reply(between_s=ms / 1000),
    "late": lambda ms: Reply(before_s=ms / 1000),
    "cached": lambda tokens: Reply(usage=Usage(tokens + 100, 10, cached=tokens)),
    "thinks": lambda words: Reply(reasoning=" ".join(["hm"] * words)),
}
_NAME = re.compile(rf"(?:^|[/.])({'|'.join(_BY_NAME)})-(\d+)")


class Script:
    """Chooses the reply to each request: the queue first, then the model's; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[tuple[str | None, Reply]] = []
        self._by_model: dict[str, Reply] = {}

    def add(self, reply: Reply, model: str | None = None) -> None:
        """Answer the next request so, or the next one for a model."""
        with self._lock:
            self._queue.append((model, reply))

    def set(self, model: str, reply: Reply) -> None:
        """Answer each request for a model so."""
        with self._lock:
            self._by_model[model] = reply

    def left(self) -> int:
        """Return how many queued replies nobody has asked for yet."""
        with self._lock:
            return len(self._queue)

    def choose(self, model: str) -> Reply:
        """Return the reply to a request for a model, and take it off the queue."""
        with self._lock:
            for index, (wanted, reply) in enumerate(self._queue):
                if wanted in (None, model):
                    del self._queue[index]
                    return reply
            if model in self._by_model:
                return self._by_model[model]
        found = _NAME.search(model)
        return _BY_NAME[found[1]](int(found[2])) if found else Reply()
