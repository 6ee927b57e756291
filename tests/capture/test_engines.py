"""What captures a library may be missing or broken; the program goes on."""

from __future__ import annotations

import pytest

from waxlocal.capture import engines
from waxlocal.capture.engines import instrument, states
from waxlocal.capture.libraries import LIBRARIES, Engine, Family, Library

pytestmark = pytest.mark.usefixtures("uncaptured")


def _add_library(
    monkeypatch: pytest.MonkeyPatch, package: str, distribution: str = "pytest"
) -> None:
    """Make known a library that is imported already, with an instrumentation that is not there.

    `distribution`: what pip knows it by; pytest is installed.
    """
    engine = Engine(Family.OTEL, package, "no_such_instrumentation", "SomeInstrumentor")
    monkeypatch.setitem(LIBRARIES, "some", Library("some", "json", distribution, (engine,)))


def test_a_broken_instrumentation_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the package and the error, and the command that explains."""
    _add_library(monkeypatch, "broken-instrumentation")
    monkeypatch.setattr(engines, "is_installed", lambda engine: True)
    assert instrument(["some"]) == {"some": False}
    (line,) = (record.getMessage() for record in caplog.records)
    assert "calls of some are not captured" in line
    assert "broken-instrumentation: ModuleNotFoundError" in line
    assert "waxlocal doctor" in line
    assert "no_such_instrumentation" in states()["some"].reason


def test_a_module_that_is_only_named_like_a_library_is_no_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A program may have a module `agents` of its own; and nobody is told to install something."""
    _add_library(monkeypatch, "broken-instrumentation", distribution="no-such-library")
    instrument(["some"])
    assert engines.missing() == []
    engines.uninstrument()
    monkeypatch.setattr(engines, "is_installed", lambda engine: True)
    assert instrument(["some"]) == {"some": False}
    assert caplog.records == []
    assert "ModuleNotFoundError" in states()["some"].reason


def test_an_instrumentation_that_is_not_installed_is_no_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Most programs use more libraries than they want captured."""
    _add_library(monkeypatch, "absent-instrumentation")
    assert instrument(["some"]) == {"some": False}
    assert caplog.records == []
    assert states()["some"].reason == "absent-instrumentation is not installed"


def test_an_instrumentation_that_the_program_uses_itself_is_left_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It reports where the program wants it; one line says so, and it stays switched on."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    __import__("openai")
    own = OpenAIInstrumentor()
    own.instrument()
    try:
        assert instrument(["openai"]) == {"openai": False}
        (line,) = (record.getMessage() for record in caplog.records)
        assert "the program has switched this instrumentation on itself" in line
        engines.uninstrument()
        assert own.is_instrumented_by_opentelemetry
    finally:
        own.uninstrument()
