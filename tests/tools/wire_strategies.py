"""Runs with anything in their columns that the description of the tables lets them hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from hypothesis import strategies as st

from waxlocal.clock import utc_text
from waxlocal.records import (
    ENDED_STATUSES,
    NEEDED,
    PROCESSES,
    RECORD_TABLES,
    RUNS,
    Column,
    Kind,
    Table,
)

__all__ = ["Stored", "changes_of", "new_record", "stored_runs"]

Row = dict[str, Any]
# A run, its process, and its records by table.
Stored = tuple[Row, Row | None, dict[str, list[Row]]]

LARGEST = 2**63 - 1
# fmt: off
# Names and keys that the wire treats in a way of its own.
KINDS = (
    "tool", "retriever", "decision", "reasoning", "retry", "io", "pause", "memory", "prompt", "llm",
    "agent", "chain", "custom",
)
NAMES = (
    "user_message", "agent_response", "human_turn", "memory.write:x", "memory.recall:x", "comm:sms",
    "prompt.use:x", "retrieve:", "code:python", "search",
)
EVENTS = (
    "grounding", "retrieval_result", "delegation", "resumed", "memory_episodic", "memory_semantic",
    "conversation_state", "scope_impact", "data_access", "bias_flag", "memory_state",
    "policy_check",
    "approval_requested", "approval_denied", "privacy_context", "intermediate_output",
    "output_text", "network_request", "feedback",
)
KEYS = (
    "attempt", "channel", "citations", "code", "content", "content_embedding", "data", "delegate",
    "depth", "doc_count", "error", "event", "flag", "grounding_scores", "importance", "io.action",
    "io.channel", "io.direction", "language", "memory_type", "metadata", "model", "output",
    "policies_inherited", "prompt_hash", "results", "results_count", "slot_name", "source", "text",
    "tier", "tokens_in", "tool_type", "url", "user_turns", "version", "waxlocal", "workflow_id",
)
ODD_JSON = (
    "null", "0", '""', "{}", "[]", ' {"a" :  1} ', '{"a":1,"a":2}', "1.0E+2", "-0.0", "1e-400",
    "123456789012345678901234567890", '"\\u00e9\\n"', '[{}, [], "", null, true]', '{"raw":"x"}',
    '{"waxlocal":{"position":1}}', '{"event":"policy_check"}', "[" * 60 + "]" * 60,
)
# fmt: on

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from((*NAMES, *EVENTS))
)


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(KEYS) | TEXT, values, max_size=5)


VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=8
)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


JSON = st.one_of(
    _objects(VALUES).map(_compact),
    VALUES.map(_compact),
    VALUES.map(json.dumps),
    st.sampled_from(ODD_JSON),
)
# Lists as a conversation sends them: each call has the same messages again, and more.
MESSAGES = (
    '{"role":"system","content":"Be brief."}',
    '{"role":"user","content":"Why?"}',
    '{"role":"assistant","content":"\\u0000 é 🎉"}',
    '{"role":"user","content":""}',
    '"text"',
    "null",
    '{"role": "user"}',
    "[]",
    "1.50",
    '[1, {"a" : 2}]',
    '{"role":"tool","content":[{"type":"text"}]}',
)
LISTS = st.one_of(
    st.integers(0, len(MESSAGES)).map(lambda many: MESSAGES[:many]),
    st.lists(st.sampled_from(MESSAGES), max_size=40),
).map(lambda items: f"[{','.join(items)}]")
# From 2000 on: the checks know such times at a glance. To the microsecond.
TIMES = st.integers(946_684_800_000_000, 4_102_444_800_000_000).map(lambda us: utc_text(us * 1_000))
INTEGERS = st.integers(0, 9) | st.integers(-LARGEST, LARGEST)
NUMBERS = st.integers(0, 9).map(float) | st.floats(allow_nan=False, allow_infinity=False)

_OF_KIND: Mapping[Kind, st.SearchStrategy[Any]] = {
    Kind.RUN_ID: st.uuids(version=4).map(str) | st.just("nope"),
    Kind.ID: TEXT.map(lambda text: text.replace("\0", "")),
    Kind.TEXT: TEXT,
    Kind.STATUS: st.sampled_from(sorted(ENDED_STATUSES)),
    Kind.TIME: TIMES,
    Kind.JSON: JSON,
    Kind.INTEGER: INTEGERS,
    Kind.TOKENS: INTEGERS,
    Kind.NUMBER: NUMBERS,
    Kind.SCORE: NUMBERS | st.sampled_from((float("inf"), float("-inf"))),
    Kind.REVISION: st.integers(0, 2**53 - 1),
}
_OF_NAME: Mapping[str, st.SearchStrategy[Any]] = {
    "messages": LISTS | JSON,
    "tools": LISTS | JSON,
    "kind": st.sampled_from(KINDS) | TEXT,
    "name": st.sampled_from(NAMES) | TEXT,
    "event": st.sampled_from(EVENTS) | TEXT,
    "status": st.sampled_from(("ok", "error", "running", "blocked")),
    "trace_id": st.just("0" * 32) | TEXT.filter(bool),
    "interaction_mode": TEXT.filter(bool),
    "model": st.sampled_from(("gpt-4o", "claude-x", "")) | TEXT,
    "started": TEXT,
}


def _cells(column: Column) -> st.SearchStrategy[Any]:
    values = _OF_KIND[column.kind]
    if column.kind is not Kind.STATUS:
        values = _OF_NAME.get(column.name, values)
    return values if column.default is NEEDED or column.default is not None else st.none() | values


def _rows(table: Table) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries({column.name: _cells(column) for column in table.travelling})


def _records(table: Table) -> st.SearchStrategy[Row]:
    rows = _rows(table)
    return rows | rows.map(_as_the_program_gave_it) if table.name == "events" else rows


def _as_the_program_gave_it(row: Row) -> Row:
    return row | {"data": _compact({"event": row["event"], "stars": 5})}


def new_record(position: int) -> st.SearchStrategy[tuple[str, Row]]:
    """Return (table, row) of some record at a position."""
    return st.sampled_from(RECORD_TABLES).flatmap(
        lambda table: _records(table).map(lambda row: (table.name, row | {"position": position}))
    )


def changes_of(row: Row, table: Table, *, keep: Collection[str]) -> st.SearchStrategy[Row]:
    """Return new values for one to three columns of a row, but for those to be kept."""
    open_span = table.name == "spans" and row["status"] == "running"
    columns = {
        column.name: _cells(column)
        for column in table.travelling
        if column.name not in keep
        and column.name not in (*table.key, "revision")
        and (not open_span or column.name in _OF_SPAN_END)
    }
    if open_span:  # what is open can only end
        ended = st.sampled_from(("ok", "error"))
        return st.fixed_dictionaries({**columns, "status": ended})
    chosen = st.lists(st.sampled_from(sorted(columns)), min_size=1, max_size=3, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({n: columns[n] for n in names}))


_OF_SPAN_END = ("duration_ms", "status", "error", "attributes", "input", "output")


@st.composite
def stored_runs(draw: st.DrawFn, most: int = 6, highest: int = 2**60) -> Stored:
    """Return a run that has ended, with its process and its records, at positions as they come."""
    run = draw(_rows(RUNS))
    process = draw(st.none() | _rows(PROCESSES))
    if process is not None:
        process["process_id"] = draw(st.integers(1, 2**56 - 1))
    places = st.integers(1, 40) | st.integers(1, highest)
    positions = draw(st.lists(places, max_size=most, unique=True))
    records: dict[str, list[Row]] = {}
    for position in positions:
        table, row = draw(new_record(position))
        records.setdefault(table, []).append(row)
    return run, process, records
