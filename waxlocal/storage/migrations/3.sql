-- From version 2 to 3: the file says who may write to it; triggers name the columns that they fill.

-- The version of this schema, in one row, and who may use a file that has it: a waxlocal that knows
-- schema version N writes to the file if N >= min_writer, and reads it if N >= min_reader, though
-- the file be newer. waxlocal 0.1 and 0.2 look at `PRAGMA user_version` instead, and refuse a file
-- whose number is greater than theirs; it stays 2 while what 0.2 does to the file is sound.
CREATE TABLE schema_version (
  version    INTEGER NOT NULL,
  min_writer INTEGER NOT NULL,
  min_reader INTEGER NOT NULL
);
INSERT INTO schema_version (version, min_writer, min_reader) VALUES (3, 2, 2);

-- What an older waxlocal recorded beside this file, while it may not write to it, is taken in by one
-- that may: how far it has come with each such side file, in the transaction of the rows themselves.
CREATE TABLE side_files (
  file_id  TEXT PRIMARY KEY,
  taken_to INTEGER NOT NULL           -- its changes up to this one are in here
) WITHOUT ROWID;

-- Records of side files whose position in their run was taken here already.
CREATE TABLE side_moves (
  file_id       TEXT NOT NULL,
  table_name    TEXT NOT NULL,
  run_id        TEXT NOT NULL,
  side_position INTEGER NOT NULL,     -- in the side file
  moved_to      INTEGER NOT NULL,     -- in here
  PRIMARY KEY (file_id, table_name, run_id, side_position)
) WITHOUT ROWID;

-- Of tokens_out, those spent on reasoning; NULL: not told.
ALTER TABLE llm_calls ADD COLUMN reasoning_tokens INTEGER;

DROP TRIGGER runs_insert;
CREATE TRIGGER runs_insert AFTER INSERT ON runs WHEN NEW.session_id IS NOT NULL
BEGIN
  INSERT INTO sessions (session_id, user_id, agents, run_count, open_runs, failed_runs, llm_calls,
    priced_calls, tokens_in, tokens_out, total_tokens, priced_tokens, total_cost, total_duration,
    first_run_at, last_run_at, last_activity_at)
  VALUES (
    NEW.session_id, NEW.user_id, json_array(NEW.agent_name), 1,
    NEW.status = 'running', NEW.status <> 'running' AND NEW.status <> 'success',
    0, 0, 0, 0, 0, 0, NULL, coalesce(NEW.duration, 0.0),
    NEW.started_at, NEW.started_at, coalesce(NEW.completed_at, NEW.started_at)
  )
  ON CONFLICT (session_id) DO UPDATE SET
    user_id = coalesce(user_id, excluded.user_id),
    -- 4,000 characters of names are enough for any list; a session of a million agents is a bug
    agents = CASE
      -- behind '[' or ',' a quote begins a name; inside a name it is escaped
      WHEN instr(agents, '[' || json_quote(NEW.agent_name))
        OR instr(agents, ',' || json_quote(NEW.agent_name)) OR length(agents) > 4000 THEN agents
      ELSE substr(agents, 1, length(agents) - 1) || ',' || json_quote(NEW.agent_name) || ']' END,
    run_count = run_count + 1,
    open_runs = open_runs + excluded.open_runs,
    failed_runs = failed_runs + excluded.failed_runs,
    total_duration = total_duration + excluded.total_duration,
    first_run_at = min(first_run_at, excluded.first_run_at),
    last_run_at = max(last_run_at, excluded.last_run_at),
    last_activity_at = max(last_activity_at, excluded.last_activity_at);
END;

-- Which of two states of a row is newer.
ALTER TABLE runs ADD COLUMN revision INTEGER;
ALTER TABLE llm_calls ADD COLUMN revision INTEGER;
ALTER TABLE steps ADD COLUMN revision INTEGER;
ALTER TABLE spans ADD COLUMN revision INTEGER;
ALTER TABLE scores ADD COLUMN revision INTEGER;
ALTER TABLE events ADD COLUMN revision INTEGER;
ALTER TABLE targets ADD COLUMN events_cursor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE targets ADD COLUMN looked_again INTEGER NOT NULL DEFAULT 0;
-- In which states a request carries its records.
ALTER TABLE requests ADD COLUMN states TEXT;

-- The start of a run may come after its records, and its session with it.
DROP TRIGGER runs_update;
CREATE TRIGGER runs_update AFTER UPDATE OF status, duration ON runs
WHEN NEW.session_id = OLD.session_id
BEGIN
  UPDATE sessions SET
    open_runs = open_runs + (NEW.status = 'running') - (OLD.status = 'running'),
    failed_runs = failed_runs + (NEW.status <> 'running' AND NEW.status <> 'success')
                              - (OLD.status <> 'running' AND OLD.status <> 'success'),
    total_duration = total_duration + coalesce(NEW.duration, 0.0) - coalesce(OLD.duration, 0.0)
  WHERE session_id = NEW.session_id;
END;

DROP TRIGGER runs_keep_session;
CREATE TRIGGER runs_keep_session BEFORE UPDATE OF session_id, run_id ON runs
WHEN NEW.session_id IS NOT OLD.session_id AND OLD.session_id IS NOT NULL
  OR NEW.run_id IS NOT OLD.run_id
BEGIN
  SELECT raise(ABORT, 'a run keeps its id and its session');
END;

CREATE TRIGGER runs_join_session AFTER UPDATE OF session_id ON runs
WHEN OLD.session_id IS NULL AND NEW.session_id IS NOT NULL
BEGIN
  INSERT INTO sessions (session_id, agents, run_count, open_runs, failed_runs, llm_calls,
    priced_calls, tokens_in, tokens_out, total_tokens, priced_tokens, total_duration,
    first_run_at, last_run_at, last_activity_at)
  VALUES (NEW.session_id, '[]', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0,
    NEW.started_at, NEW.started_at, NEW.started_at)
  ON CONFLICT (session_id) DO NOTHING;
  UPDATE sessions SET
    user_id = coalesce(user_id, NEW.user_id),
    agents = CASE
      WHEN agents = '[]' THEN json_array(NEW.agent_name)
      WHEN instr(agents, '[' || json_quote(NEW.agent_name))
        OR instr(agents, ',' || json_quote(NEW.agent_name)) OR length(agents) > 4000 THEN agents
      ELSE substr(agents, 1, length(agents) - 1) || ',' || json_quote(NEW.agent_name) || ']' END,
    run_count = run_count + 1,
    open_runs = open_runs + (NEW.status = 'running'),
    failed_runs = failed_runs + (NEW.status <> 'running' AND NEW.status <> 'success'),
    total_duration = total_duration + coalesce(NEW.duration, 0.0),
    first_run_at = min(first_run_at, NEW.started_at),
    last_run_at = max(last_run_at, NEW.started_at),
    last_activity_at = max(last_activity_at, coalesce(NEW.completed_at, NEW.started_at)),
    (llm_calls, priced_calls, tokens_in, tokens_out, total_tokens, priced_tokens, total_cost) =
      (SELECT llm_calls + count(*), priced_calls + count(cost),
         sessions.tokens_in + coalesce(sum(c.tokens_in), 0),
         sessions.tokens_out + coalesce(sum(c.tokens_out), 0),
         total_tokens + coalesce(sum(c.tokens_in + c.tokens_out), 0),
         priced_tokens + coalesce(sum(iif(c.cost IS NULL, 0, c.tokens_in + c.tokens_out)), 0),
         coalesce(total_cost + sum(c.cost), sum(c.cost), total_cost)
       FROM llm_calls c WHERE c.run_id = NEW.run_id)
  WHERE session_id = NEW.session_id;
END;

-- A change after the first recording: not of what is still running (its end is no change), and not
-- where the statement sets a revision itself, as one does that brings in a row from another file.
CREATE TRIGGER runs_change AFTER UPDATE ON runs
WHEN NEW.revision IS OLD.revision AND OLD.status <> 'running'
  AND NEW.process_id IS OLD.process_id
BEGIN
  UPDATE runs SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id;
END;

-- A cost that becomes known is not a change: it may become known in several files.
CREATE TRIGGER llm_calls_change AFTER UPDATE ON llm_calls
WHEN NEW.revision IS OLD.revision AND (OLD.cost IS NOT NULL OR NEW.cost IS NULL)
BEGIN
  UPDATE llm_calls SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id AND position = NEW.position;
END;

-- But what the same statement sets beside the cost is one: all columns that hold something else.
CREATE TRIGGER llm_calls_change_with_cost AFTER UPDATE OF recorded_at, model, provider, task,
  tokens_in, tokens_out, cached_tokens, cache_write_tokens, duration_ms, ttft_ms, is_streaming,
  status, error_type, error_message, prompt_preview, response_preview, messages, response, details,
  reasoning_tokens ON llm_calls
WHEN NEW.revision IS OLD.revision AND OLD.cost IS NULL AND NEW.cost IS NOT NULL
BEGIN
  UPDATE llm_calls SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id AND position = NEW.position;
END;

CREATE TRIGGER steps_change AFTER UPDATE ON steps
WHEN NEW.revision IS OLD.revision
BEGIN
  UPDATE steps SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id AND position = NEW.position;
END;

CREATE TRIGGER spans_change AFTER UPDATE ON spans
WHEN NEW.revision IS OLD.revision AND OLD.status <> 'running'
BEGIN
  UPDATE spans SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id AND position = NEW.position;
END;

CREATE TRIGGER scores_change AFTER UPDATE ON scores
WHEN NEW.revision IS OLD.revision
BEGIN
  UPDATE scores SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id AND position = NEW.position;
END;

CREATE TRIGGER events_change AFTER UPDATE ON events
WHEN NEW.revision IS OLD.revision
BEGIN
  UPDATE events SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id AND position = NEW.position;
END;

-- Events outside any run, in the order of their arrival: a cursor over them is safe.
CREATE TABLE outside_events (
  id       INTEGER PRIMARY KEY,
  position INTEGER NOT NULL              -- of the event, whose run_id is ''
);
-- There are few of them, and they lie together.
INSERT INTO outside_events (position) SELECT position FROM events WHERE run_id = '' ORDER BY position;

-- Also of a parked run that the server knows.
DROP TRIGGER llm_calls_deliver;
CREATE TRIGGER llm_calls_deliver AFTER INSERT ON llm_calls
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

DROP TRIGGER steps_deliver;
CREATE TRIGGER steps_deliver AFTER INSERT ON steps
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

DROP TRIGGER spans_deliver;
CREATE TRIGGER spans_deliver AFTER INSERT ON spans
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

DROP TRIGGER scores_deliver;
CREATE TRIGGER scores_deliver AFTER INSERT ON scores
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER events_deliver AFTER INSERT ON events
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER events_outside AFTER INSERT ON events WHEN NEW.run_id = ''
BEGIN
  INSERT INTO outside_events (position) VALUES (NEW.position);
END;

-- A change goes, too, and so does the end of what was sent while it was running.
CREATE TRIGGER runs_deliver_change AFTER UPDATE OF status, revision ON runs
WHEN NEW.revision IS NOT OLD.revision OR NEW.status <> OLD.status
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER llm_calls_deliver_change AFTER UPDATE OF cost, revision ON llm_calls
WHEN NEW.revision IS NOT OLD.revision OR NEW.cost IS NOT OLD.cost
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER steps_deliver_change AFTER UPDATE OF revision ON steps
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER spans_deliver_change AFTER UPDATE OF status, revision ON spans
WHEN NEW.revision IS NOT OLD.revision OR NEW.status <> OLD.status
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER scores_deliver_change AFTER UPDATE OF revision ON scores
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER events_deliver_change AFTER UPDATE OF revision ON events
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;
