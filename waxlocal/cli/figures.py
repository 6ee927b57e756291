"""Numbers, times and bars as text for the terminal."""

from __future__ import annotations

from waxlocal import wording
from waxlocal.cli.local_times import local_time
from waxlocal.queries import RunSummary, Session, TurnMoney
from waxlocal.wording import (
    NOTHING,
    Costed,
    cost,
    cost_share,
    counted,
    duration,
    elapsed,
    money,
    percent,
    priced,
    rate,
    tokens,
    tokens_of,
    told_tokens,
)

__all__ = [
    "NOTHING",
    "ago",
    "bar",
    "cost",
    "cost_of",
    "cost_words",
    "counted",
    "duration",
    "elapsed",
    "money",
    "percent",
    "priced",
    "rate",
    "spent",
    "tokens",
    "tokens_of",
    "told_tokens",
    "who",
]

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def cost_of(row: Costed) -> str:
    """Return the cost of a row as `cost` does; `unknown` also where no call has known tokens."""
    return cost(row.total_cost, cost_share(row))


def cost_words(row: Costed) -> str:
    """Return the cost of a row for a line without headings: `unknown cost`."""
    text = cost_of(row)
    return {"unknown": "unknown cost", NOTHING: "no LLM calls"}.get(text, text)


def who(one: Session, most: int = 1) -> str:
    """Return the first users of a session, and how many more there are."""
    more = one.user_count - len(one.users[:most])
    return ", ".join(one.users[:most]) + (f" +{more:,}" if more > 0 else "")


def spent(run: RunSummary | TurnMoney) -> tuple[str, str]:
    """Return the tokens and the cost of a run or a turn in words, each empty if it has none."""
    told = run.total_tokens or run.unmetered_calls
    tokens_words = f"{tokens_of(run.total_tokens, run.metered_share)} tokens" if told else ""
    return tokens_words, cost_words(run) if run.llm_calls else ""


def ago(stored: str | None, now_ns: int) -> str:
    """Return a time as `wording.ago` does; where that is a date, it is the local one."""
    return wording.ago(stored, now_ns, local_time)


def bar(value: float, whole: float, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar of at most `width` characters; a value above zero gets at least one."""
    if value <= 0 or whole <= 0:
        return ""
    eighths = max(1, round(min(value / whole, 1.0) * width * 8))
    if ascii_only:
        return "#" * max(1, round(eighths / 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
