"""A conversation in Markdown: a heading for each turn, and what was said as quotations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from waxlocal import escaping, wording
from waxlocal.queries import Money, Session, Timing
from waxlocal.queries.records import Record
from waxlocal.web.pages.figures import exact_time, milliseconds, short_tokens
from waxlocal.web.pages.markdown import code_lines
from waxlocal.web.pages.turns import KINDS, Turn

__all__ = ["head", "said", "turn"]

# Of headings.
MOST_LEVELS = 6
# What would begin something in Markdown, wherever it stands in a line or at its beginning.
_MARKS = re.compile(r"([\\`*_\[\]<>~&|]|^[#+-]|^\d+(?=[.)](?:\s|$)))")


def head(session: Session, money: Money, timing: Timing) -> str:
    """Return the title, the totals, and why it cost and took what it did."""
    facts = (
        ", ".join(map(_plain, session.users)),
        "with " + ", ".join(map(_plain, session.agents)),
        exact_time(session.first_run_at),
        wording.counted(session.turn_count, "turn"),
        f"{short_tokens(session.total_tokens)} tokens" if session.metered_share else "",
        _cost(session.total_cost, wording.cost_share(session)),
        f"{wording.elapsed(session.wall_duration)} elapsed",
        "" if session.status == "success" else f"**{_plain(session.status)}**",
    )
    return (
        f"# {_plain(session.title) or 'Untitled session'}\n\n{_facts(*facts)}\n\n"
        f"Session `{_code(session.session_id)}`\n\n"
        f"Cost: {_plain(money.verdict)}\n\nTime: {_plain(timing.verdict)}\n"
    )


def turn(one: Turn) -> str:
    """Return a turn with the runs of its sub-agents."""
    return "".join(_lines(one))


def _lines(one: Turn, level: int = 2) -> Iterator[str]:
    run, spent = one.run, one.spent
    named = f"Sub-agent {_plain(run.agent_name)}" if one.nested else f"Turn {one.number}"
    yield f"\n{'#' * min(level, MOST_LEVELS)} {named}\n\n"
    yield (
        _facts(
            exact_time(run.started_at),
            wording.duration(run.duration) if run.duration is not None else "",
            f"{short_tokens(spent.total_tokens)} tokens" if spent.total_tokens else "",
            _cost(spent.total_cost, wording.cost_share(spent)) if spent.llm_calls else "",
            *map(_plain, one.marks),
        )
        + "\n"
    )
    if one.message:
        yield said("asked" if one.nested else run.user_id or "user", one.message.text)
    for inner in one.inner:
        yield from _lines(inner, level + 1)
    if one.answer:
        yield said(run.agent_name, one.answer.text)
    if one.failed:
        error = wording.failure(run.error_type, run.error)
        yield _quoted(run.status, map(_plain, error.splitlines()))
    if one.records:
        yield "\n" + "".join(f"- {_record(record)}\n" for record in one.records)


def said(who: str, text: str) -> str:
    """Return what somebody said as a quotation below their name."""
    return _quoted(who, _harmless(escaping.block(text)))


def _quoted(who: str, lines: Iterable[str]) -> str:
    quoted = "\n".join(f"> {line}".rstrip() for line in lines)
    return f"\n**{_plain(who)}**\n\n{quoted}\n"


def _harmless(text: str) -> Iterator[str]:
    """Yield lines of Markdown without HTML and images of its own; blocks of code as they are."""
    kept = code_lines(text)
    for number, line in enumerate(text.split("\n")):
        yield line if number in kept else line.replace("<", "&lt;").replace("![", "!&#91;")


def _record(one: Record) -> str:
    is_call = one.source == "llm"
    tokens = ""
    if is_call and one.tokens_in is not None and one.tokens_out is not None:
        tokens = f"{short_tokens(one.tokens_in)} in, {short_tokens(one.tokens_out)} out"
    value = one.status if one.value is None else f"{one.value:g}"
    return _facts(
        f"{_plain(one.name)} ({KINDS.get(one.source) or _plain(one.kind)})",
        _plain(value) if one.source == "score" else "",
        tokens,
        wording.money(one.cost) if is_call else "",
        "" if one.duration_ms is None else milliseconds(one.duration_ms),
        "**error**" if one.status == "error" else "",
        _plain(one.text),
    )


def _cost(dollars: float | None, share: float | None) -> str:
    return wording.cost(dollars, share)


def _facts(*facts: str) -> str:
    return " · ".join(filter(None, facts))


def _plain(text: str) -> str:
    """Return a name or a sentence on one line, as Markdown that shows it as it is."""
    return _MARKS.sub(_escaped, escaping.line(text))


def _escaped(mark: re.Match[str]) -> str:
    # A number is no mark, but the point after it is.
    return f"{mark[0]}\\" if mark[0].isdigit() else f"\\{mark[0]}"


def _code(text: str) -> str:
    return escaping.line(text).replace("`", "'")
