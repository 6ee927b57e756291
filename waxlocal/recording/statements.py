"""The SQL of the recorder, one statement for each kind of record.

Where values are bound by position, `sdk.run` and `sdk.run_records` build the tuple, in the order
of the columns here or in `records`, and nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterable

from waxlocal.records import (
    EVENTS,
    LLM_CALLS,
    NOT_FINAL_STATUSES,
    PROCESSES,
    RECORD_TABLES,
    RUNS,
    SCORES,
    SPANS,
    STEPS,
    Phase,
    RunStatus,
)
from waxlocal.storage.record_sql import (
    ELSEWHERE_AGENT,
    ELSEWHERE_METADATA,
    INTERRUPT_RUN,
    INTERRUPTION,
    OR_TAKE_OVER,
    Statement,
    Update,
    insert,
    positional_insert,
)

__all__ = [
    "ADD_EVENT",
    "ADD_LLM_CALL",
    "ADD_REMOVED_CALL",
    "ADD_SCORE",
    "ADD_SPAN",
    "ADD_STEP",
    "ADD_WHOLE_CALL",
    "BEGIN_ELSEWHERE",
    "BEGIN_RUN",
    "CHANGED_BY_CAPTURE",
    "CHANGE_LLM_CALL",
    "END_SPAN",
    "FINISH_RUN",
    "INTERRUPT_RUN",
    "MAY_LEAVE",
    "NOTE_PROCESS",
    "REMOVE_EMPTY_RUN",
    "REMOVE_LLM_CALL",
    "RUN_SO_FAR",
    "SET_ATTRIBUTES",
    "SET_RUN_INPUTS",
    "SET_SPAN_ATTRIBUTES",
    "SET_SPAN_INPUT",
    "STARTED_AT",
    "UPDATES",
]

_ANY_TIME, _END = RUNS.names_of(Phase.ANY_TIME), RUNS.names_of(Phase.END)
_END_OF_SPAN = SPANS.names_of(Phase.END)


def _set(names: Iterable[str]) -> str:
    return ", ".join(f"{name} = ?" for name in names)


NOTE_PROCESS = insert(PROCESSES, on_conflict="DO NOTHING")
_OF_START = {"run_id", "status", "metadata", *RUNS.names_of(Phase.START)}
_START = [name for name in RUNS.names if name in _OF_START]
# Nobody else has its id: where it is there already, it was written just before an interruption, or
# only its records came before it.
BEGIN_RUN = Statement(
    f"""
INSERT INTO runs ({", ".join(_START)})
VALUES ({", ".join(f"'{RunStatus.RUNNING}'" if name == "status" else "?" for name in _START)})
ON CONFLICT {OR_TAKE_OVER}""",  # noqa: S608
    names=tuple(name for name in _START if name != "status"),
)
# A run of which the file has only the id: it was started into another file, or by another recorder
# whose start is still to come. No process owns it: it stays open until somebody completes it.
BEGIN_ELSEWHERE = Statement(f"""
INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status,
  started_at, metadata)
VALUES (:run_id, '{ELSEWHERE_AGENT}', 'default', :trace_id, 'autonomous', 'running', :started_at,
  '{ELSEWHERE_METADATA}')
ON CONFLICT DO NOTHING
""")  # noqa: S608
SET_ATTRIBUTES = Statement(f"UPDATE runs SET {_set(_ANY_TIME)} WHERE run_id = ?")  # noqa: S608
# What an instrumentation says only at the end: what a run was asked, what a tool was called with.
SET_RUN_INPUTS = Statement("UPDATE runs SET inputs = ? WHERE run_id = ?")
SET_SPAN_INPUT = Statement("""
UPDATE spans SET input = ? WHERE run_id = ? AND position = ? AND input IS NULL
""")
SET_SPAN_ATTRIBUTES = Statement("""
UPDATE spans SET attributes = ? WHERE run_id = ? AND position = ? AND status = 'running'
""")
STARTED_AT = "SELECT started_at FROM runs WHERE run_id = ?"
RUN_SO_FAR = """
SELECT started_at, status, metadata, tags, result, process_id FROM runs WHERE run_id = ?
"""
# The first end stays, also one that another process has written. What may change at any time is
# written in any case. With OR: for an IN list SQLite would build a temporary B-tree at each
# execution.
_IS_OPEN = " OR ".join(f"status = '{status}'" for status in NOT_FINAL_STATUSES)
FINISH_RUN = Statement(f"""
UPDATE runs SET {", ".join(f"{name} = iif({_IS_OPEN}, ?, {name})" for name in _END)},
  {_set(_ANY_TIME)}
WHERE run_id = ?
""")  # noqa: S608
# Nearly every call fills these columns and no others; each value more costs every call.
_OF_CALL = LLM_CALLS.recorded[: LLM_CALLS.recorded.index("reasoning_tokens") + 1]
ADD_LLM_CALL = Statement(positional_insert(LLM_CALLS, _OF_CALL), LLM_CALLS, _OF_CALL)
# The columns behind them, too.
ADD_WHOLE_CALL = Statement(positional_insert(LLM_CALLS), LLM_CALLS)
# A call that was captured, and of which another report tells more.
CHANGED_BY_CAPTURE = tuple(
    name for name in LLM_CALLS.recorded if name not in (*LLM_CALLS.key, LLM_CALLS.moment)
)
CHANGE_LLM_CALL = Statement(f"""
UPDATE llm_calls SET {_set(CHANGED_BY_CAPTURE)} WHERE run_id = ? AND position = ?
""")  # noqa: S608
# The run that was made for a captured call alone has nothing else once the call has left it. Not
# the newest run: the next one would get its id, and those that follow the file by that would miss
# it. And no run that somebody may be uploading.
_HAS_NOTHING = " AND ".join(
    f"NOT EXISTS (SELECT 1 FROM {table.name} WHERE run_id = :run_id)"  # noqa: S608
    for table in RECORD_TABLES
)
_IS_FREE = """NOT EXISTS (SELECT 1 FROM requests WHERE run_id = :run_id)
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE run_id = :run_id AND state <> 'open')"""
REMOVE_EMPTY_RUN = Statement(f"""
DELETE FROM runs WHERE run_id = :run_id AND id < (SELECT max(id) FROM runs)
  AND {_HAS_NOTHING} AND {_IS_FREE}
""")  # noqa: S608
# A call in a run that nobody uploads or has uploaded: a server would keep what is removed here.
_FREE_CALL = f"FROM llm_calls WHERE run_id = :run_id AND position = :position AND {_IS_FREE}"
MAY_LEAVE = f"SELECT 1 {_FREE_CALL}"
# It belongs to another run. Added there in the same transaction, right after this one: where it
# was not free any more, it is not.
REMOVE_LLM_CALL = Statement(f"DELETE {_FREE_CALL}")
ADD_REMOVED_CALL = Statement(
    f"INSERT INTO llm_calls ({', '.join(LLM_CALLS.recorded)}) "
    f"SELECT {', '.join('?' * len(LLM_CALLS.recorded))} WHERE changes() > 0",
    LLM_CALLS,
)
ADD_STEP = Statement(positional_insert(STEPS), STEPS)
ADD_SPAN = Statement(positional_insert(SPANS), SPANS)
# Only what is open: where two processes record into a run, a span may have had to move from here.
END_SPAN = Statement(f"""
UPDATE spans SET {_set(_END_OF_SPAN)}
WHERE run_id = ? AND position = ? AND status = 'running'
""")  # noqa: S608
ADD_SCORE = Statement(positional_insert(SCORES), SCORES)
ADD_EVENT = Statement(positional_insert(EVENTS), EVENTS)

# Of a run or a span that is not in the file, these do nothing. A file beside another one notes
# instead what they say, for the row that is in the other.
UPDATES = {
    SET_ATTRIBUTES.sql: Update("runs", (*_ANY_TIME, "run_id")),
    SET_RUN_INPUTS.sql: Update("runs", ("inputs", "run_id")),
    SET_SPAN_INPUT.sql: Update("spans", ("input", "run_id", "position")),
    SET_SPAN_ATTRIBUTES.sql: Update("spans", ("attributes", "run_id", "position")),
    FINISH_RUN.sql: Update("runs", (*_END, *_ANY_TIME, "run_id")),
    INTERRUPT_RUN.sql: INTERRUPTION,
    END_SPAN.sql: Update("spans", (*_END_OF_SPAN, "run_id", "position")),
    CHANGE_LLM_CALL.sql: Update("llm_calls", (*CHANGED_BY_CAPTURE, "run_id", "position")),
}
