"""Spans that instrumentations emitted: recorded once, and read here as a receiver would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from waxlocal.capture.facts import ReadSpan, SpanEvent

SPANS = Path(__file__).parents[1] / "data" / "spans"
START_NS = 1_795_648_170_000_000_000


def families() -> list[str]:
    return sorted(path.stem for path in SPANS.glob("*.json"))


def spans_of(family: str, case: str) -> list[ReadSpan]:
    """Return the spans of one case, in the order in which they ended."""
    return [_span(sent) for sent in _cases(family)[case]]


def every_span() -> list[tuple[str, ReadSpan]]:
    """Return (what it is, the span) of all."""
    return [
        (f"{family}: {case}: {span.name}", span)
        for family in families()
        for case in _cases(family)
        for span in spans_of(family, case)
    ]


def _cases(family: str) -> dict[str, Any]:
    cases: dict[str, Any] = json.loads((SPANS / f"{family}.json").read_text(encoding="utf-8"))
    return cases


def _span(sent: dict[str, Any]) -> ReadSpan:
    # As OpenTelemetry's SDK has them: a list in an attribute is a tuple.
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in sent["attributes"].items()
    }
    return ReadSpan(
        name=sent["name"],
        attributes=given,
        events=[
            SpanEvent(event["name"], event["attributes"], START_NS + int(event["at_ms"] * 1e6))
            for event in sent["events"]
        ],
        scope=sent["scope"],
        status=sent["status"],
        status_message=sent["status_message"],
        start_ns=START_NS,
    )
