"""Records by run id: lists of dicts, as the API of the original takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from waxlocal.encode import dumps
from waxlocal.ids import run_id_of
from waxlocal.known_types import is_a
from waxlocal.recording.recorder import current_recorder
from waxlocal.records import LLM_CALLS, NO_COST, Kind, RecordStatus
from waxlocal.sdk.arguments import (
    ReadUsage,
    checked,
    is_given,
    need,
    need_count,
    need_dict,
    need_items,
    need_number,
    number_of,
    plain_text,
    truth,
    with_usage,
)
from waxlocal.sdk.memory import kind_of
from waxlocal.sdk.run import Run, captured
from waxlocal.sdk.runs_by_id import RunsById, add_step, result_of
from waxlocal.sdk.sound_counts import sound_counts

__all__ = ["RecordsById"]

# As the original cuts what a stream has given so far.
MAX_PARTIAL_CHARS = 20_000

# What a call of a model has beside the columns of its own.
_DETAILS = ("framework", "prompt_hash", "config", "chunk_count", "usage_note", "token_details")
# How a column is read, by what it holds; None where there is nothing to record.
_READERS: dict[Kind, Callable[[str, Any], Any]] = {
    Kind.TEXT: lambda _, value: _shown(value),
    Kind.INTEGER: lambda name, value: None if value is None else need_count(name, value),
    Kind.TOKENS: lambda name, value: need_count(name, value) if is_given(value) else None,
    Kind.NUMBER: lambda name, value: need_number(name, value) if is_given(value) else None,
    Kind.JSON: lambda _, value: dumps(value) if is_given(value) else None,
}
# The columns of a call that go by their own names; `_llm_call` makes the others.
_MADE = ("cost", "cost_source", "is_streaming", "messages", "response", "details")
_OF_CALL = [
    (column, _READERS[column.kind])
    for column in LLM_CALLS.columns
    if column.name in LLM_CALLS.defaults and column.name not in _MADE
]
# What an event may say when content is not kept.
_EVENT_NAMES = ("event", "workflow_id", "agent_name", "workflow_name")

Json = dict[str, Any]


@checked("WaxellObserveClient")
class RecordsById(RunsById):
    """Records into a run that is named by its id; see `WaxellObserveClient`."""

    async def record_llm_calls(
        self, run_id: str, calls: list[Json], conversation_state: Json | None = None
    ) -> Json:
        """Record calls of models; each a dict with the fields of `WaxellContext.record_llm_call`.

        Tokens that are not given, and in no `usage`, are 0.

        Returns `{"recorded": n}`. Raises `TypeError` for a value of a wrong type, in which case
        none of the calls is recorded.
        """
        run = self._run(run_id)
        rows = [_llm_call(run, call) for call in _dicts("calls", calls)]
        if run._run_id:
            for row in rows:
                if captured.claim is None or not captured.claim(run, row):
                    run._add_llm_call(**row)
        self._keep_conversation(run, conversation_state)
        return _recorded(run, rows)

    def record_llm_calls_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_llm_calls`, at once; takes its arguments by keyword."""
        return result_of(self.record_llm_calls(**kwargs))

    async def record_steps(
        self, run_id: str, steps: list[Json], conversation_state: Json | None = None
    ) -> Json:
        """Record steps; returns `{"recorded": n}`.

        Each is a dict with `step_name`, `kind` and `output`, or the name alone.
        """
        run = self._run(run_id)
        steps = need_items("steps", steps)
        for step in steps:
            add_step(run, step)
        self._keep_conversation(run, conversation_state)
        return _recorded(run, steps)

    def record_steps_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_steps`, at once; takes its arguments by keyword."""
        return result_of(self.record_steps(**kwargs))

    async def record_spans(self, run_id: str, spans: list[Json]) -> Json:
        """Record spans; returns `{"recorded": n}`.

        Each is a dict with `name`, `kind`, `status`, `duration_ms`, `attributes`, `input_data` and
        `output_data`; all may be left out. A span ends when it is recorded. Raises `TypeError` for
        a value of a wrong type, in which case none of the spans is recorded.
        """
        run = self._run(run_id)
        rows = [_span(run, span) for span in _dicts("spans", spans)]
        for row in rows:
            run._add_span(**row)
        return _recorded(run, rows)

    def record_spans_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_spans`, at once; takes its arguments by keyword."""
        return result_of(self.record_spans(**kwargs))

    async def record_scores(self, run_id: str, scores: list[Json]) -> Json:
        """Record scores; returns `{"recorded": n}`.

        Each is a dict with `name`, `data_type`, `comment`, and `numeric_value` or `string_value`
        (or `value` for either). Raises `TypeError` for a value of a wrong type, in which case none
        of the scores is recorded.
        """
        run = self._run(run_id)
        rows = [_score(score) for score in _dicts("scores", scores)]
        for row in rows:
            run._add_score(*row)
        return _recorded(run, rows)

    def record_scores_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_scores`, at once; takes its arguments by keyword."""
        return result_of(self.record_scores(**kwargs))

    async def record_events(self, events: list[Json]) -> None:
        """Record events, dicts with an `event` and any other fields.

        Each goes to the run whose `workflow_id` it names, else to the one that is open here, else
        into the file outside any run.
        """
        for event in _dicts("events", events):
            run_id = run_id_of(str(event.get("workflow_id", ""))) or ""
            kept = event
            if not current_recorder().capture_content:
                kept = {name: event[name] for name in _EVENT_NAMES if name in event}
            self._note(str(event.get("event", "event")), kept, run_id)

    def record_events_sync(self, **kwargs: Any) -> None:
        """Do the same as `record_events`, at once; takes its arguments by keyword."""
        result_of(self.record_events(**kwargs))

    def publish_partial_output(
        self,
        *,
        run_id: str,
        partial: str,
        chunk_count: int | None = None,
        model: str = "",
        done: bool = False,
    ) -> None:
        """Record what a stream has produced so far, cut after 20,000 characters."""
        data: Json = {"chunk_count": chunk_count, "model": model, "done": done}
        if current_recorder().capture_content:
            data["partial"] = partial[:MAX_PARTIAL_CHARS]
        self._note("partial_output", data, run_id)

    async def write_episodic_memory(
        self,
        *,
        run_id: str,
        slot_name: str,
        scope_key: str,
        data: Any,
        memory_type: str | None = None,
        ttl_seconds: int | None = None,
        max_items: int | None = None,
    ) -> Json:
        """Record what was put into a slot of the episodic memory, for `ttl_seconds`.

        Returns the slot and the scope.
        """
        written = {
            "slot_name": slot_name,
            "scope_key": scope_key,
            "memory_type": memory_type or kind_of(data),
            "data": data,
            "ttl_seconds": ttl_seconds,
            "max_items": max_items,
        }
        return self._remembered("memory_episodic", written, ("data",), run_id)

    def write_episodic_memory_sync(self, **kwargs: Any) -> Json:
        """Do the same as `write_episodic_memory`, at once; takes its arguments by keyword."""
        return result_of(self.write_episodic_memory(**kwargs))

    async def write_semantic_fact(
        self,
        *,
        run_id: str,
        slot_name: str,
        scope_key: str,
        content: str,
        content_embedding: list[float],
        importance: float = 0.7,
        tags: list[str] | None = None,
        fact_key: str | None = None,
        source_tool: str = "",
        metadata: Json | None = None,
    ) -> Json:
        """Record which fact was put into the semantic memory; `importance` is from 0 to 1.

        Returns the slot and the scope.
        """
        written = {
            "slot_name": slot_name,
            "scope_key": scope_key,
            "content": content,
            "content_embedding": content_embedding,
            "importance": importance,
            "tags": tags or [],
            "fact_key": fact_key,
            "source_tool": source_tool,
            "metadata": metadata or {},
        }
        content_of_it = ("content", "content_embedding")
        return self._remembered("memory_semantic", written, content_of_it, run_id)

    def write_semantic_fact_sync(self, **kwargs: Any) -> Json:
        """Do the same as `write_semantic_fact`, at once; takes its arguments by keyword."""
        return result_of(self.write_semantic_fact(**kwargs))

    def _remembered(self, event: str, written: Json, content: tuple[str, ...], run_id: str) -> Json:
        kept = written
        if not current_recorder().capture_content:
            kept = {name: value for name, value in written.items() if name not in content}
        self._note(event, kept, run_id)
        return {"slot_name": written["slot_name"], "scope_key": written["scope_key"]}


def _dicts(name: str, values: Any) -> list[Json]:
    items = need_items(name, values)
    for item in items:
        need(name, item, dict)
    return items


def _recorded(run: Run, rows: Sequence[object]) -> Json:
    return {"recorded": len(rows) if run._run_id else 0}


def _llm_call(run: Run, call: Json) -> Json:
    """Return the columns of a call of a model."""
    captured = run._recorder.capture_content
    if "usage" in call:
        call = with_usage(call)
        told: ReadUsage = call["usage"]
        known = int(told.is_known)
        call |= {"usage_known": known, "usage_note": told.note, "token_details": told.finer}
    elif call.get("tokens_in") is None and call.get("tokens_out") is None:
        call = {"usage_known": 0, **call}
    details = {name: call[name] for name in _DETAILS if is_given(call.get(name))}
    if captured and is_given(call.get("prompt_variables")):
        details["prompt_variables"] = call["prompt_variables"]
    row: Json = {}
    for column, read in _OF_CALL:
        value = read(column.name, call.get(column.name))
        row[column.name] = (
            column.default if value is None or (column.content and not captured) else value
        )
    counts, note = sound_counts(row, is_known=bool(row["usage_known"]))
    row |= counts
    if note:
        details["usage_note"] = "; ".join(filter(None, (details.get("usage_note"), note)))
    cost = call.get("cost")
    return row | {
        "cost": None if cost is NO_COST or not is_given(cost) else need_number("cost", cost),
        "is_streaming": truth("is_streaming", call.get("is_streaming")),
        "messages": run._content(call.get("full_messages")),
        "response": _shown(call.get("full_response")) if captured else None,
        "details": dumps(details) if details else None,
    }


def _span(run: Run, span: Json) -> Json:
    """Return the columns of a span."""
    attributes = need_dict("attributes", span.get("attributes")) or {}
    if not run._recorder.capture_content:
        attributes = {name: value for name, value in attributes.items() if name != "error"}
    return {
        "name": plain_text(span.get("name")),
        "kind": plain_text(span.get("kind"), "custom"),
        "status": plain_text(span.get("status")) or RecordStatus.OK,
        "error": plain_text(attributes.get("error")),
        "duration_ms": _milliseconds(span.get("duration_ms")),
        "attributes": attributes,
        "input": span.get("input_data"),
        "output": span.get("output_data"),
    }


def _score(score: Json) -> tuple[str, str, float | None, str | None, str]:
    """Return name, type, number, word and comment of a score."""
    data_type = plain_text(score.get("data_type"), "numeric")
    number: Any = score.get("numeric_value", score.get("value"))
    word = score.get("string_value")
    if number is not None and not is_a(number, int, float):
        number, word = _number_in(number, word, data_type)
    return (
        plain_text(score.get("name")),
        data_type,
        None if number is None else need_number("numeric_value", number),
        None if word is None else plain_text(word),
        plain_text(score.get("comment")),
    )


def _number_in(value: Any, word: Any, data_type: str) -> tuple[float | None, Any]:
    """Return a value that is not a number as one, where its type asks for that; else as a word."""
    if data_type == "numeric" and is_a(value, str):
        with suppress(TypeError):
            return number_of("numeric_value", value), word
    return None, value if word is None else word


def _shown(value: object) -> str | None:
    """Return a text as it is and anything else as JSON; None for nothing."""
    if not is_given(value) or value is False:
        return None
    return str.__str__(value) if isinstance(value, str) else dumps(value)


def _milliseconds(value: object) -> int | None:
    return None if value is None else need_count("duration_ms", value)
