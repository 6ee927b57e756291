"""The results of analyses, as frozen dataclasses: statistics, models, cost and time of a session.

`rows` says what their values mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from waxlocal.prices.lookup import PriceSource
from waxlocal.queries.rows import MeteredCalls, PricedTokens, share
from waxlocal.wording import counted

__all__ = [
    "Flag",
    "HistoryChange",
    "ModelMoney",
    "ModelUse",
    "Money",
    "Statistics",
    "TimeByKind",
    "Timing",
    "TurnMoney",
    "TurnTime",
    "needs_price",
    "place_in_list",
]


@dataclass(frozen=True, slots=True)
class ModelUse(PricedTokens):
    """One model of one provider, with totals over all its calls.

    Latencies cover the calls whose duration is known; None if there are none. `price_source` is
    `pending`, `unknown`, `override`, `local` or the name of a price list; None if the price was
    never looked up.
    """

    model: str
    provider: str
    calls: int
    unmetered_calls: int
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
    def metered_share(self) -> float | None:
        """The share of calls whose tokens are known."""
        return share(self.calls - self.unmetered_calls, self.calls)

    @property
    def error_share(self) -> float | None:
        """The share of calls that failed."""
        return share(self.errors, self.calls)


def needs_price(model: ModelUse) -> bool:
    """Return whether no price of a model is known that its calls need.

    Also where nobody told the tokens of its calls: without a price they would have no cost, either.
    """
    if model.price_source not in (None, PriceSource.PENDING, PriceSource.UNKNOWN):
        return False
    untold = model.unmetered_calls > 0 and model.total_cost is None
    return model.priced_tokens < model.total_tokens or untold


def place_in_list(model: ModelUse) -> tuple[bool, float, str, str]:
    """Return the sort key of a list of models: those that need a price, then by cost."""
    # Sums of the same costs in another order differ in their last digits.
    return not needs_price(model), -round(model.total_cost or 0.0, 9), model.model, model.provider


@dataclass(frozen=True, slots=True)
class Statistics(MeteredCalls):
    """Statistics over many sessions.

    A percentile is always a recorded value: the one at index `int(n * q)` of n sorted values. A
    figure is None if there are no values for it.

    `distribution` counts sessions by number of turns. A session with one turn that is over is
    `abandoned`; of these, `abandoned_error` failed, `abandoned_slow` succeeded but took longer
    than `slow_after` seconds (the p95 of the sessions' mean turn durations), and `abandoned_fine`
    is the rest; the `_cost` of each is what is known. `not_over` counts those of one turn that may
    go on: they are still running, or were active within `WAXLOCAL_SESSION_OVER_AFTER`. Cost
    figures cover the `priced_sessions`, whose cost is known: they have a priced call, or none at
    all, as the `sessions_without_calls`.

    There are three durations of a session, in seconds: `duration`, what its turns took;
    `elapsed`, from its first start to its last activity; `waiting`, the part of `elapsed` that no
    turn took. `users` counts those who took part, `returning_users` those who did in more than one
    session.

    With a period, all of it is of the turns that began in it, and of the calls that ended in it; a
    session is `abandoned` if its one turn did.
    """

    sessions: int
    turns: int
    runs: int
    average_turns: float | None
    median_turns: float | None
    distribution: dict[int, int]
    abandoned: int
    abandoned_fine: int
    abandoned_error: int
    abandoned_slow: int
    abandoned_fine_cost: float
    abandoned_error_cost: float
    abandoned_slow_cost: float
    not_over: int
    slow_after: float | None
    priced_sessions: int
    sessions_without_calls: int
    total_cost: float | None
    average_cost: float | None
    p50_cost: float | None
    p95_cost: float | None
    p99_cost: float | None
    average_duration: float | None
    p50_duration: float | None
    p95_duration: float | None
    p99_duration: float | None
    average_elapsed: float | None
    p50_elapsed: float | None
    p95_elapsed: float | None
    p99_elapsed: float | None
    average_waiting: float | None
    p50_waiting: float | None
    p95_waiting: float | None
    p99_waiting: float | None
    users: int
    returning_users: int
    llm_calls: int
    unmetered_calls: int
    total_tokens: int
    priced_tokens: int

    def spread(self, name: str) -> tuple[float | None, ...]:
        """Return average, p50, p95 and p99 of `cost`, `duration`, `elapsed` or `waiting`."""
        return tuple(getattr(self, f"{one}_{name}") for one in ("average", "p50", "p95", "p99"))

    @property
    def abandonment_rate(self) -> float | None:
        """The share of abandoned sessions, of those that have a turn and are not `not_over`."""
        return share(self.abandoned, sum(self.distribution.values()) - self.not_over)

    @property
    def abandoned_cost(self) -> float:
        """The known cost of abandoned sessions."""
        return self.abandoned_fine_cost + self.abandoned_error_cost + self.abandoned_slow_cost

    @property
    def return_rate(self) -> float | None:
        """The share of users who took part in more than one session."""
        return share(self.returning_users, self.users)


@dataclass(frozen=True, slots=True)
class TurnMoney:
    """The tokens and cost of one turn of a session: of its run, and of those of its sub-agents.

    `number` counts the turns from 1, `runs` the turn's runs; the rest is of the first of them.
    `tokens_in` = `new_tokens` + `resent_tokens` + `unsplit_tokens`. Resent is what the same agent
    had sent before: by content, where the calls were recorded with their messages. Of a call
    without them whose input has grown, it is what fits into the previous call and the answer to
    that, by size: `estimated_tokens` of the input were split so. Of any other it is unknown: its
    input is in `unsplit_tokens`, and where all of it is, the first two are None. Of
    `unmetered_calls` nobody told the tokens.
    """

    number: int
    run_id: str
    agent_name: str
    started_at: str
    runs: int
    llm_calls: int
    unmetered_calls: int
    tokens_in: int
    tokens_out: int
    new_tokens: int | None
    resent_tokens: int | None
    unsplit_tokens: int
    estimated_tokens: int
    cached_tokens: int
    priced_tokens: int
    cost: float | None
    models: tuple[str, ...]

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.tokens_in + self.tokens_out

    @property
    def total_cost(self) -> float | None:
        """The cost, under the name that other rows have for it."""
        return self.cost

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return share(self.priced_tokens, self.total_tokens)

    @property
    def metered_share(self) -> float | None:
        """The share of calls whose tokens are known; None without calls."""
        return share(self.llm_calls - self.unmetered_calls, self.llm_calls)


@dataclass(frozen=True, slots=True)
class ModelMoney:
    """The tokens and cost of one model in a session; nobody told those of `unmetered_calls`."""

    model: str
    provider: str
    calls: int
    unmetered_calls: int
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    priced_tokens: int
    cost: float | None

    @property
    def metered_share(self) -> float | None:
        """The share of calls whose tokens are known; None without calls."""
        return share(self.calls - self.unmetered_calls, self.calls)


@dataclass(frozen=True, slots=True)
class HistoryChange:
    """A call that did not go on with the history that its agent had sent before.

    `kind` is `fork` (it went back, and on from there: `from_turn` is the last turn that it kept,
    None if that is unknown) or `compaction` (it began anew, or dropped most of it). `turn` is the
    number of its turn in the session, `position` that of the call in the run. It has
    `messages_after` messages; the history had `messages_before`, of which the first `messages_kept`
    are the same.
    """

    kind: str
    turn: int
    run_id: str
    position: int
    from_turn: int | None
    messages_before: int
    messages_after: int
    messages_kept: int

    @property
    def text(self) -> str:
        """What happened, in one line."""
        before = counted(self.messages_before, "message")
        if self.kind == "compaction":
            return f"history compacted at turn {self.turn}: {before} became {self.messages_after:,}"
        where = "" if self.from_turn is None else f" from turn {self.from_turn}"
        return f"turn {self.turn} forked{where}: {self.messages_kept:,} of {before} kept"

    @property
    def mark(self) -> str:
        """The same in two or three words, for its turn."""
        if self.kind == "compaction":
            return "history compacted"
        return "history forked" if self.from_turn is None else f"forked from turn {self.from_turn}"


@dataclass(frozen=True, slots=True)
class Money:
    """Where the money of a session went.

    `reason` is `growing_context`, `large_first_context`, `expensive_model`, `many_turns`, `nothing`
    (nothing stands out) or `no_calls`; `verdict` explains it in one line, with figures. Tokens are
    as in `TurnMoney`.
    `history` has the forks and compactions of the history, in order, and `forks` and `compactions`
    count them: known of calls that were recorded with their messages.
    """

    session_id: str
    turns: tuple[TurnMoney, ...]
    models: tuple[ModelMoney, ...]
    tokens_in: int
    tokens_out: int
    new_tokens: int | None
    resent_tokens: int | None
    unsplit_tokens: int
    estimated_tokens: int
    history: tuple[HistoryChange, ...]
    forks: int
    compactions: int
    cached_tokens: int
    priced_tokens: int
    cost: float | None
    reason: str
    verdict: str

    @property
    def priced_share(self) -> float | None:
        """The share of tokens whose cost is known; None without tokens."""
        return share(self.priced_tokens, self.tokens_in + self.tokens_out)


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
