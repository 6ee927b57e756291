"""Frameworks that trace themselves: their spans are the program's, and ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from tests.capture.stored import said, stored
from waxlocal.capture.captured_span import captured
from waxlocal.capture.engines import instrument, uninstrument
from waxlocal.capture.libraries import workflow_of
from waxlocal.capture.provider import provider
from waxlocal.capture.self_traced import share_agent_framework, share_google_adk
from waxlocal.capture.shared_tracer import SharedTracer

pytestmark = pytest.mark.usefixtures("recorder")


class _Span(trace.NonRecordingSpan):
    """A span of the program, which notes what it is told."""

    def __init__(self, name: str, number: int, parent: trace.SpanContext) -> None:
        super().__init__(trace.SpanContext(1, number, is_remote=False))
        self.told: list[Any] = [name]
        self.parent = parent

    def end(self, end_time: int | None = None) -> None:
        self.told.append("end")

    def set_attributes(self, attributes: Any) -> None:
        self.told.append(dict(attributes))

    def set_attribute(self, key: str, value: Any) -> None:
        self.told.append({key: value})

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self.told.append((name, attributes))

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.told.append(status)

    def record_exception(self, exception: BaseException, *_more: Any, **_named: Any) -> None:
        self.told.append(exception)

    def update_name(self, name: str) -> None:
        self.told.append(name)


class _Tracer(trace.NoOpTracer):
    def __init__(self) -> None:
        self.spans: list[_Span] = []

    def start_span(self, name: str, context: Any = None, *_more: Any, **_named: Any) -> trace.Span:
        around = trace.get_current_span(context).get_span_context()
        self.spans.append(_Span(name, len(self.spans) + 1, around))
        return self.spans[-1]


CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}


def test_the_program_is_told_what_it_was_told_before_and_so_are_we(db_path: Path) -> None:
    own = _Tracer()
    tracer = SharedTracer(own, provider().get_tracer("strands.telemetry.tracer"))
    with tracer.start_as_current_span("invoke_agent guide") as agent:
        agent.set_attributes({"gen_ai.operation.name": "invoke_agent", "session.id": "s"})
        agent.add_event("gen_ai.user.message", {"content": '[{"text": "weather?"}]'})
        with (
            pytest.raises(ValueError, match="no"),
            tracer.start_as_current_span("chat", attributes=CHAT),
        ):
            raise ValueError("no")
        agent.update_name("guide")
        agent.set_status(StatusCode.OK)
        agent.set_attribute("gen_ai.agent.name", "guide")
    first, second = own.spans
    assert second.parent.span_id == 1
    assert not first.parent.is_valid
    assert first.told[1]["session.id"] == "s"
    assert first.told[-1] == "end"
    assert "guide" in first.told
    assert StatusCode.OK in first.told
    assert any(isinstance(one, ValueError) for one in second.told)
    (run,) = stored(db_path).runs
    assert (run["session_id"], run["workflow_name"]) == ("s", "strands")
    (call,) = stored(db_path).calls
    assert (call["model"], call["status"], call["error_type"]) == ("m", "error", "ValueError")


def test_what_the_api_does_not_name_is_that_of_the_programs_span() -> None:
    own = _Tracer()
    span: Any = SharedTracer(own, provider().get_tracer("x")).start_span("chat")
    assert span.told == ["chat"]
    assert captured(span) is not None
    assert span.is_recording()
    span.end()
    assert not span.is_recording()
    with pytest.raises(AttributeError):
        _ = span.nothing_of_the_kind


@pytest.fixture
def strands(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a stand-in for `strands.telemetry.tracer`: what of it is used."""
    module: Any = ModuleType("strands.telemetry.tracer")

    class Tracer:
        def __init__(self) -> None:
            self.tracer: Any = _Tracer()

    module.Tracer, module._tracer_instance = Tracer, Tracer()
    _install(monkeypatch, "strands", "telemetry", module)
    yield module
    uninstrument(["strands"])


def _install(monkeypatch: pytest.MonkeyPatch, package: str, name: str, module: Any) -> None:
    outer: Any = ModuleType(package)
    monkeypatch.setitem(sys.modules, package, outer)
    inner: Any = ModuleType(f"{package}.{name}")
    if module.__name__ != inner.__name__:
        monkeypatch.setitem(sys.modules, inner.__name__, inner)
        inner.tracer = module
    monkeypatch.setitem(sys.modules, module.__name__, module)
    setattr(outer, name, inner if module.__name__ != inner.__name__ else module)


def test_the_tracers_of_strands_are_shared_until_capture_ends(strands: Any) -> None:
    """The one that there is, and those to come."""
    assert instrument(["strands"]) == {"strands": True}
    later = strands.Tracer()
    for tracer in (later.tracer, strands._tracer_instance.tracer):
        assert isinstance(tracer, SharedTracer)
    uninstrument(["strands"])
    for tracer in (strands.Tracer().tracer, strands._tracer_instance.tracer):
        assert isinstance(tracer, _Tracer)


@pytest.mark.parametrize("is_traced", [False, True])
def test_agent_framework_says_what_was_said_where_only_we_hear_it(
    monkeypatch: pytest.MonkeyPatch, is_traced: bool
) -> None:
    module: Any = ModuleType("agent_framework.observability")

    class ObservabilitySettings:
        SENSITIVE_DATA_ENABLED = property(lambda settings: False)

    module.ObservabilitySettings = ObservabilitySettings
    module.get_tracer = own = _Tracer
    _install(monkeypatch, "agent_framework", "observability", module)
    if is_traced:
        monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    switch_off = share_agent_framework("agent_framework")
    assert isinstance(module.get_tracer(), SharedTracer)
    assert ObservabilitySettings().SENSITIVE_DATA_ENABLED is not is_traced
    switch_off()
    assert module.get_tracer is own
    assert ObservabilitySettings().SENSITIVE_DATA_ENABLED is False


@pytest.mark.parametrize("is_traced", [False, True])
def test_the_tracer_of_googles_kit_is_shared_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, is_traced: bool
) -> None:
    """What it was asked and answered, where only we hear it."""
    own = _Tracer()

    class TelemetryConfig:
        should_add_content_to_experimental_spans = property(lambda settings: False)

    modules = {
        name: ModuleType(f"google.adk.{name}")
        for name in ("telemetry.tracing", "telemetry.context", "runners", "events")
    }
    for module in modules.values():
        monkeypatch.setitem(sys.modules, module.__name__, module)
    tracing: Any = modules["telemetry.tracing"]
    runners: Any = modules["runners"]
    events: Any = modules["events"]
    settings: Any = modules["telemetry.context"]
    tracing.tracer = runners.tracer = own
    events.tracer = another = _Tracer()
    settings.TelemetryConfig = TelemetryConfig
    if is_traced:
        monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    switch_off = share_google_adk("gcp.vertex.agent")
    assert isinstance(tracing.tracer, SharedTracer)
    assert (runners.tracer, events.tracer) == (tracing.tracer, another)
    assert TelemetryConfig().should_add_content_to_experimental_spans is not is_traced
    switch_off()
    assert (tracing.tracer, runners.tracer) == (own, own)
    assert TelemetryConfig().should_add_content_to_experimental_spans is False


def test_a_kit_of_google_without_such_settings_is_shared_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracing: Any = ModuleType("google.adk.telemetry.tracing")
    tracing.tracer = own = _Tracer()
    monkeypatch.setitem(sys.modules, tracing.__name__, tracing)
    switch_off = share_google_adk("gcp.vertex.agent")
    assert isinstance(tracing.tracer, SharedTracer)
    switch_off()
    assert tracing.tracer is own


def test_the_runs_of_googles_kit_have_their_names(db_path: Path) -> None:
    """Also where the attribute that names an agent comes later."""
    tracer = provider().get_tracer("gcp.vertex.agent")
    with tracer.start_as_current_span("invoke_agent helper") as agent:
        agent.set_attribute("gen_ai.operation.name", "invoke_agent")
        with tracer.start_as_current_span("execute_tool weather") as tool:
            tool.set_attribute("gen_ai.operation.name", "execute_tool")
            tool.set_attribute("gcp.vertex.agent.tool_call_args", '{"city": "Bern"}')
            tool.set_attribute("gcp.vertex.agent.tool_response", '{"result": "rain"}')
    (run,) = stored(db_path).runs
    assert (run["agent_name"], run["workflow_name"]) == ("helper", "google_adk")
    (span,) = stored(db_path).spans
    assert (span["name"], span["kind"]) == ("weather", "tool")
    assert (span["input"], span["output"]) == ('{"city":"Bern"}', '{"result":"rain"}')


def test_content_in_events_is_read_as_that_in_attributes(db_path: Path) -> None:
    """As strands-agents writes it: blocks as Bedrock has them."""
    tracer = provider().get_tracer("strands.telemetry.tracer")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "guide"}
    asked = '[{"toolUse": {"toolUseId": "c1", "name": "look", "input": {"city": "Bern"}}}]'
    with tracer.start_as_current_span("invoke_agent", attributes=agent):
        with tracer.start_as_current_span("chat", attributes=CHAT) as chat:
            chat.add_event("gen_ai.user.message", {"content": '[{"text": "weather?"}]'})
            chat.add_event("gen_ai.choice", {"message": asked, "finish_reason": "tool_use"})
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}
        with tracer.start_as_current_span("execute_tool look", attributes=tool) as look:
            look.add_event("gen_ai.tool.message", {"content": '{"city": "Bern"}', "id": "c1"})
            look.add_event("gen_ai.choice", {"message": '[{"text": "sunny"}]', "id": "c1"})
        with tracer.start_as_current_span("chat", attributes=CHAT) as chat:
            chat.add_event("gen_ai.choice", {"message": '[{"text": "It is sunny."}]'})
    (run,) = stored(db_path).runs
    assert said(run) == ("weather?", "It is sunny.")
    (span,) = stored(db_path).spans
    assert (span["name"], span["input"], span["output"]) == ("look", '{"city":"Bern"}', '"sunny"')
    first, second = stored(db_path).calls
    assert first["details"] is not None
    assert '"c1"' in first["details"]
    assert first["response_preview"] in (None, "")
    assert second["response_preview"] == "It is sunny."


def test_the_runs_of_these_frameworks_are_named_as_the_original_names_them() -> None:
    assert workflow_of("strands.telemetry.tracer") == "strands"
    assert workflow_of("agent_framework") == "ms_agent_framework"
    assert workflow_of("pydantic-ai") == "pydantic_ai"
