"""Captures frameworks that trace themselves: what they report goes to us, too.

They ask for a tracer of the program's provider. It is taken as it is and shared: nothing of what
the program sees of its own tracing changes, and without any it still sees none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from opentelemetry import trace

from waxlocal.capture.provider import provider
from waxlocal.capture.shared_tracer import SharedTracer

__all__ = ["share_agent_framework", "share_strands"]

# The scopes under which they report to the program's provider.
STRANDS, AGENT_FRAMEWORK = "strands.telemetry.tracer", "agent_framework"


def share_strands() -> Callable[[], object]:
    """Capture what strands-agents reports from now on; return what ends that."""
    module: Any = import_module("strands.telemetry.tracer")
    original: Any = module.Tracer.__init__

    @wraps(original)
    def init(self: Any, *given: Any, **named: Any) -> None:
        original(self, *given, **named)
        self.tracer = _shared(self.tracer, STRANDS)

    module.Tracer.__init__ = init
    # There is one for all agents, and there may be one already.
    if module._tracer_instance is not None:
        module._tracer_instance.tracer = _shared(module._tracer_instance.tracer, STRANDS)

    def switch_off() -> None:
        if module.Tracer.__init__ is init:  # otherwise somebody has wrapped it once more
            module.Tracer.__init__ = original
        if module._tracer_instance is not None:
            module._tracer_instance.tracer = _own(module._tracer_instance.tracer)

    return switch_off


def share_agent_framework() -> Callable[[], object]:
    """Capture what agent-framework reports from now on; return what ends that.

    It leaves out what was said, unless the program asks for it. Where nobody but us is told, we
    ask for it.
    """
    module: Any = import_module("agent_framework.observability")
    original: Any = module.get_tracer
    kind: Any = module.ObservabilitySettings
    sensitive: Any = kind.SENSITIVE_DATA_ENABLED

    @wraps(original)
    def get_tracer(*given: Any, **named: Any) -> trace.Tracer:
        return _shared(original(*given, **named), AGENT_FRAMEWORK)

    def is_enabled(settings: Any) -> bool:
        return bool(sensitive.fget(settings)) or _is_untraced()

    module.get_tracer = get_tracer
    kind.SENSITIVE_DATA_ENABLED = ours = property(is_enabled)

    def switch_off() -> None:
        if module.get_tracer is get_tracer:
            module.get_tracer = original
        if kind.SENSITIVE_DATA_ENABLED is ours:
            kind.SENSITIVE_DATA_ENABLED = sensitive

    return switch_off


def _is_untraced() -> bool:
    """Return whether the program has set no tracer provider of its own."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _shared(tracer: trace.Tracer, scope: str) -> trace.Tracer:
    if isinstance(tracer, SharedTracer):
        return tracer
    return SharedTracer(tracer, provider().get_tracer(scope))


def _own(tracer: trace.Tracer) -> trace.Tracer:
    return tracer.own if isinstance(tracer, SharedTracer) else tracer
