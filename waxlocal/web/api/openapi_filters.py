"""The query parameters that choose sessions and runs, for the OpenAPI document."""

from __future__ import annotations

from waxlocal.queries.criteria import DIGITS, MOST_AMOUNT, NUMBER, UNITS_S
from waxlocal.records import RUN_STATUSES
from waxlocal.web.api.openapi_parts import in_query, text, time
from waxlocal.web.api.openapi_rows import Json

__all__ = ["RUN_FILTERS", "SESSION_FILTERS"]

_ONE_OR_MORE = "A name, or the beginning of names and `*`."
_SCORE = "The name of a score, or compared: `rating>=4`, `helpful=yes`, `topic=billing`."
# What each is, and which sessions and runs it leaves.
_TEXTS = (
    ("user_id", "", "of this user", "of this user"),
    ("agent", "", "in which this agent ran", "of this agent"),
    ("model", _ONE_OR_MORE, "with a call of this model", "with a call of this model"),
    ("tool", _ONE_OR_MORE, "in which this tool was called", "that called this tool"),
    ("tag", "`key` or `key=value`.", "with this tag on a run", "with this tag"),
    (
        "metadata",
        "`key` or `key=value`; the key may be a path: `customer.plan=gold`.",
        "with this metadata on a run",
        "with this metadata",
    ),
    (
        "error_type",
        "",
        "in which a run failed with this type of error",
        "that failed with this type of error",
    ),
    (
        "search",
        "",
        "in which inputs or a result contain this text",
        "whose inputs or result contain this text",
    ),
)
_SCORE_PATTERN = rf"^$|^(\"[^\"]+\"\s*|[^<>=\"][^<>=]*)(=[\s\S]+|(>=|<=|>|<)\s*[-+]?{NUMBER}\s*)?$"
_WITH_UNIT = rf"^{DIGITS}\s*({'|'.join(UNITS_S)})$"
_COST = {"type": "number", "minimum": 0, "maximum": MOST_AMOUNT, "description": "US dollars"}
_DURATION = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": MOST_AMOUNT},
        {"type": "string", "pattern": _WITH_UNIT},
    ],
    "description": "seconds, or with a unit: 500ms, 2m, 1h",
}
_TURNS = {"type": "integer", "minimum": 0, "maximum": MOST_AMOUNT}
_STATUS = in_query(
    "status", {"type": "string", "enum": list(RUN_STATUSES)}, "Only those with this status."
)


def _ranges(amounts: dict[str, tuple[Json, str]]) -> tuple[Json, ...]:
    return tuple(
        in_query(f"{end}_{name}", schema, f"Only those {said} {or_so}.")
        for name, (schema, said) in amounts.items()
        for end, or_so in (("min", "or more"), ("max", "or less"))
    )


def _score(said: str) -> Json:
    return in_query("score", text(_SCORE, pattern=_SCORE_PATTERN), f"Only those {said}.")


def _texts(place: int) -> tuple[Json, ...]:
    return tuple(in_query(one[0], text(one[1]), f"Only those {one[place]}.") for one in _TEXTS)


SESSION_FILTERS = (
    *_texts(2),
    _score("with such a score on a run"),
    _STATUS,
    *_ranges(
        {
            "cost": (_COST, "that cost so much"),
            "turns": (_TURNS, "of so many turns"),
            "duration": (_DURATION, "whose turns took so long"),
        }
    ),
    time("since", "Last active since"),
    time("until", "Last active until"),
)
RUN_FILTERS = (
    in_query("session_id", text(""), "Only those of this session."),
    in_query("no_session", {"type": "boolean"}, "Only those without a session."),
    *_texts(3),
    _score("with such a score"),
    _STATUS,
    *_ranges(
        {
            "cost": (_COST, "that cost so much by themselves"),
            "duration": (_DURATION, "that took so long"),
        }
    ),
    time("since", "Started since"),
    time("until", "Started until"),
)
