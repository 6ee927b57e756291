"""The rows of sessions, runs and users, as frozen dataclasses; and any row as a dict.

Times are UTC text as stored (`2026-01-31T09:30:00.123456Z`). Durations are seconds; fields ending
in `_ms` are milliseconds. Money is US dollars, None if no price is known. Shares are 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

from waxlocal.queries.record_rows import Event, LlmCall, Score, Span, Step
from waxlocal.queries.turns import Place

__all__ = [
    "MeteredCalls",
    "PricedTokens",
    "Process",
    "RunDetail",
    "RunLink",
    "RunSummary",
    "Session",
    "SessionDetail",
    "User",
    "as_dict",
    "share",
]


def share(part: float, whole: float) -> float | None:
    """Return the part divided by the whole; None if the whole is 0."""
    return part / whole if whole else None


class _Tokens(Protocol):
    @property
    def total_tokens(self) -> int: ...
    @property
    def priced_tokens(self) -> int: ...


class PricedTokens:
    """A row that counts tokens, in `total_tokens`; the cost of `priced_tokens` of them is known."""

    __slots__ = ()

    @property
    def priced_share(self: _Tokens) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return share(self.priced_tokens, self.total_tokens)


class _Calls(Protocol):
    @property
    def llm_calls(self) -> int: ...
    @property
    def unmetered_calls(self) -> int: ...


class MeteredCalls(PricedTokens):
    """A row that also counts calls; of `unmetered_calls` of them nobody told the tokens."""

    __slots__ = ()

    @property
    def metered_share(self: _Calls) -> float | None:
        """The share of calls whose tokens are known; None without calls."""
        return share(self.llm_calls - self.unmetered_calls, self.llm_calls)


@dataclass(frozen=True, slots=True)
class Session(MeteredCalls):
    """One session and its totals.

    A run of a sub-agent belongs to the turn that called it: of `run_count` runs `turn_count` are
    turns, and of `failed_runs` `failed_turns`. `total_duration` is the sum over the turns;
    `wall_duration` is the time from its first start to its last activity. `user_id` is the first of
    `users`, those that its runs name: there are `user_count`, of which 100 are listed. `status` is
    `running`, `interrupted`, `error` or `success`. `title` holds the first words of the first run's
    inputs; empty without inputs.
    """

    session_id: str
    user_id: str | None
    users: tuple[str, ...]
    user_count: int
    agents: tuple[str, ...]
    turn_count: int
    failed_turns: int
    run_count: int
    open_runs: int
    failed_runs: int
    llm_calls: int
    unmetered_calls: int
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


@dataclass(frozen=True, slots=True)
class RunSummary(MeteredCalls):
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
    unmetered_calls: int
    tokens_in: int
    tokens_out: int
    total_tokens: int
    priced_tokens: int
    total_cost: float | None
    message: str
    answer: str
    error: str | None
    error_type: str | None


@dataclass(frozen=True, slots=True)
class SessionDetail:
    """A session with its runs in order, and the place of each among its turns."""

    session: Session
    runs: tuple[RunSummary, ...]
    places: tuple[Place, ...]


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
    in this file. `previous_run_id` and `next_run_id` are those beside it in the session: of a turn
    the turns, of a sub-agent's run the others in its turn.
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
class User(MeteredCalls):
    """One user, with totals over all their sessions and their runs outside sessions."""

    user_id: str
    session_count: int
    turn_count: int
    run_count: int
    first_activity_at: str
    last_activity_at: str
    total_duration: float
    llm_calls: int
    unmetered_calls: int
    total_tokens: int
    priced_tokens: int
    total_cost: float | None
    agents: tuple[str, ...]


def as_dict(row: Any) -> Any:
    """Return a row as dicts and lists for JSON, including its properties."""
    if is_dataclass(row) and not isinstance(row, type):
        plain = {field.name: as_dict(getattr(row, field.name)) for field in fields(row)}
        for name, value in plain.items():
            if name.endswith("cost") and isinstance(value, float):
                # Round sums of floats: 0.0073384999999999995 is noise, 0.0073385 is the value.
                plain[name] = round(value, 12)
        for kind in type(row).__mro__[:-1]:  # not `object`, which has no properties
            for name, member in vars(kind).items():
                if isinstance(member, property):
                    plain[name] = as_dict(getattr(row, name))
        return plain
    if isinstance(row, tuple):
        return [as_dict(item) for item in row]
    return row
