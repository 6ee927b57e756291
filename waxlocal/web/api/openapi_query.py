"""The OpenAPI operations and schemas of the query endpoints."""

from __future__ import annotations

from waxlocal.maintenance.forgetting import Forgetting
from waxlocal.prices.rates import MAX_RATE
from waxlocal.queries import (
    ORDERINGS,
    USER_ORDERINGS,
    ModelUse,
    Money,
    RunDetail,
    Session,
    Statistics,
    Timing,
    User,
)
from waxlocal.queries.days import ModelDay
from waxlocal.queries.run_list import RUN_ORDERINGS
from waxlocal.search.hits import HitRow
from waxlocal.web.api import cost_routes
from waxlocal.web.api.openapi_filters import RUN_FILTERS, SESSION_FILTERS
from waxlocal.web.api.openapi_parts import (
    AGO,
    LIMIT,
    OFFSET,
    body,
    gives,
    in_path,
    in_query,
    operation,
    ordering,
    paged,
    ref,
    text,
    time,
)
from waxlocal.web.api.openapi_rows import Json, object_of, row_schemas
from waxlocal.wire import paths

__all__ = ["query_paths", "query_schemas"]

_INCLUDE = in_query(
    "include",
    {"type": "string", "enum": ["money", "timing", "money,timing"]},
    "Also return where the cost and the time of the session went.",
)
_SESSION_ID = in_path("session_id", "The id, percent-encoded; slashes may stay unencoded.")
_WANTED = in_query("session_id", text("", minLength=1), "The id.", required=True)
_SESSION_ORDERINGS = (*ORDERINGS, "first_run", "last_activity")


def query_paths() -> Json:
    """Return the operations by path and method."""
    return {
        paths.SESSIONS: {"get": _sessions()},
        paths.SESSION_STATISTICS: {"get": _statistics()},
        paths.SESSION_BY_PARAMETER: {
            "get": _session_by_parameter(),
            "delete": _forget("forgetSessionByParameter", "Sessions", _WANTED),
        },
        paths.SESSION: {
            "get": _session(),
            "delete": _forget("forgetSession", "Sessions", _SESSION_ID),
        },
        paths.RUNS: {"get": _runs()},
        paths.RUN: {
            "get": _run(),
            "delete": _forget("forgetRun", "Runs", in_path("run_id", "Its run id, whole.")),
        },
        paths.USERS: {"get": _users()},
        paths.SEARCH: {"get": _search()},
        paths.ANALYTICS: {"get": _models()},
        paths.MODEL_COSTS: {"get": _costs()},
        paths.MODEL_COSTS + "{model_id}/": {"put": _set_cost(), "delete": _unset_cost()},
    }


def _forget(name: str, tag: str, wanted: Json) -> Json:
    return operation(
        name,
        tag,
        "Delete it for good, with all runs below; see docs/forget.md.",
        {"200": gives(ref("Forgetting"), "What was deleted, and what was not.")},
        parameters=(wanted,),
        failing=("403", "404"),
        description="Runs that are still open stay: `open_runs`. Ask again when they have ended.",
    )


def _sessions() -> Json:
    return operation(
        "listSessions",
        "Sessions",
        "List sessions.",
        {"200": gives(paged(ref("SessionAnswer")), "A page of sessions.")},
        parameters=(
            *SESSION_FILTERS,
            ordering(_SESSION_ORDERINGS, "-last_activity_at"),
            LIMIT,
            OFFSET,
        ),
        description="Ordered by cost, sessions of unknown cost come last in both directions.",
    )


def _statistics() -> Json:
    return operation(
        "sessionStatistics",
        "Sessions",
        "Get statistics over sessions.",
        {"200": gives(ref("Statistics"), "Turns, abandonment, cost and duration per session.")},
        parameters=SESSION_FILTERS,
    )


_ONE_SESSION = {"200": gives(ref("SessionWithRuns"), "The session and a page of its runs.")}


def _session() -> Json:
    return operation(
        "getSession",
        "Sessions",
        "Get a session with its runs, in order.",
        _ONE_SESSION,
        parameters=(
            _SESSION_ID,
            _INCLUDE,
            _hundred(),
            OFFSET,
        ),
        failing=("404",),
    )


def _session_by_parameter() -> Json:
    return operation(
        "getSessionByParameter",
        "Sessions",
        "Get a session whose id cannot be part of a path, such as `..` or `stats`.",
        _ONE_SESSION,
        parameters=(_WANTED, _INCLUDE, _hundred(), OFFSET),
        failing=("404",),
    )


def _hundred() -> Json:
    return LIMIT | {
        "schema": LIMIT["schema"] | {"default": 100},
        "description": "The maximum number of runs.",
    }


def _runs() -> Json:
    return operation(
        "listRuns",
        "Runs",
        "List runs.",
        {"200": gives(paged(ref("RunSummary")), "A page of runs.")},
        parameters=(*RUN_FILTERS, ordering(RUN_ORDERINGS, "-id"), LIMIT, OFFSET),
        description="`id` is the order of arrival.",
    )


def _run() -> Json:
    return operation(
        "getRun",
        "Runs",
        "Get a run with all of its records.",
        {"200": gives(ref("RunAnswer"), "The run.")},
        parameters=(in_path("run_id", "Its run id or its workflow id."),),
        failing=("404",),
    )


def _users() -> Json:
    return operation(
        "listUsers",
        "Users",
        "List users.",
        {"200": gives(paged(ref("User")), "A page of users.")},
        parameters=(ordering(USER_ORDERINGS, "-last_activity_at"), LIMIT, OFFSET),
    )


def _search() -> Json:
    return operation(
        "search",
        "Search",
        "Find the turns in which something was said, those recorded last first.",
        {"200": gives(ref("Hits"), "The turns, and whether there may be more.")},
        parameters=(
            in_query(
                "q", text("", pattern="[A-Za-z0-9]"), "Words, phrases and filters.", required=True
            ),
            LIMIT,
            in_query(
                "below",
                {"type": "integer", "minimum": 1},
                "`below` of the page before: where this one begins.",
            ),
        ),
    )


def _models() -> Json:
    return operation(
        "modelAnalytics",
        "Models",
        "Get usage and cost per model: totals and per day.",
        {"200": gives(ref("ModelAnalytics"), "Totals, models and days (UTC).")},
        parameters=(
            in_query("period", AGO, "The same as `since`: 24h, 7d; `since` takes precedence."),
            time("since", "Ended since"),
            time("until", "Ended until"),
            in_query("agent", text(""), "Only calls of this agent's runs."),
        ),
    )


_MODEL_ID = in_path(
    "model_id", "The model as recorded, or `provider/model`, percent-encoded.", maxLength=1000
)


def _costs() -> Json:
    costs = {"type": "array", "items": ref("ModelCost")}
    return operation("listModelCosts", "Models", "List prices.", {"200": gives(costs, "Prices.")})


def _set_cost() -> Json:
    return operation(
        "setModelCost",
        "Models",
        "Set the price of a model, and recompute the cost of its calls.",
        {"200": gives(ref("ModelCost"), "The new price.")},
        parameters=(_MODEL_ID,),
        sent=body(ref("ModelCostToSet")),
    )


def _unset_cost() -> Json:
    provider = in_query(
        "provider", text("", maxLength=1000), "The provider that the price was set for."
    )
    return operation(
        "unsetModelCost",
        "Models",
        "Remove a price that was set; the price list applies again.",
        {"204": {"description": "The price was removed."}},
        parameters=(_MODEL_ID, provider),
        failing=("403", "404"),
    )


# -- schemas --------------------------------------------------------------------------------------

_RATE = {"anyOf": [{"type": "number", "minimum": 0, "maximum": MAX_RATE}, {"type": "null"}]}
_DOLLARS = {"type": "number", "minimum": 0, "maximum": MAX_RATE}
_NAME = {"type": "string", "maxLength": 1000}


def query_schemas() -> Json:
    """Return the schemas that the operations refer to."""
    rows = row_schemas(
        Session, RunDetail, Statistics, Money, Timing, User, ModelUse, ModelDay, HitRow, Forgetting
    )
    return {**rows, **_answers(rows), **_cost_schemas()}


def _answers(rows: Json) -> Json:
    moment = {"type": "string", "format": "date-time"}
    session = {**rows["Session"]["properties"], "first_run": moment, "last_activity": moment}
    address = {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]}
    with_runs = {
        **session,
        "runs": {"type": "array", "items": ref("RunSummary")},
        "next": address,
        "previous": address,
        "money": ref("Money"),
        "timing": ref("Timing"),
    }
    detail = {name: part for name, part in rows["RunDetail"]["properties"].items() if name != "run"}
    run = {**rows["RunSummary"]["properties"], "llm_call_count": {"type": "integer"}, **detail}
    return {
        "SessionAnswer": object_of(session),
        "SessionWithRuns": object_of(with_runs, optional=("money", "timing")),
        "RunAnswer": object_of(run),
        "ModelAnalytics": _analytics(rows),
        "Hits": _hits(),
    }


def _hits() -> Json:
    return object_of(
        {
            "results": {"type": "array", "items": ref("HitRow")},
            "below": {
                "anyOf": [{"type": "integer"}, {"type": "null"}],
                "description": "where the next page begins; null: there is none",
            },
            "is_cut": {
                "type": "boolean",
                "description": "there was no time to fill the page; `below` goes on",
            },
            "behind": {
                "type": "integer",
                "description": "how many of the last runs are not in the index yet, up to 1,000",
            },
        }
    )


def _analytics(rows: Json) -> Json:
    number = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    whole = {"type": "integer"}
    model = {**rows["ModelUse"]["properties"], "total_calls": whole, "percentage": number}
    sums = {
        "total_cost": number,
        "total_tokens": whole,
        "total_calls": whole,
        "unmetered_calls": whole,
        "metered_share": number,
        "priced_tokens": whole,
        "priced_share": number,
    }
    return object_of(
        {
            "period": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "aggregates": object_of(sums),
            "model_totals": {"type": "array", "items": object_of(model)},
            "time_series": {"type": "array", "items": ref("ModelDay")},
        }
    )


def _cost_schemas() -> Json:
    rates = {
        "input_cost_per_million": _RATE,
        "output_cost_per_million": _RATE,
        "cache_read_cost_per_million": _RATE,
        "cache_write_cost_per_million": _RATE,
    }
    shown = {
        "model_id": text("The model as recorded."),
        "provider": text("The provider as recorded; empty for any."),
        **rates,
        "tiers": {"description": "Prices by input length, and of finer counts; null without any."},
        "currency": {"const": "USD"},
        "is_override": {"type": "boolean", "description": "Whether the price was set by the user."},
        "source": text("pending, unknown, local, override, or the price list."),
        "matched": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "updated_at": {"type": "string", "format": "date-time"},
    }
    given = {
        "provider": {"anyOf": [_NAME, {"type": "null"}]},
        **rates,
        "input_cost_per_million": _DOLLARS,
        "output_cost_per_million": _DOLLARS,
        "currency": {"const": "USD"},
        **{name: {"description": "Ignored."} for name in cost_routes.ECHOED},
    }
    optional = tuple(name for name in given if name not in cost_routes.REQUIRED)
    return {
        "ModelCost": object_of(shown, description="Dollars per million tokens."),
        "ModelCostToSet": object_of(given, optional=optional, additionalProperties=False),
    }
