"""One call, one row: which of several reports of a call of a model belong together.

A call is often reported more than once: by a framework and by the client library below it, by two
instrumentations, by an instrumentation and by the program itself. What is known of such reports:

- one inside another is the same call, unless the outer one holds several (retries, fallbacks):
  then those are the calls, and the outer one is a span;
- two that are not inside each other are the same call if two instrumentations made them, and both
  say the same (the id of the answer, or model and tokens): where one ran within the other's time,
  or their times overlap and both were asked the same;
- one that the program hands over by hand after an automatic one with the same model and tokens is
  the same call; each automatic one takes at most one such.

Two reports of one instrumentation are never one call: the same question may be asked twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waxlocal.capture.facts import Row
from waxlocal.records import RecordStatus

if TYPE_CHECKING:
    from waxlocal.sdk.run import Run

__all__ = [
    "SLACK_NS",
    "Report",
    "find_counted",
    "find_elsewhere",
    "find_reported",
    "find_unclaimed",
    "same_model",
]

# How far apart two instrumentations may note the same moment.
SLACK_NS = 5_000_000


@dataclass(slots=True, eq=False)
class Report:
    """A call as an instrumentation reported it, and its row in the file with what was merged in.

    Times are of the steady clock, but for `recorded_ns`: when the call ended, in nanoseconds since
    1970, 0 for now. `claimed`: the program has handed it over by hand, too. `run`, its id and
    `position` are those of its row, also before it is written; `merged_outside`: that is the row of
    a call outside any run.
    """

    scope: str
    started_ns: int
    ended_ns: int
    row: Row
    run: Run | None = None
    run_id: str = ""
    position: int = 0
    scopes: list[str] = field(default_factory=list)
    claimed: bool = False
    recorded_ns: int = 0
    merged_outside: bool = False

    def __post_init__(self) -> None:
        self.scopes.append(self.scope)


def find_elsewhere(recent: Iterable[Report], report: Report) -> Report | None:
    """Return the same call as another instrumentation reported it, neither inside the other."""
    alike = [
        known
        for known in recent
        if report.scope not in known.scopes and _say_the_same(known.row, report.row)
    ]
    for known in alike:
        if _overlap(known, report):
            return known
    # Both begin, then one ends and is written, which may have to wait; the other ends after that.
    return next((known for known in alike if _meet(known, report)), None)


def find_reported(below: Sequence[Report], report: Report) -> Report | None:
    """Return which of the calls captured inside another report of a call is that call.

    A single one is. Of several, the one that says the same, or that was asked the same.
    """
    if len(below) == 1:
        return below[0]
    asked = report.row["prompt_preview"]
    alike = [one for one in below if asked and one.row["prompt_preview"] == asked]
    same = [one for one in alike or below if _say_the_same(one.row, report.row)]
    if not same and not report.row["usage_known"]:
        same = alike
    return same[-1] if same else None


def find_unclaimed(recent: Iterable[Report], by_hand: Row) -> Report | None:
    """Return the first call that the program may be handing over by hand.

    That is one with the same counts; else one with those that the vendor puts beside the cache or
    the reasoning, and ours include; else one that ended well and that only the other side has
    counts of: a stream without usage, whose tokens the program counts itself.
    """
    left = _left(recent, by_hand)
    if (counted := find_counted(left, by_hand)) is not None:
        return counted
    known = bool(by_hand.get("usage_known", True))
    return next((one for one in left if _lacks_counts(one.row, known)), None)


def find_counted(recent: Iterable[Report], by_hand: Row) -> Report | None:
    """Return the first call with the counts of one that the program hands over by hand.

    Of several with these counts, one that was asked the same, if the program says what.
    """
    left = _left(recent, by_hand)
    wanted = (by_hand["tokens_in"], by_hand["tokens_out"])
    for counts in (_counts_the_same, _counts_beside):
        alike = [one for one in left if counts(one.row, wanted)]
        if alike:
            return next((one for one in alike if _asked_the_same(one.row, by_hand)), alike[0])
    return None


def _left(recent: Iterable[Report], by_hand: Row) -> list[Report]:
    model = by_hand["model"]
    return [one for one in recent if not one.claimed and same_model(one.row["model"], model)]


def _asked_the_same(row: Row, by_hand: Row) -> bool:
    """Return whether one preview begins as the other: each may be cut somewhere."""
    one, other = row["prompt_preview"], by_hand.get("prompt_preview")
    if not one or not other:
        return False
    return bool(one.startswith(other) or other.startswith(one))


def _counts_the_same(row: Row, wanted: tuple[int, int]) -> bool:
    return (row["tokens_in"], row["tokens_out"]) == wanted


def _counts_beside(row: Row, wanted: tuple[int, int]) -> bool:
    """Return whether these are the counts without the cache, without the reasoning, or both.

    Anthropic's `input_tokens` are those that the cache had nothing to do with, and Gemini's
    `candidates_token_count` those that were not thought.
    """
    uncached = row["tokens_in"] - row["cached_tokens"] - row["cache_write_tokens"]
    said = row["tokens_out"] - (row["reasoning_tokens"] or 0)
    return wanted[0] in (row["tokens_in"], uncached) and wanted[1] in (row["tokens_out"], said)


def _lacks_counts(row: Row, known_by_hand: bool) -> bool:
    return row["status"] == RecordStatus.OK and bool(row["usage_known"]) != known_by_hand


def _overlap(one: Report, other: Report) -> bool:
    """Return whether one of two lies within the time of the other."""
    begins, ends = other.started_ns - one.started_ns, other.ended_ns - one.ended_ns
    return (begins >= -SLACK_NS and ends <= SLACK_NS) or (begins <= SLACK_NS and ends >= -SLACK_NS)


def _meet(one: Report, other: Report) -> bool:
    """Return whether two ran at one time, and were asked the same."""
    asked = one.row["prompt_preview"]
    ran = one.started_ns <= other.ended_ns and other.started_ns <= one.ended_ns
    return ran and bool(asked) and asked == other.row["prompt_preview"]


def _say_the_same(one: Row, other: Row) -> bool:
    if one["response_id"] and other["response_id"]:
        return bool(one["response_id"] == other["response_id"])
    tokens = (one["tokens_in"], one["tokens_out"])
    same = tokens == (other["tokens_in"], other["tokens_out"])
    return any(tokens) and same and same_model(one["model"], other["model"])


def same_model(one: str, other: str) -> bool:
    """Return whether two names can be of one model: `gpt-4o` is answered by `gpt-4o-2024-08-06`."""
    one, other = (name.rpartition("/")[2].lower() for name in (one, other))
    return one == other or one.startswith(f"{other}-") or other.startswith(f"{one}-")
