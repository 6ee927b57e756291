"""OpenTelemetry's in-memory batch queue: what recording costs when nothing is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from benchmarks.workload import AGENT, MODEL, PRICE_IN, PRICE_OUT, Turn

__all__ = ["OpenTelemetry", "open_telemetry", "tracer_provider"]


def open_telemetry() -> OpenTelemetry | None:
    """Return the peer, or None when `opentelemetry-sdk` is not installed."""
    try:
        return OpenTelemetry()
    except ImportError:
        return None


class _Nowhere:
    """An exporter that drops what it is given."""

    def __init__(self, success: object) -> None:
        self._success = success

    def export(self, _spans: Sequence[object]) -> object:
        return self._success

    def shutdown(self) -> None:
        return

    def force_flush(self, _timeout_millis: int = 30_000) -> bool:
        return True


def tracer_provider() -> Any:
    """Return a provider whose spans wait in a queue; its exporter drops them.

    Raises `ImportError` when `opentelemetry-sdk` is not installed.
    """
    # By name: type checkers are not to ask for an optional package.
    trace: Any = import_module("opentelemetry.sdk.trace")
    export: Any = import_module("opentelemetry.sdk.trace.export")
    provider = trace.TracerProvider()
    nowhere = _Nowhere(export.SpanExportResult.SUCCESS)
    provider.add_span_processor(export.BatchSpanProcessor(nowhere))
    return provider


class OpenTelemetry:
    """Two spans for each run, into a batch processor whose exporter does nothing."""

    def __init__(self) -> None:
        self._provider = tracer_provider()
        self._tracer = self._provider.get_tracer("benchmark")
        self._pid = os.getpid()

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Empty the queue after the block: its thread must not run in the blocks of others."""
        yield
        self._provider.force_flush()

    def record(self, turn: Turn) -> None:
        """Make one span for the run and one for its LLM call, with all that our rows hold."""
        attributes = {
            "agent_name": AGENT,
            "workflow_name": "default",
            "session.id": turn.session_id,
            "user.id": turn.user_id,
            "interaction_mode": "interactive",
            "process.pid": self._pid,
            "inputs": json.dumps(turn.inputs),
            "metadata": json.dumps(turn.metadata),
        }
        start = self._tracer.start_as_current_span
        with start(f"invoke_agent {AGENT}", attributes=attributes) as run:
            cost = (turn.tokens_in * PRICE_IN + turn.tokens_out * PRICE_OUT) / 1e6
            call = {
                "gen_ai.request.model": MODEL,
                "gen_ai.usage.input_tokens": turn.tokens_in,
                "gen_ai.usage.output_tokens": turn.tokens_out,
                "gen_ai.usage.cache_read.input_tokens": 0,
                "gen_ai.usage.cache_creation.input_tokens": 0,
                "gen_ai.provider.name": "",
                "task": "chat_response",
                "cost": cost,
                "cost_source": "price",
                "is_streaming": False,
                "status": "ok",
            }
            with start(f"chat {MODEL}", attributes=call):
                pass
            run.set_attribute("result", json.dumps(turn.result))
            run.set_attribute("status", "success")

    def close(self) -> None:
        """Stop the processor's thread."""
        self._provider.shutdown()
