-- The search index beside a file. It has no text, only which words are in which run: it can be deleted
-- at any time, and is made again. waxlocal.search.index_file opens it.

-- One row. Runs up to `up_to` are in the index. `stamp` is also in the file, where `before` may still be
-- when somebody was killed.
CREATE TABLE state (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL,            -- of this schema, and of what counts as a word
  stamp   TEXT NOT NULL,               -- another one whenever it takes over what the file has noted
  before  TEXT NOT NULL,
  noted   INTEGER NOT NULL,            -- the last of search_changes that it took over then, or 0
  up_to   INTEGER NOT NULL,
  stale   INTEGER NOT NULL             -- documents that nobody asks for any more
);

-- Which document is which run. A run that has changed gets another document: without the text of the
-- old one FTS5 cannot remove it, so it stays, and nobody asks for it any more.
CREATE TABLE documents (
  doc INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL UNIQUE          -- id of runs
);

-- When the runs of 4,096 documents in a row began: a period is looked for where it can be.
CREATE TABLE blocks (
  block INTEGER PRIMARY KEY,           -- the numbers of its documents, shifted to the right by 12 bits
  first TEXT NOT NULL,
  last  TEXT NOT NULL
);

-- Runs in the index that have changed since, or are gone.
CREATE TABLE changed (
  run INTEGER PRIMARY KEY
);

-- Runs that were open when they were read. A killed process changes nothing in the file.
CREATE TABLE open_runs (
  run INTEGER PRIMARY KEY
);

-- The words of each document, already folded and cut (waxlocal.search.words), with spaces between
-- them. What is not ASCII is part of a word for the tokenizer `ascii`: it changes nothing here.
CREATE VIRTUAL TABLE words USING fts5 (
  message, answer, prompts, tools, errors, facets,
  content = '', columnsize = 0, tokenize = 'ascii'
);
