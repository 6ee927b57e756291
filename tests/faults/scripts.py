"""Named scripts: no fault, each fault by itself, and all that can be retried at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.faults.rules import Rule

__all__ = ["ABSURD", "CLEAN", "EACH", "EVERYTHING", "LASTING", "NAMED", "RETRYABLE", "everything"]

# What the API answers with to what cannot be used.
_WRONG_LIST = Rule("status", status=200, body=[])
_NO_RUN_ID = Rule("status", status=200, body={"workflow_id": "wf_1"}, path="/start/$")
_NUMBER_AS_RUN_ID = Rule(
    "status", status=200, body={"run_id": 7, "workflow_id": 7}, path="/start/$"
)

CLEAN: tuple[Rule, ...] = ()

# Each goes away by itself: the same request, sent again, is accepted in the end. Waits are short.
RETRYABLE: dict[str, Rule] = {
    "refuse": Rule("refuse", seconds=0.05, times=20),
    "reset-in-body": Rule("reset-in-body"),
    "reset-before-answer": Rule("reset-before-answer"),
    "reset-after-storing": Rule("reset-before-answer", store=True),
    "reset-in-answer": Rule("reset-in-answer"),
    "close-before-storing": Rule("close", store=False),
    "close-after-storing": Rule("close"),
    "500": Rule("status", status=500),
    "502": Rule("status", status=502),
    "503": Rule("status", status=503),
    "503-with-retry-after": Rule("status", status=503, retry_after="0"),
    "504-after-storing": Rule("status", status=504, store=True),
    "429": Rule("status", status=429),
    "429-seconds": Rule("status", status=429, retry_after="0"),
    "429-date": Rule("status", status=429, retry_after="date+0"),
    "429-past-date": Rule("status", status=429, retry_after="date-86400"),
    "429-negative": Rule("status", status=429, retry_after="-5"),
    "429-words": Rule("status", status=429, retry_after="tomorrow"),
    "408": Rule("status", status=408),
    "425": Rule("status", status=425),
    "drip-head": Rule("drip", at="head", seconds=0.0005),
    "drip-body": Rule("drip", at="body", seconds=0.0005),
    "hang": Rule("hang", seconds=0.3),
    "hang-after-storing": Rule("hang", seconds=0.3, store=True),
    "late": Rule("late", seconds=0.2),
    "truncated": Rule("truncated"),
    "short": Rule("short"),
    "html": Rule("html"),
    "redirect-302": Rule("redirect", status=302),
    "redirect-307": Rule("redirect", status=307),
    "wrong-list": _WRONG_LIST,
    "no-run-id": _NO_RUN_ID,
    "number-as-run-id": _NUMBER_AS_RUN_ID,
    "204": Rule("status", status=204),
    "duplicate": Rule("duplicate"),
    "closing": Rule("closing"),
    "continue": Rule("continue"),
    "early": Rule("early", seconds=0.2),
}
# Taken at their word these would stop the upload for years, so they are no part of the mixture.
ABSURD: dict[str, Rule] = {
    "429-exponent": Rule("status", status=429, retry_after="1e9"),
    "429-centuries": Rule("status", status=429, retry_after="99999999"),
    "429-far-date": Rule("status", status=429, retry_after="date+3000000000"),
}
# These stay until somebody does something: another key, another body, another server.
LASTING: dict[str, Rule] = {
    "400": Rule("status", status=400),
    "401": Rule("status", status=401),
    "403": Rule("status", status=403),
    "404": Rule("status", status=404),
    "409": Rule("status", status=409),
    "413": Rule("status", status=413),
    "413-many": Rule("status", status=413, over_items=1),
    "413-large": Rule("status", status=413, over_bytes=4096),
    "413-early": Rule("early", status=413),
    "422": Rule("status", status=422),
    "poison-400": Rule("poison", status=400, contains="poison"),
    "poison-422": Rule("poison", status=422, contains="poison"),
    "hang-for-ever": Rule("hang"),
    "drip-for-ever": Rule("drip", at="head", seconds=1.0),
}
EACH: dict[str, tuple[Rule, ...]] = {
    name: (rule,) for name, rule in {**RETRYABLE, **ABSURD, **LASTING}.items()
}


def everything(share: float = 0.2, names: Sequence[str] = tuple(RETRYABLE)) -> tuple[Rule, ...]:
    """Return a script in which that share of all requests meets one of the faults, each as often.

    Chance is new for each attempt, so that all requests are accepted in the end. A rule for one
    path counts as a fault of all others, too; there it does nothing.
    """
    left = 1.0
    rules = []
    for name in names:
        part = share / len(names)
        # The first rule that applies wins: later ones see only what the earlier ones let through.
        rules.append(replace(RETRYABLE[name], probability=part / left))
        left -= part
    return tuple(rules)


EVERYTHING = everything()

NAMED: dict[str, tuple[Rule, ...]] = {"clean": CLEAN, "everything": EVERYTHING, **EACH}
