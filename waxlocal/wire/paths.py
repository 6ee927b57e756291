"""Every path of the API, for whoever sends to it, serves it, describes it, or tests it.

The names in braces are those of the routes and of the OpenAPI document. Programs write below
`/observe`, people and dashboards read below `/observability`; the two memories are the exception.
"""

from __future__ import annotations

from urllib.parse import quote

__all__ = [
    "ANALYTICS",
    "BULK",
    "CONFIG",
    "DOCUMENT",
    "EVENTS",
    "GOVERNANCE_DECISION",
    "LIST_OF_STAGE",
    "MEMORY_STAGES",
    "MODEL_COSTS",
    "OBSERVABILITY",
    "OBSERVE",
    "POLICY_CHECK",
    "POLICY_MANIFEST",
    "PROMPTS",
    "PROMPT_GUARD",
    "RUN",
    "RUNS",
    "RUN_OF_DAY",
    "RUN_STAGES",
    "RUN_START",
    "SEARCH",
    "SESSION",
    "SESSIONS",
    "SESSION_BY_PARAMETER",
    "SESSION_STATISTICS",
    "USERS",
    "of_run",
    "of_session",
    "of_stage",
    "stage_path",
]

API = "/api/v1"
OBSERVE = f"{API}/observe"
OBSERVABILITY = f"{API}/observability"
DOCUMENT = f"{API}/openapi.json"

# -- what programs and uploaders write to -----------------------------------------------------

CONFIG = f"{OBSERVE}/config/"
POLICY_CHECK = f"{OBSERVE}/policy-check/"
POLICY_MANIFEST = f"{OBSERVE}/policy-manifest/"
PROMPTS = f"{OBSERVE}/prompts/"
PROMPT_GUARD = f"{OBSERVE}/prompt-guard/"
GOVERNANCE_DECISION = f"{OBSERVE}/governance-decision/"
EVENTS = f"{OBSERVE}/events/"
MODEL_COSTS = f"{OBSERVE}/model-costs/"
RUN_START = f"{OBSERVE}/runs/start/"
RUN_OF_DAY = f"{OBSERVE}/runs/daily/"
BULK = f"{OBSERVE}/runs/bulk/"

# The last part of the paths that belong to one run.
RUN_STAGES = ("llm-calls", "steps", "spans", "scores", "complete", "partial")
MEMORY_STAGES = ("episodic", "semantic")
# Where a body has the items of a stage; a body about a memory is one item itself.
LIST_OF_STAGE = {
    "llm-calls": "calls",
    "steps": "steps",
    "spans": "spans",
    "scores": "scores",
    "events": "events",
}


def stage_path(stage: str, run_id: str = "{run_id}") -> str:
    """Return the path of a stage of one run; the id must be quoted already."""
    if stage in MEMORY_STAGES:
        return f"{OBSERVABILITY}/runs/{run_id}/memory/{stage}/"
    return f"{OBSERVE}/runs/{run_id}/{stage}/"


def of_stage(stage: str, run_id: str = "") -> str:
    """Return where a request of a stage goes; any id, quoted here."""
    if stage == "start":
        return RUN_START
    if stage == "events":
        return EVENTS
    return stage_path(stage, _quoted(run_id))


# -- what people and dashboards read from -----------------------------------------------------

SESSIONS = f"{OBSERVABILITY}/sessions/"
SESSION_STATISTICS = f"{SESSIONS}stats/"
SESSION_BY_PARAMETER = f"{SESSIONS}detail/"
SESSION = f"{SESSIONS}{{session_id}}/"
RUNS = f"{OBSERVABILITY}/runs/"
RUN = f"{RUNS}{{run_id}}/"
USERS = f"{OBSERVABILITY}/users/"
SEARCH = f"{OBSERVABILITY}/search/"
ANALYTICS = f"{OBSERVABILITY}/analytics/models/"


def of_session(session_id: str) -> str:
    """Return where the API has a session; any id, quoted here."""
    return f"{SESSIONS}{_quoted(session_id)}/"


def of_run(run_id: str) -> str:
    """Return where the API has a run; any id, quoted here."""
    return f"{RUNS}{_quoted(run_id)}/"


def _quoted(one: str) -> str:
    return quote(one, safe="", errors="replace")
