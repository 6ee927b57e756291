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

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from waxlocal.capture.facts import Row
from waxlocal.encode import dumps
from waxlocal.records import RecordStatus

__all__ = [
    "SLACK_NS",
    "Report",
    "best_of",
    "find_counted",
    "find_elsewhere",
    "find_lacking",
    "find_reported",
    "find_unclaimed",
    "is_handed_over",
    "same_model",
]

# How far apart two instrumentations may note the same moment.
SLACK_NS = 5_000_000


@dataclass(slots=True, eq=False)
class Report:
    """A call as an instrumentation reported it, and its row in the file with what was merged in.

    Times are of the steady clock, but for `recorded_ns`: when the call ended, in nanoseconds since
    1970, 0 for now. `claimed`: the program has handed it over by hand, too. `run_id` and
    `position` are those of its row, also before it is written; `made_by` are the recorder and the
    fork of its process that wrote it. `merged_into` is the report whose row is this one's, perhaps
    itself; `merged_outside`: that is the row of a call outside any run.
    """

    scope: str
    started_ns: int
    ended_ns: int
    row: Row
    run_id: str = ""
    position: int = 0
    made_by: tuple[object, int] = (None, 0)
    scopes: list[str] = field(default_factory=list)
    claimed: bool = False
    recorded_ns: int = 0
    merged_into: Report | None = None
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
    """Return the first call of its run that the program may be handing over by hand.

    That is one with the same counts; else one with those that the vendor puts beside the cache or
    the reasoning, and ours include; else one of which only one side has counts.
    """
    recent = list(recent)
    return find_counted(recent, by_hand) or find_lacking(recent, by_hand)


def find_counted(
    recent: Iterable[Report],
    by_hand: Row,
    here: Sequence[Report] = (),
    *,
    elsewhere: bool = False,
) -> Report | None:
    """Return the first call with the counts of one that the program hands over by hand.

    Of several, the one that was asked and has answered most of what the program says; else one of
    those made `here`, in the same task. `elsewhere`: in another run, where the counts alone prove
    little: none of which nothing that the program says is so.
    """
    wanted, model = (by_hand["tokens_in"], by_hand["tokens_out"]), by_hand["model"]
    # By the counts first: there may be hundreds of calls, and few have them.
    near = [one for one in recent if not one.claimed and _counts_beside(one.row, wanted)]
    left = [one for one in near if same_model(one.row["model"], model)]
    if elsewhere:
        left = [one for one in left if _fits(one.row, by_hand)]
    for alike in ([one for one in left if _counts_the_same(one.row, wanted)], left):
        if alike:
            return max(alike, key=lambda one: (_said_the_same(one.row, by_hand), one in here))
    return None


def is_handed_over(known: Report, by_hand: Row) -> bool:
    """Return whether a call made in this task may be what the program hands over.

    That is also one of which only one side has counts, or that has failed, and is handed over so.
    """
    if known.claimed or not same_model(known.row["model"], by_hand["model"]):
        return False
    if not _fits(known.row, by_hand):
        return False
    if known.row["status"] != RecordStatus.OK:
        return bool(by_hand.get("status", RecordStatus.OK) == known.row["status"])
    wanted = (by_hand["tokens_in"], by_hand["tokens_out"])
    is_known = bool(by_hand.get("usage_known", True))
    return _counts_beside(known.row, wanted) or _lacks_counts(known.row, is_known)


def best_of(
    alike: Iterable[Report], by_hand: Row, preferred: Callable[[Report], bool] = lambda _: False
) -> Report:
    """Return the call that was asked and has answered most of what the program says.

    Of several alike, the first that is `preferred`. Raises `ValueError` if there is no call.
    """
    return max(alike, key=lambda one: (_said_the_same(one.row, by_hand), preferred(one)))


def find_lacking(
    recent: Iterable[Report], by_hand: Row, *, elsewhere: bool = False
) -> Report | None:
    """Return the first call that ended well, and that only the other side has counts of.

    A stream without usage, whose tokens the program counts itself. `elsewhere`: only one that was
    asked, or has answered, what the program says.
    """
    model, known = by_hand["model"], bool(by_hand.get("usage_known", True))
    if by_hand.get("status", RecordStatus.OK) != RecordStatus.OK:
        return None
    lacking = (one for one in recent if not one.claimed and _lacks_counts(one.row, known))
    least = 1 if elsewhere else 0
    alike = [
        one
        for one in lacking
        if same_model(one.row["model"], model) and _said_the_same(one.row, by_hand) >= least
    ]
    return best_of(alike, by_hand) if alike else None


def _fits(row: Row, by_hand: Row) -> bool:
    """Return whether the program says nothing of a call, or something that is so."""
    providers = {row.get("provider"), by_hand.get("provider")} - {None, ""}
    return len(providers) < 2 and _said_the_same(row, by_hand) >= 0


def _said_the_same(row: Row, by_hand: Row) -> int:
    """Return how much of what the program says of question and answer is so.

    0 if it says nothing, or nothing is known; -1 if none of it is so.
    """
    asked, answered = row.get("prompt_preview"), row.get("response") or row.get("response_preview")
    messages = by_hand.get("messages")
    pairs = (
        (asked, by_hand.get("prompt_preview")),
        (dumps(asked)[1:-1] if asked and messages else None, messages),  # within JSON
        (answered, by_hand.get("response_preview")),
        (answered, by_hand.get("response")),
    )
    known = [(one, other) for one, other in pairs if one and other]
    # Each may be cut somewhere, or stand in a longer text.
    alike = sum(one in other or other in one for one, other in known)
    return alike or (-1 if known else 0)


def _counts_the_same(row: Row, wanted: tuple[int, int]) -> bool:
    return (row["tokens_in"], row["tokens_out"]) == wanted


def _counts_beside(row: Row, wanted: tuple[int, int]) -> bool:
    """Return whether these are the counts, or those without the cache, the reasoning, or both.

    Anthropic's `input_tokens` are those that the cache had nothing to do with, and Gemini's
    `candidates_token_count` those that were not thought. Where the program says how many were read
    from the cache, they have been added (`sdk.sound_counts`).
    """
    tokens_out = row["tokens_out"]
    if wanted[1] not in (tokens_out, tokens_out - (row["reasoning_tokens"] or 0)):
        return False
    tokens_in, cached, written = (row[name] for name in _INPUTS)
    uncached = tokens_in - cached - written
    return wanted[0] in (tokens_in, uncached, uncached + cached)


_INPUTS = ("tokens_in", "cached_tokens", "cache_write_tokens")


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
    """Return whether two names can be of one model: `gpt-4o` is answered by `gpt-4o-2024-08-06`.

    `gpt-4o-mini` is another one.
    """
    one, other = sorted((name.rpartition("/")[2].lower() for name in (one, other)), key=len)
    if not one or not other.startswith(one):
        return False
    return one == other or _EDITION.fullmatch(other, len(one)) is not None


# Of a date, a number of three digits or more (`-0613`, `-002`), or a word for the newest.
_EDITION = re.compile(r"-(\d{3,}.*|latest|preview.*)")
