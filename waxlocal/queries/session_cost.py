"""Where the money of a session went: per turn, per model, and the main reason."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from waxlocal import wording
from waxlocal.errors import NotFound
from waxlocal.queries.analysis_rows import ModelMoney, Money, TurnMoney
from waxlocal.queries.columns import usage_known
from waxlocal.queries.histories import Histories
from waxlocal.queries.rows import share
from waxlocal.queries.run_order import IN_ORDER, RUNS
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.turns import Place, places
from waxlocal.wording import counted, known_cost, percent

__all__ = ["money"]

# A first call with more input than this contains documents or tools, not only a question.
LARGE_CONTEXT_TOKENS = 4_000
# A model counts as expensive above this price: dollars per million tokens, input and output
# together. A large general model costs about this much, a small one a tenth.
EXPENSIVE_PER_MTOK = 5.0
MANY_TURNS = 10
# A reason must explain at least this share of the bill.
TELLING_SHARE = 1 / 3

_RUNS = f"""
SELECT r.run_id, r.agent_name, r.started_at, r.parent_workflow_id FROM {RUNS} ORDER BY {IN_ORDER}
"""  # noqa: S608
_CALLS = """
SELECT c.run_id, c.position, r.agent_name, c.model, c.provider, c.tokens_in, c.tokens_out,
  c.cached_tokens, c.cost, {known} AS usage_known
FROM {runs} CROSS JOIN llm_calls c ON c.run_id = r.run_id ORDER BY {in_order}, c.position
"""


class _Input(NamedTuple):
    """What of a call's input its agent had sent before.

    `resent` is None where nobody knows; it may be `estimated`. `first`: the call is the first of
    its agent, so all of it is new. `context`: what the first call of the agent had sent.
    """

    resent: int | None = 0
    estimated: bool = False
    first: bool = False
    context: int = 0


@dataclass
class _Sum:
    """Totals of some calls.

    Of the input, `unsplit_tokens` may or may not have been sent before; `estimated_tokens` were
    split into new and resent by size. `repeated_first` of `resent_tokens` are those of an agent's
    first call. The three `large_...` are of the agents whose first call was large.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0
    resent_sum: int = 0
    unsplit_tokens: int = 0
    estimated_tokens: int = 0
    repeated_first: int = 0
    large_calls: int = 0
    large_first: int = 0
    large_repeated: int = 0
    priced_tokens: int = 0
    unmetered_calls: int = 0
    cost_sum: float | None = None
    models: dict[str, None] = field(default_factory=dict)

    def add(self, call: sqlite3.Row, given: _Input) -> None:
        """Add a call; `given` is the result of `_Contexts.take` for it."""
        self.calls += 1
        self.tokens_in += call["tokens_in"]
        self.tokens_out += call["tokens_out"]
        self.cached_tokens += call["cached_tokens"]
        self._add_input(call["tokens_in"], given)
        self.unmetered_calls += not call["usage_known"]
        self.models[call["model"]] = None
        if call["cost"] is not None:
            self.cost_sum = (self.cost_sum or 0.0) + call["cost"]
            self.priced_tokens += call["tokens_in"] + call["tokens_out"]

    def _add_input(self, tokens_in: int, given: _Input) -> None:
        resent = given.resent or 0
        repeated = min(resent, given.context)
        self.resent_sum += resent
        self.unsplit_tokens += tokens_in if given.resent is None else 0
        self.estimated_tokens += tokens_in if given.estimated else 0
        self.repeated_first += repeated
        if given.context >= LARGE_CONTEXT_TOKENS:
            self.large_calls += 1
            self.large_first += given.context if given.first else 0
            self.large_repeated += repeated

    @property
    def cost(self) -> float | None:
        """The sum of the costs that are known; None if it is none of what was spent."""
        if not self.calls:
            return 0.0
        return known_cost(
            self.cost_sum, share(self.priced_tokens, self.tokens_in + self.tokens_out)
        )

    @property
    def resent_tokens(self) -> int | None:
        """Those that are known to be resent; None where nothing is known."""
        return None if 0 < self.tokens_in <= self.unsplit_tokens else self.resent_sum

    @property
    def new_tokens(self) -> int | None:
        """Those that are known to be new; None where nothing is known."""
        resent = self.resent_tokens
        return None if resent is None else self.tokens_in - self.unsplit_tokens - resent

    @property
    def grown_tokens(self) -> int:
        """Resent tokens beyond the first context: the growth of the conversation."""
        return self.resent_sum - self.repeated_first


class _Contexts:
    """Remembers what each agent sent with its first call, and with its last one."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._first: dict[str, int] = {}
        self._before: dict[str, tuple[int, int]] = {}  # input and output tokens

    def take(self, call: sqlite3.Row, turn: int) -> _Input:
        """Return what of a call's input was sent before.

        It is known where the messages of both calls are; tokens are taken to be spread evenly over
        their text. Else, if the input has grown, it is taken to be what the call before had sent
        and got. If it has not, that call may have been about something else.
        """
        agent, tokens_in = call["agent_name"], max(call["tokens_in"], 0)
        share_resent = self._histories.take(agent, call["run_id"], call["position"], turn)
        if not tokens_in:  # a failed call without token counts does not shrink the context
            return _Input()
        before = self._before.get(agent)
        self._before[agent] = tokens_in, max(call["tokens_out"], 0)
        context = self._first.setdefault(agent, tokens_in)
        if before is None:
            return _Input(first=True, context=context)
        if share_resent is not None:
            return _Input(round(tokens_in * share_resent), context=context)
        if tokens_in > before[0]:
            return _Input(min(tokens_in, sum(before)), estimated=True, context=context)
        return _Input(None, context=context)


@in_snapshot
def money(conn: sqlite3.Connection, session_id: str) -> Money:
    """Return the cost of a session per turn and per model, and why; raises `NotFound`."""
    runs = conn.execute(_RUNS, {"session_id": session_id}).fetchall()
    if not runs:
        raise NotFound(f"no session {session_id!r}")
    found = places((row["run_id"], row["parent_workflow_id"]) for row in runs)
    by_turn = {place.turn: _Sum() for place in found.values()}
    by_model: dict[tuple[str, str], _Sum] = {}
    histories = Histories(conn, session_id)
    whole, contexts = _Sum(), _Contexts(histories)
    query = _CALLS.format(known=usage_known(conn), runs=RUNS, in_order=IN_ORDER)
    for call in conn.execute(query, {"session_id": session_id}).fetchall():
        turn = found[call["run_id"]].turn
        context = contexts.take(call, turn)
        key = (call["model"], call["provider"])
        for total in (by_turn[turn], by_model.setdefault(key, _Sum()), whole):
            total.add(call, context)
    turns = _turns(runs, found, by_turn)
    models = _models(by_model)
    reason, verdict = _verdict(whole, turns, models)
    return Money(
        session_id=session_id,
        turns=turns,
        models=models,
        tokens_in=whole.tokens_in,
        tokens_out=whole.tokens_out,
        new_tokens=whole.new_tokens,
        resent_tokens=whole.resent_tokens,
        unsplit_tokens=whole.unsplit_tokens,
        estimated_tokens=whole.estimated_tokens,
        history=histories.changes,
        forks=sum(one.kind == "fork" for one in histories.changes),
        compactions=sum(one.kind == "compaction" for one in histories.changes),
        cached_tokens=whole.cached_tokens,
        priced_tokens=whole.priced_tokens,
        cost=whole.cost,
        reason=reason,
        verdict=verdict,
    )


def _turns(
    runs: Iterable[sqlite3.Row], found: Mapping[str, Place], by_turn: Mapping[int, _Sum]
) -> tuple[TurnMoney, ...]:
    counts = Counter(place.turn for place in found.values())
    own = {found[row["run_id"]]: row for row in runs}
    return tuple(
        _turn(number, own[Place(number, nested=False)], counts[number], total)
        for number, total in sorted(by_turn.items())
    )


def _turn(number: int, row: sqlite3.Row, runs: int, total: _Sum) -> TurnMoney:
    return TurnMoney(
        number=number,
        run_id=row["run_id"],
        agent_name=row["agent_name"],
        started_at=row["started_at"],
        runs=runs,
        llm_calls=total.calls,
        unmetered_calls=total.unmetered_calls,
        tokens_in=total.tokens_in,
        tokens_out=total.tokens_out,
        new_tokens=total.new_tokens,
        resent_tokens=total.resent_tokens,
        unsplit_tokens=total.unsplit_tokens,
        estimated_tokens=total.estimated_tokens,
        cached_tokens=total.cached_tokens,
        priced_tokens=total.priced_tokens,
        cost=total.cost,
        models=tuple(total.models),
    )


def _models(by_model: dict[tuple[str, str], _Sum]) -> tuple[ModelMoney, ...]:
    names = (
        *("calls", "unmetered_calls", "tokens_in", "tokens_out", "cached_tokens", "priced_tokens"),
        "cost",
    )
    models = [
        ModelMoney(model, provider, **{name: getattr(total, name) for name in names})
        for (model, provider), total in by_model.items()
    ]
    return tuple(sorted(models, key=lambda one: (-(one.cost or 0.0), one.model, one.provider)))


def _verdict(
    whole: _Sum, turns: tuple[TurnMoney, ...], models: tuple[ModelMoney, ...]
) -> tuple[str, str]:
    """Return the main reason for the cost, and one line that explains it with figures."""
    if not whole.calls:
        return "no_calls", "No LLM calls were recorded."
    shares = _shares(whole, models)
    reason = max(shares, key=lambda name: shares[name])
    if shares[reason] < TELLING_SHARE:
        reason = "many_turns" if len(turns) >= MANY_TURNS else "nothing"
    return reason, f"{_SAID[reason](whole, turns, models)}; {_total(whole)}."


def _shares(whole: _Sum, models: tuple[ModelMoney, ...]) -> dict[str, float]:
    """Return the share of the input tokens, or of the cost, that each reason explains."""
    sent = max(whole.tokens_in, 1)
    costliest, per_mtok = _most_expensive(models)
    too_much = 1 - EXPENSIVE_PER_MTOK / per_mtok if per_mtok else 0.0
    return {
        "growing_context": whole.grown_tokens / sent,
        "large_first_context": (whole.large_first + whole.large_repeated) / sent,
        "expensive_model": too_much * (costliest.cost or 0.0) / (whole.cost or 1.0),
    }


def _most_expensive(models: Iterable[ModelMoney]) -> tuple[ModelMoney, float]:
    """Return the model that cost most, and its dollars per million tokens (0 if unknown)."""
    costliest = next(iter(models))
    rate = (
        (costliest.cost or 0.0) * 1e6 / costliest.priced_tokens if costliest.priced_tokens else 0.0
    )
    return costliest, rate


def _growing(whole: _Sum, turns: tuple[TurnMoney, ...], _models: Any) -> str:
    # All that was sent before, as the turns show it, and not only the growth that is the reason.
    sent = [turn.tokens_in for turn in turns if turn.tokens_in] or [0]
    untold = any(turn.metered_share == 0 for turn in turns)
    first = "the first turn with known tokens" if untold else "the first turn"
    about = "about " if whole.estimated_tokens else ""
    return (
        f"Growing context: {about}{percent(share(whole.resent_sum, whole.tokens_in))} of the "
        f"{whole.tokens_in:,} input tokens were sent before; {first} sent {sent[0]:,}, "
        f"the last {sent[-1]:,}"
    )


def _large_first(whole: _Sum, _turns: Any, _models: Any) -> str:
    sent, about = (
        whole.large_first + whole.large_repeated,
        "about " if whole.estimated_tokens else "",
    )
    return (
        f"Large first context: {whole.large_first:,} tokens before the conversation, sent in "
        f"{counted(whole.large_calls, 'call')}, are {about}{percent(share(sent, whole.tokens_in))} "
        f"of the {whole.tokens_in:,} input tokens"
    )


def _expensive(whole: _Sum, _turns: Any, models: tuple[ModelMoney, ...]) -> str:
    costliest, rate = _most_expensive(models)
    return (
        f"Expensive model: {costliest.model} cost {wording.money(costliest.cost)}, "
        f"{percent(share(costliest.cost or 0.0, whole.cost or 0.0))} of the session, at "
        f"{wording.money(rate)} per million tokens"
    )


def _many(whole: _Sum, turns: tuple[TurnMoney, ...], _models: Any) -> str:
    each = "an unknown cost" if whole.cost is None else wording.money(whole.cost / len(turns))
    tokens = whole.tokens_in + whole.tokens_out
    return (
        f"Many turns: {counted(len(turns), 'turn')} at {each} and "
        f"{tokens // len(turns):,} tokens each"
    )


def _nothing(whole: _Sum, turns: tuple[TurnMoney, ...], _models: Any) -> str:
    calls = counted(whole.calls, "LLM call")
    return f"Nothing stands out: {counted(len(turns), 'turn')} with {calls}"


_SAID = {
    "growing_context": _growing,
    "large_first_context": _large_first,
    "expensive_model": _expensive,
    "many_turns": _many,
    "nothing": _nothing,
}


def _total(whole: _Sum) -> str:
    if whole.cost is None:
        return "total cost unknown"
    tokens = whole.tokens_in + whole.tokens_out
    total = f"total {wording.money(whole.cost)}"
    if whole.priced_tokens != tokens:
        known = percent(share(whole.priced_tokens, tokens))
        total += f" for the {known} of its tokens that have a price"
    if whole.unmetered_calls:
        total += f"; the tokens of {counted(whole.unmetered_calls, 'call')} are unknown"
    return total
