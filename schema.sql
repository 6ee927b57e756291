-- The whole schema of a waxlocal file, version 3.
--
-- Times are UTC text, `2026-01-31T09:30:00.123456Z`: people can read them, and sorting them as text
-- sorts them by time. Columns that end in `_ms` are milliseconds, other durations are seconds. JSON
-- is stored as text. Money is US dollars; a cost of NULL is unknown, which is not the same as 0.
--
-- No trigger says INSERT OR IGNORE or OR REPLACE: if the statement that fires it has a conflict clause
-- of its own, as an upsert does, that one holds instead, and the row would be refused. See
-- https://sqlite.org/lang_createtrigger.html.

PRAGMA application_id = 1463900236; -- 'WAXL'
PRAGMA user_version = 2; -- for waxlocal 0.1 and 0.2, see schema_version

-- One row: the version of this schema, and which versions of waxlocal may use the file. A waxlocal
-- that knows schema version N may write to the file if N >= min_writer, and read it if
-- N >= min_reader, even if the file is newer. waxlocal 0.1 and 0.2 do not know this table: they look at
-- `PRAGMA user_version`, and refuse a file whose number is greater than their own. It stays 2 as
-- long as 0.2 can write to the file without harm.
CREATE TABLE schema_version (
  version    INTEGER NOT NULL,
  min_writer INTEGER NOT NULL,
  min_reader INTEGER NOT NULL
);
INSERT INTO schema_version (version, min_writer, min_reader) VALUES (3, 2, 2);

-- An older waxlocal that may not write to this file records into a side file beside it. A waxlocal
-- that may write here copies the rows of the side file, and notes in the same transaction how far
-- it has come.
CREATE TABLE side_files (
  file_id  TEXT PRIMARY KEY,
  taken_to INTEGER NOT NULL           -- number of the last change that was copied
) WITHOUT ROWID;

-- Records of side files that got a new position when they were copied: in this file another record
-- of the run already had theirs.
CREATE TABLE side_moves (
  file_id       TEXT NOT NULL,
  table_name    TEXT NOT NULL,
  run_id        TEXT NOT NULL,
  side_position INTEGER NOT NULL,     -- in the side file
  moved_to      INTEGER NOT NULL,     -- in this file
  PRIMARY KEY (file_id, table_name, run_id, side_position)
) WITHOUT ROWID;

-- One row for each operating-system process that has recorded into this file. A run with the status
-- `running` whose process no longer exists was interrupted. A later process may get the same pid:
-- (boot_id, pid_namespace, pid, started) tells the two apart.
CREATE TABLE processes (
  process_id    INTEGER PRIMARY KEY,
  host          TEXT NOT NULL,
  boot_id       TEXT NOT NULL,
  pid_namespace TEXT NOT NULL,
  pid           INTEGER NOT NULL,
  started       TEXT NOT NULL,   -- when the process began, as the system says it
  program       TEXT NOT NULL,
  python        TEXT NOT NULL,
  waxlocal      TEXT NOT NULL,   -- version of the library
  first_seen_at TEXT NOT NULL
);

-- One row for each run of an agent. `id` is the order of arrival in this file. No later
-- commit gets a smaller id, so a program that follows the file can use the id as its cursor.
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
  -- Not `IN (...)`, here and in the triggers: for a list of three or more values, SQLite builds a
  -- temporary B-tree in each statement.
  status             TEXT NOT NULL
    CHECK (status = 'running' OR status = 'success' OR status = 'error' OR status = 'blocked'
           OR status = 'interrupted' OR status = 'cancelled'),
  started_at         TEXT NOT NULL,
  completed_at       TEXT,
  duration           REAL,                   -- seconds, by a monotonic clock
  error              TEXT,
  error_type         TEXT,
  traceback          TEXT,
  metadata           TEXT,                   -- JSON object
  tags               TEXT,                   -- JSON object of text
  inputs             TEXT,                   -- JSON object
  result             TEXT,                   -- JSON object
  revision           INTEGER                 -- NULL: as first recorded; see below
);
CREATE INDEX runs_by_session ON runs (session_id, started_at) WHERE session_id IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent_workflow_id) WHERE parent_workflow_id IS NOT NULL;

-- The records of runs, each row keyed by (run_id, position). The five tables share one sequence of
-- positions in each run: sorted by position, all rows of a run are in the order of recording.
--
-- `revision`, here and in `runs`, says which of two states of a row is newer. It is NULL as first
-- recorded. A change sets it to the time of the change, in milliseconds since 1970, or to one more
-- than before if that is greater. Triggers set it, so it is right whoever changes a row.
CREATE TABLE llm_calls (
  run_id             TEXT NOT NULL,
  position           INTEGER NOT NULL,
  recorded_at        TEXT NOT NULL,          -- when the call ended
  model              TEXT NOT NULL,
  provider           TEXT NOT NULL,          -- '' when not given
  task               TEXT NOT NULL,
  tokens_in          INTEGER NOT NULL,       -- all input tokens, cached ones included
  tokens_out         INTEGER NOT NULL,
  cached_tokens      INTEGER NOT NULL,       -- of tokens_in, read from the provider's cache
  cache_write_tokens INTEGER NOT NULL,       -- of tokens_in, written to that cache
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
  messages           TEXT,                   -- JSON: the full prompt, unless message_keys has it
  response           TEXT,                   -- the full answer
  details            TEXT,                   -- JSON object: framework, prompt_hash, config, ...
  reasoning_tokens   INTEGER,                -- of tokens_out, spent on reasoning; NULL: unknown
  response_id        TEXT,                   -- the provider's id of the response
  usage_known        INTEGER NOT NULL DEFAULT 1, -- 0: the tokens are unknown, and stored as 0
  tools              TEXT,                   -- JSON: the tools offered, unless tool_keys has them
  message_keys       TEXT,                   -- JSON array of contents.key: the messages in order
  tool_keys          TEXT,                   -- JSON array of contents.key: the tools offered
  revision           INTEGER,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

-- The messages of calls and the tools offered to them. Each text is stored once, however many calls
-- have it: a conversation of 30 turns sends its history 30 times. Not WITHOUT ROWID: long texts
-- would then fill the inner pages of the tree, and make every lookup slow.
CREATE TABLE contents (
  id      INTEGER PRIMARY KEY,
  key     TEXT NOT NULL UNIQUE,              -- BLAKE2b of the text, 128 bits, as base64url
  content TEXT NOT NULL                      -- JSON
);

-- Keys of calls that were deleted or changed. Other calls may still use them: that is checked when
-- unused contents are removed. A key that is dropped again gets a new id.
CREATE TABLE dropped_contents (
  id  INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE
);

-- Keys of contents that somebody has redacted, erased or corrected. The calls that have them get a
-- new revision when the daemon, `waxlocal sync` or `waxlocal serve` next looks at the file: to find
-- those calls takes a look at all calls, and recorders must not wait for that.
CREATE TABLE changed_contents (
  id  INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE
);

CREATE TRIGGER contents_change AFTER UPDATE OF content ON contents
WHEN NEW.content IS NOT OLD.content
BEGIN
  DELETE FROM changed_contents WHERE key = NEW.key;
  INSERT INTO changed_contents (key) VALUES (NEW.key);
END;

CREATE TRIGGER contents_delete AFTER DELETE ON contents
BEGIN
  DELETE FROM changed_contents WHERE key = OLD.key;
  INSERT INTO changed_contents (key) VALUES (OLD.key);
END;

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
  parent_position INTEGER,                   -- the span that contains it; NULL: none
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

-- Records without a table of their own: policy checks, approvals, memory writes, data accesses, ...
-- An event outside any run has the run_id '', and as its position the time in nanoseconds.
CREATE TABLE events (
  run_id      TEXT NOT NULL,
  position    INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  event       TEXT NOT NULL,
  data        TEXT,                          -- JSON object
  revision    INTEGER,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

-- The runs whose parent is in their session or, like themselves, in none: runs of sub-agents. They
-- belong to the turn that called them; all other runs of a session are its turns.
CREATE VIEW nested_runs AS
SELECT n.* FROM runs n WHERE n.parent_workflow_id IS NOT NULL AND EXISTS (
  SELECT 1 FROM runs p WHERE p.run_id = substr(n.parent_workflow_id, 4)
    AND p.workflow_id = n.parent_workflow_id AND p.session_id IS n.session_id
    AND p.run_id <> n.run_id);

-- Totals of each session. The triggers below update them in the statement that changes a run or a
-- call: so they are right whoever writes, and a list of sessions need not sum up all runs.
CREATE TABLE sessions (
  session_id       TEXT PRIMARY KEY,
  user_id          TEXT,                     -- of the first run that names one; all: session_users
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
  total_cost       REAL,                     -- NULL: no call has a known cost
  total_duration   REAL NOT NULL,            -- sum of the runs' durations
  first_run_at     TEXT NOT NULL,
  last_run_at      TEXT NOT NULL,
  last_activity_at TEXT NOT NULL,            -- last start or end of a run, to the second
  unmetered_calls  INTEGER NOT NULL DEFAULT 0, -- of llm_calls, those whose tokens are unknown
  nested_runs      INTEGER NOT NULL DEFAULT 0, -- of run_count; the others are the session's turns
  nested_duration  REAL NOT NULL DEFAULT 0,  -- of total_duration, that of the nested runs
  last_end_at      TEXT                      -- last end of a run, exact; NULL: none is known
) WITHOUT ROWID;
CREATE INDEX sessions_by_activity ON sessions (last_activity_at);

-- The users of each session: those that its runs name.
CREATE TABLE session_users (
  session_id TEXT NOT NULL,
  user_id    TEXT NOT NULL,
  PRIMARY KEY (session_id, user_id)
) WITHOUT ROWID;
CREATE INDEX session_users_by_user ON session_users (user_id);

-- Until when sessions of an earlier version are counted: those with a greater id have no row in
-- session_users yet, and their nested runs are not known. The daemon, `waxlocal sync` and
-- `waxlocal serve` count them. Without a row, all sessions are counted.
CREATE TABLE counted_sessions (
  up_to NOT NULL                             -- an id, as it is in sessions
);

-- Dollars per million tokens. The source `pending`: to be looked up (until then, a price that is
-- already here applies); `unknown`: looked up, but not found; `local`: the model runs on the user's
-- own machine and costs nothing; `override`: set by the user, and never replaced by a looked-up
-- price.
CREATE TABLE model_prices (
  model                TEXT NOT NULL,        -- as recorded
  provider             TEXT NOT NULL,        -- as recorded, '' when not given
  input_per_mtok       REAL,
  output_per_mtok      REAL,
  cache_read_per_mtok  REAL,
  cache_write_per_mtok REAL,
  tiers                TEXT,                 -- JSON array: prices of long prompts, and of finer counts
  source               TEXT NOT NULL,        -- pending, unknown, local, override, or a price list
  matched              TEXT,                 -- the model's name in the price list
  updated_at           TEXT NOT NULL,
  PRIMARY KEY (model, provider)
) WITHOUT ROWID;

CREATE TRIGGER runs_insert AFTER INSERT ON runs WHEN NEW.session_id IS NOT NULL
BEGIN
  INSERT INTO sessions (session_id, user_id, agents, run_count, open_runs, failed_runs, llm_calls,
    priced_calls, tokens_in, tokens_out, total_tokens, priced_tokens, total_cost, total_duration,
    first_run_at, last_run_at, last_activity_at, last_end_at, nested_runs)
  VALUES (
    NEW.session_id, NEW.user_id, json_array(NEW.agent_name), 1,
    NEW.status = 'running',
    NEW.status <> 'running' AND NEW.status <> 'success' AND NEW.status <> 'cancelled',
    0, 0, 0, 0, 0, 0, NULL, coalesce(NEW.duration, 0.0),
    NEW.started_at, NEW.started_at, coalesce(NEW.completed_at, NEW.started_at), NEW.completed_at,
    NEW.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(NEW.parent_workflow_id, 4)
        AND p.workflow_id = NEW.parent_workflow_id AND p.session_id = NEW.session_id
        AND p.run_id <> NEW.run_id)
  )
  ON CONFLICT (session_id) DO UPDATE SET
    user_id = coalesce(user_id, excluded.user_id),
    -- 4,000 characters of names are enough for any list; a session of a million agents is a bug
    agents = CASE
      -- the usual case, and cheaper than the search for the name
      WHEN agents = excluded.agents THEN agents
      -- a quote after '[' or ',' begins a name; a quote inside a name is escaped
      WHEN instr(agents, '[' || json_quote(NEW.agent_name))
        OR instr(agents, ',' || json_quote(NEW.agent_name)) OR length(agents) > 4000 THEN agents
      ELSE substr(agents, 1, length(agents) - 1) || ',' || json_quote(NEW.agent_name) || ']' END,
    run_count = run_count + 1,
    open_runs = open_runs + excluded.open_runs,
    failed_runs = failed_runs + excluded.failed_runs,
    total_duration = total_duration + excluded.total_duration,
    first_run_at = min(first_run_at, excluded.first_run_at),
    last_run_at = max(last_run_at, excluded.last_run_at),
    last_activity_at = max(last_activity_at, excluded.last_activity_at),
    last_end_at = iif(NEW.completed_at IS NULL, last_end_at,
      max(coalesce(last_end_at, ''), NEW.completed_at)),
    -- Runs of sub-agents may arrive before the run that called them: from another machine in any
    -- order, from a program here when the disk was full as it began. To look for them at each begin
    -- of a run would cost a microsecond.
    nested_runs = nested_runs + excluded.nested_runs
      + iif(NEW.process_id IS NOT NULL AND NEW.started_at > last_run_at, 0, (
        SELECT count(*) FROM runs c WHERE c.parent_workflow_id = NEW.workflow_id
          AND c.session_id = NEW.session_id AND c.run_id <> NEW.run_id)),
    nested_duration = nested_duration + excluded.nested_runs * excluded.total_duration
      + iif(NEW.process_id IS NOT NULL AND NEW.started_at > last_run_at, 0.0, (
        SELECT total(c.duration) FROM runs c WHERE c.parent_workflow_id = NEW.workflow_id
          AND c.session_id = NEW.session_id AND c.run_id <> NEW.run_id));
  INSERT INTO session_users (session_id, user_id)
  SELECT NEW.session_id, NEW.user_id WHERE NEW.user_id IS NOT NULL
  ON CONFLICT DO NOTHING;
END;

-- All changes of a run that its session adds up are in one trigger: of two, each would take what the
-- other has done for the state before.
CREATE TRIGGER runs_update AFTER UPDATE OF status, duration, completed_at, parent_workflow_id ON runs
WHEN NEW.session_id = OLD.session_id
BEGIN
  UPDATE sessions SET
    open_runs = open_runs + (NEW.status = 'running') - (OLD.status = 'running'),
    failed_runs = failed_runs
      + (NEW.status <> 'running' AND NEW.status <> 'success' AND NEW.status <> 'cancelled')
      - (OLD.status <> 'running' AND OLD.status <> 'success' AND OLD.status <> 'cancelled'),
    total_duration = total_duration + coalesce(NEW.duration, 0.0) - coalesce(OLD.duration, 0.0),
    nested_runs = nested_runs + iif(NEW.parent_workflow_id IS OLD.parent_workflow_id, 0,
      (NEW.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(NEW.parent_workflow_id, 4)
        AND p.workflow_id = NEW.parent_workflow_id AND p.session_id = NEW.session_id
        AND p.run_id <> NEW.run_id))
      - (OLD.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(OLD.parent_workflow_id, 4)
        AND p.workflow_id = OLD.parent_workflow_id AND p.session_id = OLD.session_id
        AND p.run_id <> OLD.run_id))),
    nested_duration = nested_duration
      + iif((NEW.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(NEW.parent_workflow_id, 4)
        AND p.workflow_id = NEW.parent_workflow_id AND p.session_id = NEW.session_id
        AND p.run_id <> NEW.run_id)),
      coalesce(NEW.duration, 0.0), 0.0)
      - iif((OLD.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(OLD.parent_workflow_id, 4)
        AND p.workflow_id = OLD.parent_workflow_id AND p.session_id = OLD.session_id
        AND p.run_id <> OLD.run_id)),
      coalesce(OLD.duration, 0.0), 0.0),
    last_end_at = CASE
      WHEN OLD.completed_at IS NOT NULL AND OLD.completed_at IS NOT NEW.completed_at
        THEN (SELECT max(completed_at) FROM runs WHERE session_id = NEW.session_id)
      WHEN NEW.completed_at IS NULL THEN last_end_at
      ELSE max(coalesce(last_end_at, ''), NEW.completed_at) END
  WHERE session_id = NEW.session_id;
END;

-- The end of a run, or a correction, may name the user.
CREATE TRIGGER runs_new_user AFTER UPDATE OF user_id ON runs
WHEN NEW.user_id IS NOT OLD.user_id AND NEW.session_id = OLD.session_id
BEGIN
  DELETE FROM session_users WHERE session_id = NEW.session_id AND user_id = OLD.user_id
    AND NOT EXISTS (SELECT 1 FROM runs WHERE session_id = NEW.session_id AND user_id = OLD.user_id);
  INSERT INTO session_users (session_id, user_id)
  SELECT NEW.session_id, NEW.user_id WHERE NEW.user_id IS NOT NULL
  ON CONFLICT DO NOTHING;
  UPDATE sessions SET user_id =
    (SELECT user_id FROM runs WHERE session_id = NEW.session_id AND user_id IS NOT NULL
     ORDER BY id LIMIT 1)
  WHERE session_id = NEW.session_id AND (user_id IS NULL OR user_id = OLD.user_id)
    AND NOT EXISTS (SELECT 1 FROM runs WHERE session_id = NEW.session_id AND user_id = OLD.user_id);
END;

-- The start of the run has already set last_activity_at. An end in the same second leaves it as it
-- is, for it has an index: to be exact would cost each run one more page. last_end_at is exact.
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

-- The start of a run may arrive after its records, and only the start names the session.
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
    failed_runs = failed_runs
      + (NEW.status <> 'running' AND NEW.status <> 'success' AND NEW.status <> 'cancelled'),
    total_duration = total_duration + coalesce(NEW.duration, 0.0),
    first_run_at = min(first_run_at, NEW.started_at),
    last_run_at = max(last_run_at, NEW.started_at),
    last_activity_at = max(last_activity_at, coalesce(NEW.completed_at, NEW.started_at)),
    (llm_calls, priced_calls, unmetered_calls, tokens_in, tokens_out, total_tokens, priced_tokens,
     total_cost) =
      (SELECT llm_calls + count(*), priced_calls + count(cost),
         unmetered_calls + coalesce(sum(c.usage_known = 0), 0),
         sessions.tokens_in + CAST(total(c.tokens_in) AS INTEGER),
         sessions.tokens_out + CAST(total(c.tokens_out) AS INTEGER),
         total_tokens + CAST(total(c.tokens_in + c.tokens_out) AS INTEGER),
         priced_tokens + CAST(total(iif(c.cost IS NULL, 0, c.tokens_in + c.tokens_out)) AS INTEGER),
         coalesce(total_cost + sum(c.cost), sum(c.cost), total_cost)
       FROM llm_calls c WHERE c.run_id = NEW.run_id),
    nested_runs = nested_runs + (NEW.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(NEW.parent_workflow_id, 4)
        AND p.workflow_id = NEW.parent_workflow_id AND p.session_id = NEW.session_id
        AND p.run_id <> NEW.run_id))
      + (SELECT count(*) FROM runs c WHERE c.parent_workflow_id = NEW.workflow_id
        AND c.session_id = NEW.session_id AND c.run_id <> NEW.run_id),
    nested_duration = nested_duration + iif((NEW.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(NEW.parent_workflow_id, 4)
        AND p.workflow_id = NEW.parent_workflow_id AND p.session_id = NEW.session_id
        AND p.run_id <> NEW.run_id)),
      coalesce(NEW.duration, 0.0), 0.0)
      + (SELECT total(c.duration) FROM runs c WHERE c.parent_workflow_id = NEW.workflow_id
        AND c.session_id = NEW.session_id AND c.run_id <> NEW.run_id),
    last_end_at = iif(NEW.completed_at IS NULL, last_end_at,
      max(coalesce(last_end_at, ''), NEW.completed_at))
  WHERE session_id = NEW.session_id;
  INSERT INTO session_users (session_id, user_id)
  SELECT NEW.session_id, NEW.user_id WHERE NEW.user_id IS NOT NULL
  ON CONFLICT DO NOTHING;
END;

-- Deleting a run deletes its records.
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
  DELETE FROM session_users WHERE session_id = OLD.session_id AND user_id = OLD.user_id
    AND NOT EXISTS (SELECT 1 FROM runs WHERE session_id = OLD.session_id AND user_id = OLD.user_id);
  UPDATE sessions SET user_id =
    (SELECT user_id FROM runs WHERE session_id = OLD.session_id AND user_id IS NOT NULL
     ORDER BY id LIMIT 1)
  WHERE session_id = OLD.session_id AND user_id = OLD.user_id
    AND NOT EXISTS (SELECT 1 FROM runs WHERE session_id = OLD.session_id AND user_id = OLD.user_id);
  UPDATE sessions SET
    run_count = run_count - 1,
    open_runs = open_runs - (OLD.status = 'running'),
    failed_runs = failed_runs
      - (OLD.status <> 'running' AND OLD.status <> 'success' AND OLD.status <> 'cancelled'),
    total_duration = total_duration - coalesce(OLD.duration, 0.0),
    first_run_at = (SELECT min(started_at) FROM runs WHERE session_id = OLD.session_id),
    last_run_at = (SELECT max(started_at) FROM runs WHERE session_id = OLD.session_id),
    last_activity_at = (SELECT max(coalesce(completed_at, started_at)) FROM runs
                        WHERE session_id = OLD.session_id),
    nested_runs = nested_runs - (OLD.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(OLD.parent_workflow_id, 4)
        AND p.workflow_id = OLD.parent_workflow_id AND p.session_id = OLD.session_id
        AND p.run_id <> OLD.run_id))
      - (SELECT count(*) FROM runs c WHERE c.parent_workflow_id = OLD.workflow_id
        AND c.session_id = OLD.session_id AND c.run_id <> OLD.run_id),
    nested_duration = nested_duration - iif((OLD.parent_workflow_id IS NOT NULL AND EXISTS (
      SELECT 1 FROM runs p WHERE p.run_id = substr(OLD.parent_workflow_id, 4)
        AND p.workflow_id = OLD.parent_workflow_id AND p.session_id = OLD.session_id
        AND p.run_id <> OLD.run_id)),
      coalesce(OLD.duration, 0.0), 0.0)
      - (SELECT total(c.duration) FROM runs c WHERE c.parent_workflow_id = OLD.workflow_id
        AND c.session_id = OLD.session_id AND c.run_id <> OLD.run_id),
    last_end_at = iif(OLD.completed_at IS last_end_at,
      (SELECT max(completed_at) FROM runs WHERE session_id = OLD.session_id), last_end_at)
  WHERE session_id = OLD.session_id;
END;

-- One trigger for everything that a new call changes in other tables. SQLite allocates and clears
-- the registers of each trigger that fires, even if its WHEN is false.
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
  -- A call of a run whose calls are added up already. A recorder's run has a later id than these, and
  -- is not looked up. With the key of the row, SQLite builds no temporary table to update it.
  UPDATE summary SET call_run = NEW.run_id, call_position = NEW.position, sign = 1
  WHERE id = 1 AND newest >= NEW.run_id AND up_to >= (SELECT id FROM runs WHERE run_id = NEW.run_id);
  -- Its words, where the search index has those of its run already. When an open run ends, it is
  -- read again anyway.
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id
    AND (SELECT status FROM runs WHERE run_id = NEW.run_id) <> 'running';
  -- What steps_deliver and the like do for the other records.
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
  -- A key that a call has is no longer dropped. The table is almost always empty.
  DELETE FROM dropped_contents WHERE (NEW.message_keys IS NOT NULL OR NEW.tool_keys IS NOT NULL)
    AND EXISTS (SELECT 1 FROM dropped_contents) AND key IN (
    SELECT value FROM json_each(iif(json_valid(NEW.message_keys), NEW.message_keys, '[]'))
    UNION ALL
    SELECT value FROM json_each(iif(json_valid(NEW.tool_keys), NEW.tool_keys, '[]')));
END;

-- The cost or the tokens of a call become known, are corrected, or are withdrawn.
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

CREATE TRIGGER llm_calls_change_contents AFTER UPDATE OF message_keys, tool_keys ON llm_calls
WHEN NEW.message_keys IS NOT OLD.message_keys OR NEW.tool_keys IS NOT OLD.tool_keys
BEGIN
  DELETE FROM dropped_contents WHERE key IN (
    SELECT value FROM json_each(iif(json_valid(OLD.message_keys), OLD.message_keys, '[]'))
    UNION ALL
    SELECT value FROM json_each(iif(json_valid(OLD.tool_keys), OLD.tool_keys, '[]')));
  INSERT INTO dropped_contents (key)
  SELECT value FROM json_each(iif(json_valid(OLD.message_keys), OLD.message_keys, '[]'))
  WHERE type = 'text'
  UNION
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
  DELETE FROM dropped_contents WHERE key IN (
    SELECT value FROM json_each(iif(json_valid(OLD.message_keys), OLD.message_keys, '[]'))
    UNION ALL
    SELECT value FROM json_each(iif(json_valid(OLD.tool_keys), OLD.tool_keys, '[]')));
  INSERT INTO dropped_contents (key)
  SELECT value FROM json_each(iif(json_valid(OLD.message_keys), OLD.message_keys, '[]'))
  WHERE type = 'text'
  UNION
  SELECT value FROM json_each(iif(json_valid(OLD.tool_keys), OLD.tool_keys, '[]'))
  WHERE type = 'text';
END;

-- Each change of a row gives it a new revision, with three exceptions. A run or span that is
-- running is still being recorded for the first time, and its end completes that. A statement that
-- copies a row from another file sets the revision itself. And noting which process recorded a run
-- does not change the run.
CREATE TRIGGER runs_change AFTER UPDATE ON runs
WHEN NEW.revision IS OLD.revision AND OLD.status <> 'running'
  AND NEW.process_id IS OLD.process_id
BEGIN
  UPDATE runs SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id;
END;

-- A cost that becomes known gives no new revision: each file that has the call may compute the
-- cost.
CREATE TRIGGER llm_calls_change AFTER UPDATE ON llm_calls
WHEN NEW.revision IS OLD.revision AND (OLD.cost IS NOT NULL OR NEW.cost IS NULL)
BEGIN
  UPDATE llm_calls SET revision = max(coalesce(OLD.revision, 0) + 1,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
  WHERE run_id = NEW.run_id AND position = NEW.position;
END;

-- Where the same statement sets other columns, too, the call gets a new revision: these are all
-- columns but the key, the cost, its source and the revision.
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

-- Each run with the totals of its calls. By `total`, a float: `sum` fails where counts overflow.
CREATE VIEW run_totals AS
SELECT
  run_id, agent_name, session_id, user_id, status, started_at, duration,
  (SELECT count(*) FROM llm_calls c WHERE c.run_id = r.run_id) AS llm_calls,
  (SELECT count(*) FROM llm_calls c
    WHERE c.run_id = r.run_id AND c.usage_known = 0) AS unmetered_calls,
  (SELECT CAST(total(tokens_in) AS INTEGER) FROM llm_calls c WHERE c.run_id = r.run_id) AS tokens_in,
  (SELECT CAST(total(tokens_out) AS INTEGER) FROM llm_calls c WHERE c.run_id = r.run_id) AS tokens_out,
  (SELECT CAST(total(tokens_in + tokens_out) AS INTEGER) FROM llm_calls c
    WHERE c.run_id = r.run_id) AS total_tokens,
  (SELECT CAST(total(tokens_in + tokens_out) AS INTEGER) FROM llm_calls c
    WHERE c.run_id = r.run_id AND c.cost IS NOT NULL) AS priced_tokens,
  (SELECT sum(cost) FROM llm_calls c WHERE c.run_id = r.run_id) AS total_cost
FROM runs r;

-- Each call with the run, the session, the agent and the user that it belongs to.
CREATE VIEW run_llm_calls AS
SELECT c.run_id, c.position, r.session_id, r.agent_name, r.user_id, r.status AS run_status,
  c.recorded_at, c.model, c.provider, c.task, c.tokens_in, c.tokens_out, c.cost, c.duration_ms,
  c.status, c.error_type
FROM llm_calls c JOIN runs r ON r.run_id = c.run_id;

-- Each message of each call, numbered from 1, whether the call has the messages or their keys.
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

-- Totals of what was recorded long ago: to add up a million calls takes seconds. The daemon,
-- `waxlocal sync` and `waxlocal serve` add them up now and then; whoever asks looks at what came later
-- itself. A program that records a new run writes nothing here.

-- One row: how far they have come.
CREATE TABLE summary (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  up_to         INTEGER NOT NULL,      -- runs with a greater id are in no total
  newest        TEXT NOT NULL,         -- no run up to there has a greater run_id
  -- The last change of a call of a run that is added up, for the trigger summary_call.
  call_run      TEXT,
  call_position INTEGER,
  sign          INTEGER,               -- 1: it has come; -1: it goes, or is there no longer as it was
  -- Of changed_sessions: where the next look at them begins, and how many the last one has left.
  look_from     NOT NULL,              -- an id, as it is in sessions
  left_over     INTEGER NOT NULL
);
INSERT INTO summary (id, up_to, newest, look_from, left_over) VALUES (1, -9223372036854775807, '', '', 0);

-- The runs up to `up_to`, in blocks of 4,096 by their ids, and when calls of theirs were recorded. A
-- period takes the sums of the blocks that lie in it whole, and the calls of those at its ends. Where
-- calls were deleted, a block may seem longer than it is.
CREATE TABLE call_blocks (
  block   INTEGER PRIMARY KEY,         -- the ids of its runs, shifted to the right by 12 bits
  first   TEXT NOT NULL,
  last    TEXT NOT NULL,
  stamp   INTEGER NOT NULL,            -- another random one whenever a call of it comes, goes, changes
  packed  INTEGER                      -- the stamp when block_durations were made; NULL: there are none
);

-- The calls of each block by day, model and agent, but those in odd_calls.
CREATE TABLE model_sums (
  block           INTEGER NOT NULL,
  date            TEXT NOT NULL,       -- in UTC; empty where a call has no valid one
  model           TEXT NOT NULL,
  provider        TEXT NOT NULL,
  agent           TEXT NOT NULL,       -- the name of the run's agent
  calls           INTEGER NOT NULL,    -- may be 0, where all were deleted
  errors          INTEGER NOT NULL,
  unmetered_calls INTEGER NOT NULL,
  priced_calls    INTEGER NOT NULL,
  tokens_in       INTEGER NOT NULL,
  tokens_out      INTEGER NOT NULL,
  cached_tokens   INTEGER NOT NULL,
  priced_tokens   INTEGER NOT NULL,
  total_cost      REAL NOT NULL,       -- of the priced_calls
  PRIMARY KEY (block, date, model, provider, agent)
) WITHOUT ROWID;

-- What the same calls cost, by the hour.
CREATE TABLE hour_sums (
  block        INTEGER NOT NULL,
  hour         TEXT NOT NULL,          -- in UTC, as 2026-01-31T09; empty where a call has no valid day
  model        TEXT NOT NULL,
  calls        INTEGER NOT NULL,       -- may be 0
  priced_calls INTEGER NOT NULL,
  total_cost   REAL NOT NULL,
  PRIMARY KEY (block, hour, model)
) WITHOUT ROWID;

-- How long the calls of a block took, of which percentiles are made. They are true as long as `packed`
-- is `stamp`: nobody can change a packed number. Not WITHOUT ROWID: some rows are long.
CREATE TABLE block_durations (
  block     INTEGER NOT NULL,
  model     TEXT NOT NULL,
  provider  TEXT NOT NULL,
  agent     TEXT NOT NULL,
  durations BLOB NOT NULL,             -- milliseconds in order, each of 8 bytes, the least one first
  PRIMARY KEY (block, model, provider, agent)
);

-- Calls of the runs up to `up_to` with absurd figures, as another program may have written them. No
-- sum of a model has them: floats that were added to such a number cannot be subtracted again.
CREATE TABLE odd_calls (
  call_run      TEXT NOT NULL,
  call_position INTEGER NOT NULL,
  PRIMARY KEY (call_run, call_position)
) WITHOUT ROWID;

-- What each call adds to the sums of its model, and whether it is odd. A number that is not whole
-- would be rounded at another place than the sum.
CREATE VIEW call_figures AS
SELECT run_id AS call_run, position AS call_position, recorded_at AS called_at,
  CAST(iif(recorded_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*',
    iif(recorded_at GLOB '*T[0-2][0-9]:*', substr(recorded_at, 1, 13),
      substr(recorded_at, 1, 10) || 'T00'), '') AS TEXT) AS hour,
  model, provider, status = 'error' AS errors, usage_known = 0 AS unmetered_calls,
  cost IS NOT NULL AS priced_calls, tokens_in, tokens_out, cached_tokens,
  iif(cost IS NULL, 0, tokens_in + tokens_out) AS priced_tokens, coalesce(cost, 0.0) AS total_cost,
  NOT (tokens_in BETWEEN 0 AND 1000000000000 AND tokens_out BETWEEN 0 AND 1000000000000
    AND cached_tokens BETWEEN 0 AND 1000000000000
    AND typeof(tokens_in) = 'integer' AND typeof(tokens_out) = 'integer'
    AND typeof(cached_tokens) = 'integer'
    AND (cost IS NULL OR cost BETWEEN 0 AND 1000000000)) AS is_odd
FROM llm_calls;

-- What statistics are made of. Not WITHOUT ROWID: each index would hold the ids, too.
CREATE TABLE session_sums (
  session_id      TEXT NOT NULL PRIMARY KEY,
  turns           INTEGER NOT NULL,
  failed          INTEGER NOT NULL,    -- of the turns
  duration        REAL NOT NULL,       -- of the turns, seconds
  cost            REAL,                -- NULL: unknown; 0 without calls
  tokens          INTEGER NOT NULL,
  priced_tokens   INTEGER NOT NULL,
  calls           INTEGER NOT NULL,
  unmetered_calls INTEGER NOT NULL,
  runs            INTEGER NOT NULL,
  elapsed         REAL NOT NULL,       -- from the first start to the last activity, seconds
  waiting         REAL NOT NULL        -- elapsed less duration, but not less than 0
);
CREATE INDEX session_sums_by_turns ON session_sums (turns, failed, duration, cost);
CREATE INDEX session_sums_by_duration ON session_sums (duration);
CREATE INDEX session_sums_by_elapsed ON session_sums (elapsed);
CREATE INDEX session_sums_by_waiting ON session_sums (waiting);
CREATE INDEX session_sums_by_mean ON session_sums (duration / turns);
CREATE INDEX session_sums_by_cost ON session_sums (cost) WHERE cost IS NOT NULL;

-- The tags of the runs of these sessions, the models of their calls, and how their turns ended, where
-- there is anything to tell.
CREATE TABLE session_facts (
  session_id TEXT NOT NULL PRIMARY KEY,
  -- A line each, in hex digits: the key of a tag, '=' and its value; '@' and a model; '#' and the
  -- status of a turn, unless that is success or error.
  facts      TEXT NOT NULL
);

-- What each user has in each session.
CREATE TABLE user_sums (
  user_id           TEXT NOT NULL,
  session_id        TEXT NOT NULL,
  turn_count        INTEGER NOT NULL,
  run_count         INTEGER NOT NULL,
  first_activity_at TEXT NOT NULL,
  last_activity_at  TEXT NOT NULL,
  total_duration    REAL NOT NULL,
  llm_calls         INTEGER NOT NULL,
  unmetered_calls   INTEGER NOT NULL,
  total_tokens      INTEGER NOT NULL,
  priced_tokens     INTEGER NOT NULL,
  total_cost        REAL,
  agents            TEXT NOT NULL,     -- JSON array
  PRIMARY KEY (user_id, session_id)
) WITHOUT ROWID;
CREATE INDEX user_sums_by_session ON user_sums (session_id);

-- Runs up to `up_to` that were outside of sessions when they were added up: no other index has them.
CREATE TABLE outside_runs (
  id INTEGER PRIMARY KEY               -- of runs
);

-- Sessions of runs up to `up_to` whose totals are still to be made, or again. A session with an open
-- run is always among them: so the end of a run has nothing to note here.
CREATE TABLE changed_sessions (
  session_id TEXT NOT NULL PRIMARY KEY
) WITHOUT ROWID;

-- The sessions that have to be looked at themselves.
CREATE VIEW apart_sessions AS
SELECT session_id FROM changed_sessions
UNION
SELECT session_id FROM runs
WHERE id > (SELECT up_to FROM summary) AND session_id IS NOT NULL;

-- Takes what is added to model_sums and hour_sums; what goes is below 0.
CREATE VIEW sum_changes AS
SELECT block, date AS hour, model, provider, agent, calls, errors, unmetered_calls, priced_calls,
  tokens_in, tokens_out, cached_tokens, priced_tokens, total_cost
FROM model_sums WHERE false;

CREATE TRIGGER sum_changes_add INSTEAD OF INSERT ON sum_changes
BEGIN
  INSERT INTO model_sums (block, date, model, provider, agent, calls, errors, unmetered_calls,
    priced_calls, tokens_in, tokens_out, cached_tokens, priced_tokens, total_cost)
  VALUES (NEW.block, substr(NEW.hour, 1, 10), NEW.model, NEW.provider, NEW.agent, NEW.calls,
    NEW.errors, NEW.unmetered_calls, NEW.priced_calls, NEW.tokens_in, NEW.tokens_out,
    NEW.cached_tokens, NEW.priced_tokens, NEW.total_cost)
  ON CONFLICT (block, date, model, provider, agent) DO UPDATE SET
    calls = calls + excluded.calls,
    errors = errors + excluded.errors,
    unmetered_calls = unmetered_calls + excluded.unmetered_calls,
    priced_calls = priced_calls + excluded.priced_calls,
    tokens_in = tokens_in + excluded.tokens_in,
    tokens_out = tokens_out + excluded.tokens_out,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    priced_tokens = priced_tokens + excluded.priced_tokens,
    -- no rest of a rounding
    total_cost = iif(priced_calls + excluded.priced_calls = 0, 0.0,
      total_cost + excluded.total_cost);
  INSERT INTO hour_sums (block, hour, model, calls, priced_calls, total_cost)
  VALUES (NEW.block, NEW.hour, NEW.model, NEW.calls, NEW.priced_calls, NEW.total_cost)
  ON CONFLICT (block, hour, model) DO UPDATE SET
    calls = calls + excluded.calls,
    priced_calls = priced_calls + excluded.priced_calls,
    total_cost = iif(priced_calls + excluded.priced_calls = 0, 0.0,
      total_cost + excluded.total_cost);
END;

-- A call of a run that is added up comes, or goes. It is in llm_calls at this moment.
CREATE TRIGGER summary_call AFTER UPDATE OF sign ON summary
BEGIN
  -- One that goes leaves its times: they are within.
  INSERT INTO call_blocks (block, first, last, stamp)
  SELECT r.id >> 12, called_at, called_at, random() FROM call_figures JOIN runs r ON r.run_id = call_run
  WHERE call_run = NEW.call_run AND call_position = NEW.call_position
  ON CONFLICT (block) DO UPDATE SET
    first = min(first, excluded.first),
    last = max(last, excluded.last),
    stamp = excluded.stamp;
  INSERT INTO sum_changes (block, hour, model, provider, agent, calls, errors, unmetered_calls,
    priced_calls, tokens_in, tokens_out, cached_tokens, priced_tokens, total_cost)
  SELECT r.id >> 12, hour, model, provider, r.agent_name, NEW.sign, NEW.sign * errors,
    NEW.sign * unmetered_calls, NEW.sign * priced_calls, NEW.sign * tokens_in,
    NEW.sign * tokens_out, NEW.sign * cached_tokens, NEW.sign * priced_tokens,
    NEW.sign * total_cost
  FROM call_figures JOIN runs r ON r.run_id = call_run
  WHERE call_run = NEW.call_run AND call_position = NEW.call_position AND NOT is_odd;
  DELETE FROM odd_calls
  WHERE call_run = NEW.call_run AND call_position = NEW.call_position;
  INSERT INTO odd_calls (call_run, call_position)
  SELECT call_run, call_position FROM call_figures
  WHERE call_run = NEW.call_run AND call_position = NEW.call_position AND is_odd
    AND NEW.sign = 1;
  INSERT INTO changed_sessions (session_id)
  SELECT session_id FROM runs WHERE run_id = NEW.call_run AND session_id IS NOT NULL
  ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER llm_calls_leave_sums BEFORE UPDATE OF run_id, position, recorded_at, model, provider,
  status, tokens_in, tokens_out, cached_tokens, cost, duration_ms, usage_known ON llm_calls
BEGIN
  UPDATE summary SET call_run = OLD.run_id, call_position = OLD.position, sign = -1
  WHERE up_to >= (SELECT id FROM runs WHERE run_id = OLD.run_id);
END;

CREATE TRIGGER llm_calls_join_sums AFTER UPDATE OF run_id, position, recorded_at, model, provider,
  status, tokens_in, tokens_out, cached_tokens, cost, duration_ms, usage_known ON llm_calls
BEGIN
  UPDATE summary SET call_run = NEW.run_id, call_position = NEW.position, sign = 1
  WHERE up_to >= (SELECT id FROM runs WHERE run_id = NEW.run_id);
END;

CREATE TRIGGER llm_calls_delete_from_sums BEFORE DELETE ON llm_calls
BEGIN
  UPDATE summary SET call_run = OLD.run_id, call_position = OLD.position, sign = -1
  WHERE up_to >= (SELECT id FROM runs WHERE run_id = OLD.run_id);
END;

CREATE TRIGGER runs_change_sums AFTER UPDATE OF session_id, user_id, agent_name, parent_workflow_id,
  status, started_at, completed_at, duration, tags ON runs
WHEN (OLD.status <> 'running' OR OLD.session_id IS NULL) AND NEW.session_id IS NOT NULL
BEGIN
  INSERT INTO changed_sessions (session_id)
  SELECT NEW.session_id WHERE NEW.id <= (SELECT up_to FROM summary)
  ON CONFLICT DO NOTHING;
  DELETE FROM outside_runs WHERE OLD.session_id IS NULL AND id = NEW.id;
END;

-- The calls of a run go from the sums of one agent to those of another.
CREATE TRIGGER runs_change_agent AFTER UPDATE OF agent_name ON runs
WHEN NEW.agent_name IS NOT OLD.agent_name AND NEW.id <= (SELECT up_to FROM summary)
BEGIN
  UPDATE call_blocks SET stamp = random() WHERE block = NEW.id >> 12;
  INSERT INTO sum_changes (block, hour, model, provider, agent, calls, errors, unmetered_calls,
    priced_calls, tokens_in, tokens_out, cached_tokens, priced_tokens, total_cost)
  SELECT NEW.id >> 12, hour, model, provider, agent, sign, sign * errors, sign * unmetered_calls,
    sign * priced_calls, sign * tokens_in, sign * tokens_out, sign * cached_tokens,
    sign * priced_tokens, sign * total_cost
  FROM (SELECT -1 AS sign, OLD.agent_name AS agent UNION ALL SELECT 1, NEW.agent_name)
  CROSS JOIN call_figures WHERE call_run = NEW.run_id AND NOT is_odd;
END;

-- SQLite gives the id of the newest run to the next run, once the newest is deleted: that next run is
-- not added up.
CREATE TRIGGER runs_delete_from_sums AFTER DELETE ON runs
BEGIN
  INSERT INTO changed_sessions (session_id)
  SELECT OLD.session_id WHERE OLD.session_id IS NOT NULL AND OLD.id <= (SELECT up_to FROM summary)
  ON CONFLICT DO NOTHING;
  DELETE FROM outside_runs WHERE id = OLD.id;
  UPDATE summary SET up_to = (SELECT coalesce(max(id), -9223372036854775807) FROM runs)
  WHERE up_to > (SELECT coalesce(max(id), -9223372036854775807) FROM runs);
END;

-- A run with an id of its own among those that are added up, as a backup that is copied back has it, or
-- one that gets another id: all totals are made anew. Here, too, is what the search index has to know.
CREATE TRIGGER runs_insert_among_older AFTER INSERT ON runs
WHEN NEW.id <= (SELECT up_to FROM summary) OR NEW.id <= (SELECT up_to FROM search_index)
BEGIN
  UPDATE summary SET up_to = -9223372036854775807 WHERE NEW.id <= up_to;
  UPDATE search_index SET newest = max(newest, NEW.run_id) WHERE NEW.id <= up_to;
  UPDATE search_index SET changed = NEW.id WHERE id = 1 AND up_to >= NEW.id;
END;

CREATE TRIGGER runs_move_among_older AFTER UPDATE OF id ON runs
WHEN NEW.id <> OLD.id
BEGIN
  UPDATE summary SET up_to = -9223372036854775807;
  UPDATE search_index SET stamp = '';
END;

CREATE TRIGGER summary_begin_anew AFTER UPDATE OF up_to ON summary
WHEN NEW.up_to = -9223372036854775807 AND OLD.up_to <> -9223372036854775807
BEGIN
  DELETE FROM call_blocks;
  DELETE FROM model_sums;
  DELETE FROM hour_sums;
  DELETE FROM block_durations;
  DELETE FROM odd_calls;
  DELETE FROM session_sums;
  DELETE FROM session_facts;
  DELETE FROM user_sums;
  DELETE FROM outside_runs;
  DELETE FROM changed_sessions;
  UPDATE summary SET newest = '', look_from = '', left_over = 0;
END;

-- What the search index beside this file has: see waxlocal/search/index.sql. It is made by the daemon,
-- `waxlocal serve` and `waxlocal search`. Runs up to `up_to` may be in it.
CREATE TABLE search_index (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  stamp   TEXT NOT NULL,               -- that of the index; none: it has to be made anew
  up_to   INTEGER NOT NULL,            -- no run in the index has a greater id
  newest  TEXT NOT NULL,               -- nor a greater run_id
  changed INTEGER                      -- the last run that has changed, for search_index_note
);
INSERT INTO search_index (id, stamp, up_to, newest) VALUES (1, '', -9223372036854775807, '');

-- Runs up to there that have other words now, or are gone. One that changes again gets a new number.
CREATE TABLE search_changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL UNIQUE          -- id of runs
);

CREATE TRIGGER search_index_note AFTER UPDATE OF changed ON search_index
WHEN NEW.changed <= NEW.up_to
BEGIN
  DELETE FROM search_changes WHERE run = NEW.changed;
  INSERT INTO search_changes (run) VALUES (NEW.changed);
END;

-- An open run that is corrected. The rest is in runs_deliver_change: each trigger that fires costs a
-- recorder a microsecond.
CREATE TRIGGER runs_change_words AFTER UPDATE OF inputs ON runs
WHEN OLD.status = 'running' AND NEW.id <= (SELECT up_to FROM search_index)
BEGIN
  UPDATE search_index SET changed = NEW.id WHERE id = 1;
END;

CREATE TRIGGER runs_delete_words AFTER DELETE ON runs
WHEN OLD.id <= (SELECT up_to FROM search_index)
BEGIN
  UPDATE search_index SET changed = OLD.id WHERE id = 1;
END;

CREATE TRIGGER llm_calls_delete_words AFTER DELETE ON llm_calls
BEGIN
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = OLD.run_id)
  WHERE id = 1 AND newest >= OLD.run_id;
END;

CREATE TRIGGER steps_delete_words AFTER DELETE ON steps
BEGIN
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = OLD.run_id)
  WHERE id = 1 AND newest >= OLD.run_id;
END;

CREATE TRIGGER events_delete_words AFTER DELETE ON events
BEGIN
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = OLD.run_id)
  WHERE id = 1 AND newest >= OLD.run_id;
END;

CREATE TRIGGER spans_delete_words AFTER DELETE ON spans
BEGIN
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = OLD.run_id)
  WHERE id = 1 AND newest >= OLD.run_id;
END;

-- What was deleted on purpose (`waxlocal forget`) and must not come back, whoever sends it again or
-- merges it. No id and no name is here, only their hashes.
CREATE TABLE forgotten (
  kind   TEXT NOT NULL,                -- run, user, session; unnamed: runs of a session without a user;
                                       -- part: a session that has lost runs, which bars nothing
  digest TEXT NOT NULL,                -- SHA-256 of the salt, the kind and the id or name, hex
  before TEXT NOT NULL,                -- of a name: runs that began earlier; of a run: when it was deleted
  PRIMARY KEY (kind, digest)
) WITHOUT ROWID;

-- One row, once something was forgotten.
CREATE TABLE forgetting (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  salt       TEXT NOT NULL,            -- random, of this file alone
  unfinished INTEGER NOT NULL          -- not 0: the number of a deletion whose bytes may still be there
);

-- Delivery: where runs are uploaded to, how far each has come, and what was received from others.
-- It has tables of its own. A program that records a new run writes nothing here: the triggers at
-- the end look up whether the run was uploaded before, and find nothing.

-- The servers that runs are delivered to. Of several accounts at one address the first has the
-- address as its url, the others the address, '#' and their id.
CREATE TABLE targets (
  target_id       INTEGER PRIMARY KEY,
  url             TEXT NOT NULL UNIQUE,   -- without a slash at the end; never contains a key
  cursor          INTEGER NOT NULL DEFAULT 0,  -- runs with a greater id have no row in deliveries yet
  delivered       INTEGER NOT NULL DEFAULT 0,  -- runs delivered so far
  failures        INTEGER NOT NULL DEFAULT 0,  -- of the server, since its last success
  not_before      TEXT,                   -- no request before this time: backoff, Retry-After
  backoff_until   TEXT,                   -- not_before was drawn at random, and is at most this
  paused_at       TEXT,                   -- since when the server refuses the key
  reason          TEXT,                   -- why the last request failed, or why it is paused
  last_attempt_at TEXT,
  last_success_at TEXT,
  events_cursor   INTEGER NOT NULL DEFAULT 0,  -- as cursor, but of outside_events
  looked_again    INTEGER NOT NULL DEFAULT 0,  -- 1: runs that 0.2 sent too early were looked for
  account         TEXT                    -- as the server names it; NULL: it does not, or not yet
);

-- Events outside any run, in order of arrival: no later commit gets a smaller id, so the id is a
-- safe cursor.
CREATE TABLE outside_events (
  id       INTEGER PRIMARY KEY,
  position INTEGER NOT NULL              -- of the event; its run_id is ''
);

-- How far the upload of each run to each server has come. The row with the run_id '' stands for all
-- events outside any run.
CREATE TABLE deliveries (
  run_id             TEXT NOT NULL,
  target_id          INTEGER NOT NULL REFERENCES targets,
  state              TEXT NOT NULL,       -- open (still running), pending, sending, parked, delivered
  remote_run_id      TEXT,                -- the ids that the server gave the run
  remote_workflow_id TEXT,
  failures           INTEGER NOT NULL DEFAULT 0,  -- of this run, since its last accepted request
  not_before         TEXT,                -- as in targets, for this run alone
  backoff_until      TEXT,                -- written by 0.2 only, read by nobody
  reason             TEXT,                -- why it is parked, or why the last attempt failed
  delivered_at       TEXT,
  receipts           TEXT,                -- JSON: its requests, once they are no longer in requests
  PRIMARY KEY (run_id, target_id)
) WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (target_id, state, run_id)
  WHERE state <> 'delivered';

-- The requests that upload a run. Each is stored before it is first sent, and neither its key nor
-- its body changes afterwards. Once the server has answered, the row is the receipt. Of the runs
-- that were delivered last, and of all that failed, it stays; of the others `deliveries.receipts`
-- keeps what a later upload must know, in a tenth of the space.
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
  status           INTEGER,               -- HTTP status of the last response; NULL: none came
  reason           TEXT,
  first_attempt_at TEXT,
  last_attempt_at  TEXT,
  states           TEXT,                  -- JSON: the states of its records; NULL: as usual
  PRIMARY KEY (run_id, target_id, stage, part)
) WITHOUT ROWID;
CREATE INDEX requests_parked ON requests (target_id, run_id) WHERE state = 'parked';

-- All requests of a run, wherever they are kept. An entry of `receipts` is [stage, part, positions,
-- states], the last only where there are any; one that was replaced ends with its part.
CREATE VIEW known_requests AS
SELECT run_id, target_id, stage, part, idempotency_key, state, positions, body, bytes, attempts,
  status, reason, first_attempt_at, last_attempt_at, states
FROM requests
UNION ALL
SELECT d.run_id, d.target_id, json_extract(entry.value, '$[0]'), json_extract(entry.value, '$[1]'),
  NULL,
  iif(json_array_length(entry.value) = 2, 'replaced', 'delivered'),
  coalesce(json_extract(entry.value, '$[2]'), '[]'), NULL, NULL, NULL,
  NULL, NULL, NULL, d.delivered_at, json_extract(entry.value, '$[3]')
FROM deliveries d, json_each(iif(json_valid(d.receipts), d.receipts, '[]')) entry;

-- Requests that were accepted here. If one arrives a second time, it gets the same response.
CREATE TABLE received (
  idempotency_key TEXT PRIMARY KEY,
  fingerprint     TEXT NOT NULL,          -- SHA-256 of path and body
  answer          TEXT NOT NULL,          -- JSON
  received_at     TEXT NOT NULL
) WITHOUT ROWID;

-- Records that a run gets while it is being uploaded, or afterwards (a score on the next day), are
-- uploaded, too. So are those of a parked run that has a remote id: the server knows it. Without a
-- remote id nothing more of a parked run can be uploaded. For calls, llm_calls_insert does it.
CREATE TRIGGER steps_deliver AFTER INSERT ON steps
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
  -- Its words, where the search index has those of its run already. When an open run ends, it is
  -- read again anyway.
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id
    AND (SELECT status FROM runs WHERE run_id = NEW.run_id) <> 'running';
END;

CREATE TRIGGER spans_deliver AFTER INSERT ON spans
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
  -- Its words, where the search index has those of its run already. When an open run ends, it is
  -- read again anyway.
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id
    AND (SELECT status FROM runs WHERE run_id = NEW.run_id) <> 'running';
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
  -- Its words, where the search index has those of its run already. When an open run ends, it is
  -- read again anyway.
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id
    AND (SELECT status FROM runs WHERE run_id = NEW.run_id) <> 'running';
END;

CREATE TRIGGER events_outside AFTER INSERT ON events WHEN NEW.run_id = ''
BEGIN
  INSERT INTO outside_events (position) VALUES (NEW.position);
END;

-- A changed row is uploaded again, and so is a run or span that was uploaded while it was running
-- and has now ended. The search index reads it again, too: not when a call has got its price.
CREATE TRIGGER runs_deliver_change AFTER UPDATE OF status, revision ON runs
WHEN NEW.revision IS NOT OLD.revision OR NEW.status <> OLD.status
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
  UPDATE search_index SET changed = NEW.id WHERE id = 1 AND up_to >= NEW.id;
END;

CREATE TRIGGER llm_calls_deliver_change AFTER UPDATE OF cost, revision ON llm_calls
WHEN NEW.revision IS NOT OLD.revision OR NEW.cost IS NOT OLD.cost
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id
    AND NEW.revision IS NOT OLD.revision;
END;

CREATE TRIGGER steps_deliver_change AFTER UPDATE OF revision ON steps
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id;
END;

CREATE TRIGGER spans_deliver_change AFTER UPDATE OF status, revision ON spans
WHEN NEW.revision IS NOT OLD.revision OR NEW.status <> OLD.status
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'
    OR (state = 'parked' AND remote_run_id IS NOT NULL));
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id
    AND (NEW.revision IS NOT OLD.revision OR (SELECT status FROM runs WHERE run_id = NEW.run_id) <> 'running');
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
  UPDATE search_index SET changed = (SELECT id FROM runs WHERE run_id = NEW.run_id)
  WHERE id = 1 AND newest >= NEW.run_id;
END;

-- SQLite gives the id of the newest run to the next run, once the newest is deleted. The cursor
-- must not be greater, or that next run would not be uploaded.
CREATE TRIGGER runs_delete_delivery AFTER DELETE ON runs
BEGIN
  DELETE FROM deliveries WHERE run_id = OLD.run_id;
  DELETE FROM requests WHERE run_id = OLD.run_id;
  UPDATE targets SET cursor = (SELECT coalesce(max(id), 0) FROM runs)
  WHERE cursor > (SELECT coalesce(max(id), 0) FROM runs);
END;
