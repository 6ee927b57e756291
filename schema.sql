-- The whole schema of a waxlocal file, version 3.
--
-- Times are UTC text, `2026-01-31T09:30:00.123456Z`: readable, and sorted by time when sorted as
-- text. Durations ending in `_ms` are milliseconds, other durations seconds. JSON is stored as text.
-- Money is US dollars; NULL means that the price is unknown, which is not the same as 0.

PRAGMA application_id = 1463900236; -- 'WAXL'
PRAGMA user_version = 2; -- for waxlocal 0.1 and 0.2, see schema_version

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

-- One row for each operating-system process that has recorded here. A run still `running` whose
-- process no longer exists was interrupted; (boot_id, pid_namespace, pid, started) tells that
-- process from a later one with the same number.
CREATE TABLE processes (
  process_id    INTEGER PRIMARY KEY,
  host          TEXT NOT NULL,
  boot_id       TEXT NOT NULL,
  pid_namespace TEXT NOT NULL,
  pid           INTEGER NOT NULL,
  started       TEXT NOT NULL,   -- the system's own mark of when the process began
  program       TEXT NOT NULL,
  python        TEXT NOT NULL,
  waxlocal      TEXT NOT NULL,   -- version of the library
  first_seen_at TEXT NOT NULL
);

-- One row for each run: one turn of an agent. `id` is the order of arrival in this file, which
-- makes it a safe cursor for followers (a later commit never gets a smaller id).
CREATE TABLE runs (
  id                 INTEGER PRIMARY KEY,
  run_id             TEXT NOT NULL UNIQUE,   -- UUIDv7, sorted by time
  workflow_id        TEXT GENERATED ALWAYS AS ('wf_' || run_id) VIRTUAL,
  agent_name         TEXT NOT NULL,
  workflow_name      TEXT NOT NULL,
  session_id         TEXT,                   -- NULL: the run belongs to no session
  user_id            TEXT,
  user_group         TEXT,
  parent_workflow_id TEXT,                   -- the run that opened this one
  root_workflow_id   TEXT,                   -- the outermost run of that chain
  trace_id           TEXT NOT NULL,          -- 32 hex digits, one for a whole chain of runs
  interaction_mode   TEXT NOT NULL,          -- interactive, autonomous
  process_id         INTEGER REFERENCES processes,
  -- Not `IN (...)`: SQLite builds a temporary B-tree for a list of three or more at each statement,
  -- here and in the triggers.
  status             TEXT NOT NULL
    CHECK (status = 'running' OR status = 'success' OR status = 'error' OR status = 'blocked'
           OR status = 'interrupted'),
  started_at         TEXT NOT NULL,
  completed_at       TEXT,
  duration           REAL,                   -- seconds, by a clock that never jumps
  error              TEXT,
  error_type         TEXT,
  traceback          TEXT,
  metadata           TEXT,                   -- JSON object
  tags               TEXT,                   -- JSON object of text
  inputs             TEXT,                   -- JSON object
  result             TEXT,                   -- JSON object
  revision           INTEGER                 -- NULL as first recorded, see below
);
CREATE INDEX runs_by_session ON runs (session_id, started_at) WHERE session_id IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent_workflow_id) WHERE parent_workflow_id IS NOT NULL;

-- What a run recorded, each row keyed by (run_id, position). Positions count all records of a run
-- together, in order, so the five tables merge into one story.
--
-- `revision`, here and in `runs`, tells which of two states of a row is newer: NULL as first
-- recorded; after a change the milliseconds since 1970 at which it was made, and always more than
-- before. Triggers set it, whoever changes a row.
CREATE TABLE llm_calls (
  run_id             TEXT NOT NULL,
  position           INTEGER NOT NULL,
  recorded_at        TEXT NOT NULL,          -- when the call had ended
  model              TEXT NOT NULL,
  provider           TEXT NOT NULL,          -- '' when not given
  task               TEXT NOT NULL,
  tokens_in          INTEGER NOT NULL,       -- all input tokens, cached ones included
  tokens_out         INTEGER NOT NULL,
  cached_tokens      INTEGER NOT NULL,       -- of tokens_in, read from the provider's cache
  cache_write_tokens INTEGER NOT NULL,       -- of tokens_in, written to it
  cost               REAL,                   -- NULL: unknown
  cost_source        TEXT,                   -- 'call' (given by the program) or 'price'
  duration_ms        INTEGER,
  ttft_ms            INTEGER,                -- time to first token
  is_streaming       INTEGER NOT NULL,
  status             TEXT NOT NULL,          -- ok, error
  error_type         TEXT,
  error_message      TEXT,
  prompt_preview     TEXT,
  response_preview   TEXT,
  messages           TEXT,                   -- JSON: the full prompt, if not by keys
  response           TEXT,                   -- the full answer
  details            TEXT,                   -- JSON object: framework, prompt_hash, config, ...
  reasoning_tokens   INTEGER,                -- of tokens_out, spent on reasoning; NULL: not told
  response_id        TEXT,                   -- the provider's id of the answer
  usage_known        INTEGER NOT NULL DEFAULT 1, -- 0: nobody told the tokens, and they are 0 here
  tools              TEXT,                   -- JSON: the tools offered, if not by keys
  message_keys       TEXT,                   -- JSON array: the messages in order, by contents.key
  tool_keys          TEXT,                   -- JSON array: the tools offered, likewise
  revision           INTEGER,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

-- The messages of calls and the tools offered to them, each text once however many calls have it: a
-- conversation of 30 turns sends its history 30 times. A table with row ids and a small index: in a
-- WITHOUT ROWID table long texts would lie in the inner pages, and make every look-up slow.
CREATE TABLE contents (
  id      INTEGER PRIMARY KEY,
  key     TEXT NOT NULL UNIQUE,              -- BLAKE2b of the text, 128 bits, as base64url
  content TEXT NOT NULL                      -- JSON
);

-- Keys that calls no longer have, since they were deleted or changed. Other calls may have them: that
-- is looked up when contents without a call are removed. A key that is dropped again has a new id.
CREATE TABLE dropped_contents (
  id  INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE
);

CREATE TABLE steps (
  run_id      TEXT NOT NULL,
  position    INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  step_name   TEXT NOT NULL,
  kind        TEXT NOT NULL,
  output      TEXT,                          -- JSON object
  attributes  TEXT,                          -- JSON object
  revision    INTEGER,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

CREATE TABLE spans (
  run_id          TEXT NOT NULL,
  position        INTEGER NOT NULL,
  parent_position INTEGER,                   -- the span it ran inside, NULL at the top
  started_at      TEXT NOT NULL,
  duration_ms     REAL,                      -- NULL while open, or not given
  name            TEXT NOT NULL,
  kind            TEXT NOT NULL,             -- tool, retriever, decision, reasoning, retry, io, ...
  status          TEXT NOT NULL,             -- running, ok, error
  error           TEXT,
  attributes      TEXT,                      -- JSON object
  input           TEXT,                      -- JSON
  output          TEXT,                      -- JSON
  revision        INTEGER,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

CREATE TABLE scores (
  run_id        TEXT NOT NULL,
  position      INTEGER NOT NULL,
  recorded_at   TEXT NOT NULL,
  name          TEXT NOT NULL,
  data_type     TEXT NOT NULL,               -- numeric, boolean, categorical
  numeric_value REAL,
  string_value  TEXT,
  comment       TEXT NOT NULL,
  revision      INTEGER,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

-- What has no table of its own: policy checks, approvals, memory writes, data accesses, ...
-- An event outside any run has run_id '' and the nanosecond it was recorded in as its position.
CREATE TABLE events (
  run_id      TEXT NOT NULL,
  position    INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  event       TEXT NOT NULL,
  data        TEXT,                          -- JSON object
  revision    INTEGER,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

-- Totals of each session, kept by the triggers below in the same statement that changes a run or
-- a call, so that every writer keeps them right and a list never has to group the runs.
CREATE TABLE sessions (
  session_id       TEXT PRIMARY KEY,
  user_id          TEXT,                     -- of the first run that names one
  agents           TEXT NOT NULL,            -- JSON array of the agents' names, in order of arrival
  run_count        INTEGER NOT NULL,
  open_runs        INTEGER NOT NULL,         -- still `running`
  failed_runs      INTEGER NOT NULL,         -- ended as error, blocked or interrupted
  llm_calls        INTEGER NOT NULL,
  priced_calls     INTEGER NOT NULL,         -- of llm_calls, those whose cost is known
  tokens_in        INTEGER NOT NULL,
  tokens_out       INTEGER NOT NULL,
  total_tokens     INTEGER NOT NULL,
  priced_tokens    INTEGER NOT NULL,         -- of total_tokens, those whose cost is known
  total_cost       REAL,                     -- NULL: no call of known cost
  total_duration   REAL NOT NULL,            -- sum of the runs' durations
  first_run_at     TEXT NOT NULL,
  last_run_at      TEXT NOT NULL,
  last_activity_at TEXT NOT NULL,            -- last start or end of a run, to the second
  unmetered_calls  INTEGER NOT NULL DEFAULT 0 -- of llm_calls, those whose tokens nobody told
) WITHOUT ROWID;
CREATE INDEX sessions_by_activity ON sessions (last_activity_at);
CREATE INDEX sessions_by_user ON sessions (user_id, last_activity_at);

-- Dollars per million tokens. `pending`: to be looked up (a price that is there already holds
-- meanwhile); `unknown`: looked up, not found; `local`: runs here and costs nothing; `override`: set
-- by hand, and never replaced by a looked-up price.
CREATE TABLE model_prices (
  model                TEXT NOT NULL,        -- as recorded
  provider             TEXT NOT NULL,        -- as recorded, '' when not given
  input_per_mtok       REAL,
  output_per_mtok      REAL,
  cache_read_per_mtok  REAL,
  cache_write_per_mtok REAL,
  tiers                TEXT,                 -- JSON array, for prices that rise with the prompt
  source               TEXT NOT NULL,        -- pending, unknown, local, override, or the list
  matched              TEXT,                 -- the model's name in that list
  updated_at           TEXT NOT NULL,
  PRIMARY KEY (model, provider)
) WITHOUT ROWID;

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

-- The start has set last_activity_at already; an end within the same second is not worth the two
-- index pages that it would write.
CREATE TRIGGER runs_update_activity AFTER UPDATE OF completed_at ON runs
WHEN NEW.session_id IS NOT NULL AND substr(NEW.completed_at, 1, 19) > substr(NEW.started_at, 1, 19)
BEGIN
  UPDATE sessions SET last_activity_at = NEW.completed_at
  WHERE session_id = NEW.session_id AND last_activity_at < NEW.completed_at;
END;

CREATE TRIGGER runs_keep_session BEFORE UPDATE OF session_id, run_id ON runs
WHEN NEW.session_id IS NOT OLD.session_id AND OLD.session_id IS NOT NULL
  OR NEW.run_id IS NOT OLD.run_id
BEGIN
  SELECT raise(ABORT, 'a run keeps its id and its session');
END;

-- The start of a run may come after its records, and its session with it.
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
    (llm_calls, priced_calls, unmetered_calls, tokens_in, tokens_out, total_tokens, priced_tokens,
     total_cost) =
      (SELECT llm_calls + count(*), priced_calls + count(cost),
         unmetered_calls + coalesce(sum(c.usage_known = 0), 0),
         sessions.tokens_in + coalesce(sum(c.tokens_in), 0),
         sessions.tokens_out + coalesce(sum(c.tokens_out), 0),
         total_tokens + coalesce(sum(c.tokens_in + c.tokens_out), 0),
         priced_tokens + coalesce(sum(iif(c.cost IS NULL, 0, c.tokens_in + c.tokens_out)), 0),
         coalesce(total_cost + sum(c.cost), sum(c.cost), total_cost)
       FROM llm_calls c WHERE c.run_id = NEW.run_id)
  WHERE session_id = NEW.session_id;
END;

-- Deleting a run takes everything it recorded with it.
CREATE TRIGGER runs_delete_records BEFORE DELETE ON runs
BEGIN
  DELETE FROM llm_calls WHERE run_id = OLD.run_id;
  DELETE FROM steps WHERE run_id = OLD.run_id;
  DELETE FROM spans WHERE run_id = OLD.run_id;
  DELETE FROM scores WHERE run_id = OLD.run_id;
  DELETE FROM events WHERE run_id = OLD.run_id;
END;

CREATE TRIGGER runs_delete AFTER DELETE ON runs WHEN OLD.session_id IS NOT NULL
BEGIN
  DELETE FROM sessions WHERE session_id = OLD.session_id AND run_count = 1;
  UPDATE sessions SET
    run_count = run_count - 1,
    open_runs = open_runs - (OLD.status = 'running'),
    failed_runs = failed_runs - (OLD.status <> 'running' AND OLD.status <> 'success'),
    total_duration = total_duration - coalesce(OLD.duration, 0.0),
    first_run_at = (SELECT min(started_at) FROM runs WHERE session_id = OLD.session_id),
    last_run_at = (SELECT max(started_at) FROM runs WHERE session_id = OLD.session_id),
    last_activity_at = (SELECT max(coalesce(completed_at, started_at)) FROM runs
                        WHERE session_id = OLD.session_id)
  WHERE session_id = OLD.session_id;
END;

CREATE TRIGGER llm_calls_insert AFTER INSERT ON llm_calls
BEGIN
  UPDATE sessions SET
    llm_calls = llm_calls + 1,
    priced_calls = priced_calls + (NEW.cost IS NOT NULL),
    unmetered_calls = unmetered_calls + (NEW.usage_known = 0),
    tokens_in = tokens_in + NEW.tokens_in,
    tokens_out = tokens_out + NEW.tokens_out,
    total_tokens = total_tokens + NEW.tokens_in + NEW.tokens_out,
    priced_tokens = priced_tokens + iif(NEW.cost IS NULL, 0, NEW.tokens_in + NEW.tokens_out),
    total_cost = coalesce(total_cost + NEW.cost, NEW.cost, total_cost)
  WHERE session_id = (SELECT session_id FROM runs WHERE run_id = NEW.run_id);
END;

-- A price that becomes known, is corrected, or is withdrawn; and so with the tokens.
CREATE TRIGGER llm_calls_update AFTER UPDATE OF tokens_in, tokens_out, cost, usage_known ON llm_calls
BEGIN
  UPDATE sessions SET
    priced_calls = priced_calls + (NEW.cost IS NOT NULL) - (OLD.cost IS NOT NULL),
    unmetered_calls = unmetered_calls + (NEW.usage_known = 0) - (OLD.usage_known = 0),
    tokens_in = tokens_in + NEW.tokens_in - OLD.tokens_in,
    tokens_out = tokens_out + NEW.tokens_out - OLD.tokens_out,
    total_tokens = total_tokens + NEW.tokens_in + NEW.tokens_out - OLD.tokens_in - OLD.tokens_out,
    priced_tokens = priced_tokens + iif(NEW.cost IS NULL, 0, NEW.tokens_in + NEW.tokens_out)
                                  - iif(OLD.cost IS NULL, 0, OLD.tokens_in + OLD.tokens_out),
    total_cost = iif(priced_calls + (NEW.cost IS NOT NULL) = (OLD.cost IS NOT NULL), NULL,
      coalesce(total_cost, 0.0) + coalesce(NEW.cost, 0.0) - coalesce(OLD.cost, 0.0))
  WHERE session_id = (SELECT session_id FROM runs WHERE run_id = NEW.run_id);
END;

CREATE TRIGGER llm_calls_delete AFTER DELETE ON llm_calls
BEGIN
  UPDATE sessions SET
    llm_calls = llm_calls - 1,
    priced_calls = priced_calls - (OLD.cost IS NOT NULL),
    unmetered_calls = unmetered_calls - (OLD.usage_known = 0),
    tokens_in = tokens_in - OLD.tokens_in,
    tokens_out = tokens_out - OLD.tokens_out,
    total_tokens = total_tokens - OLD.tokens_in - OLD.tokens_out,
    priced_tokens = priced_tokens - iif(OLD.cost IS NULL, 0, OLD.tokens_in + OLD.tokens_out),
    total_cost = iif(priced_calls = (OLD.cost IS NOT NULL), NULL,
      total_cost - coalesce(OLD.cost, 0.0))
  WHERE session_id = (SELECT session_id FROM runs WHERE run_id = OLD.run_id);
END;

-- A key that a call has is no longer dropped. The table is empty nearly always: then it is one look.
CREATE TRIGGER llm_calls_keep_contents AFTER INSERT ON llm_calls
WHEN (NEW.message_keys IS NOT NULL OR NEW.tool_keys IS NOT NULL)
  AND EXISTS (SELECT 1 FROM dropped_contents)
BEGIN
  DELETE FROM dropped_contents WHERE key IN (
    SELECT value FROM json_each(iif(json_valid(NEW.message_keys), NEW.message_keys, '[]'))
    UNION ALL
    SELECT value FROM json_each(iif(json_valid(NEW.tool_keys), NEW.tool_keys, '[]')));
END;

CREATE TRIGGER llm_calls_change_contents AFTER UPDATE OF message_keys, tool_keys ON llm_calls
WHEN NEW.message_keys IS NOT OLD.message_keys OR NEW.tool_keys IS NOT OLD.tool_keys
BEGIN
  INSERT OR REPLACE INTO dropped_contents (key)
  SELECT value FROM json_each(iif(json_valid(OLD.message_keys), OLD.message_keys, '[]'))
  WHERE type = 'text'
  UNION ALL
  SELECT value FROM json_each(iif(json_valid(OLD.tool_keys), OLD.tool_keys, '[]'))
  WHERE type = 'text';
  DELETE FROM dropped_contents WHERE key IN (
    SELECT value FROM json_each(iif(json_valid(NEW.message_keys), NEW.message_keys, '[]'))
    UNION ALL
    SELECT value FROM json_each(iif(json_valid(NEW.tool_keys), NEW.tool_keys, '[]')));
END;

CREATE TRIGGER llm_calls_drop_contents AFTER DELETE ON llm_calls
WHEN OLD.message_keys IS NOT NULL OR OLD.tool_keys IS NOT NULL
BEGIN
  INSERT OR REPLACE INTO dropped_contents (key)
  SELECT value FROM json_each(iif(json_valid(OLD.message_keys), OLD.message_keys, '[]'))
  WHERE type = 'text'
  UNION ALL
  SELECT value FROM json_each(iif(json_valid(OLD.tool_keys), OLD.tool_keys, '[]'))
  WHERE type = 'text';
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
  reasoning_tokens, response_id, usage_known, tools, message_keys, tool_keys ON llm_calls
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

-- Each run with the totals of its calls.
CREATE VIEW run_totals AS
SELECT
  run_id,
  (SELECT count(*) FROM llm_calls c WHERE c.run_id = r.run_id) AS llm_calls,
  (SELECT count(*) FROM llm_calls c
    WHERE c.run_id = r.run_id AND c.usage_known = 0) AS unmetered_calls,
  (SELECT coalesce(sum(tokens_in), 0) FROM llm_calls c WHERE c.run_id = r.run_id) AS tokens_in,
  (SELECT coalesce(sum(tokens_out), 0) FROM llm_calls c WHERE c.run_id = r.run_id) AS tokens_out,
  (SELECT coalesce(sum(tokens_in + tokens_out), 0) FROM llm_calls c
    WHERE c.run_id = r.run_id) AS total_tokens,
  (SELECT coalesce(sum(tokens_in + tokens_out), 0) FROM llm_calls c
    WHERE c.run_id = r.run_id AND c.cost IS NOT NULL) AS priced_tokens,
  (SELECT sum(cost) FROM llm_calls c WHERE c.run_id = r.run_id) AS total_cost
FROM runs r;

-- Each message of each call, from either form, numbered from 1.
CREATE VIEW llm_call_messages AS
SELECT c.run_id, c.position, k.key + 1 AS number,
  iif(json_type(m.content) = 'object', json_extract(m.content, '$.role'), NULL) AS role,
  json_extract(m.content, iif(json_type(m.content) = 'object', '$.content', '$')) AS content
FROM llm_calls c JOIN json_each(c.message_keys) k JOIN contents m ON m.key = k.value
WHERE c.messages IS NULL
UNION ALL
SELECT c.run_id, c.position, m.key + 1,
  iif(m.type = 'object', json_extract(m.value, '$.role'), NULL),
  iif(m.type = 'object', json_extract(m.value, '$.content'), m.value)
FROM llm_calls c
JOIN json_each(iif(json_valid(c.messages), iif(json_type(c.messages) = 'array', c.messages, '[]'), '[]')) m;

-- Delivery, apart from the runs' own facts: where runs go, how far each has come, and what was
-- received from others. Nothing here is written while a program records, but for the one lookup of
-- the triggers at the end.

-- The servers that runs are delivered to.
CREATE TABLE targets (
  target_id       INTEGER PRIMARY KEY,
  url             TEXT NOT NULL UNIQUE,   -- without a slash at the end, and never with a key
  cursor          INTEGER NOT NULL DEFAULT 0,  -- runs with a greater id have no row in deliveries yet
  delivered       INTEGER NOT NULL DEFAULT 0,  -- runs delivered so far
  failures        INTEGER NOT NULL DEFAULT 0,  -- of the server, in a row
  not_before      TEXT,                   -- no request before this time: backoff, Retry-After
  backoff_until   TEXT,                   -- the end of the span in which that time was drawn
  paused_at       TEXT,                   -- since when the server refuses the key
  reason          TEXT,                   -- of the last failure or of the pause
  last_attempt_at TEXT,
  last_success_at TEXT,
  events_cursor   INTEGER NOT NULL DEFAULT 0,  -- of outside_events, as cursor is of runs
  looked_again    INTEGER NOT NULL DEFAULT 0   -- whether runs that 0.2 sent unfinished were found
);

-- Events outside any run, in the order of their arrival: a cursor over them is safe.
CREATE TABLE outside_events (
  id       INTEGER PRIMARY KEY,
  position INTEGER NOT NULL              -- of the event, whose run_id is ''
);

-- How far each run has come on its way to a server. The events outside any run together are the one
-- with the run_id ''.
CREATE TABLE deliveries (
  run_id             TEXT NOT NULL,
  target_id          INTEGER NOT NULL REFERENCES targets,
  state              TEXT NOT NULL,       -- open (still running), pending, sending, parked, delivered
  remote_run_id      TEXT,                -- the ids that the server gave the run
  remote_workflow_id TEXT,
  failures           INTEGER NOT NULL DEFAULT 0,  -- of this run, since its last accepted request
  not_before         TEXT,                -- as in targets, for this run alone
  backoff_until      TEXT,                -- only 0.2 writes it, and nobody reads it
  reason             TEXT,                -- why it is parked, or why the last attempt failed
  delivered_at       TEXT,
  PRIMARY KEY (run_id, target_id)
) WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (target_id, state, run_id)
  WHERE state <> 'delivered';

-- The requests that deliver a run. Each is written down before its first attempt, and neither its
-- key nor its bytes change afterwards; once answered, the row is the receipt.
CREATE TABLE requests (
  run_id           TEXT NOT NULL,
  target_id        INTEGER NOT NULL REFERENCES targets,
  stage            TEXT NOT NULL,         -- start, llm-calls, steps, spans, scores, complete, bulk
  part             INTEGER NOT NULL,      -- 0, 1, ...: a stage may need more than one request
  idempotency_key  TEXT NOT NULL,
  state            TEXT NOT NULL,         -- waiting, delivered, parked, replaced (by later parts)
  positions        TEXT NOT NULL,         -- JSON array: the records of the run that it carries
  body             BLOB,                  -- NULL once it was accepted or replaced
  bytes            INTEGER NOT NULL,      -- of the body
  attempts         INTEGER NOT NULL DEFAULT 0,
  status           INTEGER,               -- of the last answer, NULL when none came
  reason           TEXT,
  first_attempt_at TEXT,
  last_attempt_at  TEXT,
  states           TEXT,                  -- JSON: the states of these records, NULL: the usual one
  PRIMARY KEY (run_id, target_id, stage, part)
) WITHOUT ROWID;
CREATE INDEX requests_parked ON requests (target_id, run_id) WHERE state = 'parked';

-- Requests that were accepted here, so that one that comes twice is answered as the first time.
CREATE TABLE received (
  idempotency_key TEXT PRIMARY KEY,
  fingerprint     TEXT NOT NULL,          -- SHA-256 of path and body
  answer          TEXT NOT NULL,          -- JSON
  received_at     TEXT NOT NULL
) WITHOUT ROWID;

-- What is recorded while a run is being sent, or afterwards (the score of the next day), goes, too.
-- So does what a parked run records that the server knows; without a remote id nothing of it can go.
CREATE TRIGGER llm_calls_deliver AFTER INSERT ON llm_calls
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER steps_deliver AFTER INSERT ON steps
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

CREATE TRIGGER spans_deliver AFTER INSERT ON spans
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
END;

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

-- The id of the newest run is given again once that run is deleted: the cursor must not be past it.
CREATE TRIGGER runs_delete_delivery AFTER DELETE ON runs
BEGIN
  DELETE FROM deliveries WHERE run_id = OLD.run_id;
  DELETE FROM requests WHERE run_id = OLD.run_id;
  UPDATE targets SET cursor = (SELECT coalesce(max(id), 0) FROM runs)
  WHERE cursor > (SELECT coalesce(max(id), 0) FROM runs);
END;
