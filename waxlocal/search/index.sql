-- The search index beside a file. It has no text, only which words are in which run: it can be deleted
-- at any time, and is made again. waxlocal.search.index_file opens it.

-- One row. Runs up to `up_to` are in the index, but those in `unfinished`. `stamp` is also in the file.
CREATE TABLE state (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL,            -- of this schema, and of what counts as a word
  stamp   TEXT NOT NULL,
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

-- Runs that have to be looked at again: they are open, or have changed.
CREATE TABLE unfinished (
  run  INTEGER PRIMARY KEY,
  seen TEXT NOT NULL                   -- its status when it was read; empty: it has changed since
);

-- The words of each document, already folded and cut (waxlocal.search.words), with spaces between
-- them. What is not ASCII is part of a word for the tokenizer `ascii`: it changes nothing here.
CREATE VIRTUAL TABLE words USING fts5 (
  message, answer, prompts, tools, errors, facets,
  content = '', columnsize = 0, tokenize = 'ascii'
);
