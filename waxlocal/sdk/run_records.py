"""The rows of a run's records: calls of models, steps, spans, scores, events.

This is the hot path: each method makes one row and writes it. A tuple in the order of the columns
stands here and nowhere else, because binding by name would cost a fifth of an `INSERT` more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count, zip_longest
from math import isfinite, isnan
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.prices.lookup import NOTE_MODEL, PRICED_BY
from waxlocal.recording.recorder import Recorder
from waxlocal.recording.statements import (
    ADD_EVENT,
    ADD_LLM_CALL,
    ADD_REMOVED_CALL,
    ADD_SCORE,
    ADD_SPAN,
    ADD_STEP,
    ADD_WHOLE_CALL,
    CHANGE_LLM_CALL,
    CHANGED_BY_CAPTURE,
    END_SPAN,
    REMOVE_LLM_CALL,
    SET_RUN_INPUTS,
    SET_SPAN_ATTRIBUTES,
    SET_SPAN_INPUT,
)
from waxlocal.recording.transactions import Bound
from waxlocal.records import LLM_CALLS, CostSource, RecordStatus
from waxlocal.sdk.arguments import is_given, need_number, plain_text
from waxlocal.sdk.run_attributes import Row, RunAttributes
from waxlocal.sdk.scope import position_around
from waxlocal.storage.contents import insert_contents, split
from waxlocal.storage.record_sql import Statement

__all__ = ["FORK_POSITIONS", "NO_SPAN", "RunRecords", "note_outside"]

# A span that claims to have lasted longer than a year begins a year ago.
MAX_SPAN_MS = 366 * 86_400_000
# What `_add_span` returns for a run that is not recorded; positions begin at 1.
NO_SPAN = 0
_NOTE_MODEL = Statement(NOTE_MODEL)
_CALL = LLM_CALLS.recorded
# Names of this module: every call of a model is marked with one of them.
_GIVEN, _PRICED = CostSource.CALL, CostSource.PRICE
# How far apart the positions of two processes lie that record into one run.
FORK_POSITIONS = 1_000_000


class RunRecords(RunAttributes):
    """Writes each kind of record; a record is on disk when its method returns.

    One that is made before the beginning of the run is written with the beginning.

    Every value is encoded where it is handed over: what the program does with a dict afterwards
    does not change what was recorded.
    """

    __slots__ = ("_generation", "_positions")

    # How many forks this process was away from the first one when it last took a position.
    _generation: int
    _inputs_json: str | None
    _positions: Iterator[int]

    def _next(self) -> int:
        """Return the position of the next record; safe from any thread."""
        if self._generation != self._recorder.generation:
            # In a forked child: parent and child both go on with this run, and must not meet.
            self._generation = self._recorder.generation
            self._positions = count(next(self._positions) + FORK_POSITIONS * os.getpid())
        return next(self._positions)

    def _content(self, value: object) -> str | None:
        """Return JSON of something a person said or got, unless content is not to be kept."""
        return dumps(value) if value is not None and self._recorder.capture_content else None

    def _words(self, said: str, instead: str = "") -> str:
        """Return what somebody or something said, or `instead` if content is not to be kept."""
        return said if self._recorder.capture_content else instead

    # fmt: off
    def _add_llm_call(
        self, *, model: str, provider: str, task: str, tokens_in: int, tokens_out: int,
        cached_tokens: int, cache_write_tokens: int, cost: float | None, duration_ms: int | None,
        ttft_ms: int | None, is_streaming: bool, status: str, error_type: str | None,
        error_message: str | None, prompt_preview: str | None, response_preview: str | None,
        messages: str | None, response: str | None, details: str | None,
        reasoning_tokens: int | None = None, response_id: str | None = None,
        usage_known: bool | int = True, tools: str | None = None, ended_ns: int = 0,
        position: int = 0,
    ) -> int:
        """Write a call of a model, the columns by name; return its position.

        A `cost` of None is left to the prices. `messages` and `tools` are JSON. With
        `usage_known=False` nobody told the tokens, which must be 0, and only a cost that is given
        is known. `ended_ns`: when it ended, in nanoseconds since 1970; by default now. A `position`
        is given where the same call is written again, because a signal handler struck.
        """
        recorder = self._recorder
        priced = cost
        source: str | None = _GIVEN
        if cost is None or not isfinite(cost):
            priced = recorder.store.prices.cost(
                model, provider, tokens_in, tokens_out, cached_tokens, cache_write_tokens, details
            ) if usage_known else None
            source = None if priced is None else _PRICED
        position = position or self._next()
        recorded_at = utc_text(ended_ns or recorder.clock.time_ns())
        row = (
            self._run_id, position, recorded_at, model, provider, task, tokens_in, tokens_out,
            cached_tokens, cache_write_tokens, priced, source, duration_ms, ttft_ms,
            1 if is_streaming else 0, status, error_type, error_message, prompt_preview,
            response_preview, messages, response, details, reasoning_tokens,
        )
        # fmt: on
        if messages is tools is response_id is None and usage_known:
            self._write(ADD_LLM_CALL, row)
        else:
            rest: dict[str, object] = {"response_id": response_id, "tools": tools}
            self._write_whole_call(row, rest | {"usage_known": 1 if usage_known else 0})
        if priced is None and recorder.store.prices.unseen(model, provider):
            write = recorder.store.write if self._run_id else self._wait_for_beginning
            write(_NOTE_MODEL, (model, provider, recorded_at))
        return position

    def _change_llm_call(self, run_id: str, position: int, columns: dict[str, Any]) -> None:
        """Write a call of any run anew, of which more is known now.

        A `cost` of None is left to the prices.
        """
        row, contents = self._priced(columns)
        values = (*(row.get(name) for name in CHANGED_BY_CAPTURE), run_id, position)
        unit = [*insert_contents(contents), (CHANGE_LLM_CALL, values), *self._note_anew(row)]
        self._write_together(*unit)

    def _take_llm_call(
        self, position: int, columns: dict[str, Any], ended_ns: int, there: tuple[str, int]
    ) -> None:
        """Write a call that is in another run, and remove it `there`: run and position.

        It is in one of the two at any time. Where somebody has begun to upload it, it stays, and is
        written anew there. `ended_ns`: in nanoseconds since 1970.
        """
        row, contents = self._priced(columns)
        changed = (*(row.get(name) for name in CHANGED_BY_CAPTURE), *there)
        row |= {"run_id": self._run_id, "position": position, LLM_CALLS.moment: utc_text(ended_ns)}
        self._write_together(
            *insert_contents(contents),
            (REMOVE_LLM_CALL, dict(zip(("run_id", "position"), there, strict=True))),
            (ADD_REMOVED_CALL, tuple(row.get(name) for name in LLM_CALLS.recorded)),
            (CHANGE_LLM_CALL, changed),
            *self._note_anew(row),
        )

    def _note_anew(self, row: dict[str, Any]) -> list[Bound]:
        """Return what has a call priced that lost its cost: a reader may have given it one since.

        The recorder reads the prices of the file again only after a while.
        """
        model, provider = row["model"], row["provider"]
        prices = self._recorder.store.prices
        is_unpriced = row["cost"] is None and row["usage_known"]
        if not is_unpriced or not prices.may_be_listed(model, provider):
            return []
        return [(_NOTE_MODEL, (model, provider, utc_text(self._recorder.clock.time_ns())))]

    def _priced(self, columns: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the columns of a captured call as they are stored, and its messages and tools."""
        cost: float | None = columns["cost"]
        source: str | None = _GIVEN
        if cost is None or not isfinite(cost):
            prices = self._recorder.store.prices
            known = columns["usage_known"]
            cost = prices.cost(*(columns[name] for name in PRICED_BY)) if known else None
            source = None if cost is None else _PRICED
        columns = self._recorder.masked_lists(columns)
        keyed, contents = split(columns)
        return {**columns, **keyed, "cost": cost, "cost_source": source}, contents

    def _write_whole_call(self, row: Row, rest: dict[str, object]) -> None:
        """Write a call with the columns that few calls have; its messages and tools once each.

        Before the beginning of the run they wait whole: content may still be not to be kept.
        """
        whole = dict(zip_longest(_CALL, row)) | rest
        if not self._run_id:
            self._wait_for_beginning(ADD_WHOLE_CALL, tuple(whole.values()))
            return
        whole = self._recorder.masked_lists(whole)
        columns, contents = split(whole)
        call = (ADD_WHOLE_CALL, tuple((whole | columns).values()))
        self._write_together(*insert_contents(contents), call)

    def _add_step(
        self, name: str, kind: str, output: object = None, attributes: object = None
    ) -> None:
        if self._recorder.enabled:
            at = utc_text(self._recorder.clock.time_ns())
            shown = dumps(attributes) if is_given(attributes) else None
            kind = plain_text(kind) or "chain"
            row = (self._run_id, self._next(), at, name, kind, self._content(output), shown)
            self._write(ADD_STEP, row)

    def _add_span(
        self,
        name: str,
        kind: str,
        *,
        status: str = RecordStatus.OK,
        error: str = "",
        duration_ms: float | None = None,
        attributes: dict[str, Any] | None = None,
        input: object = None,
        output: object = None,
        inside: int | None = None,
        started_ns: int = 0,
        position: int = 0,
    ) -> int:
        """Write a span that ends now (or is open, with status `running`); return its position.

        `inside`: the position of the span around it; by default that of the context. `started_ns`:
        when it began, in nanoseconds since 1970; by default its duration ago. A `position` is given
        where the same span is written again, because a signal handler struck.
        """
        if not self._recorder.enabled:
            return NO_SPAN
        if duration_ms is not None:
            duration_ms = _known(duration_ms)
        if not (type(kind) is type(status) is type(error) is str):
            kind, status, error = plain_text(kind), plain_text(status), plain_text(error)
        if error:
            error = self._words(error)
        position = position or self._next()
        if not started_ns:
            lasted_ms = min(max(duration_ms or 0, 0), MAX_SPAN_MS)
            started_ns = self._recorder.clock.time_ns() - int(lasted_ms * 1e6)
        row = (
            self._run_id,
            position,
            position_around(self._run_id) if inside is None else inside,
            utc_text(started_ns),
            duration_ms,
            name,
            kind or "custom",
            status or RecordStatus.OK,
            error or None,
            dumps(attributes) if is_given(attributes) else None,
            self._content(input),
            self._content(output),
        )
        self._write(ADD_SPAN, row)
        return position

    def _set_late_inputs(self, inputs: dict[str, Any], *, anew: bool = False) -> None:
        """Write what the run was asked, unless its start said it; `anew`: even then."""
        if self._run_id and self._recorder.capture_content and (anew or self._inputs_json is None):
            self._write(SET_RUN_INPUTS, (dumps(inputs), self._run_id))

    def _end_span(
        self,
        position: int,
        duration_ms: float,
        status: str,
        error: str,
        output: object,
        late_input: object = None,
        late_attributes: dict[str, Any] | None = None,
    ) -> None:
        """Write the end of a span; `late_…` is what its start did not say, or not all of it."""
        if not (self._run_id and position):
            return
        shown = self._content(output)
        status, error = plain_text(status) or RecordStatus.OK, plain_text(error)
        row = (duration_ms, status, error or None, shown, self._run_id, position)
        late: list[Bound] = []
        asked = self._content(late_input)
        if asked is not None:
            late.append((SET_SPAN_INPUT, (asked, self._run_id, position)))
        if late_attributes is not None:
            known = (dumps(late_attributes), self._run_id, position)
            late.append((SET_SPAN_ATTRIBUTES, known))
        if late:
            self._write_together(*late, (END_SPAN, row))
        else:
            self._write(END_SPAN, row)

    def _add_score(
        self, name: str, data_type: str, number: float | None, word: str | None, comment: str
    ) -> None:
        if self._recorder.enabled:
            if number is not None and isnan(number):
                word = word or "nan"  # SQLite stores this number as NULL
            at = utc_text(self._recorder.clock.time_ns())
            comment = self._words(comment)
            row = (self._run_id, self._next(), at, name, data_type, number, word, comment)
            self._write(ADD_SCORE, row)

    def _add_event(
        self, event: str, data: dict[str, Any], *, content: tuple[str, ...] = ()
    ) -> None:
        """Write an event; the fields named in `content` are left out when content is not kept."""
        if self._recorder.enabled:
            at = utc_text(self._recorder.clock.time_ns())
            kept = data
            if content and not self._recorder.capture_content:
                kept = {key: value for key, value in data.items() if key not in content}
            self._write(ADD_EVENT, (self._run_id, self._next(), at, event, dumps(kept)))


def note_outside(recorder: Recorder, event: str, data: dict[str, Any]) -> None:
    """Write an event that belongs to no run."""
    if recorder.enabled:
        now_ns = recorder.clock.time_ns()
        recorder.store.write(ADD_EVENT, ("", now_ns, utc_text(now_ns), event, dumps(data)))


def _known(duration_ms: float) -> float | None:
    number = need_number("duration_ms", duration_ms)
    if not isfinite(number):
        return None
    return duration_ms if type(duration_ms) is int else number
