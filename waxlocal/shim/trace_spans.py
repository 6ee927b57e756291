"""The spans of the original's tracing, written into the open run instead of sent to a collector."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from waxlocal.clock import given_ns
from waxlocal.records import RecordStatus
from waxlocal.sdk.exception_text import printed
from waxlocal.sdk.scope import run_here

if TYPE_CHECKING:
    from typing_extensions import Self

    from waxlocal.sdk.context import WaxellContext

__all__ = [
    "NoOpSpan",
    "get_tracer",
    "start_agent_span",
    "start_decision_span",
    "start_domain_span",
    "start_embedding_span",
    "start_governance_span",
    "start_guardrail_span",
    "start_llm_span",
    "start_mcp_tool_span",
    "start_reasoning_span",
    "start_retrieval_span",
    "start_retry_span",
    "start_signal_span",
    "start_step_span",
    "start_tool_span",
]


class NoOpSpan:
    """A span that is not recorded; a block, too."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Keep an attribute for the end of the span."""

    def set_attributes(self, attributes: dict[str, Any]) -> None:
        """Keep several attributes for the end of the span."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Say how it ended: a status of OpenTelemetry, or its code."""

    def record_exception(self, exception: BaseException, *_rest: Any, **_more: Any) -> None:
        """Make the span an error."""

    def add_event(self, name: str, attributes: dict[str, Any] | None = None, *_rest: Any) -> None:
        """Keep an event with the attributes."""

    def update_name(self, name: str) -> None:
        """Change the name of the span."""

    def get_span_context(self) -> None:
        """Return None: the span has no id outside its run."""

    def is_recording(self) -> bool:
        """Return whether the span is kept."""
        return False

    def end(self, end_time: int | None = None) -> None:
        """Write the span; only the first end counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.record_exception(error)
        self.end()


class _RunSpan(NoOpSpan):
    """A span of a run; it is written, whole, when it ends.

    `start_time` is that of OpenTelemetry, nanoseconds since 1970, where the program gives one: it
    may report a span when it is over.
    """

    def __init__(
        self,
        run: WaxellContext,
        name: str,
        kind: str,
        attributes: dict[str, Any],
        start_time: int | None = None,
    ) -> None:
        self._run, self._name, self._kind, self._attributes = run, name, kind, attributes
        now_ns = run._recorder.clock.time_ns()
        self._started_ns = given_ns(start_time) or now_ns
        self._steady_ns = run._steady() - max(now_ns - self._started_ns, 0)
        self._status: str = RecordStatus.OK
        self._error = ""
        self._ended = False

    def set_attribute(self, key: str, value: Any) -> None:
        self._attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        code = getattr(status, "status_code", status)
        if getattr(code, "name", code) == "ERROR":
            self._status = RecordStatus.ERROR
            self._error = description or getattr(status, "description", "") or self._error

    def record_exception(self, exception: BaseException, *_rest: Any, **_more: Any) -> None:
        self._status = RecordStatus.ERROR
        self._error = f"{type(exception).__name__}: {printed(exception)}"

    def add_event(self, name: str, attributes: dict[str, Any] | None = None, *_rest: Any) -> None:
        self._attributes.setdefault("events", []).append({"name": name, **(attributes or {})})

    def update_name(self, name: str) -> None:
        self._name = name

    def is_recording(self) -> bool:
        return not self._ended

    def end(self, end_time: int | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._run._add_span(
            self._name,
            self._kind,
            status=self._status,
            error=self._error,
            duration_ms=self._lasted_ns(end_time) / 1e6,
            attributes=self._attributes,
            started_ns=self._started_ns,
        )

    def _lasted_ns(self, end_time: int | None) -> int:
        if ended_ns := given_ns(end_time):
            return max(ended_ns - self._started_ns, 0)
        return self._run._steady() - self._steady_ns


class _Tracer:
    """What gives spans, as a tracer of OpenTelemetry does."""

    def start_span(
        self,
        name: str,
        *_rest: Any,
        attributes: dict[str, Any] | None = None,
        start_time: int | None = None,
        **_more: Any,
    ) -> NoOpSpan:
        """Start a span of the open run."""
        return _start(name, "custom", dict(attributes or {}), start_time)

    start_as_current_span = start_span


def get_tracer(name: str = "waxell.observe") -> _Tracer:
    """Return a tracer whose spans go into the open run."""
    return _Tracer()


def _start(
    name: str, kind: str, attributes: dict[str, Any], start_time: int | None = None
) -> NoOpSpan:
    run = run_here()
    if run is None:
        return NoOpSpan()
    given = {k: v for k, v in attributes.items() if v not in ("", None)}
    return _RunSpan(run, name, kind, given, start_time)


def start_agent_span(
    agent_name: str,
    workflow_name: str = "default",
    agent_id: str = "",
    run_id: str = "",
    extra_attrs: dict[str, Any] | None = None,
) -> NoOpSpan:
    """Start a span of an agent."""
    given = {"workflow_name": workflow_name, "agent_id": agent_id, "run_id": run_id}
    return _start(agent_name, "agent", {**given, **(extra_attrs or {})})


def start_llm_span(
    model: str,
    provider_name: str = "",
    tokens_in: int = 0,
    tokens_out: int = 0,
    cost: float = 0.0,
    task: str = "",
    capture_content: bool = False,
    input_messages: str = "",
    output_messages: str = "",
    parent_span: Any = None,
) -> NoOpSpan:
    """Start a span around a call of a model; it counts no tokens, `record_llm_call` does."""
    attributes = {"provider": provider_name, "task": task, "tokens_in": tokens_in}
    return _start(model, "llm", {**attributes, "tokens_out": tokens_out, "cost": cost})


def start_tool_span(
    tool_name: str, tool_type: str = "function", parent_span: Any = None
) -> NoOpSpan:
    """Start a span of a tool."""
    return _start(tool_name, "tool", {"tool_type": tool_type})


def start_step_span(step_name: str, position: int = 0, parent_span: Any = None) -> NoOpSpan:
    """Start a span of a step."""
    return _start(step_name, "chain", {"position": position})


def start_decision_span(
    decision_name: str,
    options: list[str] | None = None,
    chosen: str = "",
    parent_span: Any = None,
) -> NoOpSpan:
    """Start a span of a choice."""
    return _start(decision_name, "decision", {"options": options, "chosen": chosen})


def start_reasoning_span(step_name: str, parent_span: Any = None) -> NoOpSpan:
    """Start a span of a thought."""
    return _start(step_name, "reasoning", {})


def start_retrieval_span(query: str, source: str = "", parent_span: Any = None) -> NoOpSpan:
    """Start a span of a search."""
    return _start(f"retrieve:{source or 'search'}", "retriever", {"source": source})


def start_embedding_span(
    model: str,
    provider_name: str = "",
    input_count: int = 0,
    dimensions: int = 0,
    tokens: int = 0,
    cost: float = 0.0,
    parent_span: Any = None,
) -> NoOpSpan:
    """Start a span of an embedding."""
    sizes = {"input_count": input_count, "dimensions": dimensions, "tokens": tokens}
    return _start(model, "embedding", {"provider": provider_name, **sizes, "cost": cost})


def start_guardrail_span(
    guardrail_name: str, framework: str = "", parent_span: Any = None
) -> NoOpSpan:
    """Start a span of a guardrail."""
    return _start(guardrail_name, "guardrail", {"framework": framework})


def start_governance_span(
    policy_name: str, action: str = "allow", category: str = "", parent_span: Any = None
) -> NoOpSpan:
    """Start a span of a policy."""
    return _start(policy_name, "governance", {"action": action, "category": category})


def start_retry_span(attempt: int, strategy: str = "retry", parent_span: Any = None) -> NoOpSpan:
    """Start a span of another attempt."""
    return _start(f"{strategy}:{attempt}", "retry", {"attempt": attempt, "strategy": strategy})


def start_mcp_tool_span(
    tool_name: str,
    server_name: str = "",
    method: str = "tools/call",
    session_id: str = "",
    transport: str = "",
    parent_span: Any = None,
) -> NoOpSpan:
    """Start a span of a tool of an MCP server."""
    place = {"server_name": server_name, "session_id": session_id, "transport": transport}
    return _start(tool_name, "tool", {"method": method, **place})


def start_domain_span(
    domain_name: str, action_name: str, *, url: str = "", parent_span: Any = None
) -> NoOpSpan:
    """Start a span of an action of the program's domain."""
    return _start(f"{domain_name}.{action_name}", "domain", {"url": url})


def start_signal_span(
    signal_name: str,
    *,
    source_type: str = "",
    target_agent: str = "",
    target_workflow: str = "",
    parent_span: Any = None,
) -> NoOpSpan:
    """Start a span of a signal to another agent."""
    target = {"target_agent": target_agent, "target_workflow": target_workflow}
    return _start(signal_name, "signal", {"source_type": source_type, **target})
