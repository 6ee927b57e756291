"""The one tracer provider of this process, and the hook that takes the content of calls."""

from __future__ import annotations

import atexit
from typing import Any

from waxlocal.capture.captured_span import captured
from waxlocal.capture.facts import Completion
from waxlocal.capture.left_contexts import say_nothing_of_ours
from waxlocal.capture.span_recorder import SpanRecorder
from waxlocal.capture.tracer import PrivateProvider
from waxlocal.storage.around_forks import in_forked_child

__all__ = ["completion_hook", "provider"]


class _CompletionHook:
    """Keeps the typed content of a call with its span; see opentelemetry.util.genai."""

    def on_completion(
        self,
        *,
        inputs: object = None,
        outputs: object = None,
        system_instruction: object = None,
        tool_definitions: object = None,
        span: object = None,
        **_more: Any,
    ) -> None:
        found = captured(span)
        if found is not None:
            found.completion = Completion(inputs, outputs, system_instruction, tool_definitions)


_recorder = SpanRecorder()
_provider = PrivateProvider(_recorder)
_hook = _CompletionHook()


def provider() -> PrivateProvider:
    """Return the provider whose spans become records."""
    say_nothing_of_ours()
    return _provider


def completion_hook() -> _CompletionHook:
    """Return the hook; what it takes is left out of the row where content is not kept."""
    return _hook


# Runs before that of waxlocal's own recorder, which is registered first.
atexit.register(_recorder.open_calls.end)
in_forked_child(_recorder.open_calls.forget)
