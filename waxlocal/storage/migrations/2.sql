-- From version 1 to 2: delivery.

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
  last_success_at TEXT
);

-- How far each run has come on its way to a server.
CREATE TABLE deliveries (
  run_id             TEXT NOT NULL,
  target_id          INTEGER NOT NULL REFERENCES targets,
  state              TEXT NOT NULL,       -- open (still running), pending, sending, parked, delivered
  remote_run_id      TEXT,                -- the ids that the server gave the run
  remote_workflow_id TEXT,
  failures           INTEGER NOT NULL DEFAULT 0,  -- of this run, since its last accepted request
  not_before         TEXT,                -- as in targets, for this run alone
  backoff_until      TEXT,
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
CREATE TRIGGER llm_calls_deliver AFTER INSERT ON llm_calls
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending');
END;

CREATE TRIGGER steps_deliver AFTER INSERT ON steps
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending');
END;

CREATE TRIGGER spans_deliver AFTER INSERT ON spans
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending');
END;

CREATE TRIGGER scores_deliver AFTER INSERT ON scores
BEGIN
  UPDATE deliveries SET state = 'pending'
  WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending');
END;

-- The id of the newest run is given again once that run is deleted: the cursor must not be past it.
CREATE TRIGGER runs_delete_delivery AFTER DELETE ON runs
BEGIN
  DELETE FROM deliveries WHERE run_id = OLD.run_id;
  DELETE FROM requests WHERE run_id = OLD.run_id;
  UPDATE targets SET cursor = (SELECT coalesce(max(id), 0) FROM runs)
  WHERE cursor > (SELECT coalesce(max(id), 0) FROM runs);
END;

PRAGMA user_version = 2;
