"""The SQL of the recorder, one statement for each kind of record."""

from __future__ import annotations

__all__ = [
    "ADD_EVENT",
    "ADD_LLM_CALL",
    "ADD_SCORE",
    "ADD_SPAN",
    "ADD_STEP",
    "BEGIN_DAILY_RUN",
    "BEGIN_RUN",
    "END_SPAN",
    "FINISH_RUN",
    "INTERRUPT_RUN",
    "NOTE_PROCESS",
    "RUN_SO_FAR",
    "SET_ATTRIBUTES",
]

# All columns of `processes`, in the order of the table.
NOTE_PROCESS = """
INSERT OR IGNORE INTO processes (process_id, host, boot_id, pid_namespace, pid, started, program,
  python, waxlocal, first_seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
BEGIN_RUN = """
INSERT INTO runs (run_id, agent_name, workflow_name, session_id, user_id, user_group,
  parent_workflow_id, root_workflow_id, trace_id, interaction_mode, process_id, status,
  started_at, metadata, inputs)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?)
"""
# The id is made from agent and day, so that whoever asks first makes the row. No process owns it:
# it stays open when the one that asked is gone.
BEGIN_DAILY_RUN = """
INSERT OR IGNORE INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status,
  started_at, metadata)
VALUES (?, ?, ?, ?, 'autonomous', 'running', ?, ?)
"""
SET_ATTRIBUTES = "UPDATE runs SET metadata = ?, tags = ?, result = ? WHERE run_id = ?"
RUN_SO_FAR = "SELECT started_at, metadata, tags, result FROM runs WHERE run_id = ?"
FINISH_RUN = """
UPDATE runs SET status = ?, completed_at = ?, duration = ?, error = ?, error_type = ?,
  traceback = ?, metadata = ?, tags = ?, result = ?
WHERE run_id = ?
"""
# Only what is still open: another process may have ended it meanwhile.
INTERRUPT_RUN = """
UPDATE runs SET status = 'interrupted', completed_at = ?, duration = ?,
  error = 'process interrupted before run completion (atexit)', error_type = 'Interrupted'
WHERE run_id = ? AND status = 'running'
"""
# The store gives a record whose (run_id, position) is taken another position, so these two come
# first in each of the following, as columns and as values.
ADD_LLM_CALL = """
INSERT INTO llm_calls (run_id, position, recorded_at, model, provider, task, tokens_in,
  tokens_out, cached_tokens, cache_write_tokens, cost, cost_source, duration_ms, ttft_ms,
  is_streaming, status, error_type, error_message, prompt_preview, response_preview, messages,
  response, details)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ADD_STEP = """
INSERT INTO steps (run_id, position, recorded_at, step_name, kind, output, attributes)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
ADD_SPAN = """
INSERT INTO spans (run_id, position, parent_position, started_at, duration_ms, name, kind, status,
  error, attributes, input, output)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
END_SPAN = """
UPDATE spans SET duration_ms = ?, status = ?, error = ?, output = ?
WHERE run_id = ? AND position = ?
"""
ADD_SCORE = """
INSERT INTO scores (run_id, position, recorded_at, name, data_type, numeric_value, string_value,
  comment)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
ADD_EVENT = """
INSERT INTO events (run_id, position, recorded_at, event, data) VALUES (?, ?, ?, ?, ?)
"""
