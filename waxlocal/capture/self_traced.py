"""Captures frameworks that trace themselves: what they report goes to us, too.

They ask for a tracer of the program's provider. It is taken as it is and shared: nothing of what
the program sees of its own tracing changes, and without any it still sees none. `scope` is the name
under which a framework reports.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from opentelemetry import trace

from waxlocal.capture.provider import provider
from waxlocal.capture.shared_tracer import SharedTracer

__all__ = ["share_agent_framework", "share_google_adk", "share_strands"]


def share_strands(scope: str) -> Callable[[], object]:
    """Capture what strands-agents reports from now on; return what ends that."""
    module: Any = import_module("strands.telemetry.tracer")
    original: Any = module.Tracer.__init__

    @wraps(original)
    def init(self: Any, *given: Any, **named: Any) -> None:
        original(self, *given, **named)
        self.tracer = _shared(self.tracer, scope)

    module.Tracer.__init__ = init
    # There is one for all agents, and there may be one already.
    if module._tracer_instance is not None:
        module._tracer_instance.tracer = _shared(module._tracer_instance.tracer, scope)

    def switch_off() -> None:
        if module.Tracer.__init__ is init:  # otherwise somebody has wrapped it once more
            module.Tracer.__init__ = original
        if module._tracer_instance is not None:
            module._tracer_instance.tracer = _own(module._tracer_instance.tracer)

    return switch_off


def share_agent_framework(scope: str) -> Callable[[], object]:
    """Capture what agent-framework reports from now on; return what ends that.

    It leaves out what was said, unless the program asks for it. Where nobody but us is told, we
    ask for it.
    """
    module: Any = import_module("agent_framework.observability")
    original: Any = module.get_tracer

    @wraps(original)
    def get_tracer(*given: Any, **named: Any) -> trace.Tracer:
        return _shared(original(*given, **named), scope)

    module.get_tracer = get_tracer
    leave_content = _ask_for_content(module.ObservabilitySettings, "SENSITIVE_DATA_ENABLED")

    def switch_off() -> None:
        if module.get_tracer is get_tracer:
            module.get_tracer = original
        leave_content()

    return switch_off


def share_google_adk(scope: str) -> Callable[[], object]:
    """Capture what Google's Agent Development Kit reports from now on; return what ends that.

    Of what was said, it is as with agent-framework.
    """
    own = import_module("google.adk.telemetry.tracing").tracer
    ours = _shared(own, scope)
    _replace_tracer(own, ours)
    # Before it had these settings, it told all unless it was asked not to.
    context: Any = sys.modules.get("google.adk.telemetry.context")
    settings: Any = getattr(context, "TelemetryConfig", None)
    leave_content = _ask_for_content(settings, "should_add_content_to_experimental_spans")

    def switch_off() -> None:
        _replace_tracer(ours, own)
        leave_content()

    return switch_off


def _replace_tracer(known: object, other: object) -> None:
    """Put another tracer in the place of one, in each module of the kit that has it by now."""
    for name, module in list(sys.modules.items()):
        if name.startswith("google.adk.") and getattr(module, "tracer", None) is known:
            module.tracer = other  # type: ignore[attr-defined]


def _ask_for_content(settings: Any, name: str) -> Callable[[], None]:
    """Have a property say that content is wanted where only we are told; return what ends that."""
    known: Any = getattr(settings, name, None)
    if known is None:
        return lambda: None
    asked = property(lambda given: bool(known.fget(given)) or _is_untraced())
    setattr(settings, name, asked)

    def leave() -> None:
        if getattr(settings, name) is asked:  # otherwise somebody has replaced it once more
            setattr(settings, name, known)

    return leave


def _is_untraced() -> bool:
    """Return whether the program has set no tracer provider of its own."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _shared(tracer: trace.Tracer, scope: str) -> trace.Tracer:
    if isinstance(tracer, SharedTracer):
        return tracer
    return SharedTracer(tracer, provider().get_tracer(scope))


def _own(tracer: trace.Tracer) -> trace.Tracer:
    return tracer.own if isinstance(tracer, SharedTracer) else tracer
