"""What an answer means for the request that it answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from waxlocal_daemon.answers import Answer, Unreadable, read_json
from waxlocal_daemon.backoff import retry_after

__all__ = ["Outcome", "Verdict", "judge"]

_TRY_AGAIN = frozenset((408, 425, 429))
_KEY_REFUSED = frozenset((401, 403))
# The body cannot be taken as it is; with several records in it one of them may be why.
_DIVISIBLE = frozenset((400, 413, 422))
_REASON_CHARS = 200
# What stands for a character that was none.
_UNREADABLE = "\ufffd"


class Verdict(Enum):
    """What to do with a request."""

    DELIVERED = "delivered"
    RETRY = "retry"
    SPLIT = "split"
    PARK = "park"
    PAUSE = "pause"


class Outcome(NamedTuple):
    """A verdict, the reason in words, and what else the answer says.

    `of_host`: it concerns the server or the way to it, and not this request alone. `retry_after`
    in seconds. `body` is the answer's JSON object, empty where there is none.
    """

    verdict: Verdict
    reason: str
    of_host: bool = False
    retry_after: float | None = None
    body: Mapping[str, Any] = {}


def judge(answer: Answer, *, records: int, needed: tuple[str, ...], now: float) -> Outcome:
    """Return what an answer means.

    `records`: how many the request carries. `needed`: names that the answer must hold as text.
    `now` in seconds since 1970, for `Retry-After` dates. No answer means that a record is dropped.
    """
    status = answer.status
    if status is None:
        return Outcome(Verdict.RETRY, answer.error, of_host=True)
    if 200 <= status < 300:
        return _accepted(answer, needed)
    reason = _reason(answer)
    if status in _KEY_REFUSED:
        return Outcome(Verdict.PAUSE, reason, of_host=True)
    if status in _TRY_AGAIN or status >= 500:
        wait = retry_after(answer.headers.get("retry-after"), now)
        return Outcome(Verdict.RETRY, reason, status == 429 or wait is not None, wait)
    if status < 400:
        # A captive portal, or another address: the key must not follow it there.
        return Outcome(Verdict.RETRY, f"{reason}: redirects are not followed", of_host=True)
    if status in _DIVISIBLE and records > 1:
        return Outcome(Verdict.SPLIT, reason)
    return Outcome(Verdict.PARK, reason)


def _accepted(answer: Answer, needed: tuple[str, ...]) -> Outcome:
    if not answer.body.strip():
        return _unless_needed({}, needed)
    try:
        body = read_json(answer.body, answer.key)
    except Unreadable as unreadable:
        if unreadable.is_json:  # of an API, which may give other runs other answers
            return Outcome(Verdict.RETRY, f"{answer.status}, but the answer is {unreadable}")
        kind = answer.headers.get("content-type", "").partition(";")[0] or "no content type"
        return Outcome(Verdict.RETRY, f"{answer.status}, but not JSON ({kind})", of_host=True)
    if not isinstance(body, dict):
        return Outcome(Verdict.RETRY, f"{answer.status}, but not a JSON object", of_host=True)
    return _unless_needed(body, needed)


def _unless_needed(body: dict[str, Any], needed: tuple[str, ...]) -> Outcome:
    for name in needed:
        if not isinstance(body.get(name), str) or not body[name]:
            return Outcome(Verdict.RETRY, f"the answer has no {name}")
        if _UNREADABLE in body[name]:  # an id that is not the server's any more
            return Outcome(Verdict.RETRY, f"the {name} of the answer is not valid text")
    return Outcome(Verdict.DELIVERED, "", body=body)


def _reason(answer: Answer) -> str:
    """Return the status and what the body says in words, as far as a person wants to read it."""
    try:
        body = read_json(answer.body, answer.key)
    except Unreadable:
        return f"{answer.status}"
    if isinstance(body, dict):
        for name in ("detail", "error", "message", "title"):
            if isinstance(body.get(name), str) and body[name]:
                return f"{answer.status}: {body[name][:_REASON_CHARS]}"
    return f"{answer.status}"
