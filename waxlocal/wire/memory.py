"""What an agent put into memories and asked them for, as the original SDK sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from waxlocal.encode import dumps
from waxlocal.records import EVENTS
from waxlocal.wire.exact import told, without_key, written
from waxlocal.wire.span_kinds import SUMMARY_CHARS, StoredSpan
from waxlocal.wire.values import Json, number_of, text_of

__all__ = [
    "FIELDS",
    "MemoryState",
    "Remembered",
    "data_of_memory",
    "episodic_body",
    "exact_memory",
    "is_memory_write",
    "remembered",
    "semantic_body",
    "told_by_memory",
]

# The original keeps so many characters of what was remembered, of its copy, of what was recalled.
CONTENT_CHARS = 2_000
COPY_CHARS = 500
RESULT_CHARS = 1_000

# The fields of a request about a memory, by tier, each with what it holds.
FIELDS = {
    "episodic": {
        "slot_name": "text",
        "scope_key": "text",
        "memory_type": "text: value, list or dict",
        "data": "any",
        "ttl_seconds": "number",
        "max_items": "whole number",
    },
    "semantic": {
        "slot_name": "text",
        "scope_key": "text",
        "content": "text",
        "content_embedding": "array of numbers",
        "importance": "number",
        "tags": "array",
        "source_tool": "text",
        "fact_key": "text",
        "metadata": "object",
    },
}
# What the recorder's events hold where the SDK sends only what was given.
_DEFAULTS: dict[str, Json] = {
    "episodic": {
        "slot_name": "",
        "scope_key": "",
        "memory_type": None,
        "data": None,
        "ttl_seconds": None,
        "max_items": None,
    },
    "semantic": {
        "slot_name": "",
        "scope_key": "",
        "content": "",
        "importance": 0.7,
        "tags": [],
        "fact_key": None,
        "source_tool": "",
        "content_embedding": None,
    },
}

_WRITE = "memory.write:"
_RECALL = "memory.recall:"


class Remembered(NamedTuple):
    """A fact that was put into a memory of the server's."""

    tier: str
    slot_name: str
    scope_key: str
    content: str
    data: Any


def remembered(event: str, data: Json, run: Mapping[str, Any]) -> Remembered | None:
    """Return the fact that an event holds; None if the program did not record it through its run.

    The low-level client names neither the type of what is episodic nor, always, the metadata of
    what is semantic; the run does the reverse.
    """
    if event == "memory_episodic" and data.get("memory_type"):
        fact = data.get("data")
        content = fact if isinstance(fact, str) else "" if fact is None else str(fact)
        return Remembered("episodic", *_place(data, run), content, fact)
    if event == "memory_semantic" and "metadata" not in data:
        content = text_of(data.get("content"))
        return Remembered("semantic", *_place(data, run), content, content)
    return None


def _place(data: Json, run: Mapping[str, Any]) -> tuple[str, str]:
    return text_of(data.get("slot_name")), _scope_key(data, run)


def _scope_key(data: Json, run: Mapping[str, Any]) -> str:
    """Return whose memory it is: the session's, or without a session the run's."""
    key = text_of(data.get("scope_key"))
    alone = not run["session_id"] and key == _own_scope(run)
    return f"{key}{run['run_id']}" if alone else key


def _own_scope(run: Mapping[str, Any]) -> str:
    return f"{text_of(run['agent_name'])}:{text_of(run['session_id'])}"


def episodic_body(data: Json, run: Mapping[str, Any]) -> Json:
    """Return the request that puts something into the episodic memory."""
    fact = data.get("data")
    kind = "dict" if isinstance(fact, dict) else "list" if isinstance(fact, list) else "value"
    body: Json = {
        "slot_name": text_of(data.get("slot_name")),
        "scope_key": _scope_key(data, run),
        "memory_type": data.get("memory_type") or kind,
        "data": fact,
    }
    optional = ("ttl_seconds", "max_items")
    return body | {name: data[name] for name in optional if data.get(name) is not None}


def semantic_body(data: Json, run: Mapping[str, Any]) -> Json | None:
    """Return the request that puts a fact into the semantic memory.

    None without an embedding: the server cannot make one, and the original does not ask it.
    """
    if not data.get("content_embedding"):
        return None
    body: Json = {
        "slot_name": text_of(data.get("slot_name")),
        "scope_key": _scope_key(data, run),
        "content": text_of(data.get("content")),
        "content_embedding": data["content_embedding"],
        "importance": data.get("importance", 0.7),
        "tags": data.get("tags") or [],
        "source_tool": text_of(data.get("source_tool")),
    }
    return body | {name: data[name] for name in ("fact_key", "metadata") if data.get(name)}


def is_memory_write(span: StoredSpan) -> bool:
    """Return whether a span writes to the program's own memory, which is not a span there."""
    return span.name.startswith(_WRITE) and "memory_type" in span.attributes


class MemoryState:
    """The part `memory_state` of the state of a conversation."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        self._run = run
        self._held: Json = {}
        self._writes: list[Json] = []
        self._recalls: list[Json] = []

    def hold(self, data: Json) -> None:
        """Take the contents of the memory, as the program gives them."""
        self._held = {
            name: value for name, value in data.items() if name != "memory_items" or value
        }

    def add_span(self, span: StoredSpan) -> None:
        """Take a write to a memory of the program's own, or a question to it."""
        if is_memory_write(span):
            self._add_write(span)
        elif span.name.startswith(_RECALL) and "results_count" in span.attributes:
            self._add_recall(span)

    def _add_write(self, span: StoredSpan) -> None:
        told, answer = span.attributes, span.output or {}
        write: Json = {
            "memory_type": told["memory_type"],
            "content": text_of(answer.get("content")),
        }
        if slot_name := span.name.removeprefix(_WRITE):
            write["slot_name"] = slot_name
        if told.get("scope_key", "") not in ("", _own_scope(self._run)):
            write["scope_key"] = told["scope_key"]
        if answer.get("data") is not None:
            write["data"] = answer["data"]
        self._writes.append(write)

    def _add_recall(self, span: StoredSpan) -> None:
        told = span.attributes
        recall: Json = {
            "tier": text_of(told.get("tier")),
            "store": text_of(told.get("store")),
            "query": text_of((span.input or {}).get("query"))[:SUMMARY_CHARS],
            "hit": bool(told["results_count"]),
            "results_count": told["results_count"],
            "top_score": number_of(told.get("top_score")),
        }
        results = (span.output or {}).get("results")
        if isinstance(results, list) and results:
            recall["results"] = [_result(result) for result in results]
        self._recalls.append(recall)

    def add(self, fact: Remembered) -> None:
        """Take a fact that was put into a memory of the server's."""
        self._writes.append(
            {
                "memory_type": fact.tier,
                "content": fact.content[:CONTENT_CHARS],
                "slot_name": fact.slot_name,
                "scope_key": fact.scope_key,
                "data": fact.data,
            }
        )

    def result(self) -> Json:
        """Return the whole, empty if there is nothing to tell."""
        state = dict(self._held)
        if self._writes:
            state["memory_writes"] = self._writes
        if self._recalls:
            state["memory_recalls"] = self._recalls
        if self._writes or self._recalls:
            state["snapshot"] = self._snapshot()
        return state

    def _snapshot(self) -> Json:
        reads = [
            {name: value for name, value in recall.items() if name != "results_count"}
            for recall in self._recalls
        ]
        writes = [
            {
                **{name: value for name, value in write.items() if name != "memory_type"},
                "tier": write["memory_type"],
                "content": write["content"][:COPY_CHARS],
            }
            for write in self._writes
        ]
        hits = sum(read["hit"] for read in reads)
        summary = {
            "read_count": len(reads),
            "write_count": len(writes),
            "hit_count": hits,
            "hit_rate": round(hits / len(reads), 3) if reads else None,
            "stores": sorted({read["store"] for read in reads} - {""}),
            "tiers": sorted({text_of(told["tier"]) for told in (*reads, *writes)}),
        }
        return {"reads": reads, "writes": writes, "summary": summary}


def _result(result: Any) -> Any:
    return result if isinstance(result, dict | list) else str(result)[:RESULT_CHARS]


# -- from the wire ---------------------------------------------------------------------------------


def data_of_memory(tier: str, body: Json) -> Json:
    """Return what the event of such a request holds."""
    return _DEFAULTS[tier] | body


def exact_memory(tier: str, body: Json, said: Json) -> Json:
    """Return the event that a request about a memory carries. Raises `Refused`."""
    return written(EVENTS, said, _columns(tier, without_key(body)))


def told_by_memory(tier: str, body: Json, row: Mapping[str, Any]) -> Json | None:
    """Return the columns of its event that a request about a memory adds."""
    return told(EVENTS, row, _columns(tier, body))


def _columns(tier: str, body: Json) -> Json:
    return {"event": f"memory_{tier}", "data": dumps(data_of_memory(tier, body))}
