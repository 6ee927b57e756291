"""Streams that the program traces itself, by the instrumentation that captures another library."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current

from tests.vendors import clients
from tests.vendors.replies import Reply
from tests.vendors.server import VendorServer, vendor_server
from waxlocal.capture.engines import instrument, uninstrument

pytestmark = pytest.mark.usefixtures("recorder")

MESSAGES = [{"role": "user", "content": "what is it?"}]


class _Span(trace.NonRecordingSpan):
    def __init__(self, ended: list[str]) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self._ended = ended
        self._said = ""

    def is_recording(self) -> bool:
        return True

    def set_status(self, status: Any, description: str | None = None) -> None:
        self._said = status.description or ""

    def end(self, end_time: int | None = None) -> None:
        self._ended.append(self._said)


class _Tracer(trace.NoOpTracer):
    def __init__(self, ended: list[str]) -> None:
        self._ended = ended

    def start_span(self, *_args: Any, **_given: Any) -> trace.Span:
        return _Span(self._ended)


class _Provider(trace.TracerProvider):
    """The program's: `ended` has how each of its spans ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def get_tracer(self, *_args: Any, **_given: Any) -> trace.Tracer:
        return _Tracer(self.ended)


@pytest.fixture
def vendors() -> Iterator[VendorServer]:
    with vendor_server() as server:
        yield server


def test_its_streams_end_as_they_do_without_capture(vendors: VendorServer) -> None:
    """OpenTelemetry's instrumentation takes a helper that was left for one that nobody ended."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    provider, traced, around = _Provider(), OpenAIInstrumentor(), get_current()
    assert instrument(["anthropic"]) == {"anthropic": True}
    traced.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        with clients.openai_client(vendors.url) as client:
            asked = {"model": "gpt-4o", "messages": MESSAGES}
            with client.chat.completions.stream(**asked) as stream:
                next(iter(stream))
            assert provider.ended == []
            del stream
            gc.collect()
            assert provider.ended == ["abandoned stream"]
            with client.chat.completions.create(**asked, stream=True) as stream:
                assert type(stream.response).__name__ == "Response"
                list(stream)
            assert get_current() == around
    finally:
        traced.uninstrument()
        uninstrument()


@pytest.mark.usefixtures("nothing_there")
def test_nothing_is_said_of_its_odd_streams(
    vendors: VendorServer,
    db_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are none of ours: there is no row that could be incomplete."""
    from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor, wrappers

    # The instrumentation sets it for the rest of the process.
    monkeypatch.setattr(wrappers, "_accumulation_disabled", False)
    assert instrument(["anthropic"]) == {"anthropic": True}
    uninstrument()
    traced, around = AnthropicInstrumentor(), get_current()
    traced.instrument(tracer_provider=_Provider(), skip_dep_check=True)
    vendors.answer(Reply(raw_usage={}))
    try:
        with clients.anthropic_client(vendors.url) as client:
            asked = {"model": "claude-opus-4-8", "messages": MESSAGES, "max_tokens": 9}
            list(client.messages.create(**asked, stream=True))
            assert get_current() == around
    finally:
        traced.uninstrument()
    assert not db_path.exists()
    assert [record.name for record in caplog.records] == [wrappers.__name__]
