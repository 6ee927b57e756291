"""What captures a library may be missing or broken; the program goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.capture.stored import stored
from tests.tools.cli import environment
from tests.vendors.clients import openai_client
from tests.vendors.server import VendorServer
from waxlocal import init
from waxlocal.capture import engines
from waxlocal.capture.captured_span import CapturedSpan
from waxlocal.capture.engines import instrument, states
from waxlocal.capture.libraries import LIBRARIES, Engine, Family, Library
from waxlocal.capture.tracer import PrivateProvider

pytestmark = pytest.mark.usefixtures("uncaptured")


def _add_library(
    monkeypatch: pytest.MonkeyPatch, package: str, distribution: str = "pytest"
) -> None:
    """Make known a library that is imported already, with an instrumentation that is not there.

    `distribution`: what pip knows it by; pytest is installed.
    """
    engine = Engine(Family.OTEL, package, "no_such_instrumentation", "SomeInstrumentor")
    monkeypatch.setitem(LIBRARIES, "some", Library("some", "json", distribution, (engine,)))


def test_init_in_a_program_without_a_model_library_asks_for_no_open_telemetry(
    tmp_path: Path,
) -> None:
    """Neither where it is installed, for it takes long to load, nor where it is not."""
    program = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
import waxlocal
waxlocal.init()
print([name for name in sys.modules if name.startswith("opentelemetry.")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(WAXLOCAL_DB=str(tmp_path / "w.db")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


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
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It reports where the program wants it; one line says so, and it stays switched on."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    _without_a_second_package(monkeypatch)
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


def _without_a_second_package(monkeypatch: pytest.MonkeyPatch) -> None:
    openai = LIBRARIES["openai"]
    monkeypatch.setitem(LIBRARIES, "openai", openai._replace(engines=openai.engines[:1]))


class OwnTracing:
    """The tracing of a program: it keeps the names of the spans that have ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def begin(self, span: CapturedSpan) -> None:
        """Do nothing."""

    def tell(self, span: CapturedSpan, names: Iterable[str]) -> None:
        """Do nothing."""

    def end(self, span: CapturedSpan) -> None:
        """Keep the name."""
        self.ended.append(span.name)


@pytest.mark.usefixtures("recorder")
def test_an_instrumentation_that_the_program_switches_on_later_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stand_in: VendorServer,
    db_path: Path,
) -> None:
    """Its own tracing gets the calls from then on; one line says that the file does not."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    _without_a_second_package(monkeypatch)
    assert instrument(["openai"]) == {"openai": True}
    theirs, own = OwnTracing(), OpenAIInstrumentor()
    with openai_client(stand_in.url) as client:
        _ask(client, "ours")
        own.instrument(tracer_provider=PrivateProvider(theirs), skip_dep_check=True)
        try:
            _ask(client, "theirs")
            engines.uninstrument()
            _ask(client, "theirs")
        finally:
            own.uninstrument()
    assert [call["model"] for call in stored(db_path).calls] == ["ours"]
    assert theirs.ended == ["chat theirs"] * 2
    (line,) = (record.getMessage() for record in caplog.records)
    assert "the program has switched this instrumentation on itself" in line


@pytest.mark.usefixtures("recorder")
def test_an_instrumentation_that_refuses_the_program_stays_ours(
    monkeypatch: pytest.MonkeyPatch, stand_in: VendorServer, db_path: Path
) -> None:
    """It asks for other versions than are here, which we do not ask it."""
    from opentelemetry.instrumentation.dependencies import DependencyConflict
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    _without_a_second_package(monkeypatch)
    assert instrument(["openai"]) == {"openai": True}
    own = OpenAIInstrumentor()
    conflict = DependencyConflict("openai < 1", "openai 2")
    monkeypatch.setattr(own, "_check_dependency_conflicts", lambda: conflict)
    own.instrument(tracer_provider=PrivateProvider(OwnTracing()))
    with openai_client(stand_in.url) as client:
        _ask(client, "ours")
    assert states()["openai"].captured
    assert [call["model"] for call in stored(db_path).calls] == ["ours"]


def _ask(client: Any, model: str) -> None:
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "a"}])


@pytest.mark.usefixtures("recorder", "uncaptured")
@pytest.mark.parametrize(
    ("name", "meant"), [("opennai", "openai"), ("anthropics", "anthropic"), ("pinecone", None)]
)
def test_a_name_that_is_nearly_that_of_a_library_is_said(
    name: str, meant: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """To choose, or to leave out; one that the original SDK may know is not."""
    said = [f"init: there is no library {name!r}; did you mean {meant!r}?"] if meant else []
    init(instrument=[name, "mcp"])
    assert [record.getMessage() for record in caplog.records] == said
    init(instrument=["mcp"], exclude=[name])
    monkeypatch.setenv("WAXELL_EXCLUDE", f" {name},,gemini")
    init(instrument=["mcp"])
    assert [record.getMessage() for record in caplog.records] == said * 3


@pytest.mark.usefixtures("recorder", "uncaptured")
@pytest.mark.parametrize(
    ("instrument", "exclude"), [("openai", None), ("openai, mcp", "mcp"), (["openai"], "")]
)
def test_one_name_need_not_be_a_list(instrument: Any, exclude: Any) -> None:
    """Else a text would be a list of letters, and nothing would be captured."""
    init(instrument=instrument, exclude=exclude)
    assert set(states()) == {"openai"}
