"""Runs that nobody has begun: for calls and frameworks outside any run of the program."""

from __future__ import annotations

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.call_rows import last_user_text
from waxlocal.capture.captured_span import CapturedSpan
from waxlocal.capture.conversations import Conversations
from waxlocal.capture.facts import CallFacts, RunFacts, SpanKind
from waxlocal.capture.libraries import workflow_of
from waxlocal.capture.outside_calls import AUTO_WORKFLOW, ONE_CALL, auto_agent
from waxlocal.ids import generate_session_id
from waxlocal.process import is_first, is_server
from waxlocal.recording.recorder import current_recorder
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import is_named_around, outermost
from waxlocal.settings.config import is_on

__all__ = ["begin", "may_be_run", "run_of_agent", "run_of_call", "session_of_call"]

# As the original spells them: WAXELL_LANGGRAPH_AUTOCONTEXT, WAXELL_PYDANTICAI_AUTOCONTEXT, ...
_SPELLED = {"pydantic_ai": "pydanticai", "langchain": "langgraph"}
# Kinds of spans that are a conversation of their own; a tool or a retrieval used alone is none.
_MAY_CONVERSE = frozenset((SpanKind.AGENT, SpanKind.CHAIN))
_conversations = Conversations()


def may_be_run(span: CapturedSpan) -> bool:
    """Return whether this is to become a run, where there is none around it.

    Not so for a framework for which `WAXELL_<FRAMEWORK>_AUTOCONTEXT` is false.
    """
    framework = workflow_of(span.scope, span.name)
    name = _SPELLED.get(framework, framework).upper()
    return not framework or is_on(f"WAXELL_{name}_AUTOCONTEXT")


def run_of_call(span: CapturedSpan, call: CallFacts, session: str, made_up: bool) -> WaxellContext:
    """Make the run of a call outside any run, in this session; it is still to begin."""
    return WaxellContext(
        auto_agent(call.model or call.requested_model or "unknown"),
        AUTO_WORKFLOW,
        {"message": asked} if (asked := last_user_text(call)) is not None else None,
        {**ONE_CALL, **_about_session(made_up)},
        session_id=session,
        user_id=rows.user_id(span.attributes) or "",
    )


def run_of_agent(span: CapturedSpan, outer: WaxellContext | None, about: RunFacts) -> WaxellContext:
    """Make the run of an agent or another invocation of a framework; it is still to begin.

    `about` is what it says.
    """
    session, made_up = _session_of_agent(span, outer, about)
    return WaxellContext(
        about.agent_name or span.name,
        workflow_of(span.scope, span.name) or about.workflow_name or AUTO_WORKFLOW,
        about.inputs,
        {"auto_collected": True, **_about_session(made_up), **about.metadata},
        session_id=session,
        user_id=about.user_id or "",
    )


def session_of_call(span: CapturedSpan, call: CallFacts) -> tuple[str, bool]:
    """Return the session of a call outside any run, and whether it was made up."""
    # Of the facts of a run no others: to read those parses the whole prompt once more.
    if named := rows.session_id(span.attributes):
        return named, False
    if span.place.kind == SpanKind.LLM and _may_make_up_session():
        return _conversations.session_of(call), True
    return "", False


def _session_of_agent(
    span: CapturedSpan, outer: WaxellContext | None, about: RunFacts
) -> tuple[str, bool]:
    """Return the session of an invocation, and whether it was made up, here or by its library."""
    if about.session_id:
        return about.session_id, about.session_was_generated
    # What it goes on with would be known only with its first call.
    if outer is None and span.place.kind in _MAY_CONVERSE and _may_make_up_session():
        return generate_session_id(), True
    return "", False


def _may_make_up_session() -> bool:
    """Return whether nothing around names one, in a process that sees whole conversations.

    Not so a worker, for the turns of a conversation may come to several; nor a server, to which
    somebody comes whose turns before were answered by another process, or before its restart.
    """
    named = current_recorder().settings.session_id or outermost.run or is_named_around()
    return not named and is_first() and not is_server()


def _about_session(made_up: bool) -> dict[str, bool]:
    return {"session_generated": True} if made_up else {}


def begin(run: WaxellContext, span: CapturedSpan, outer: WaxellContext | None) -> None:
    """Write the start, at the time at which its span began; once more if a signal handler struck.

    Session and user are those around, unless the span names them. The run does not become the
    current one of the context: a stream that is never read to its end would leave it current for
    whatever this thread does next.
    """
    if run._run_id:
        run._begin_again()
    else:
        run._open(outer, span.started_ns)
    run._steady_ns = span.steady_ns
