"""Runs that nobody has begun: for calls and frameworks outside any run of the program."""

from __future__ import annotations

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.call_rows import last_user_text
from waxlocal.capture.calls import AUTO_WORKFLOW, ONE_CALL, auto_agent
from waxlocal.capture.facts import CallFacts, RunFacts
from waxlocal.capture.libraries import workflow_of
from waxlocal.capture.tracer import CapturedSpan
from waxlocal.sdk.context import WaxellContext
from waxlocal.settings.config import is_on

__all__ = ["begin_agent_run", "begin_call_run", "may_be_run"]

# As the original spells them: WAXELL_LANGGRAPH_AUTOCONTEXT, WAXELL_PYDANTICAI_AUTOCONTEXT, ...
_SPELLED = {"pydantic_ai": "pydanticai", "langchain": "langgraph"}


def may_be_run(span: CapturedSpan) -> bool:
    """Return whether this is to become a run, where there is none around it.

    Not so for a framework for which `WAXELL_<FRAMEWORK>_AUTOCONTEXT` is false.
    """
    framework = workflow_of(span.scope, span.name)
    name = _SPELLED.get(framework, framework).upper()
    return not framework or is_on(f"WAXELL_{name}_AUTOCONTEXT")


def begin_call_run(span: CapturedSpan, call: CallFacts) -> WaxellContext:
    """Begin the run of a call outside any run, at the time at which the call began."""
    run = WaxellContext(
        auto_agent(call.model or call.requested_model or "unknown"),
        AUTO_WORKFLOW,
        {"message": asked} if (asked := last_user_text(call)) is not None else None,
        dict(ONE_CALL),
        # Of the facts of a run no others: to read those parses the whole prompt once more.
        session_id=rows.session_id(span.attributes) or "",
        user_id=rows.user_id(span.attributes) or "",
    )
    return _begun(run, span, None)


def begin_agent_run(
    span: CapturedSpan, outer: WaxellContext | None, about: RunFacts
) -> WaxellContext:
    """Begin a run for an agent or another invocation of a framework; `about` is what it says."""
    # Of a conversation that nobody named: its session is one that only the library knows.
    of_session = {"session_generated": True} if about.session_was_generated else {}
    run = WaxellContext(
        about.agent_name or span.name,
        workflow_of(span.scope, span.name) or about.workflow_name or AUTO_WORKFLOW,
        about.inputs,
        {"auto_collected": True, **of_session, **about.metadata},
        session_id=about.session_id or "",
        user_id=about.user_id or "",
    )
    return _begun(run, span, outer)


def _begun(run: WaxellContext, span: CapturedSpan, outer: WaxellContext | None) -> WaxellContext:
    """Write the start; its session and user are those around, unless the span names them.

    The run does not become the current one of the context: a stream that is never read to its end
    would leave it current for whatever this thread does next.
    """
    run._open(outer, span.started_ns)
    run._steady_ns = span.steady_ns
    return run
