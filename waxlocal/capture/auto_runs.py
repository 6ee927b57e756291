"""Runs that nobody has begun: for calls and frameworks outside any run of the program."""

from __future__ import annotations

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.call_rows import last_user_text
from waxlocal.capture.calls import AUTO_WORKFLOW, ONE_CALL, auto_agent
from waxlocal.capture.conversations import Conversations, are_followed
from waxlocal.capture.facts import CallFacts, RunFacts, SpanKind
from waxlocal.capture.libraries import workflow_of
from waxlocal.capture.tracer import CapturedSpan
from waxlocal.ids import generate_session_id
from waxlocal.recording.recorder import current_recorder
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import current_scope, outermost, remote_parent
from waxlocal.settings.config import is_on

__all__ = ["begin_agent_run", "begin_call_run", "may_be_run"]

# As the original spells them: WAXELL_LANGGRAPH_AUTOCONTEXT, WAXELL_PYDANTICAI_AUTOCONTEXT, ...
_SPELLED = {"pydantic_ai": "pydanticai", "langchain": "langgraph"}


# Of a session that nobody named, be it made up here or in the library.
_GENERATED = {"session_generated": True}
_conversations = Conversations()
# Not so a tool or a retrieval that a program uses by itself.
_CONVERSATIONS = (SpanKind.AGENT, SpanKind.CHAIN)


def may_be_run(span: CapturedSpan) -> bool:
    """Return whether this is to become a run, where there is none around it.

    Not so for a framework for which `WAXELL_<FRAMEWORK>_AUTOCONTEXT` is false.
    """
    framework = workflow_of(span.scope, span.name)
    name = _SPELLED.get(framework, framework).upper()
    return not framework or is_on(f"WAXELL_{name}_AUTOCONTEXT")


def begin_call_run(span: CapturedSpan, call: CallFacts) -> WaxellContext:
    """Begin the run of a call outside any run, at the time at which the call began."""
    session = rows.session_id(span.attributes) or ""
    about = dict(ONE_CALL)
    if not session and span.place.kind == SpanKind.LLM and _may_make_up_session():
        session = _conversations.session_of(call)
        about |= _GENERATED
    run = WaxellContext(
        auto_agent(call.model or call.requested_model or "unknown"),
        AUTO_WORKFLOW,
        {"message": asked} if (asked := last_user_text(call)) is not None else None,
        about,
        # Of the facts of a run no others: to read those parses the whole prompt once more.
        session_id=session,
        user_id=rows.user_id(span.attributes) or "",
    )
    return _begun(run, span, None)


def begin_agent_run(
    span: CapturedSpan, outer: WaxellContext | None, about: RunFacts
) -> WaxellContext:
    """Begin a run for an agent or another invocation of a framework; `about` is what it says."""
    session = about.session_id or ""
    made_up = about.session_was_generated
    # What it goes on with is known only with its first call.
    is_alone = outer is None and span.place.kind in _CONVERSATIONS
    if not session and is_alone and _may_make_up_session():
        session, made_up = generate_session_id(), True
    run = WaxellContext(
        about.agent_name or span.name,
        workflow_of(span.scope, span.name) or about.workflow_name or AUTO_WORKFLOW,
        about.inputs,
        {"auto_collected": True, **(_GENERATED if made_up else {}), **about.metadata},
        session_id=session,
        user_id=about.user_id or "",
    )
    return _begun(run, span, outer)


def _may_make_up_session() -> bool:
    """Return whether a run outside any other gets no session from around it, and is to have one."""
    named = current_recorder().settings.session_id
    around = outermost.run or remote_parent or current_scope.get()
    return not named and around is None and are_followed()


def _begun(run: WaxellContext, span: CapturedSpan, outer: WaxellContext | None) -> WaxellContext:
    """Write the start; its session and user are those around, unless the span names them.

    The run does not become the current one of the context: a stream that is never read to its end
    would leave it current for whatever this thread does next.
    """
    run._open(outer, span.started_ns)
    run._steady_ns = span.steady_ns
    return run
