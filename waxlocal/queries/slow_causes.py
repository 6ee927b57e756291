"""Flags for known causes of slow sessions: sequential tools, large retrieval, retries, limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter

from waxlocal.queries.analysis_rows import Flag, TimeByKind
from waxlocal.queries.rows import share
from waxlocal.queries.run_intervals import Attempt, RunIntervals
from waxlocal.wording import counted, duration, percent

__all__ = ["slowness_flags"]

# Sequential tool calls are reported only if they add at least this share of the active time.
NOTABLE_SHARE = 0.05
# Retrieval counts as large above this share of the active time.
LARGE_RETRIEVAL_SHARE = 0.25


def slowness_flags(runs: Sequence[RunIntervals], whole: TimeByKind) -> tuple[Flag, ...]:
    """Return the causes of slowness in these runs; `whole` is their time by kind."""
    found = (
        _rate_limit(runs),
        _retries(runs, whole),
        _sequential_tools(runs, whole),
        _large_retrieval(runs, whole),
    )
    return tuple(flag for flag in found if flag is not None)


def _sequential_tools(runs: Sequence[RunIntervals], whole: TimeByKind) -> Flag | None:
    groups = [group for run in runs for group in _one_after_another(run)]
    total = sum(attempt.at.length for group in groups for attempt in group) / 1e6
    longest = sum(max(attempt.at.length for attempt in group) for group in groups) / 1e6
    if total - longest <= NOTABLE_SHARE * whole.active:
        return None
    count = sum(map(len, groups))
    text = (
        f"Sequential tool calls: {count:,} took {duration(total)} one after another, "
        f"{duration(longest)} if run in parallel"
    )
    return Flag("sequential_tools", count, total, longest, text)


def _one_after_another(run: RunIntervals) -> Iterator[list[Attempt]]:
    """Yield groups of a run's tool calls in which each call began after the previous one ended.

    An LLM call separates two groups: later calls may depend on its answer. So does a retry.
    """
    group: list[Attempt] = []
    for attempt in sorted(run.attempts, key=attrgetter("at")):
        if attempt.kind == "retrieval" or not attempt.at.length:
            continue
        last = group[-1].at.end if group else attempt.at.start
        if attempt.kind == "tool" and attempt.at.end <= last:
            continue  # nested in the previous call
        if attempt.kind == "llm" or attempt.lost or attempt.at.start < last:
            if len(group) > 1:
                yield group
            group = []
        if attempt.kind == "tool" and not attempt.lost:
            group.append(attempt)
    if len(group) > 1:
        yield group


def _large_retrieval(runs: Sequence[RunIntervals], whole: TimeByKind) -> Flag | None:
    searches = [one for run in runs for one in run.attempts if one.kind == "retrieval"]
    if not searches or whole.retrieval <= LARGE_RETRIEVAL_SHARE * whole.active:
        return None
    slowest = max(searches, key=lambda search: search.at.length)
    longest = slowest.at.length / 1e6
    found = "" if slowest.documents is None else f", {counted(slowest.documents, 'document')}"
    part = percent(share(whole.retrieval, whole.active))
    took = f"{counted(len(searches), 'retrieval')} took {duration(whole.retrieval)}, {part}"
    text = f"Large retrieval: {took}; the longest {duration(longest)} ({slowest.name}{found})"
    return Flag("large_retrieval", len(searches), whole.retrieval, longest, text)


def _retries(runs: Sequence[RunIntervals], whole: TimeByKind) -> Flag | None:
    count = sum(run.retries for run in runs)
    if not count:
        return None
    text = f"Retries: {count:,}, {duration(whole.retry)} lost"
    return Flag("retries", count, whole.retry, None, text)


def _rate_limit(runs: Sequence[RunIntervals]) -> Flag | None:
    limited = [one for run in runs for one in run.attempts if one.rate_limited]
    count = sum(
        max(run.rate_limited_spans, sum(one.rate_limited for one in run.attempts)) for run in runs
    )
    if not count:
        return None
    lost = sum((one.lost or one.at).length for one in limited) / 1e6
    text = f"Rate limits: {counted(count, 'call')} rejected, {duration(lost)} lost"
    return Flag("rate_limit", count, lost, None, text)
