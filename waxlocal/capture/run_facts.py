"""What the span of a run says of it: whose it is, what it was asked, what it answered.

Ask the topmost span of a run first. A session that it does not name may be named by a span below.
"""

from __future__ import annotations

import re
from typing import Any

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.attribute_map import first
from waxlocal.capture.bounds import bounded
from waxlocal.capture.call_content import answer_in, prompt_in, words_of_message
from waxlocal.capture.facts import Attributes, ReadSpan, RunFacts
from waxlocal.decode import from_json
from waxlocal.messages.reader import has_messages, messages_of

__all__ = ["run_facts"]


def run_facts(span: ReadSpan) -> RunFacts:
    """Return what a span says of the run that it is, or that it belongs to.

    Of images and files only the type, the size and the hash: their data is kept in the calls.
    """
    given = span.attributes
    return RunFacts(
        session_id=rows.session_id(given) or rows.session_id(span.resource),
        session_was_generated=rows.session_was_generated(given, span.scope),
        user_id=rows.user_id(given) or rows.user_id(span.resource),
        agent_name=rows.agent_name(given, span.resource, span.name),
        workflow_name=rows.workflow_name(given, span.scope),
        tags=rows.tags(given),
        metadata=rows.metadata(given, span.resource),
        inputs=_inputs(given),
        result=_result(given),
    )


# A message of a framework as Python prints it: `id='1' source='user' …`, `ChatMessage(_role=…`.
_PRINTED = re.compile(r"""\w+='[^']*' \w+=|\w+\(_?\w+=[<'"\[]""")


def _inputs(given: Attributes) -> dict[str, Any] | None:
    """Return {"message": the user's last text, "messages": all}; else {"input": what was sent}."""
    sent = bounded(from_json(first(given, rows.RUN_INPUT)))
    said = messages_of(sent) if has_messages(sent) else []
    said = said or prompt_in(given, keep_blobs=False) or []
    if not said:
        task = sent.get("task") if isinstance(sent, dict) else None  # of an agent of smolagents
        asked_for = {"message": task} if isinstance(task, str) and task else {}
        return None if sent is None else {**asked_for, "input": sent}
    asked = (words_of_message(one) for one in reversed(said) if one["role"] == "user")
    message = next(filter(None, asked), None)
    if message is not None and _PRINTED.match(message):
        message = None  # its calls say it in words
    return {"messages": said} if message is None else {"message": message, "messages": said}


def _result(given: Attributes) -> dict[str, Any] | None:
    """Return {"response": the text of the last answer}; else {"output": what was sent}."""
    sent = bounded(from_json(first(given, rows.RUN_OUTPUT)))
    said = messages_of(sent, "assistant") if has_messages(sent) else []
    said = said or answer_in(given, keep_blobs=False) or []
    texts = (words_of_message(one) for one in reversed(said) if one["role"] == "assistant")
    response = next(filter(None, texts), None)
    if response is not None and not _PRINTED.match(response):
        return {"response": response}
    return None if sent is None else {"output": sent}
