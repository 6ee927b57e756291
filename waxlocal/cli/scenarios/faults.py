"""What goes wrong: where, with which error, and how the turn ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from waxlocal.errors import PolicyViolationError
from waxlocal.records import RunStatus

__all__ = ["FAULTS", "HOTELS_DOWN", "RATE_LIMITED", "SLOW_DOWN", "Fault", "any_fault", "error_of"]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong in a turn.

    `where`: the `call` of the model, a `tool`, a `sub-agent`, or the turn as a whole (`run`). The
    turn ends with `status`; with `success`, it has an answer in the end. A call is tried
    `attempts` times before it is given up or answered, each `seconds` after the one before.
    """

    where: str
    error_type: str
    message: str
    status: str = RunStatus.ERROR
    attempts: int = 1
    seconds: float = 2.0
    # Which sub-agent or tool; empty for the first one.
    name: str = ""


RATE_LIMITED = Fault(
    "call",
    "RateLimitError",
    "429: rate limit reached: 30,000 tokens per minute; try again in 8 s",
    RunStatus.SUCCESS,
    attempts=2,
    seconds=8.0,
)
SLOW_DOWN = Fault(
    "call",
    "APITimeoutError",
    "the model did not answer within 60 s",
    RunStatus.SUCCESS,
    attempts=2,
    seconds=60.0,
)
HOTELS_DOWN = Fault(
    "sub-agent",
    "ToolTimeout",
    "search_hotels: no answer within 30 s",
    RunStatus.SUCCESS,
    seconds=30.0,
    name="hotel-finder",
)
# With how often each happens, in relation to the others.
FAULTS: Mapping[Fault, int] = {
    RATE_LIMITED: 24,
    SLOW_DOWN: 6,
    HOTELS_DOWN: 6,
    Fault("call", "RateLimitError", "429: you exceeded your current quota", attempts=3): 6,
    Fault("call", "APITimeoutError", "the model did not answer within 60 s", seconds=60.0): 6,
    Fault("call", "APIConnectionError", "connection reset by peer", RunStatus.SUCCESS, 2, 1.0): 6,
    Fault(
        "call",
        "ContextLengthExceeded",
        "the maximum context length is 128,000 tokens, but the messages have 131,204",
        seconds=0.4,
    ): 4,
    Fault("tool", "ToolError", "503 Service Unavailable: warehouse", RunStatus.SUCCESS): 14,
    Fault("tool", "PermissionError", "the service account may not read this table"): 5,
    Fault("tool", "ToolTimeout", "no answer within 10 s", seconds=10.0): 8,
    Fault("sub-agent", "ValidationError", "1 validation error: price: not a number"): 5,
    Fault("run", "ValidationError", "2 validation errors for Answer: sources: field required"): 6,
    Fault("run", "CancelledError", "", RunStatus.CANCELLED): 9,
    Fault("run", "PolicyViolationError", "this needs an approval", RunStatus.BLOCKED): 4,
    Fault("run", "", "", RunStatus.INTERRUPTED): 3,
}


def any_fault(random: Random) -> Fault:
    """Return one of them, the frequent ones more often."""
    return random.choices(list(FAULTS), list(FAULTS.values()))[0]


def error_of(fault: Fault) -> BaseException:
    """Return what the program raises: an exception of that name."""
    if fault.status == RunStatus.BLOCKED:
        return PolicyViolationError(fault.message)
    return _kind(fault.error_type)(fault.message)


@lru_cache(maxsize=32)
def _kind(name: str) -> type[BaseException]:
    base = BaseException if name == "CancelledError" else Exception
    return type(name, (base,), {"__module__": "agents.errors"})
