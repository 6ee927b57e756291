"""Switches the capture of libraries on and off, and knows how each of them stands.

Nothing is imported that the program does not import: an instrumentation is loaded after the library
that it is for. It reports to a private tracer; the program's own tracing, its exporters and its
environment are left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from waxlocal.capture.import_hooks import after_import, forget, is_awaited, is_under_way
from waxlocal.capture.libraries import (
    LIBRARIES,
    Engine,
    Family,
    Library,
    installed_version,
    is_of_framework,
)
from waxlocal.recording.notices import warn
from waxlocal.signal_handlers import raised_by_handler

__all__ = [
    "CaptureState",
    "await_imports",
    "instrument",
    "is_installed",
    "missing",
    "states",
    "uninstrument",
]


class CaptureState(NamedTuple):
    """How a library stands: `engine` is the package that captures it, `reason` why none does."""

    library: str
    captured: bool
    engine: str = ""
    reason: str = ""


_states: dict[str, CaptureState] = {}
# What to call to have a library captured no longer.
_undo: dict[str, Callable[[], object]] = {}
_TRY = "Try: waxlocal doctor"


def await_imports(names: Iterable[str]) -> None:
    """Capture these libraries from their import on, or from now on if they are imported.

    Costs next to nothing: whether there is what captures a library is looked up when that is
    imported. A name that is not in `LIBRARIES` is passed over. Raises nothing; why a library is not
    captured stands in `states`.
    """
    for name in names:
        library = LIBRARIES.get(name)
        if library is not None and name not in _states:
            _states[name] = CaptureState(name, False, reason="it is not imported yet")
            after_import(library.module, partial(_begin, library))


def instrument(names: Iterable[str]) -> dict[str, bool]:
    """Do the same; return for each name whether it is captured, or will be once it is imported."""
    asked = list(names)
    await_imports(asked)
    return {name: _is_or_will_be(name) for name in asked}


def _is_or_will_be(name: str) -> bool:
    library = LIBRARIES.get(name)
    if library is None:
        return False
    will_be = is_awaited(library.module) and any(map(is_installed, library.engines))
    return will_be or _states[name].captured


def is_installed(engine: Engine) -> bool:
    """Return whether the package of an engine is installed; imports nothing of it."""
    return installed_version(engine.package) is not None


def uninstrument(names: Iterable[str] | None = None) -> None:
    """Capture these libraries no longer, None means all; calls under way are recorded."""
    for name in list(_states) if names is None else list(names):
        library = LIBRARIES.get(name)
        if library is not None and name in _states:
            forget(library.module)
            del _states[name]
            _undo.pop(name, lambda: None)()


def states() -> dict[str, CaptureState]:
    """Return how each library stands that was to be captured."""
    return dict(_states)


def missing() -> list[Library]:
    """Return the libraries that were imported and are not captured, as no package does it here.

    Empty where another library is captured: calls of both may be the same ones.
    """
    known = [(LIBRARIES[name], state) for name, state in _states.items()]
    if any(state.captured for _, state in known):
        return []
    imported = [library for library, _ in known if not is_awaited(library.module)]
    return [one for one in imported if _is_here(one) and not any(map(is_installed, one.engines))]


def _is_here(library: Library) -> bool:
    """Return whether the library is installed: a program may have a module `agents` of its own."""
    return installed_version(library.distribution) is not None


def _begin(library: Library) -> None:
    if library.name not in _states or library.name in _undo:
        return
    failed: list[str] = []
    engines = list(filter(is_installed, library.engines))
    # A program that begins with its own tracing: the instrumentation imports the library.
    if half_made := next((one.module for one in engines if is_under_way(one.module)), None):
        after_import(half_made, partial(_begin, library))
        return
    for engine in engines:
        try:
            _undo[library.name] = _SWITCHES[engine.family](engine)
        except Exception as error:  # a broken or unsuitable package is not the program's fault
            if raised_by_handler(error):
                raise
            failed.append(f"{engine.package}: {type(error).__name__}: {error}")
            continue
        _states[library.name] = CaptureState(library.name, True, engine.package)
        return
    reason = "; ".join(failed) or f"{library.engines[0].package} is not installed"
    _states[library.name] = CaptureState(library.name, False, reason=reason)
    if failed and _is_here(library):
        warn(f"calls of {library.name} are not captured: {reason}. {_TRY}")


def _instrumentor(engine: Engine) -> Any:
    """Return the one instrumentor of a library, unless the program uses it.

    There is one for the whole process, and it reports to one tracer provider.
    """
    instrumentor = getattr(import_module(engine.module), engine.instrumentor)()
    if instrumentor.is_instrumented_by_opentelemetry:
        raise RuntimeError(_OF_PROGRAM)
    return instrumentor


_OF_PROGRAM = "the program has switched this instrumentation on itself"


def _until_program_does(instrumentor: Any, engine: Engine) -> Callable[[], object]:
    """Leave an instrumentor to the program once it switches that on; return what ends our use.

    Otherwise it would say that it is on already, and the program's own tracing would get nothing.
    What happens then is what happens where the program is first.
    """

    def switch_off() -> None:
        del instrumentor.instrument
        instrumentor.uninstrument()

    def instrument(**options: Any) -> Any:
        library = next(one for one in LIBRARIES.values() if engine in one.engines)
        _undo.pop(library.name)()
        done = instrumentor.instrument(**options)
        _begin(library)
        return done

    instrumentor.instrument = instrument
    return switch_off


def _switch_on_otel(engine: Engine) -> Callable[[], object]:
    from opentelemetry._logs import NoOpLoggerProvider
    from opentelemetry.metrics import NoOpMeterProvider

    from waxlocal.capture.anthropic_answers import keep_answers
    from waxlocal.capture.provider import completion_hook, provider
    from waxlocal.capture.streams import follow_streams, steady_streams

    instrumentor = _instrumentor(engine)
    # Its own check asks for exact packages; whether ours works with the installed version, the
    # tests say. Metrics and logs would go to the program's exporters.
    framework = is_of_framework(engine)
    with _environment_kept(), _content_in_attributes() if framework else _guarded(engine):
        instrumentor.instrument(
            tracer_provider=provider(),
            meter_provider=NoOpMeterProvider(),
            logger_provider=NoOpLoggerProvider(),
            completion_hook=completion_hook(),
            skip_dep_check=True,
        )
    if not framework:
        steady_streams(engine.module)
        follow_streams()
        keep_answers(engine.module)
    _report_nodes(engine, instrumentor)
    _share_with_handlers(engine, instrumentor)
    return _follow_requests(engine, _until_program_does(instrumentor, engine))


def _guarded(engine: Engine) -> AbstractContextManager[None]:
    from waxlocal.capture.own_calls import guarding
    from waxlocal.capture.read_answers import after_reading

    if engine.module == _OF_OPENAI:
        return guarding(engine.module, after_reading)
    return guarding(engine.module)


_OF_OPENAI = "opentelemetry.instrumentation.genai.openai"
_OF_GOOGLE = "opentelemetry.instrumentation.google_genai"
_OF_GRAPHS = "opentelemetry.instrumentation.genai.langchain"
_OF_LITELLM = "openinference.instrumentation.litellm"


@contextmanager
def _or_said(what_is_lost: str) -> Iterator[None]:
    """Do without what is done in this block where an instrumentation is built in another way."""
    try:
        yield
    except AttributeError as error:
        warn(f"{what_is_lost}: {error}. {_TRY}")


def _report_nodes(engine: Engine, instrumentor: Any) -> None:
    if engine.module != _OF_GRAPHS:
        return
    from waxlocal.capture.graph_nodes import report_nodes
    from waxlocal.capture.provider import provider

    with _or_said("the nodes of graphs are not recorded"):
        report_nodes(instrumentor, provider().get_tracer(engine.module))


def _follow_requests(engine: Engine, off: Callable[[], object]) -> Callable[[], object]:
    if engine.module != _OF_GOOGLE:
        return off
    from waxlocal.capture.google_requests import follow_requests

    ends = ExitStack()
    ends.callback(off)
    with _or_said("of the requests of a google-genai call only the last one is recorded"):
        ends.callback(follow_requests(engine.module))
    return ends.close


# Where the instrumentations of frameworks whose handlers a program may have keep what they are told
# by, and what is done there.
_TOLD_BY = {
    _OF_GRAPHS: ("_callback_handler", "name_events"),
    "openinference.instrumentation.langchain": ("_tracer", "name_events"),
    "opentelemetry.instrumentation.genai.llama_index": ("_span_handler", "leave_retrievals"),
    "openinference.instrumentation.llama_index": ("_span_handler", "leave_retrievals"),
}


def _share_with_handlers(engine: Engine, instrumentor: Any) -> None:
    """Have what a handler of the program records reported once."""
    if engine.module not in _TOLD_BY:
        return
    from waxlocal.capture import handler_spans

    name, share = _TOLD_BY[engine.module]
    with _or_said("what a handler records is recorded twice"):
        getattr(handler_spans, share)(getattr(instrumentor, name))


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what an instrumentation that begins in this block writes into the environment.

    That of google-genai asks for events, by a variable that the program's own tracing would obey,
    and its child processes.
    """
    before = os.environ.get(_EMIT_EVENT)
    try:
        yield
    finally:
        if before is not None:
            os.environ[_EMIT_EVENT] = before
        else:
            os.environ.pop(_EMIT_EVENT, None)


_EMIT_EVENT = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"


@contextmanager
def _content_in_attributes() -> Iterator[None]:
    """Let an instrumentation that begins in this block write content into its spans.

    What a tool or a retriever was asked and answered is handed to no hook. An environment variable
    says whether it is written; one that we set would be obeyed by the program's own tracing, too.
    """
    from opentelemetry.util.genai.types import ContentCapturingMode

    handler: Any = import_module("opentelemetry.util.genai.handler")
    before = handler.get_content_capturing_mode
    handler.get_content_capturing_mode = lambda: ContentCapturingMode.SPAN_ONLY
    try:
        yield
    finally:
        handler.get_content_capturing_mode = before


def _switch_on_open_inference(engine: Engine) -> Callable[[], object]:
    from waxlocal.capture.provider import provider

    instrumentor = _instrumentor(engine)
    instrumentor.instrument(tracer_provider=provider(), skip_dep_check=True)
    _name_arguments(engine, instrumentor)
    _share_with_handlers(engine, instrumentor)
    return _until_program_does(instrumentor, engine)


def _name_arguments(engine: Engine, instrumentor: Any) -> None:
    if engine.module != _OF_LITELLM:
        return
    from waxlocal.capture.named_arguments import name_arguments

    with _or_said("models of litellm may be unknown"):
        name_arguments(instrumentor)


def _switch_on_built_in(engine: Engine) -> Callable[[], object]:
    from pydantic_ai import Agent, InstrumentationSettings

    from waxlocal.capture.provider import provider

    # One for all agents, and no public name says which.
    if getattr(Agent, "_instrument_default", False):
        raise RuntimeError(_OF_PROGRAM)
    ours = InstrumentationSettings(tracer_provider=provider())
    Agent.instrument_all(ours)
    return partial(_switch_off_built_in, ours)


def _switch_off_built_in(ours: object) -> None:
    from pydantic_ai import Agent

    # Otherwise the program has set its own since.
    if getattr(Agent, "_instrument_default", ours) is ours:
        Agent.instrument_all(False)


def _switch_on_ours(engine: Engine) -> Callable[[], object]:
    switch_on = getattr(import_module(engine.module), engine.instrumentor)
    return switch_on(engine.scope)  # type: ignore[no-any-return]


_SWITCHES: dict[Family, Callable[[Engine], Callable[[], object]]] = {
    Family.OTEL: _switch_on_otel,
    Family.OPEN_INFERENCE: _switch_on_open_inference,
    Family.BUILT_IN: _switch_on_built_in,
    Family.OURS: _switch_on_ours,
}
