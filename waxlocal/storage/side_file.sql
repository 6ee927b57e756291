-- What a side file has besides the tables of schema.sql: who it is, and a log of its changes. A
-- version that may write to the main file follows the log, and keeps in that file how far it has
-- come. Rows are only ever added to the log: whoever has followed it to the end has all there is.

CREATE TABLE side_file (
  file_id TEXT NOT NULL
);
INSERT INTO side_file (file_id) VALUES (lower(hex(randomblob(16))));

CREATE TABLE side_changes (
  seq        INTEGER PRIMARY KEY,
  table_name TEXT NOT NULL,
  run_id     TEXT,
  position   INTEGER,            -- of a record in its run; of a process: its id
  added      INTEGER NOT NULL,   -- 1: a new row, 0: a row that has changed
  changes    TEXT                -- JSON object: new values of a row that is in the main file alone
);

CREATE TRIGGER side_processes_insert AFTER INSERT ON processes
BEGIN
  INSERT INTO side_changes (table_name, position, added) VALUES ('processes', NEW.process_id, 1);
END;

CREATE TRIGGER side_runs_insert AFTER INSERT ON runs
BEGIN
  INSERT INTO side_changes (table_name, run_id, added) VALUES ('runs', NEW.run_id, 1);
END;

CREATE TRIGGER side_runs_update AFTER UPDATE ON runs
BEGIN
  INSERT INTO side_changes (table_name, run_id, added) VALUES ('runs', NEW.run_id, 0);
END;

CREATE TRIGGER side_llm_calls_insert AFTER INSERT ON llm_calls
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('llm_calls', NEW.run_id, NEW.position, 1);
END;

CREATE TRIGGER side_llm_calls_update AFTER UPDATE ON llm_calls
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('llm_calls', NEW.run_id, NEW.position, 0);
END;

CREATE TRIGGER side_steps_insert AFTER INSERT ON steps
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('steps', NEW.run_id, NEW.position, 1);
END;

CREATE TRIGGER side_steps_update AFTER UPDATE ON steps
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('steps', NEW.run_id, NEW.position, 0);
END;

CREATE TRIGGER side_spans_insert AFTER INSERT ON spans
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('spans', NEW.run_id, NEW.position, 1);
END;

CREATE TRIGGER side_spans_update AFTER UPDATE ON spans
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('spans', NEW.run_id, NEW.position, 0);
END;

CREATE TRIGGER side_scores_insert AFTER INSERT ON scores
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('scores', NEW.run_id, NEW.position, 1);
END;

CREATE TRIGGER side_scores_update AFTER UPDATE ON scores
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('scores', NEW.run_id, NEW.position, 0);
END;

CREATE TRIGGER side_events_insert AFTER INSERT ON events
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('events', NEW.run_id, NEW.position, 1);
END;

CREATE TRIGGER side_events_update AFTER UPDATE ON events
BEGIN
  INSERT INTO side_changes (table_name, run_id, position, added)
  VALUES ('events', NEW.run_id, NEW.position, 0);
END;
