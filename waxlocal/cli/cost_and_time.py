"""Tables and bars of a session's cost and time, for `waxlocal session`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from waxlocal import escaping
from waxlocal.cli import figures
from waxlocal.cli.output import ACCENT, DIM, Column, Screen
from waxlocal.queries import HistoryChange, Money, Timing, TurnMoney
from waxlocal.wording import TIME_KINDS

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["show_money", "show_timing"]

_BAR = 24
# In a long session, show only the most expensive turns.
_MOST_TURNS = 30
_MOST_CHANGES = 10


def show_money(screen: Screen, money: Money) -> None:
    """Write tokens and cost per turn and per model, then the verdict."""
    screen.heading("Cost")
    if money.turns and money.tokens_in + money.tokens_out:
        _show_turns(screen, money.turns)
    if len(money.models) > 1:
        screen.gap()
        _show_models(screen, money)
    screen.gap()
    _show_history(screen, money.history)
    screen.write(screen.text(escaping.line(money.verdict)))


def _show_history(screen: Screen, history: Sequence[HistoryChange]) -> None:
    shown = history if screen.plain else history[:_MOST_CHANGES]
    for change in shown:
        screen.note("-", change.text)
    if left := len(history) - len(shown):
        screen.note("-", f"and {figures.counted(left, 'more such change')}")


def _show_turns(screen: Screen, turns: Sequence[TurnMoney]) -> None:
    unknown = ", ? unknown" if any(turn.unsplit_tokens for turn in turns) else ""
    columns = (
        Column("Turn", right=True),
        Column(f"Input ({'.' if screen.ascii_only else '░'} resent{unknown})"),
        Column("New", right=True),
        Column("Resent", right=True),
        Column("Cached", right=True),
        Column("Output", right=True),
        Column("Cost", right=True),
    )
    most = max(turn.tokens_in for turn in turns)
    numbered = list(enumerate(turns, 1))
    if not screen.plain and len(numbered) > _MOST_TURNS:
        costliest = sorted(numbered, key=lambda pair: (-(pair[1].cost or 0), -pair[1].tokens_in))
        numbered = sorted(costliest[:_MOST_TURNS])
    rows = [
        (
            str(number),
            _stacked(screen, turn, most),
            _of_input(turn, turn.new_tokens),
            _of_input(turn, turn.resent_tokens),
            figures.tokens(turn.cached_tokens) if turn.cached_tokens else figures.NOTHING,
            figures.told_tokens(turn.tokens_out, turn.metered_share),
            figures.cost(turn.cost, 1.0 if turn.llm_calls else None),
        )
        for number, turn in numbered
    ]
    screen.write(screen.table(columns, rows))
    if len(numbered) < len(turns):
        screen.write(
            screen.text((f"The {len(numbered)} most expensive of {len(turns):,} turns.", DIM))
        )


def _of_input(turn: TurnMoney, tokens: int | None) -> str:
    return figures.told_tokens(tokens, turn.metered_share, estimated=turn.estimated_tokens > 0)


def _stacked(screen: Screen, turn: TurnMoney, most: int) -> Text:
    """Return a bar of the input tokens: new tokens first, then resent ones, then unknown ones."""
    full, shade, blank = ("#", ".", "?") if screen.ascii_only else ("█", "░", "?")
    whole = max(1, round(_BAR * turn.tokens_in / most)) if turn.tokens_in else 0
    unsplit = round(whole * turn.unsplit_tokens / turn.tokens_in) if turn.tokens_in else 0
    fresh, known = turn.new_tokens or 0, whole - unsplit
    new = round(whole * fresh / turn.tokens_in) if turn.tokens_in else 0
    if fresh and turn.resent_tokens and known > 1:
        new = min(max(new, 1), known - 1)  # each part that is there gets at least one character
    new = min(new, known)
    return screen.text((full * new, ACCENT), (shade * (known - new), DIM), (blank * unsplit, DIM))


def _show_models(screen: Screen, money: Money) -> None:
    columns = (
        Column("Model"),
        Column("Calls", right=True),
        Column("Input", right=True),
        Column("Output", right=True),
        Column("Cost", right=True),
    )
    rows = [
        (
            escaping.line(one.model),
            figures.tokens(one.calls),
            figures.tokens_of(one.tokens_in, one.metered_share),
            figures.told_tokens(one.tokens_out, one.metered_share),
            figures.cost(one.cost, 1.0),
        )
        for one in money.models
    ]
    screen.write(screen.table(columns, rows))


def show_timing(screen: Screen, timing: Timing) -> None:
    """Write seconds per kind, the causes of slowness, and the verdict."""
    screen.heading("Time")
    active = timing.seconds.active
    rows = [
        (
            title,
            screen.text((screen.bar(seconds, active, _BAR), ACCENT)),
            figures.duration(seconds),
            figures.percent(seconds / active),
        )
        for name, title in TIME_KINDS
        if (seconds := getattr(timing.seconds, name)) > 0
    ]
    if timing.seconds.waiting > 0:
        # No bar: users take minutes, and on that scale the other bars would vanish.
        rows.append(
            ("Waiting for the user", screen.text(), figures.duration(timing.seconds.waiting), "")
        )
    if rows:
        columns = (Column(""), Column(""), Column("", right=True), Column("", right=True))
        screen.write(screen.table(columns, rows))
    notes = [escaping.line(flag.text) for flag in timing.flags]
    if timing.estimated_calls:
        calls = figures.counted(timing.estimated_calls, "LLM call")
        notes.append(
            f"{calls} without a duration, estimated at {figures.duration(timing.estimated_seconds)}"
        )
    screen.gap()
    for note in notes:
        screen.note("-", note)
    screen.write(screen.text(escaping.line(timing.verdict)))
