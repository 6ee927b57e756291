"""One run on its way into the file: its beginning, its records, its end.

`Run` holds what every record needs and writes each kind of row; `WaxellContext` and the
low-level client give it the SDK's faces. All methods are silent when the run is not being
recorded (before its beginning, or with `WAXELL_OBSERVE=false`).
"""

from __future__ import annotations

import os
from itertools import count
from json import loads
from math import isfinite, isnan
from types import TracebackType
from typing import TYPE_CHECKING, Any

from waxlocal.clock import utc_ns, utc_text
from waxlocal.encode import dumps, own_text
from waxlocal.errors import PolicyViolationError
from waxlocal.ids import foreign_trace_id, trace_id_of, workflow_id_of
from waxlocal.prices.lookup import NOTE_MODEL
from waxlocal.recording.recorder import Recorder, current_recorder
from waxlocal.recording.statements import (
    ADD_EVENT,
    ADD_LLM_CALL,
    ADD_SCORE,
    ADD_SPAN,
    ADD_STEP,
    BEGIN_ELSEWHERE,
    BEGIN_RUN,
    END_SPAN,
    FINISH_RUN,
    RUN_SO_FAR,
    SET_ATTRIBUTES,
)
from waxlocal.sdk.arguments import is_given, need_number, plain_text
from waxlocal.sdk.scope import (
    current_scope,
    position_around,
    remote_parent,
    still_open,
)
from waxlocal.storage.record_sql import Statement

if TYPE_CHECKING:
    from waxlocal.sdk.context import WaxellContext

__all__ = ["Run", "note_outside", "printed"]

# A span that claims to have lasted longer than a year begins a year ago.
MAX_SPAN_MS = 366 * 86_400_000
# What `_add_span` returns for a run that is not recorded; positions begin at 1.
NO_SPAN = 0
_NOTE_MODEL = Statement(NOTE_MODEL)
# How far apart the positions of two processes lie that record into one run.
FORK_POSITIONS = 1_000_000


class Run:
    """The rows of one run; see the module.

    A record is on disk when its method returns. Tags, metadata and the result are kept until the
    next record, `flush()` or the end, and go into the file with it.

    Every value is encoded where it is handed over: what the program does with a dict afterwards
    does not change what was recorded.
    """

    __slots__ = (
        "_agent_name",
        "_attributes_dirty",
        "_ended",
        "_generation",
        "_inputs_json",
        "_interaction_mode",
        "_metadata",
        "_metadata_json",
        "_positions",
        "_recorder",
        "_result_json",
        "_root_workflow_id",
        "_run_id",
        "_session_id",
        "_started_ns",
        "_steady_ns",
        "_tags",
        "_tags_json",
        "_trace_id",
        "_user_group",
        "_user_id",
        "_workflow_name",
    )

    def __init__(
        self,
        agent_name: str,
        workflow_name: str = "default",
        inputs: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        session_id: str = "",
        user_id: str = "",
        user_group: str = "",
        interaction_mode: str = "",
    ) -> None:
        self._agent_name = agent_name
        self._workflow_name = workflow_name
        self._recorder = recorder = current_recorder()
        self._inputs_json = self._metadata_json = None
        if inputs and recorder.enabled and recorder.capture_content:
            self._inputs_json = dumps(inputs)
        if metadata and recorder.enabled:
            self._metadata_json = dumps(metadata)
        # The members of the JSON object by their keys; None until `set_metadata` needs them.
        self._metadata: dict[str, str] | None = None
        # SQLite's JSON functions end a text at NUL, and the queries look up ids with them.
        self._session_id = session_id.replace("\0", "\ufffd") if "\0" in session_id else session_id
        self._user_id = user_id.replace("\0", "\ufffd") if "\0" in user_id else user_id
        self._user_group = user_group
        self._interaction_mode = interaction_mode
        self._tags: dict[str, str] | None = None
        self._tags_json: str | None = None
        self._result_json: str | None = None
        self._attributes_dirty = False
        self._ended = False
        self._run_id = ""
        self._generation = 0
        self._positions = count(1)

    # -- beginning and end ----------------------------------------------------------------------

    def _begin(self, parent: WaxellContext | None) -> None:
        """Write the start of a run that takes what it lacks from what is around it."""
        recorder = current_recorder()
        self._recorder = recorder
        if not recorder.enabled:
            return
        started_ns = recorder.clock.time_ns()
        run_id = recorder.ids.next(started_ns)
        self._trace_id = trace_id_of(run_id)
        parent_id = root_id = ""
        if parent is not None or remote_parent is not None or current_scope.get() is not None:
            parent_id, root_id = self._inherit(parent)
        self._write_start(run_id, started_ns, parent_id, root_id)

    def _begin_alone(self, trace_id: str, parent_id: str, root_id: str) -> None:
        """Write the start of a run that belongs to what it is told, and to nothing else."""
        self._recorder = recorder = current_recorder()
        if not recorder.enabled:
            return
        started_ns = recorder.clock.time_ns()
        run_id = recorder.ids.next(started_ns)
        self._trace_id = trace_id or trace_id_of(run_id)
        self._write_start(run_id, started_ns, parent_id, root_id)

    def _write_start(self, run_id: str, started_ns: int, parent_id: str, root_id: str) -> None:
        recorder = self._recorder
        self._started_ns = started_ns
        # Beside the wall time, so that the two agree: the first run of a process opens the file.
        self._steady_ns = recorder.clock.monotonic_ns()
        self._root_workflow_id = root_id or workflow_id_of(run_id)
        if self._attributes_dirty:
            self._join_attributes()
            if not recorder.capture_content:
                self._result_json = None
        recorder.store.look_around(started_ns)
        recorder.store.write(
            BEGIN_RUN,
            (
                run_id,
                self._agent_name,
                self._workflow_name,
                self._session_id or None,
                self._user_id or None,
                self._user_group or None,
                parent_id or None,
                root_id or None,
                self._trace_id,
                self._interaction_mode
                or recorder.settings.interaction_mode
                or ("interactive" if self._session_id else "autonomous"),
                recorder.store.process_id,
                utc_text(started_ns),
                self._metadata_json,
                self._inputs_json if recorder.capture_content else None,
            ),
        )
        self._run_id = run_id
        self._generation = recorder.generation
        recorder.open_runs[run_id] = self._steady_ns

    def _attach(self, run_id: str) -> None:
        """Go on with a run that was begun elsewhere, in this process or in another."""
        self._recorder = recorder = current_recorder()
        if recorder.enabled:
            self._run_id = run_id
            self._generation = recorder.generation
            self._positions = count(recorder.store.next_position(run_id))
            self._started_ns = recorder.clock.time_ns()
            self._steady_ns = recorder.clock.monotonic_ns()
            known = recorder.store.fetch(RUN_SO_FAR, (run_id,))
            if not known:
                self._begin_elsewhere()
            for start, metadata, tags, result in known:
                # The steady clock of another process is not ours: go by the wall clock.
                self._steady_ns -= max(self._started_ns - utc_ns(start), 0)
                self._started_ns = utc_ns(start)
                self._metadata_json, self._tags_json, self._result_json = metadata, tags, result
                self._tags = _object(tags)

    def _begin_elsewhere(self) -> None:
        """Write a run of which only the id is known, so that its records can be found and sent."""
        row = {
            "run_id": self._run_id,
            "trace_id": foreign_trace_id(self._run_id),
            "started_at": utc_text(self._started_ns),
        }
        self._recorder.store.write(BEGIN_ELSEWHERE, row)
        self._metadata_json = '{"started_elsewhere":true}'

    def _inherit(self, parent: Run | None) -> tuple[str, str]:
        """Take session and user from what is nearest around; return the lineage."""
        scope = current_scope.get()
        # The blocks inside the run around are nearer than that run, which took over what was
        # around it when it began.
        while scope is not None and (parent is None or still_open(scope.inside) is parent):
            if not scope.ended:
                self._take_over(scope.session_id, scope.user_id)
            scope = scope.outer
        if parent is not None:
            self._take_over(parent._session_id, parent._user_id)
            if parent._run_id:
                self._trace_id = parent._trace_id
                return workflow_id_of(parent._run_id), parent._root_workflow_id
        if remote_parent is not None:
            return remote_parent.parent_workflow_id, remote_parent.root_workflow_id
        return "", ""

    def _take_over(self, session_id: str, user_id: str) -> None:
        self._session_id = self._session_id or session_id
        self._user_id = self._user_id or user_id

    def _finish(
        self, status: str, error: str = "", error_type: str = "", traceback: str = ""
    ) -> float | None:
        """Write the end; return the duration in seconds."""
        self._ended = True
        run_id = self._run_id
        if not run_id:
            return None
        recorder = self._recorder
        clock = recorder.clock
        recorder.open_runs.pop(run_id, None)
        duration = (clock.monotonic_ns() - self._steady_ns) / 1e9
        recorder.store.write(
            FINISH_RUN,
            (
                status,
                # A wall clock that was set back must not make a run end before it began.
                utc_text(max(clock.time_ns(), self._started_ns)),
                duration,
                error or None,
                error_type or None,
                traceback or None,
                *self._attributes(),
                run_id,
            ),
        )
        return duration

    def _finish_with(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        """Write the end of a run that an exception left."""
        status = "blocked" if issubclass(kind, PolicyViolationError) else "error"
        self._finish(status, printed(error), kind.__name__, formatted(kind, error, traceback))

    # -- tags, metadata, result -----------------------------------------------------------------

    def _set_metadata(self, key: str, value: object) -> None:
        if not self._recorder.enabled:
            return
        if self._metadata is None:
            given = self._metadata_json
            self._metadata = {} if given is None else _members(given)
        self._metadata[key] = f"{dumps(key)}:{dumps(value)}"
        self._metadata_json = None
        self._set_attribute()

    def _set_tag(self, key: str, value: str) -> None:
        if self._tags is None:
            self._tags = {}
        self._tags[key] = value
        self._tags_json = None
        self._set_attribute()

    def _set_result(self, result: dict[str, Any]) -> None:
        recorder = self._recorder
        wanted = result and recorder.enabled and recorder.capture_content
        self._result_json = dumps(result) if wanted else ""
        self._set_attribute()

    def _set_attribute(self) -> None:
        """Write with the next record what was set, or now when the run has ended already."""
        self._attributes_dirty = True
        if self._ended:
            self._flush()

    def _join_attributes(self) -> None:
        """Make the JSON of tags and metadata from their parts."""
        if self._metadata_json is None and self._metadata:
            self._metadata_json = "{" + ",".join(self._metadata.values()) + "}"
        if self._tags_json is None and self._tags:
            self._tags_json = dumps(self._tags)

    def _attributes(self) -> tuple[str | None, str | None, str | None]:
        """Return metadata, tags and result as JSON, and take them as written."""
        if self._attributes_dirty:
            self._attributes_dirty = False
            self._join_attributes()
        return self._metadata_json, self._tags_json, self._result_json or None

    def _write(self, statement: Statement, row: tuple[object, ...]) -> None:
        """Write a record, and the attributes that were set since the last one."""
        store = self._recorder.store
        if self._attributes_dirty:
            attributes = (*self._attributes(), self._run_id)
            store.write_together((statement, row), (SET_ATTRIBUTES, attributes))
        else:
            store.write(statement, row)

    def _flush(self) -> None:
        if self._run_id:
            if self._attributes_dirty:
                row = (*self._attributes(), self._run_id)
                self._recorder.store.write(SET_ATTRIBUTES, row)
            elif self._recorder.store.backlog:
                self._recorder.store.drain()

    # -- records --------------------------------------------------------------------------------

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

    def _add_llm_call(
        self,
        *,
        model: str,
        provider: str,
        task: str,
        tokens_in: int,
        tokens_out: int,
        cached_tokens: int,
        cache_write_tokens: int,
        cost: float,
        duration_ms: int | None,
        ttft_ms: int | None,
        is_streaming: bool,
        status: str,
        error_type: str | None,
        error_message: str | None,
        prompt_preview: str | None,
        response_preview: str | None,
        messages: str | None,
        response: str | None,
        details: str | None,
        reasoning_tokens: int | None,
    ) -> None:
        """Write an LLM call: the columns by name; a `cost` of 0 is left to the price list."""
        recorder = self._recorder
        priced: float | None
        source: str | None
        if cost and isfinite(cost):
            priced, source = cost, "call"
        else:
            priced = recorder.store.prices.cost(
                model, provider, tokens_in, tokens_out, cached_tokens, cache_write_tokens
            )
            source = None if priced is None else "price"
        position = self._next()
        recorded_at = utc_text(recorder.clock.time_ns())
        self._write(
            ADD_LLM_CALL,
            (
                self._run_id,
                position,
                recorded_at,
                model,
                provider,
                task,
                tokens_in,
                tokens_out,
                cached_tokens,
                cache_write_tokens,
                priced,
                source,
                duration_ms,
                ttft_ms,
                1 if is_streaming else 0,
                status,
                error_type,
                error_message,
                prompt_preview,
                response_preview,
                messages,
                response,
                details,
                reasoning_tokens,
            ),
        )
        if priced is None and recorder.store.prices.unseen(model, provider):
            recorder.store.write(_NOTE_MODEL, (model, provider, recorded_at))

    def _add_step(
        self, name: str, kind: str, output: object = None, attributes: object = None
    ) -> None:
        if self._run_id:
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
        status: str = "ok",
        error: str = "",
        duration_ms: float | None = None,
        attributes: dict[str, Any] | None = None,
        input: object = None,
        output: object = None,
    ) -> int:
        """Write a span that ends now (or is open, with status `running`); return its position."""
        if not self._run_id:
            return NO_SPAN
        if duration_ms is not None:
            duration_ms = _known(duration_ms)
        if not (type(kind) is type(status) is type(error) is str):
            kind, status, error = plain_text(kind), plain_text(status), plain_text(error)
        position = self._next()
        lasted_ms = min(max(duration_ms or 0, 0), MAX_SPAN_MS)
        started_ns = self._recorder.clock.time_ns() - int(lasted_ms * 1e6)
        row = (
            self._run_id,
            position,
            position_around(self._run_id),
            utc_text(started_ns),
            duration_ms,
            name,
            kind or "custom",
            status or "ok",
            error or None,
            dumps(attributes) if is_given(attributes) else None,
            self._content(input),
            self._content(output),
        )
        self._write(ADD_SPAN, row)
        return position

    def _end_span(
        self, position: int, duration_ms: float, status: str, error: str, output: object
    ) -> None:
        if self._run_id and position:
            shown = self._content(output)
            status, error = plain_text(status) or "ok", plain_text(error)
            row = (duration_ms, status, error or None, shown, self._run_id, position)
            self._write(END_SPAN, row)

    def _add_score(
        self, name: str, data_type: str, number: float | None, word: str | None, comment: str
    ) -> None:
        if self._run_id:
            if number is not None and isnan(number):
                word = word or "nan"  # SQLite stores this number as NULL
            at = utc_text(self._recorder.clock.time_ns())
            row = (self._run_id, self._next(), at, name, data_type, number, word, comment)
            self._write(ADD_SCORE, row)

    def _add_event(
        self, event: str, data: dict[str, Any], *, content: tuple[str, ...] = ()
    ) -> None:
        """Write an event; the fields named in `content` are left out when content is not kept."""
        if self._run_id:
            at = utc_text(self._recorder.clock.time_ns())
            kept = data
            if content and not self._recorder.capture_content:
                kept = {key: value for key, value in data.items() if key not in content}
            self._write(ADD_EVENT, (self._run_id, self._next(), at, event, dumps(kept)))

    @property
    def _recording_content(self) -> bool:
        return bool(self._run_id) and self._recorder.capture_content


def note_outside(recorder: Recorder, event: str, data: dict[str, Any]) -> None:
    """Write an event that belongs to no run."""
    if recorder.enabled:
        now_ns = recorder.clock.time_ns()
        recorder.store.write(ADD_EVENT, ("", now_ns, utc_text(now_ns), event, dumps(data)))


def _known(duration_ms: float) -> float | None:
    number = need_number("duration_ms", duration_ms)
    return duration_ms if type(duration_ms) is int and isfinite(number) else _finite(number)


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _object(json: str | None) -> dict[str, Any] | None:
    return dict(loads(json)) if json else None


def _members(json: str) -> dict[str, str]:
    """Return the members of a JSON object, `"key":value`, by their keys."""
    return {key: f"{dumps(key)}:{dumps(value)}" for key, value in loads(json).items()}


def printed(error: BaseException) -> str:
    """Return the text of an exception, also of one that cannot be printed."""
    try:
        return own_text(error)
    except Exception:  # from the program's own __str__
        return f"<unprintable {type(error).__name__}>"


def formatted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> str:
    """Return the traceback as Python prints it."""
    import traceback

    try:
        return "".join(traceback.format_exception(kind, error, trace))
    except Exception:  # from the program's own __str__, of this error or of one in its chain
        return f"{kind.__name__}: {printed(error)}"
