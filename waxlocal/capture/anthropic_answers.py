"""What Anthropic answers and OpenTelemetry's instrumentation loses.

In the usage, what the bill has: how long the cache keeps what was written to it, which has a price
for each time, and searches in the web. All ways of the instrumentation to an answer (plain,
streamed, raw) go through one function, which is told the whole message.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from waxlocal.capture.attribute_map import TOKEN_DETAILS
from waxlocal.capture.captured_span import captured
from waxlocal.capture.streams import replace
from waxlocal.signal_handlers import Suppress
from waxlocal.token_usage import read_usage

__all__ = ["keep_answers"]

_KEPT = {
    name: str(TOKEN_DETAILS[name][0])
    for name in ("cache_write_5m", "cache_write_1h", "web_searches")
}


def keep_answers(package: str) -> None:
    """Have the instrumentation in this package keep all of that, if it is Anthropic's.

    A span that is the program's own stays as it is.
    """
    replace(sys.modules.get(f"{package}.wrappers"), "set_invocation_response_attributes", _keeping)


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
