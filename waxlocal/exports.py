"""Rows in forms for programs: JSON, JSON lines and CSV.

Every command imports this: it loads no query.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from waxlocal import encode, escaping

__all__ = [
    "REAL_NUMBERS",
    "RUN_COLUMNS",
    "SESSION_COLUMNS",
    "TEXT_LISTS",
    "USER_COLUMNS",
    "WHOLE_NUMBERS",
    "as_csv",
    "as_json",
]

# The columns of CSV: what a spreadsheet can hold of the rows of a list.
SESSION_COLUMNS = (
    "session_id",
    "title",
    "user_id",
    "users",
    "agents",
    "turn_count",
    "failed_turns",
    "run_count",
    "open_runs",
    "failed_runs",
    "llm_calls",
    "tokens_in",
    "tokens_out",
    "total_tokens",
    "total_cost",
    "priced_share",
    "metered_share",
    "total_duration",
    "wall_duration",
    "first_run_at",
    "last_run_at",
    "last_activity_at",
    "status",
)
RUN_COLUMNS = (
    *("run_id", "session_id", "user_id", "agent_name", "workflow_name", "parent_workflow_id"),
    *("status", "started_at", "completed_at", "duration", "llm_calls", "unmetered_calls"),
    *("tokens_in", "tokens_out", "total_tokens", "total_cost", "priced_share", "metered_share"),
    *("message", "answer", "error_type", "error"),
)
USER_COLUMNS = (
    "user_id",
    "session_count",
    "turn_count",
    "run_count",
    "llm_calls",
    "unmetered_calls",
    "total_tokens",
    "total_cost",
    "priced_share",
    "metered_share",
    "total_duration",
    "first_activity_at",
    "last_activity_at",
    "agents",
)
# What these columns hold, where a form wants to know. Names that end in `_at` are times, all others
# are text.
WHOLE_NUMBERS = frozenset((
    "session_count", "turn_count", "failed_turns", "run_count", "open_runs", "failed_runs",
    "llm_calls", "unmetered_calls", "tokens_in", "tokens_out", "total_tokens",
))  # fmt: skip
REAL_NUMBERS = frozenset((
    "total_cost", "priced_share", "metered_share", "total_duration", "wall_duration", "duration",
))  # fmt: skip
TEXT_LISTS = frozenset(("users", "agents"))

_END = "\r\n"


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return plain values as JSON text that is safe on a terminal.

    A figure that JSON has no number for is as in the API: `{"$float": "inf"}`.
    """
    try:
        return escaping.document(value, indent=indent)
    except ValueError:
        return escaping.document(encode.snapshot(value), indent=indent)


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield rows as lines of CSV after a header line, without line ends; None is an empty cell.

    Text that a spreadsheet would run as a formula is marked as text.
    """
    cells = ([escaping.cell(row[name]) for name in columns] for row in rows)
    for values in chain([columns], cells):
        out = io.StringIO()
        # It quotes a cell for the characters that it ends lines with: without any, text with a line
        # break would be several rows.
        csv.writer(out, lineterminator=_END).writerow(values)
        yield out.getvalue().removesuffix(_END)
