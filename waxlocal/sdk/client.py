"""`WaxellObserveClient`: the low-level calls, each an async method and one that is not.

They write into the local file, too. What the original asks a server for (policies, prompts,
guards) is answered here: allowed, not found, passed.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.errors import PromptNotFoundError
from waxlocal.ids import daily_run_id, trace_id_of, workflow_id_of
from waxlocal.known_types import is_a
from waxlocal.process import current_process
from waxlocal.recording.recorder import current_recorder
from waxlocal.recording.statements import STARTED_AT
from waxlocal.records import ENDED_STATUSES, LLM_CALLS
from waxlocal.sdk.arguments import (
    checked,
    is_given,
    need,
    need_count,
    need_dict,
    need_number,
    plain_text,
    truth,
)
from waxlocal.sdk.governance import ALLOWED_HERE
from waxlocal.sdk.run import Run, note_outside
from waxlocal.sdk.scope import run_here, unplaced
from waxlocal.settings.config import ObserveConfig
from waxlocal.storage.record_sql import BEGIN_DAILY_RUN

if TYPE_CHECKING:  # at run time inside the methods: dataclasses cost 15 ms to import
    from waxlocal.sdk.types import (
        DailyRunInfo,
        PolicyCheckResult,
        PromptInfo,
        RunCompleteResult,
        RunInfo,
    )

__all__ = ["WaxellObserveClient"]

# Runs that were started and not completed; the oldest are let go and taken up again by id.
MAX_OPEN_RUNS = 10_000
# As the original cuts what a stream has given so far.
MAX_PARTIAL_CHARS = 20_000

_TOKEN_COUNTS = [(column.name, column.default) for column in LLM_CALLS.token_counts]
# What a call of a model has beside the columns of its own.
_DETAILS = ("framework", "prompt_hash", "config", "chunk_count")
# What an event may say when content is not kept.
_EVENT_NAMES = ("event", "workflow_id", "agent_name", "workflow_name")

Json = dict[str, Any]
T = TypeVar("T")


@checked
class WaxellObserveClient:
    """Records runs step by step, by run id, also from several threads or processes.

    A method returns when its rows are committed. Address and key are kept for programs that set
    them; nothing is sent.
    """

    _config: ClassVar[ObserveConfig | None] = None
    _open: ClassVar[dict[str, Run]] = {}

    def __init__(
        self,
        api_url: str | None = None,
        api_key: str | None = None,
        prompt_cache_ttl: float | None = None,
    ) -> None:
        self._own_config = ObserveConfig(api_url=api_url or "", api_key=api_key or "")

    # -- configuration --------------------------------------------------------------------------

    @classmethod
    def configure(cls, api_url: str, api_key: str) -> None:
        """Keep where a server would be; the recording does not depend on it."""
        cls._config = ObserveConfig(api_url=api_url.rstrip("/"), api_key=api_key)

    @classmethod
    def get_config(cls) -> ObserveConfig | None:
        """Return what `configure` kept, None before it."""
        return cls._config

    @classmethod
    def is_configured(cls) -> bool:
        """Return whether `configure` was given both an address and a key."""
        return cls._config is not None and cls._config.is_configured

    async def close(self) -> None:
        """Write what a locked file kept waiting."""
        current_recorder().store.drain()

    @classmethod
    def reset_connection_breaker(cls) -> None:
        """Do nothing: there is no connection that could have failed."""

    # -- runs -----------------------------------------------------------------------------------

    async def start_run(
        self,
        agent_name: str,
        workflow_name: str = "default",
        inputs: Json | None = None,
        metadata: Json | None = None,
        trace_id: str = "",
        user_id: str = "",
        user_group: str = "",
        session_id: str = "",
        parent_workflow_id: str = "",
        root_workflow_id: str = "",
        pre_execution_evaluations: list[Any] | None = None,
        agent_slug: str = "",
        agent_id: str = "",
        interaction_mode: str = "",
    ) -> RunInfo:
        """Start a run; it belongs to the session and the parent it is given, and to no other."""
        from waxlocal.sdk import types

        for name, value in (("agent_name", agent_name), ("session_id", session_id)):
            need(name, value, str)
        run = Run(
            plain_text(agent_name),
            plain_text(workflow_name, "default"),
            need_dict("inputs", inputs),
            need_dict("metadata", metadata),
            plain_text(session_id),
            plain_text(user_id),
            plain_text(user_group),
            plain_text(interaction_mode),
        )
        lineage = (trace_id, parent_workflow_id, root_workflow_id)
        run._begin_alone(*map(plain_text, lineage))
        if not run._run_id:
            return types.RunInfo("", "", "")
        self._remember(run)
        return types.RunInfo(run._run_id, workflow_id_of(run._run_id), utc_text(run._started_ns))

    def start_run_sync(self, **kwargs: Any) -> RunInfo:
        """Do the same as `start_run`."""
        return _now(self.start_run(**kwargs))

    async def complete_run(
        self,
        run_id: str,
        result: Json | None = None,
        status: str = "success",
        error: str = "",
        error_type: str = "",
        traceback: str = "",
        steps: list[Any] | None = None,
        trace_id: str = "",
        root_span_id: str = "",
        conversation_state: Json | None = None,
    ) -> RunCompleteResult:
        """End a run; an unknown status is kept as `error`."""
        result = need_dict("result", result)
        run = self._run(run_id)
        for step in steps or ():
            _add_step(run, step)
        self._keep_conversation(run, conversation_state)
        if result:
            run._set_result(result)
        status = plain_text(status)
        known = status if status in ENDED_STATUSES else "error"
        duration = run._finish(known, *map(plain_text, (error, error_type, traceback)))
        self._open.pop(run_id, None)
        from waxlocal.sdk import types

        return types.RunCompleteResult(run_id, duration)

    def complete_run_sync(self, **kwargs: Any) -> RunCompleteResult:
        """Do the same as `complete_run`."""
        return _now(self.complete_run(**kwargs))

    async def start_daily_run(
        self, agent_slug: str, agent_type: str = "mcp", date: str | None = None
    ) -> DailyRunInfo:
        """Return the one run that collects this agent's records of a day, UTC; made if needed."""
        from waxlocal.sdk import types

        recorder = current_recorder()
        now = utc_text(recorder.clock.time_ns())
        day = date or now[:10]
        if not recorder.enabled:
            return types.DailyRunInfo("", "", "", day, False)
        run_id = daily_run_id(current_process().host, agent_type, agent_slug, day)
        created = not recorder.store.fetch(STARTED_AT, (run_id,))
        row = {
            "run_id": run_id,
            "agent_name": agent_slug,
            "trace_id": trace_id_of(run_id),
            "started_at": now,
            "metadata": dumps({"agent_type": agent_type, "date": day}),
        }
        recorder.store.write(BEGIN_DAILY_RUN, row)
        for (began,) in recorder.store.fetch(STARTED_AT, (run_id,)):
            now = began
        return types.DailyRunInfo(run_id, workflow_id_of(run_id), now, day, created)

    def start_daily_run_sync(self, **kwargs: Any) -> DailyRunInfo:
        """Do the same as `start_daily_run`."""
        return _now(self.start_daily_run(**kwargs))

    def _remember(self, run: Run) -> None:
        if len(self._open) >= MAX_OPEN_RUNS:
            self._open.pop(next(iter(self._open)), None)
        self._open[run._run_id] = run

    def _run(self, run_id: str) -> Run:
        """Return an open run, also one that another process began."""
        need("run_id", run_id, str)
        around = run_here()
        if around is not None and run_id and around._run_id == run_id:
            return around
        run = self._open.get(run_id)
        if run is None:
            run = Run("")
            if run_id:
                run._attach(run_id)
                self._remember(run)
            elif run._recorder.enabled:
                unplaced("WaxellObserveClient with an empty run_id")
        return run

    # -- records --------------------------------------------------------------------------------

    async def record_llm_calls(
        self, run_id: str, calls: list[Json], conversation_state: Json | None = None
    ) -> Json:
        """Record calls of models; each a dict with the fields of `record_llm_call`."""
        run = self._run(run_id)
        for call in calls:
            need("call", call, dict)
            if run._run_id:
                _add_llm_call(run, call)
        self._keep_conversation(run, conversation_state)
        return {"recorded": len(calls)}

    def record_llm_calls_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_llm_calls`."""
        return _now(self.record_llm_calls(**kwargs))

    async def record_steps(
        self, run_id: str, steps: list[Json], conversation_state: Json | None = None
    ) -> Json:
        """Record steps; each a dict with `step_name` and `output`."""
        run = self._run(run_id)
        for step in steps:
            _add_step(run, step)
        self._keep_conversation(run, conversation_state)
        return {"recorded": len(steps)}

    def record_steps_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_steps`."""
        return _now(self.record_steps(**kwargs))

    async def record_spans(self, run_id: str, spans: list[Json]) -> Json:
        """Record spans; each a dict with `name`, `kind` and what else the API takes."""
        run = self._run(run_id)
        for span in spans:
            need("span", span, dict)
            attributes = need_dict("attributes", span.get("attributes")) or {}
            run._add_span(
                plain_text(span.get("name")),
                plain_text(span.get("kind"), "custom"),
                status=plain_text(span.get("status")) or "ok",
                error=plain_text(attributes.get("error")),
                duration_ms=_milliseconds(span.get("duration_ms")),
                attributes=attributes,
                input=span.get("input_data"),
                output=span.get("output_data"),
            )
        return {"recorded": len(spans)}

    def record_spans_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_spans`."""
        return _now(self.record_spans(**kwargs))

    async def record_scores(self, run_id: str, scores: list[Json]) -> Json:
        """Record scores; each a dict with `name`, `data_type`, `numeric_value`, `string_value`."""
        run = self._run(run_id)
        for score in scores:
            need("score", score, dict)
            number = score.get("numeric_value", score.get("value"))
            word = score.get("string_value")
            if not is_a(number, int, float):
                number, word = None, number if word is None else word
            run._add_score(
                plain_text(score.get("name")),
                plain_text(score.get("data_type"), "numeric"),
                None if number is None else need_number("numeric_value", number),
                None if word is None else plain_text(word),
                plain_text(score.get("comment")),
            )
        return {"recorded": len(scores)}

    def record_scores_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_scores`."""
        return _now(self.record_scores(**kwargs))

    async def record_events(self, events: list[Json]) -> None:
        """Record events, in the run whose `workflow_id` they name, else in the one that is open."""
        for event in events:
            named = str(event.get("workflow_id", ""))
            run_id = named.removeprefix("wf_") if named.startswith("wf_") else ""
            kept = event
            if not current_recorder().capture_content:
                kept = {name: event[name] for name in _EVENT_NAMES if name in event}
            self._note(str(event.get("event", "event")), kept, run_id)

    def record_events_sync(self, **kwargs: Any) -> None:
        """Do the same as `record_events`."""
        _now(self.record_events(**kwargs))

    def publish_partial_output(
        self,
        *,
        run_id: str,
        partial: str,
        chunk_count: int | None = None,
        model: str = "",
        done: bool = False,
    ) -> None:
        """Record what a stream has given so far, its first 20,000 characters."""
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
        """Record that something was put into the episodic memory."""
        written = {
            "slot_name": slot_name,
            "scope_key": scope_key,
            "memory_type": memory_type,
            "data": data,
            "ttl_seconds": ttl_seconds,
            "max_items": max_items,
        }
        return self._remembered("memory_episodic", written, ("data",), run_id)

    def write_episodic_memory_sync(self, **kwargs: Any) -> Json:
        """Do the same as `write_episodic_memory`."""
        return _now(self.write_episodic_memory(**kwargs))

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
        """Record that a fact was put into the semantic memory."""
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
        """Do the same as `write_semantic_fact`."""
        return _now(self.write_semantic_fact(**kwargs))

    def _remembered(self, event: str, written: Json, content: tuple[str, ...], run_id: str) -> Json:
        kept = written
        if not current_recorder().capture_content:
            kept = {name: value for name, value in written.items() if name not in content}
        self._note(event, kept, run_id)
        return {"slot_name": written["slot_name"], "scope_key": written["scope_key"]}

    def _keep_conversation(self, run: Run, state: Json | None) -> None:
        if state:
            texts = tuple(name for name, value in state.items() if not is_a(value, int, float))
            run._add_event("conversation_state", state, content=texts)

    def _note(self, event: str, data: Json, run_id: str = "") -> None:
        """Record an event in a run, else in the one that is open, else outside any."""
        run = self._run(run_id) if run_id else run_here()
        if run is not None:
            run._add_event(event, data)
            return
        note_outside(current_recorder(), event, data)

    # -- what a server would be asked -----------------------------------------------------------

    async def check_policy(
        self,
        agent_name: str,
        workflow_name: str = "",
        agent_id: str = "",
        inputs: Json | None = None,
        user_id: str = "",
        user_group: str = "",
        agent_type: str = "",
        delegation: Json | None = None,
    ) -> PolicyCheckResult:
        """Return an answer that allows everything, and record that it was asked for."""
        data = {"agent_name": agent_name, "workflow_name": workflow_name, "action": "allow"}
        self._note("policy_check", data)
        from waxlocal.sdk import types

        return types.PolicyCheckResult("allow", ALLOWED_HERE)

    def check_policy_sync(self, **kwargs: Any) -> PolicyCheckResult:
        """Do the same as `check_policy`."""
        return _now(self.check_policy(**kwargs))

    def check_policy_surface_sync(
        self,
        agent_name: str,
        workflow_name: str = "",
        user_group: str = "",
        *,
        surface: str,
        signal: Json | None = None,
        categories: list[str] | None = None,
        policies: list[str] | None = None,
        workflow_id: str = "",
    ) -> Json:
        """Return an answer that allows everything, and record that it was asked for."""
        self._note("policy_check", {"agent_name": agent_name, "surface": surface})
        return {"action": "allow", "reason": ALLOWED_HERE, "metadata": {}, "evaluations": []}

    async def get_policy_manifest(
        self, agent_name: str, workflow_name: str = "", agent_id: str = "", user_group: str = ""
    ) -> Json:
        """Return a manifest without any policy."""
        return {
            "manifest_version": "1",
            "ttl_seconds": 3600,
            "checkpoints": [],
            "surfaces": {},
            "policies": [],
        }

    def get_policy_manifest_sync(self, **kwargs: Any) -> Json:
        """Do the same as `get_policy_manifest`."""
        return _now(self.get_policy_manifest(**kwargs))

    async def get_prompt(
        self, name: str, *, label: str = "", version: int = 0, use_cache: bool = True
    ) -> PromptInfo:
        """Raise `PromptNotFoundError`: prompts are kept on a server, and none is asked."""
        raise PromptNotFoundError(name, label, need_count("version", version), 404)

    def get_prompt_sync(self, **kwargs: Any) -> PromptInfo:
        """Do the same as `get_prompt`."""
        return _now(self.get_prompt(**kwargs))

    def invalidate_prompt_cache(self, name: str = "") -> None:
        """Do nothing: no prompt is cached."""

    async def prompt_guard(self, text: str, agent_name: str = "", model: str = "") -> Json:
        """Return that the text passed, and record that it was asked."""
        self._note("prompt_guard", {"agent_name": agent_name, "model": model, "action": "allow"})
        return {"passed": True, "action": "allow", "violations": []}

    def prompt_guard_sync(self, **kwargs: Any) -> Json:
        """Do the same as `prompt_guard`."""
        return _now(self.prompt_guard(**kwargs))

    def prompt_guard_gate_sync(self, text: str, model: str = "") -> Json:
        """Return that the text passed, and record that it was asked."""
        return _now(self.prompt_guard(text, model=model))

    async def record_governance_decisions(
        self,
        agent_name: str,
        surface: str,
        decisions: list[Any],
        workflow_id: str = "",
        span_only: bool = False,
    ) -> Json:
        """Record what a gate of the program's own decided."""
        data = {"agent_name": agent_name, "surface": surface, "decisions": decisions}
        self._note("governance_decision", data, workflow_id.removeprefix("wf_"))
        return {"recorded": len(decisions)}

    def record_governance_decisions_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_governance_decisions`."""
        return _now(self.record_governance_decisions(**kwargs))


def _now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never waits: none of those above does."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise RuntimeError("a method of the client waited for something")


def _add_llm_call(run: Run, call: Json) -> None:
    captured = run._recorder.capture_content
    details = {name: call[name] for name in _DETAILS if is_given(call.get(name))}
    if captured and is_given(call.get("prompt_variables")):
        details["prompt_variables"] = call["prompt_variables"]
    run._add_llm_call(
        model=_shown(call.get("model")) or "",
        provider=_shown(call.get("provider")) or "",
        task=_shown(call.get("task")) or "",
        **_token_counts(call),
        cost=need_number("cost", call["cost"]) if is_given(call.get("cost")) else 0.0,
        duration_ms=_milliseconds(call.get("duration_ms")),
        ttft_ms=_milliseconds(call.get("ttft_ms")),
        is_streaming=truth("is_streaming", call.get("is_streaming")),
        status=_shown(call.get("status")) or "ok",
        error_type=_shown(call.get("error_type")),
        error_message=_shown(call.get("error_message")),
        prompt_preview=_shown(call.get("prompt_preview")) if captured else None,
        response_preview=_shown(call.get("response_preview")) if captured else None,
        messages=run._content(call.get("full_messages")),
        response=_shown(call.get("full_response")) if captured else None,
        details=dumps(details) if details else None,
    )


def _token_counts(call: Json) -> dict[str, Any]:
    return {
        name: need_count(name, call[name]) if is_given(call.get(name)) else default
        for name, default in _TOKEN_COUNTS
    }


def _shown(value: object) -> str | None:
    """Return a text as it is and anything else as JSON; None for nothing."""
    if not is_given(value) or value is False:
        return None
    return str.__str__(value) if isinstance(value, str) else dumps(value)


def _milliseconds(value: object) -> int | None:
    return None if value is None else need_count("duration_ms", value)


def _add_step(run: Run, step: Any) -> None:
    step = step if is_a(step, dict) else {"step_name": step}
    name = plain_text(step.get("step_name")) or plain_text(step.get("name")) or "step"
    run._add_step(name, step.get("kind") or "chain", step.get("output"))
