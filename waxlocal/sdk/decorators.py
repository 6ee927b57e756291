"""Decorators: a function's call as a run, a tool, a decision, a retrieval, a thought, a step.

Each works on plain, async, generator and async-generator functions, and keeps the kind. Without
an open run all but `observe` just call the function.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from waxlocal.encode import as_text
from waxlocal.known_types import is_a
from waxlocal.sdk.arguments import is_given
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.retries import Retries
from waxlocal.sdk.scope import run_for, run_here
from waxlocal.sdk.spans import OpenSpan
from waxlocal.sdk.wrapping import Arguments, Watch, name_of, watched, what_runs
from waxlocal.signal_handlers import Suppress

if TYPE_CHECKING:
    from waxlocal.sdk.client import WaxellObserveClient

__all__ = [
    "decision",
    "observe",
    "reasoning_dec",
    "retrieval",
    "retry_dec",
    "step_dec",
    "tool",
    "waxell_agent",
]

F = TypeVar("F", bound=Callable[..., Any])

# Arguments of a call that are meant for the run and not for the function, unless it declares them.
_FOR_THE_RUN = (
    "session_id",
    "user_id",
    "user_group",
    "end_user_id",
    "enforce_policy",
    "mid_execution_governance",
    "auto_grounding",
    "client",
    "inputs",
    "metadata",
    "workflow_name",
    "on_policy_block",
)


def waxell_agent(
    agent_name: str | None = None,
    workflow_name: str = "default",
    enforce_policy: bool = True,
    capture_io: bool = True,
    session_id: str = "",
    user_id: str = "",
    user_group: str = "",
    end_user_id: str = "",
    client: WaxellObserveClient | None = None,
    mid_execution_governance: bool = False,
    auto_grounding: bool = False,
    on_policy_block: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    """Record each call of the function as a run named after it, or as `agent_name`.

    The run's inputs are the call's arguments by name, its result is the returned dict, or
    `{"output": value}`. A parameter `waxell_ctx` receives the `WaxellContext`. A call may override
    `session_id`, `user_id`, `user_group`, `end_user_id`, `workflow_name`, `inputs` and `metadata`
    by keyword, unless the function declares a parameter of that name.
    """
    settings: dict[str, Any] = {
        "workflow_name": workflow_name,
        "session_id": session_id,
        "user_id": user_id,
        "user_group": user_group,
        "end_user_id": end_user_id,
    }

    def decorate(function: F, agent_name: str | None = agent_name) -> F:
        return _observed(function, agent_name or name_of(function), settings, capture_io)

    return _bare(decorate, agent_name)


observe = waxell_agent


def _observed(function: F, agent_name: str, settings: dict[str, Any], capture_io: bool) -> F:
    arguments = Arguments(function)
    injects = "waxell_ctx" in arguments.names
    ours = tuple(name for name in _FOR_THE_RUN if name not in arguments.names)

    def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Watch:
        given = {name: kwargs.pop(name) for name in ours if name in kwargs}
        inputs = given.pop("inputs", None)
        if inputs is None and capture_io:
            inputs = arguments.by_name(args, kwargs, without="waxell_ctx")
        chosen = {name: _chosen(given.get(name), value) for name, value in settings.items()}
        context = WaxellContext(agent_name, inputs=inputs, metadata=given.get("metadata"), **chosen)
        if injects and kwargs.get("waxell_ctx") is None:
            kwargs["waxell_ctx"] = context
        return _RunWatch(context, capture_io)

    return watched(function, start)


class _RunWatch:
    """A run around a call."""

    def __init__(self, context: WaxellContext, capture_io: bool) -> None:
        self._context = context
        self._capture_io = capture_io

    def __enter__(self) -> None:
        self._context.__enter__()

    def __exit__(self, *left: Any) -> None:
        self._context.__exit__(*left)

    def returned(self, value: Any) -> None:
        if value is None or not self._capture_io or self._context._result_json is not None:
            return
        self._context.set_result(value if is_a(value, dict) else {"output": value})

    broken_off = returned


class _SpanWatch:
    """A span around a call, in the run that is open at the time; `read` records what it gave."""

    def __init__(
        self,
        name: str,
        kind: str,
        attributes: dict[str, Any],
        inputs: dict[str, Any] | None,
    ) -> None:
        run = run_for(f"the function {name}()")
        self._span = (
            OpenSpan(run, name, kind=kind, attributes=attributes, input_data=inputs)
            if run is not None
            else None
        )

    def __enter__(self) -> None:
        if self._span is not None:
            self._span.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:  # also where nobody wanted the rest: what was wanted is there
            kind = None
        if self._span is not None:
            self._span.__exit__(kind, error, trace)

    def returned(self, value: Any) -> None:
        if self._span is not None and value is not None:
            self._span.output = value if is_a(value, dict) else {"output": value}

    broken_off = returned


class _RecordWatch:
    """Nothing around a call, and one record of what it gave; none if it raised."""

    def __init__(self, name: str, record: Callable[[WaxellContext, Any, int], None]) -> None:
        self._caller = f"the function {name}()"
        self._record = record
        self._started_ns = time.monotonic_ns()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *left: Any) -> None:
        return None

    def returned(self, value: Any) -> None:
        run = run_for(self._caller)
        if run is not None:
            with Suppress(Exception):  # whatever a function gives, its caller is to get it
                self._record(run, value, (time.monotonic_ns() - self._started_ns) // 1_000_000)

    def broken_off(self, value: Any) -> None:
        pass


def tool(name: str | None = None, tool_type: str = "function") -> Callable[[F], F]:
    """Record each call of the function as a tool call: arguments, answer, time, error.

    The span is on disk from the start of the call; spans recorded meanwhile lie inside it.
    """

    def decorate(function: F, name: str | None = name) -> F:
        arguments = Arguments(function)
        shown = name or name_of(function)

        def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Watch:
            inputs = arguments.by_name(args, kwargs) if run_here() is not None else None
            return _SpanWatch(shown, "tool", {"tool_type": tool_type}, inputs)

        return watched(function, start)

    return _bare(decorate, name)


def decision(name: str | None = None, options: list[str] | None = None) -> Callable[[F], F]:
    """Record what the function chose: it returns the choice, or a dict with `chosen`,
    `reasoning` and `confidence`.
    """

    def decorate(function: F, name: str | None = name) -> F:
        def record(run: WaxellContext, value: Any, _ms: int) -> None:
            found = value if is_a(value, dict) else {"chosen": value}
            confidence = found.get("confidence")
            run.record_decision(
                name=name or name_of(function),
                options=_texts(options if options else found.get("options")),
                chosen=_text(found.get("chosen", "")),
                reasoning=_text(found.get("reasoning", "")),
                confidence=confidence if is_a(confidence, int, float) else None,
                instrumentation_type="decorator",
            )

        return watched(function, lambda _args, _kwargs: _RecordWatch(name_of(function), record))

    return _bare(decorate, name)


def retrieval(source: str = "", name: str | None = None) -> Callable[[F], F]:
    """Record a search: the query is the argument `query` or the first one, the answer a list of
    documents (dicts; their `score` is kept).
    """

    def decorate(function: F, given: str | None = source) -> F:
        arguments = Arguments(function)

        def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Watch:
            by_name = arguments.by_name(args, kwargs) if run_here() is not None else {}
            query = by_name.get("query", next(iter(by_name.values()), ""))

            def record(run: WaxellContext, value: Any, ms: int) -> None:
                found = list(value) if is_a(value, list, tuple) else []
                documents = [d if is_a(d, dict) else {"content": d} for d in found]
                scores = [d["score"] for d in documents if is_a(d.get("score"), int, float)]
                run.record_retrieval(
                    query=_text(query),
                    documents=documents,
                    source=given or name or name_of(function),
                    duration_ms=ms,
                    top_k=by_name.get("top_k"),
                    scores=scores or None,
                )

            return _RecordWatch(name_of(function), record)

        return watched(function, start)

    return _bare(decorate, source)


def reasoning_dec(step: str | None = None) -> Callable[[F], F]:
    """Record a thought: the function returns it, or a dict with `thought`, `evidence` and
    `conclusion`.
    """

    def decorate(function: F, step: str | None = step) -> F:
        def record(run: WaxellContext, value: Any, _ms: int) -> None:
            found = value if is_a(value, dict) else {"thought": value}
            run.record_reasoning(
                step=step or name_of(function),
                thought=_text(found.get("thought", "")),
                evidence=_texts(found.get("evidence")),
                conclusion=_text(found.get("conclusion", "")),
            )

        return watched(function, lambda _args, _kwargs: _RecordWatch(name_of(function), record))

    return _bare(decorate, step)


def step_dec(name: str | None = None) -> Callable[[F], F]:
    """Record each call as a step; its output is the returned dict, or `{"result": value}`."""

    def decorate(function: F, name: str | None = name) -> F:
        def record(run: WaxellContext, value: Any, ms: int) -> None:
            output = value if is_a(value, dict) else {"result": value}
            shown = None if value is None else output
            run.record_step(name or name_of(function), shown, attributes={"duration_ms": ms})

        return watched(function, lambda _args, _kwargs: _RecordWatch(name_of(function), record))

    return _bare(decorate, name)


def retry_dec(
    max_attempts: int = 3, strategy: str = "retry", fallback_to: str = ""
) -> Callable[[F], F]:
    """Call the function again when it raises, up to `max_attempts` times in all.

    Waits 0.1 s after the first failure and twice as long after each further one; records each
    failed attempt but the last with the time it cost. The last exception goes to the caller. The
    coroutine that a plain wrapper returns is retried, too, unless its caller gave it.
    """
    if callable(max_attempts):  # used without parentheses
        return retry_dec()(max_attempts)

    retries = Retries(max_attempts, strategy, fallback_to)

    def decorate(function: F) -> F:
        import inspect

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return retries.call(function, args, kwargs)

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await retries.call_async(function, args, kwargs)

        chosen: Any = call_async if inspect.iscoroutinefunction(what_runs(function)) else call
        return chosen  # type: ignore[no-any-return]

    return decorate


def _texts(value: Any) -> list[str]:
    """Return what a function gave as a list of texts, also if it gave only one, or none."""
    if is_a(value, list, tuple, set, frozenset):
        return [_text(item) for item in value]
    return [_text(value)] if is_given(value) else []


def _text(value: Any) -> str:
    return str.__str__(value) if is_a(value, str) else as_text(value)


def _chosen(given: Any, default: Any) -> Any:
    return given if is_given(given) else default


def _bare(decorate: Callable[..., Any], first: Any) -> Callable[[F], F]:
    """Let a decorator be used without parentheses: then its first argument is the function."""
    chosen: Any = decorate(first, None) if callable(first) else decorate
    return chosen  # type: ignore[no-any-return]
