"""Read-only queries on the file, for the CLI, the server and notebooks.

The first argument of each function is a connection from `waxlocal.storage.connection.reader`. Each
returns frozen dataclasses and leaves no cursor open.
"""

from __future__ import annotations

from waxlocal.queries.analysis_rows import (
    Flag,
    HistoryChange,
    ModelMoney,
    ModelUse,
    Money,
    Statistics,
    TimeByKind,
    Timing,
    TurnMoney,
    TurnTime,
)
from waxlocal.queries.filters import EVERYTHING, ORDERINGS, SessionFilter
from waxlocal.queries.identifiers import resolve_run_id, resolve_session_id, short_run_id
from waxlocal.queries.models import list_models
from waxlocal.queries.record_rows import Event, LlmCall, Score, Span, Step
from waxlocal.queries.rows import (
    Process,
    RunDetail,
    RunLink,
    RunSummary,
    Session,
    SessionDetail,
    User,
    as_dict,
)
from waxlocal.queries.runs import get_run
from waxlocal.queries.session_cost import money
from waxlocal.queries.session_time import timing
from waxlocal.queries.sessions import count_sessions, get_session, get_turns, list_sessions
from waxlocal.queries.statistics import statistics
from waxlocal.queries.summaries import last_runs, recent_runs, reread_runs
from waxlocal.queries.times import parse_time
from waxlocal.queries.users import USER_ORDERINGS, list_users

__all__ = [
    "EVERYTHING",
    "ORDERINGS",
    "USER_ORDERINGS",
    "Event",
    "Flag",
    "HistoryChange",
    "LlmCall",
    "ModelMoney",
    "ModelUse",
    "Money",
    "Process",
    "RunDetail",
    "RunLink",
    "RunSummary",
    "Score",
    "Session",
    "SessionDetail",
    "SessionFilter",
    "Span",
    "Statistics",
    "Step",
    "TimeByKind",
    "Timing",
    "TurnMoney",
    "TurnTime",
    "User",
    "as_dict",
    "count_sessions",
    "get_run",
    "get_session",
    "get_turns",
    "last_runs",
    "list_models",
    "list_sessions",
    "list_users",
    "money",
    "parse_time",
    "recent_runs",
    "reread_runs",
    "resolve_run_id",
    "resolve_session_id",
    "short_run_id",
    "statistics",
    "timing",
]
