"""Where the time of a session went: per kind, per turn, and the main reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from waxlocal.errors import NotFound
from waxlocal.queries.analysis_rows import Flag, TimeByKind, Timing, TurnTime
from waxlocal.queries.intervals import Interval, clipped, divided, gaps
from waxlocal.queries.rows import share
from waxlocal.queries.run_intervals import RunIntervals, run_intervals
from waxlocal.queries.slow_causes import slowness_flags
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.wording import counted, duration, percent

__all__ = ["timing"]

# Which kinds overlapping time belongs to, first ones first. A tool that waits for a person counts
# as waiting, and all of an attempt that failed as lost. While a tool asks a model, the time is the
# model's, and that of a search in a tool the search's. The time between two attempts counts as lost
# only if nothing else was done in it.
_ORDER = (("waiting",), ("retry",), ("tool", "retrieval", "llm"), ("backoff",))
_NAMES = {
    "llm": "LLM calls",
    "tool": "tools",
    "retrieval": "retrieval",
    "retry": "retries",
    "own_code": "the program's own code",
}
# A flag must explain at least this share of the active time to be the reason.
TELLING_SHARE = 0.2


@in_snapshot
def timing(conn: sqlite3.Connection, session_id: str) -> Timing:
    """Return where a session's time went, and why it took long; raises `NotFound`."""
    runs = run_intervals(conn, session_id)
    if not runs:
        raise NotFound(f"no session {session_id!r}")
    _hand_up(runs)
    kinds = [_divide(run) for run in runs]
    outermost = [number for number, run in enumerate(runs) if run.parent is None]
    idle = gaps(Interval(runs[number].start, runs[number].end) for number in outermost)
    between = TimeByKind(0.0, 0.0, 0.0, 0.0, 0.0, sum(gap.length for gap in idle) / 1e6)
    whole = _sum([kinds[number] for number in outermost] + [between])
    flags = slowness_flags(runs, whole)
    reason, verdict = _verdict(whole, flags, sum(run.estimated_calls for run in runs))
    return Timing(
        session_id=session_id,
        turns=_turns(runs, kinds, idle),
        seconds=whole,
        wall_duration=(max(run.end for run in runs) - min(run.start for run in runs)) / 1e6,
        estimated_calls=sum(run.estimated_calls for run in runs),
        estimated_seconds=sum(run.estimated for run in runs) / 1e6,
        flags=flags,
        reason=reason,
        verdict=verdict,
    )


def _hand_up(runs: Sequence[RunIntervals]) -> None:
    """Add the intervals of each nested run to the run that contains it."""
    for run in reversed(runs):  # innermost runs begin last
        if run.parent is not None:
            runs[run.parent].intervals += clipped(run.intervals, run.start, run.end)


def _divide(run: RunIntervals) -> TimeByKind:
    times = divided(clipped(run.intervals, run.start, run.end), _ORDER)
    own = run.end - run.start - sum(times.values())
    return TimeByKind(
        llm=times["llm"] / 1e6,
        tool=times["tool"] / 1e6,
        retrieval=times["retrieval"] / 1e6,
        retry=(times["retry"] + times["backoff"]) / 1e6,
        own_code=own / 1e6,
        waiting=times["waiting"] / 1e6,
    )


def _sum(parts: Sequence[TimeByKind]) -> TimeByKind:
    return TimeByKind(
        llm=sum(part.llm for part in parts),
        tool=sum(part.tool for part in parts),
        retrieval=sum(part.retrieval for part in parts),
        retry=sum(part.retry for part in parts),
        own_code=sum(part.own_code for part in parts),
        waiting=sum(part.waiting for part in parts),
    )


def _turns(
    runs: Sequence[RunIntervals], kinds: Sequence[TimeByKind], idle: Sequence[Interval]
) -> tuple[TurnTime, ...]:
    idle_until = {gap.end: gap.length / 1e6 for gap in idle}
    return tuple(
        TurnTime(
            run_id=run.run_id,
            agent_name=run.agent_name,
            started_at=run.started_at,
            duration=(run.end - run.start) / 1e6,
            # Of several runs that begin together, only the first has an idle time before it.
            idle_before=idle_until.pop(run.start, 0.0) if run.parent is None else 0.0,
            nested_in=None if run.parent is None else runs[run.parent].run_id,
            seconds=spent,
            estimated_calls=run.estimated_calls,
        )
        for run, spent in zip(runs, kinds, strict=True)
    )


def _verdict(whole: TimeByKind, flags: Sequence[Flag], estimated_calls: int) -> tuple[str, str]:
    """Return the main reason for a session's duration, and one line that explains it."""
    if not whole.active:
        return "nothing", "No time was recorded."
    worst = max(flags, key=_avoidable, default=None)
    if worst is not None and _avoidable(worst) >= TELLING_SHARE * whole.active:
        return worst.kind, f"{worst.text}, of {duration(whole.active)} active."
    kind = max(_NAMES, key=lambda name: float(getattr(whole, name)))
    part = percent(share(getattr(whole, kind), whole.active))
    verdict = f"Mostly {_NAMES[kind]}: {part} of {duration(whole.active)} active"
    if kind == "llm" and estimated_calls:
        calls = counted(estimated_calls, "call")
        verdict += f" (estimated for {calls} without a duration)"
    return kind, verdict + "."


def _avoidable(flag: Flag) -> float:
    """Return the seconds that the cause added."""
    if flag.kind == "sequential_tools":
        return flag.seconds - (flag.longest or 0.0)
    return flag.seconds
