"""The rows of captured calls: made from what a span says, and merged with other reports of it."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from waxlocal.capture.call_content import words_of_message
from waxlocal.capture.facts import CallFacts, Row, SpanStatus
from waxlocal.encode import dumps
from waxlocal.records import LLM_CALLS, RecordStatus
from waxlocal.sdk.redaction import settings_without_content
from waxlocal.storage.contents import KEYED

__all__ = ["columns_of", "last_user_text", "merged", "row_of_call", "with_hand_made"]

# As the original cuts its previews.
PREVIEW_CHARS = 500


def row_of_call(call: CallFacts, lasted_ms: int, source: str) -> Row:
    """Return the row of a call as one report has it."""
    return {
        "model": call.model or call.requested_model or "",
        "provider": call.provider or "",
        "task": call.task or "",
        "tokens_in": call.tokens_in or 0,
        "tokens_out": call.tokens_out or 0,
        # Parts of nothing that is known say nothing.
        "cached_tokens": (call.cached or 0) if call.tokens_in is not None else 0,
        "cache_write_tokens": (call.cache_write or 0) if call.tokens_in is not None else 0,
        "reasoning_tokens": call.reasoning if call.tokens_out is not None else None,
        "usage_known": call.tokens.is_known,
        "cost": call.cost or None,
        "duration_ms": lasted_ms,
        "ttft_ms": call.ttft_ms,
        "is_streaming": call.is_streaming,
        "status": RecordStatus.ERROR if call.status == SpanStatus.ERROR else RecordStatus.OK,
        "error_type": call.error_type,
        "error_message": call.error_message,
        "prompt_preview": _preview(last_user_text(call)),
        "response_preview": _preview(call.said),
        "messages": call.messages,
        "tools": call.tools,
        "response": call.response,
        "response_id": call.response_id,
        "details": _details(call, source),
    }


def _details(call: CallFacts, source: str) -> Row:
    asked = call.requested_model
    found: Row = {
        "requested_model": asked if asked and asked != call.model else None,
        "finish_reason": call.finish_reason,
        "tool_calls": call.tool_calls,
        "other_answers": call.other_answers,
        "config": call.config or None,
        "usage_note": call.usage_note or None,
        "token_details": call.tokens.details,
        "attributes": call.attributes or None,
        "sources": {"call": source},
    }
    return {name: value for name, value in found.items() if value is not None}


def last_user_text(call: CallFacts) -> str | None:
    """Return what the user said last; None if the call has no such message."""
    for message in reversed(call.messages or ()):
        content = message.get("content")
        if message.get("role") == "user" and content is not None:
            return content if isinstance(content, str) else words_of_message(message)
    return None


def _preview(text: str | None) -> str | None:
    return text[:PREVIEW_CHARS] if text else None


# What is best known to the client library, which is the innermost, and what to the framework.
_NUMBERS = (*(column.name for column in LLM_CALLS.token_counts), "usage_known")


def merged(inner: Row, outer: Row, outer_source: str) -> Row:
    """Return the row of a call that was reported twice, once inside the other.

    Numbers are those of the inner report where it has any; what was said is that of the outer one,
    which saw what the program saw, unless it lost the content of a message; the time is the outer
    one's.
    """
    row = {name: one if _is_given(name, one) else outer[name] for name, one in inner.items()}
    of_outer: list[str] = []
    if not inner["usage_known"] and outer["usage_known"]:
        row.update({name: outer[name] for name in _NUMBERS})
        of_outer.append("tokens")
    said = [name for name in _SAID if _is_given(name, outer[name])]
    if "messages" in said and inner["messages"] and _lost_some(outer, inner):
        said = [name for name in said if name not in ("messages", "prompt_preview")]
    row.update({name: outer[name] for name in said})
    of_outer += said
    row["duration_ms"] = outer["duration_ms"]
    details = {**outer["details"], **inner["details"]}
    both = [one["details"].get("attributes", {}) for one in (outer, inner)]
    details["attributes"] = {**both[0], **both[1]}
    sources = dict(inner["details"].get("sources", {}))
    sources |= dict.fromkeys(("duration_ms", *of_outer), outer_source)
    row["details"] = {**details, "sources": sources, "merged": _others(inner, outer_source)}
    return row


_SAID = ("messages", "tools", "response", "prompt_preview", "response_preview")


def _lost_some(outer: Row, inner: Row) -> bool:
    """Return whether the messages of the outer report say less than those of the inner one.

    One of them is empty, and none of the inner one is: some frameworks' instrumentations leave out
    what a tool answered. Or it has only the arguments of a function: `{"args": ["what is it?"]}`.
    """
    if any(map(_is_empty, outer["messages"])):
        return not any(map(_is_empty, inner["messages"]))
    text, asked = outer["messages"][0].get("content"), inner["prompt_preview"]
    is_structure = len(outer["messages"]) == 1 and isinstance(text, str) and text[:1] == "{"
    return is_structure and bool(asked) and text != asked and dumps(asked)[1:-1] in text


def _is_empty(message: Any) -> bool:
    return not isinstance(message, dict) or not (
        message.get("content") or message.get("tool_calls") or message.get("reasoning")
    )


def _others(row: Row, source: str) -> list[str]:
    return [*row["details"].get("merged", ()), source]


def with_hand_made(row: Row, by_hand: Row) -> Row:
    """Return the row of a captured call that the program then handed over by hand.

    Its task and its cost win; messages, previews and times are those captured, where there are any.
    """
    new = {
        name: value if _is_given(name, value) else _of_hand(name, by_hand)
        for name, value in row.items()
    }
    if not (new["tokens_in"] or new["tokens_out"]):
        new["usage_known"] = row["usage_known"]  # nobody counts those of a call that has failed
    of_hand = [name for name in ("task", "cost") if _is_given(name, by_hand.get(name))]
    new.update({name: by_hand[name] for name in of_hand})
    if new["usage_known"] and not row["usage_known"]:
        of_hand.append("tokens")
    details = by_hand.get("details")
    given = json.loads(details) if isinstance(details, str) else {}
    sources = {**row["details"].get("sources", {}), **dict.fromkeys(of_hand, "record_llm_call")}
    new["details"] = {
        **given,
        **row["details"],
        "sources": sources,
        "merged": _others(row, "record_llm_call"),
    }
    return new


def _of_hand(name: str, by_hand: Row) -> Any:
    value = by_hand.get(name)
    return json.loads(value) if name in KEYED and isinstance(value, str) else value


_CONTENT = frozenset(column.name for column in LLM_CALLS.columns if column.content)


def columns_of(row: Row, *, keep_content: bool) -> Row:
    """Return the columns of a row as the recorder takes them.

    Without content no text stays that people, models or tools said: errors of a vendor's repeat the
    prompt, the arguments of a tool are the answer of the model, a setting may be a text to embed.
    """
    details = row["details"]
    if not keep_content:
        named = [{"id": call["id"], "name": call["name"]} for call in details.get("tool_calls", ())]
        config = settings_without_content(details.get("config") or {})
        # What nothing was read from may be any text.
        gone = dict.fromkeys(("attributes", "other_answers"))
        details = {**details, "tool_calls": named, "config": config, **gone}
    columns = row if keep_content else {**row, **dict.fromkeys(_CONTENT & row.keys())}
    return {
        **columns,
        **{name: _listed(columns[name]) for name in KEYED},
        "details": dumps({name: value for name, value in details.items() if value}),
    }


def _listed(value: list[Any] | None) -> str | None:
    return dumps(value) if value else None


def _is_given(name: str, value: Any) -> bool:
    if name == "cost":  # 0 is free
        return value is not None and isfinite(value)
    return value is not None and value != "" and value != 0 and value != {}
