"""The result types of the queries, as frozen dataclasses.

Times are UTC text as stored (`2026-01-31T09:30:00.123456Z`). Durations are seconds; fields ending
in `_ms` are milliseconds. Money is US dollars, None if no price is known. Shares are 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

__all__ = [
    "Event",
    "Flag",
    "LlmCall",
    "ModelMoney",
    "ModelUse",
    "Money",
    "Process",
    "RunDetail",
    "RunLink",
    "RunSummary",
    "Score",
    "Session",
    "SessionDetail",
    "Span",
    "Statistics",
    "Step",
    "TimeByKind",
    "Timing",
    "TurnMoney",
    "TurnTime",
    "User",
    "as_dict",
]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Session:
    """One session and its totals.

    `total_duration` is the sum over its runs; `wall_duration` is the time from its first start to
    its last activity. `status` is `running`, `interrupted`, `error` or `success`. `title` holds the
    first words of the first run's inputs; empty without inputs.
    """

    session_id: str
    user_id: str | None
    agents: tuple[str, ...]
    run_count: int
    open_runs: int
    failed_runs: int
    llm_calls: int
    tokens_in: int
    tokens_out: int
    total_tokens: int
    priced_tokens: int
    total_cost: float | None
    total_duration: float
    wall_duration: float
    first_run_at: str
    last_run_at: str
    last_activity_at: str
    status: str
    title: str

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return _share(self.priced_tokens, self.total_tokens)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run with its totals, message and answer.

    `id` is its order of arrival in the file. `status` is `running`, `success`, `error`, `blocked`
    or `interrupted`; an open run whose process has ended counts as interrupted. `duration` is None
    while it is open. `message` and `answer` are its inputs and result as readable text, uncut.
    """

    id: int
    run_id: str
    workflow_id: str
    parent_workflow_id: str | None
    agent_name: str
    workflow_name: str
    session_id: str | None
    user_id: str | None
    status: str
    started_at: str
    completed_at: str | None
    duration: float | None
    llm_calls: int
    tokens_in: int
    tokens_out: int
    total_tokens: int
    priced_tokens: int
    total_cost: float | None
    message: str
    answer: str
    error: str | None
    error_type: str | None

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return _share(self.priced_tokens, self.total_tokens)


@dataclass(frozen=True, slots=True)
class SessionDetail:
    """A session with its runs, ordered by start."""

    session: Session
    runs: tuple[RunSummary, ...]


@dataclass(frozen=True, slots=True)
class LlmCall:
    """One model call; `recorded_at` is its end. `cost_source` is `call` or `price`."""

    position: int
    recorded_at: str
    model: str
    provider: str
    task: str
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    cache_write_tokens: int
    cost: float | None
    cost_source: str | None
    duration_ms: int | None
    ttft_ms: int | None
    is_streaming: bool
    status: str
    error_type: str | None
    error_message: str | None
    prompt_preview: str | None
    response_preview: str | None
    messages: Any
    response: str | None
    details: Any
    reasoning_tokens: int | None

    def parts_of_input(self) -> tuple[tuple[int, str], ...]:
        """Return what some of the input tokens were, with their number: those that are known."""
        return _known_parts((self.cached_tokens, "cached"))

    def parts_of_output(self) -> tuple[tuple[int, str], ...]:
        """Return the same for the output tokens."""
        return _known_parts((self.reasoning_tokens, "reasoning"))


def _known_parts(*parts: tuple[int | None, str]) -> tuple[tuple[int, str], ...]:
    return tuple((number, name) for number, name in parts if number)


@dataclass(frozen=True, slots=True)
class Step:
    """A step recorded by the program; `output` and `attributes` are decoded JSON."""

    position: int
    recorded_at: str
    step_name: str
    kind: str
    output: Any
    attributes: Any


@dataclass(frozen=True, slots=True)
class Span:
    """A span of a run, with its child spans.

    `status` is `running`, `ok` or `error`; `duration_ms` is None if it is open or was not given.
    """

    position: int
    parent_position: int | None
    started_at: str
    duration_ms: float | None
    name: str
    kind: str
    status: str
    error: str | None
    attributes: Any
    input: Any
    output: Any
    children: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """A score of a run; `data_type` is `numeric`, `boolean`, `categorical` or another text."""

    position: int
    recorded_at: str
    name: str
    data_type: str
    numeric_value: float | None
    string_value: str | None
    comment: str

    @property
    def value(self) -> float | bool | str | None:
        """The value in its own type."""
        if self.data_type == "boolean" and self.numeric_value is not None:
            return bool(self.numeric_value)
        return self.string_value if self.numeric_value is None else self.numeric_value


@dataclass(frozen=True, slots=True)
class Event:
    """A record without a table of its own: a policy check, an approval, a data access, ..."""

    position: int
    recorded_at: str
    event: str
    data: Any


@dataclass(frozen=True, slots=True)
class Process:
    """The process that recorded a run; `gone` if it has certainly ended."""

    host: str
    pid: int
    program: str
    python: str
    waxlocal: str
    gone: bool


@dataclass(frozen=True, slots=True)
class RunLink:
    """A reference to another run: enough to name it and link to it."""

    run_id: str
    agent_name: str
    workflow_name: str
    status: str
    started_at: str
    duration: float | None


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run with all of its records.

    `inputs`, `result`, `metadata` and `tags` are decoded JSON, None if absent. `spans` holds the
    root spans. `parent` and `children` are the runs that opened it or that it opened, if they are
    in this file; `previous_run_id` and `next_run_id` are its neighbors in the session.
    """

    run: RunSummary
    user_group: str | None
    root_workflow_id: str | None
    trace_id: str
    interaction_mode: str
    process: Process | None
    traceback: str | None
    inputs: Any
    result: Any
    metadata: Any
    tags: Any
    llm_calls: tuple[LlmCall, ...]
    steps: tuple[Step, ...]
    spans: tuple[Span, ...]
    scores: tuple[Score, ...]
    events: tuple[Event, ...]
    parent: RunLink | None
    children: tuple[RunLink, ...]
    previous_run_id: str | None
    next_run_id: str | None


@dataclass(frozen=True, slots=True)
class User:
    """One user, with totals over all their sessions and their runs outside sessions."""

    user_id: str
    session_count: int
    run_count: int
    first_activity_at: str
    last_activity_at: str
    total_duration: float
    total_tokens: int
    priced_tokens: int
    total_cost: float | None
    agents: tuple[str, ...]

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return _share(self.priced_tokens, self.total_tokens)


@dataclass(frozen=True, slots=True)
class ModelUse:
    """One model of one provider, with totals over all its calls.

    Latencies cover the calls whose duration is known; None if there are none. `price_source` is
    `pending`, `unknown`, `override` or the name of a price list; None if the price was never looked
    up.
    """

    model: str
    provider: str
    calls: int
    errors: int
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    priced_tokens: int
    total_cost: float | None
    p50_ms: int | None
    p95_ms: int | None
    price_source: str | None

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.tokens_in + self.tokens_out

    @property
    def error_share(self) -> float | None:
        """The share of calls that failed."""
        return _share(self.errors, self.calls)

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return _share(self.priced_tokens, self.total_tokens)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics over many sessions.

    A percentile is always a recorded value: the one at index `int(n * q)` of n sorted values. A
    figure is None if there are no values for it.

    `distribution` counts sessions by number of turns. A session with one run is `abandoned`; of
    these, `abandoned_open` is still running, `abandoned_error` failed, `abandoned_slow` succeeded
    but took longer than `slow_after` seconds (the p95 of the sessions' mean run durations), and
    `abandoned_fine` is the rest. Cost figures cover the `priced_sessions`: sessions with a priced
    call. Durations are each session's `total_duration`.
    """

    sessions: int
    runs: int
    average_turns: float | None
    median_turns: float | None
    distribution: dict[int, int]
    abandoned: int
    abandoned_fine: int
    abandoned_error: int
    abandoned_slow: int
    abandoned_open: int
    slow_after: float | None
    priced_sessions: int
    total_cost: float | None
    average_cost: float | None
    p50_cost: float | None
    p95_cost: float | None
    p99_cost: float | None
    average_duration: float | None
    p50_duration: float | None
    p95_duration: float | None
    total_tokens: int
    priced_tokens: int

    @property
    def abandonment_rate(self) -> float | None:
        """The share of sessions with a single run."""
        return _share(self.abandoned, self.sessions)

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return _share(self.priced_tokens, self.total_tokens)


@dataclass(frozen=True, slots=True)
class TurnMoney:
    """The tokens and cost of one run of a session.

    `tokens_in` = `new_tokens` + `resent_tokens`. Resent tokens were part of the same agent's
    previous call or its answer (estimated by size, not by content).
    """

    run_id: str
    agent_name: str
    started_at: str
    llm_calls: int
    tokens_in: int
    tokens_out: int
    new_tokens: int
    resent_tokens: int
    cached_tokens: int
    priced_tokens: int
    cost: float | None
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelMoney:
    """The tokens and cost of one model in a session."""

    model: str
    provider: str
    calls: int
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    priced_tokens: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class Money:
    """Where the money of a session went.

    `reason` is `growing_context`, `large_first_context`, `expensive_model`, `many_turns`, `nothing`
    (nothing stands out) or `no_calls`; `verdict` explains it in one line, with figures.
    """

    session_id: str
    turns: tuple[TurnMoney, ...]
    models: tuple[ModelMoney, ...]
    tokens_in: int
    tokens_out: int
    new_tokens: int
    resent_tokens: int
    cached_tokens: int
    priced_tokens: int
    cost: float | None
    reason: str
    verdict: str

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return _share(self.priced_tokens, self.tokens_in + self.tokens_out)


@dataclass(frozen=True, slots=True)
class TimeByKind:
    """Seconds by kind; overlapping time is counted once."""

    llm: float
    tool: float
    retrieval: float
    retry: float
    own_code: float
    waiting: float

    @property
    def active(self) -> float:
        """The total without waiting for the user."""
        return self.llm + self.tool + self.retrieval + self.retry + self.own_code

    @property
    def total(self) -> float:
        """The total."""
        return self.active + self.waiting


@dataclass(frozen=True, slots=True)
class TurnTime:
    """Where the time of one run went; `seconds.total` is `duration`.

    `idle_before` is how long the session was idle before the run began. `nested_in` is the run of
    this session that contains it; its time is also part of that run's time.
    """

    run_id: str
    agent_name: str
    started_at: str
    duration: float
    idle_before: float
    nested_in: str | None
    seconds: TimeByKind
    estimated_calls: int


@dataclass(frozen=True, slots=True)
class Flag:
    """A known cause of slowness, found in a session.

    `kind` is `sequential_tools` (`longest` is the seconds they would take in parallel),
    `large_retrieval`, `retries` or `rate_limit`; `text` explains it in one line.
    """

    kind: str
    count: int
    seconds: float
    longest: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a session went.

    `seconds` covers each top-level run once and counts the gaps between them as waiting; its
    `total` equals `wall_duration` unless runs overlapped. `estimated_calls` LLM calls had no
    duration; each is assumed to have begun at the previous record, together `estimated_seconds`.
    `reason` is the kind of a flag, `llm`, `tool`, `retrieval`, `retry`, `own_code` or `nothing`.
    """

    session_id: str
    turns: tuple[TurnTime, ...]
    seconds: TimeByKind
    wall_duration: float
    estimated_calls: int
    estimated_seconds: float
    flags: tuple[Flag, ...]
    reason: str
    verdict: str


def as_dict(row: Any) -> Any:
    """Return a row as dicts and lists for JSON, including its properties."""
    if is_dataclass(row) and not isinstance(row, type):
        plain = {field.name: as_dict(getattr(row, field.name)) for field in fields(row)}
        for name, value in plain.items():
            if name.endswith("cost") and isinstance(value, float):
                # Round sums of floats: 0.0073384999999999995 is noise, 0.0073385 is the value.
                plain[name] = round(value, 12)
        for name, member in vars(type(row)).items():
            if isinstance(member, property):
                plain[name] = as_dict(getattr(row, name))
        return plain
    if isinstance(row, tuple):
        return [as_dict(item) for item in row]
    return row
