"""What Anthropic answers and OpenTelemetry's instrumentation loses.

In the usage, what the bill has: how long the cache keeps what was written to it, which has a price
for each time, and searches in the web. All ways of the instrumentation to an answer (plain,
streamed, raw) go through one function, which is told the whole message.

And the streams of the whole process, once one had an event that it cannot read: a server that
imitates the API may leave the usage out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from waxlocal.capture.attribute_map import TOKEN_DETAILS
from waxlocal.capture.own_calls import note_unread
from waxlocal.capture.tracer import captured
from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.token_usage import read_usage

__all__ = ["keep_answers"]

_READS = "set_invocation_response_attributes"
_ADD_EVENT = ("accumulate_event", "beta_accumulate_event")
_KEPT = {
    name: str(TOKEN_DETAILS[name][0])
    for name in ("cache_write_5m", "cache_write_1h", "web_searches")
}


def keep_answers(package: str) -> None:
    """Have the instrumentation in this package keep all of that, if it is Anthropic's.

    A span that is the program's own stays as it is.
    """
    module: Any = sys.modules.get(f"{package}.wrappers")
    if hasattr(module, _READS):
        _replace(module, _READS, _keeping)
        for name in _ADD_EVENT:
            _replace(module, name, partial(_adding, scope=module.__name__))


def _replace(module: Any, name: str, by: Callable[[Callable[..., Any]], object]) -> None:
    function = getattr(module, name, None)
    if function is not None and not hasattr(function, "__wrapped__"):  # not switched on before
        setattr(module, name, by(function))


def _adding(add: Callable[..., Any], scope: str) -> Callable[..., Any]:
    """Return a function that adds an event to the message so far, or leaves out what is unreadable.

    Where that raises, the instrumentation adds no event of any stream any more.
    """

    @wraps(add)
    def call(**given: Any) -> Any:
        try:
            return add(**given)
        except Exception as error:
            if raised_by_handler(error):
                raise
            note_unread(error, scope)
            return given.get("current_snapshot")

    return call


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
