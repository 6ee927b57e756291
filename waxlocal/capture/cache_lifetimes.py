"""How long Anthropic's cache keeps what a call has written to it, which has a price for each time.

OpenTelemetry's instrumentation takes the sum alone. All of its ways to an answer (plain, streamed,
raw) go through one function, which is told the whole message.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from waxlocal.capture.attribute_map import TOKEN_DETAILS
from waxlocal.capture.tracer import captured
from waxlocal.signal_handlers import Suppress
from waxlocal.token_usage import read_usage

__all__ = ["keep_cache_lifetimes"]

_READS = "set_invocation_response_attributes"
_LIFETIMES = {name: str(TOKEN_DETAILS[name][0]) for name in ("cache_write_5m", "cache_write_1h")}


def keep_cache_lifetimes(package: str) -> None:
    """Have the instrumentation in this package keep the lifetimes, if it is Anthropic's.

    A span that is the program's own stays as it is.
    """
    module: Any = sys.modules.get(f"{package}.wrappers")
    read = getattr(module, _READS, None)
    if read is not None and not hasattr(read, "__wrapped__"):  # it was not switched on before
        setattr(module, _READS, _keeping(read))


def _keeping(read: Callable[..., None]) -> Callable[..., None]:
    @wraps(read)
    def call(invocation: Any, message: Any, *args: Any) -> None:
        with Suppress(Exception):
            if (span := captured(invocation.span)) is not None:
                counts = read_usage(message.usage).details or {}
                names = counts.keys() & _LIFETIMES.keys()
                span.set_attributes({_LIFETIMES[name]: counts[name] for name in names})
        read(invocation, message, *args)

    return call
