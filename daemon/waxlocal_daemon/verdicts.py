"""What a response means for its request: delivered, to be retried, divided, parked, or paused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from waxlocal.wire.request_keys import asks_for_new_key
from waxlocal_daemon.answers import Answer, Unreadable, read_json
from waxlocal_daemon.backoff import retry_after

__all__ = ["NOT_JSON", "Action", "Verdict", "is_of_content", "judge"]

_TRY_AGAIN = frozenset((408, 425, 429))
# The server rejects this body. If it has several records, one of them may be the cause.
_DIVISIBLE = frozenset((400, 413, 422))
# What an API answers that has read a request and does not like it, and a firewall's page.
_OF_CONTENT = frozenset((400, 409, 422))
_OF_FIREWALL = frozenset((403,))
_REASON_CHARS = 200
_MISDIRECTED = 421
# Where an error has its message.
_WORDS = ("detail", "error", "message", "title")
# What the reason says of an answer that no Waxell API gives.
NOT_JSON = "not JSON"
# Stands for text that was not valid.
_UNREADABLE = "\ufffd"


class Action(Enum):
    """What to do with a request."""

    DELIVERED = "delivered"
    RETRY = "retry"
    SPLIT = "split"
    NEW_KEY = "new key"
    PARK = "park"
    PAUSE = "pause"


class Verdict(NamedTuple):
    """What to do with a request, the reason in words, and what else the response says.

    `of_host`: it concerns the server or the network, not only this request; `of_nobody`: it says
    nothing new of either. `foreign`: it is not of the API, but of something in front of it.
    `retry_after` is in seconds. `body` is the JSON object of the response, empty without one.
    """

    action: Action
    reason: str
    of_host: bool = False
    retry_after: float | None = None
    body: Mapping[str, Any] = {}
    of_nobody: bool = False
    foreign: bool = False


def judge(answer: Answer, *, records: int, needed: tuple[str, ...], now: float) -> Verdict:
    """Return what a response means.

    `records`: how many records the request has. `needed`: names that the response must have as
    text. `now` is in seconds since 1970, for `Retry-After` dates. No response deletes a record.
    """
    status = answer.status
    if status is None:
        return Verdict(Action.RETRY, answer.error, of_host=True)
    if 200 <= status < 300:
        return _accepted(answer, needed)
    said = _said(answer)
    reason = _reason(answer, said)
    if status == 401 or (status == 403 and not said.foreign):  # a firewall answers with a page
        return Verdict(Action.PAUSE, reason, of_host=True)
    if status in _TRY_AGAIN or status >= 500:
        wait = retry_after(answer.headers.get("retry-after"), now)
        return Verdict(Action.RETRY, reason, status == 429 or wait is not None, wait)
    if status < 400:
        # A captive portal, or a server that has moved: the key is not sent to another address.
        return Verdict(Action.RETRY, f"{reason}: redirects are not followed", of_host=True)
    if asks_for_new_key(said.body):
        return Verdict(Action.NEW_KEY, reason)
    # Under new keys a server that goes by them might store everything a second time.
    if status in _DIVISIBLE and records > 1 and not _is_about_key(said.body):
        return Verdict(Action.SPLIT, reason, foreign=said.foreign)
    return Verdict(Action.PARK, reason, foreign=said.foreign)


def is_of_content(answer: Answer, verdict: Verdict) -> bool:
    """Return whether a refusal says that the content is wrong: of an API, or of a firewall."""
    return answer.status in (_OF_FIREWALL if verdict.foreign else _OF_CONTENT)


def _accepted(answer: Answer, needed: tuple[str, ...]) -> Verdict:
    if not answer.body.strip():
        return _unless_needed({}, needed)
    try:
        body = read_json(answer.body, answer.key)
    except Unreadable as unreadable:
        if unreadable.is_json:  # an API sent it, and may answer other runs differently
            return Verdict(Action.RETRY, f"{answer.status}, but the answer is {unreadable}")
        return Verdict(Action.RETRY, f"{answer.status}, but {_not_json(answer)}", of_host=True)
    if not isinstance(body, dict):
        return Verdict(Action.RETRY, f"{answer.status}, but not a JSON object", of_host=True)
    return _unless_needed(body, needed)


def _unless_needed(body: dict[str, Any], needed: tuple[str, ...]) -> Verdict:
    for name in needed:
        if not isinstance(body.get(name), str) or not body[name]:
            return Verdict(Action.RETRY, f"the answer has no {name}")
        if _UNREADABLE in body[name]:  # the id is not what the server meant
            return Verdict(Action.RETRY, f"the {name} of the answer is not valid text")
    return Verdict(Action.DELIVERED, "", body=body)


def _not_json(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0] or "no content type"
    return f"{NOT_JSON} ({kind})"


class _Said(NamedTuple):
    """What an error response says: its JSON object, empty where it is none.

    `foreign`: its body is not JSON, so it comes from something else than a Waxell API.
    """

    body: Mapping[str, Any]
    foreign: bool = False


def _said(answer: Answer) -> _Said:
    try:
        body = read_json(answer.body, answer.key)
    except Unreadable as unreadable:
        return _Said({}, bool(answer.body.strip()) and not unreadable.is_json)
    return _Said(body if isinstance(body, dict) else {})


def _reason(answer: Answer, said: _Said) -> str:
    """Return the status and the first words of the body's message, or what body a refusal has."""
    refused = 400 <= (answer.status or 0) < 500 and answer.status not in _TRY_AGAIN
    if said.foreign and refused:
        return f"{answer.status}, {_not_json(answer)}"
    for name in _WORDS:
        if isinstance(said.body.get(name), str) and said.body[name]:
            return f"{answer.status}: {said.body[name][:_REASON_CHARS]}{_advice(answer, said)}"
    return f"{answer.status}"


def _advice(answer: Answer, said: _Said) -> str:
    """Return what another waxlocal advises if it was called by a name that it does not accept."""
    hint = said.body.get("hint")
    told = answer.status == _MISDIRECTED and isinstance(hint, str)
    return f"; {hint[:_REASON_CHARS]}" if told and hint else ""


def _is_about_key(said: Mapping[str, Any]) -> bool:
    """Return whether an error is about the `Idempotency-Key`, as far as its words tell.

    The draft (see `wire.request_keys`) and the servers that follow it differ in all but that word.
    """
    words = (said.get(name) for name in (*_WORDS, "type", "code"))
    return any(isinstance(word, str) and "idempotency" in word.lower() for word in words)
