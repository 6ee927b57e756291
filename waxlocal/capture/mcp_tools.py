"""Captures the tools that a program calls by the Model Context Protocol.

The library's own spans, and the instrumentations that there are, say neither what a tool was asked
nor what it answered. So its one method for that is wrapped; on the side of the server nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from opentelemetry import trace

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.captured_span import captured_around
from waxlocal.capture.facts import SpanKind
from waxlocal.capture.provider import provider
from waxlocal.encode import dumps, shown
from waxlocal.signal_handlers import Suppress

__all__ = ["switch_on"]


def switch_on(scope: str) -> Callable[[], object]:
    """Capture what is called from now on; return what ends that.

    Each call is a span of kind `tool` in the run around it, or a run of its own outside any. An
    answer that the server marks as an error has status `error`; the program gets it as it is.
    """
    from mcp.client.session import ClientSession

    tracer = provider().get_tracer(scope)
    original: Any = ClientSession.call_tool

    @wraps(original)
    async def call_tool(session: Any, *given: Any, **named: Any) -> Any:
        name, arguments = _asked(given, named)
        if _is_reported(name):
            return await original(session, *given, **named)
        asked = {"openinference.span.kind": "TOOL", "tool.name": name, "input.value": arguments}
        with tracer.start_as_current_span(name, attributes=asked) as span:
            answer = await original(session, *given, **named)
            _tell(span, answer)
            return answer

    ClientSession.call_tool = call_tool

    def switch_off() -> None:
        if ClientSession.call_tool is call_tool:  # otherwise somebody has wrapped it once more
            ClientSession.call_tool = original

    return switch_off


def _asked(given: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, str]:
    """Return the name of the tool, and its arguments as JSON."""
    name = given[0] if given else named.get("name")
    arguments = given[1] if len(given) > 1 else named.get("arguments")
    return name if isinstance(name, str) else "tool", dumps(shown(arguments or {}))


def _is_reported(name: str) -> bool:
    """Return whether the framework that calls the tool reports the same call."""
    outer = captured_around(trace.get_current_span())
    return (
        outer is not None
        and getattr(outer.place, "kind", None) == SpanKind.TOOL
        and (rows.first_text(outer.attributes, rows.TOOL_NAME) or outer.name) == name
    )


def _tell(span: Any, answer: Any) -> None:
    """Let the span say what came back; raises nothing."""
    with Suppress(Exception):  # an answer of another version of the library
        said = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        span.set_attribute("output.value", dumps(said))
        if said.get("isError"):
            texts = (part.get("text", "") for part in said.get("content", ()))
            span.set_status(trace.StatusCode.ERROR, "\n".join(filter(None, texts)) or None)
