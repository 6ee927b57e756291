"""What Anthropic's usage tells and OpenTelemetry's instrumentation leaves out, but the bill has.

How long the cache keeps what was written to it, which has a price for each time, and searches in
the web. All ways of the instrumentation to an answer (plain, streamed, raw) go through one
function, which is told the whole message.
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

__all__ = ["keep_finer_counts"]

_READS = "set_invocation_response_attributes"
_KEPT = {
    name: str(TOKEN_DETAILS[name][0])
    for name in ("cache_write_5m", "cache_write_1h", "web_searches")
}


def keep_finer_counts(package: str) -> None:
    """Have the instrumentation in this package keep those counts, if it is Anthropic's.

    A span that is the program's own stays as it is.
    """
    module: Any = sys.modules.get(f"{package}.wrappers")
    read = getattr(module, _READS, None)
    if read is not None and not hasattr(read, "__wrapped__"):  # it was not switched on before
        setattr(module, _READS, _keeping(read))


def _keeping(read: Callable[..., None]) -> Callable[..., None]:
    @wraps(read)
    def call(invocation: Any, message: Any, *args: Any, **more: Any) -> None:
        with Suppress(Exception):
            if (span := captured(invocation.span)) is not None:
                counts = read_usage(message.usage).details or {}
                names = counts.keys() & _KEPT.keys()
                span.set_attributes({_KEPT[name]: counts[name] for name in names})
        read(invocation, message, *args, **more)

    return call
