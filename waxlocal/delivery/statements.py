"""The SQL of the upload; what each statement is for stands with the method that uses it."""

from __future__ import annotations

from waxlocal.delivery.progress import IS_OPEN, IS_PARKED, IS_PENDING, IS_SENDING
from waxlocal.records import LLM_CALLS, RECORD_TABLES, RUNS, Table
from waxlocal.storage.contents import KEYED
from waxlocal.storage.record_sql import run_of, workflow_of

# About what a record takes beside its texts, in bytes of JSON.
_RECORD_BYTES = 500


def _length_of_texts(table: Table, alias: str) -> str:
    return " + ".join(f"coalesce(length({alias}.{name}), 0)" for name in table.bulky) or "0"


def _length_of_contents(table: Table, alias: str) -> str:
    if table is not LLM_CALLS:
        return ""
    return "".join(
        f"""
    + iif({alias}.{keys} IS NULL, 0, (SELECT coalesce(sum(length(content)), 0)
        FROM json_each({alias}.{keys}) k JOIN contents ON contents.key = k.value))"""  # noqa: S608
        for keys in KEYED.values()
    )


_SIZE_OF_RUN = _length_of_texts(RUNS, "r")
_SIZE_OF_RECORDS = "\n  + ".join(
    f"(SELECT coalesce(sum({_RECORD_BYTES} + {_length_of_texts(table, 'x')}"  # noqa: S608
    f"{_length_of_contents(table, 'x')}), 0) "
    f"FROM {table.name} x WHERE x.run_id = d.run_id)"
    for table in RECORD_TABLES
)

# A row of `targets` is of an account at this address: see `accounts`.
IS_AT = "(url = :url OR substr(url, 1, length(:url) + 1) = :url || '#')"
ADD_TARGET = "INSERT OR IGNORE INTO targets (url) VALUES (?)"
READ_TARGET = """
SELECT target_id, cursor, failures, not_before, backoff_until, paused_at, reason
FROM targets WHERE target_id = ?
"""
# The first account at an address takes over what was sent before the server named any. A new one
# has nothing that 0.2 sent.
NAME_ACCOUNT = """
UPDATE targets SET account = ? WHERE url = ? AND account IS NULL
RETURNING target_id
"""
ADD_ACCOUNT = """
INSERT INTO targets (url, account, looked_again) VALUES (?, ?, 1) RETURNING target_id
"""
# SQLite's JSON functions end a text at NUL, so that a run with such an id is not found by them.
ADMIT = """
INSERT OR IGNORE INTO deliveries (run_id, target_id, state, reason)
SELECT run_id, :target,
  CASE WHEN instr(run_id, char(0)) THEN 'parked' WHEN status = 'running' THEN 'open'
    ELSE 'pending' END,
  iif(instr(run_id, char(0)), 'its id has a NUL character', NULL)
FROM runs WHERE id > :cursor AND id <= :last
"""
NOT_DELIVERED = """
SELECT CAST(run_id AS BLOB) FROM deliveries WHERE target_id = ? AND state <> 'delivered'
"""
PARK_UNREADABLE = """
UPDATE deliveries SET state = 'parked', reason = 'its id is not valid UTF-8'
WHERE target_id = ? AND run_id = CAST(? AS TEXT) AND state <> 'parked'
"""
LAST_OF_NEXT = "SELECT max(id) FROM (SELECT id FROM runs WHERE id > ? ORDER BY id LIMIT ?)"
CURSOR = "SELECT cursor FROM targets WHERE target_id = ?"
MOVE_CURSOR = "UPDATE targets SET cursor = ? WHERE target_id = ?"
# The events outside any run, as if they were one run that is pending again with each new one.
ADMIT_EVENTS = """
INSERT INTO deliveries (run_id, target_id, state)
SELECT '', target_id, 'pending' FROM targets
WHERE target_id = :target AND EXISTS (SELECT 1 FROM outside_events WHERE id > events_cursor)
ON CONFLICT (run_id, target_id) DO UPDATE SET state = 'pending' WHERE state = 'delivered'
"""
DUE_EVENTS = """
SELECT failures FROM deliveries
WHERE run_id = '' AND target_id = :target AND state = 'pending'
  AND (not_before IS NULL OR not_before <= :now OR not_before > :horizon)
"""
# SQLite keeps whatever a row has that somebody else wrote; a position is sent as a whole number.
OUTSIDE_EVENTS = """
SELECT CAST(e.position AS INTEGER) AS position, e.recorded_at, e.event, e.data
FROM outside_events o JOIN events e ON e.run_id = '' AND e.position = o.position
"""
NAMES_OF_EVENTS = ("position", "recorded_at", "event", "data")
NEXT_EVENTS = f"""{OUTSIDE_EVENTS}
WHERE o.id > (SELECT events_cursor FROM targets WHERE target_id = :target) AND o.id <= :last
ORDER BY o.id
"""  # noqa: S608
LAST_OF_EVENTS = """
SELECT max(id) FROM (SELECT id FROM outside_events
  WHERE id > (SELECT events_cursor FROM targets WHERE target_id = :target) ORDER BY id LIMIT :limit)
"""
MOVE_EVENTS_CURSOR = "UPDATE targets SET events_cursor = :last WHERE target_id = :target"
# The number of the next request of a stage. A number that was used is never given again, because
# the key is made of it, and servers remember keys.
NEXT_PART = """
SELECT coalesce(max(part) + 1, 0) FROM requests
WHERE run_id = :run_id AND target_id = :target AND stage = :stage
"""
WAITING = """
SELECT stage, part, idempotency_key, state, positions, attempts, body, states
FROM requests WHERE run_id = :run_id AND target_id = :target AND state = 'waiting'
ORDER BY stage, part
"""
# The ids of runs are read as bytes where one that is not UTF-8 must not hold up the others.
LAST_TO_LOOK_AT = """
SELECT CAST(max(run_id) AS BLOB) FROM (SELECT run_id FROM deliveries
  WHERE target_id = :target AND run_id > CAST(:after AS TEXT) ORDER BY run_id LIMIT :limit)
"""
# What 0.2 left too early, up to that run. It called delivered what had more to follow: runs that
# were still running, events that came later, and runs with a request that was refused while another
# one failed. Of parked runs that the server knows, no trigger of 0.2 has told what they recorded
# later. Sent again, all of it is merged.
TOO_EARLY = """
SELECT CAST(run_id AS BLOB) FROM deliveries
WHERE target_id = :target AND run_id > CAST(:after AS TEXT) AND run_id <= CAST(:last AS TEXT) AND (
  state = 'parked' AND remote_run_id IS NOT NULL
  OR state = 'delivered' AND (
    EXISTS (SELECT 1 FROM runs r WHERE r.run_id = deliveries.run_id AND (r.status = 'running'
      OR r.status = 'interrupted' OR r.completed_at > deliveries.delivered_at))
    OR EXISTS (SELECT 1 FROM events e
      WHERE e.run_id = deliveries.run_id AND e.recorded_at > deliveries.delivered_at)
    OR EXISTS (SELECT 1 FROM requests q WHERE q.run_id = deliveries.run_id
      AND q.target_id = deliveries.target_id AND q.state = 'parked' AND q.stage <> 'bulk')))
"""
LOOK_AGAIN = """
UPDATE deliveries SET not_before = NULL, state = iif(
  (SELECT status FROM runs r WHERE r.run_id = deliveries.run_id) = 'running', 'open', 'pending')
WHERE target_id = ? AND run_id = CAST(? AS TEXT) AND (state = 'parked' OR state = 'delivered')
"""
# 0.2 counted a run each time that something of it was delivered.
LOOKED_AGAIN = """
UPDATE targets SET looked_again = 1, delivered = (
  SELECT count(*) FROM deliveries
  WHERE target_id = :target AND run_id <> '' AND delivered_at IS NOT NULL)
WHERE target_id = :target
"""
HAS_LOOKED_AGAIN = "SELECT looked_again FROM targets WHERE target_id = :target"
RELEASE = f"""
UPDATE deliveries AS d SET state = 'pending' WHERE target_id = ? AND {IS_SENDING}
"""  # noqa: S608
# Runs that have ended since, and those that have been open (and not sent) for long.
ENDED = f"""
SELECT CAST(d.run_id AS BLOB) FROM deliveries d
WHERE target_id = :target AND {IS_OPEN} AND EXISTS (
  SELECT 1 FROM runs r WHERE r.run_id = d.run_id AND (r.status <> 'running'
    OR (r.started_at < :long_ago AND (d.not_before IS NULL OR d.not_before <= :now))))
"""  # noqa: S608
REOPEN = """
UPDATE deliveries SET state = 'pending', not_before = NULL
WHERE target_id = ? AND run_id = CAST(? AS TEXT) AND state = 'open'
"""
# A run goes by single requests once it has one, or a line in a batch that was refused.
_GOES_BY_REQUESTS = """(EXISTS (SELECT 1 FROM requests q
    WHERE q.run_id = d.run_id AND q.target_id = d.target_id
      AND (q.stage <> 'bulk' OR q.state = 'parked'))
  OR EXISTS (SELECT 1 FROM json_each(iif(json_valid(d.receipts), d.receipts, '[]')) entry
    WHERE json_extract(entry.value, '$[0]') <> 'bulk'))"""
# A parent waits for the start of a child until it has failed so often.
_TRIES_OF_A_CHILD = 3
_IS_TO_START = f"""cd.remote_run_id IS NULL AND cd.failures < {_TRIES_OF_A_CHILD}
        AND (cd.state = 'pending' OR cd.state = 'sending')"""
# A child goes after its parent's start, whose answer names the workflow that the child belongs to;
# and the rest of the parent after the starts of its children, which it lists with the ids that the
# server gave them. Neither waits for one that the server does not take, and nobody for a parent
# that is younger: a row that somebody else wrote may name its own child as its parent.
DUE = f"""
SELECT d.run_id, d.remote_run_id, d.remote_workflow_id, d.failures, r.status = 'running',
  p.run_id IS NOT NULL, p.remote_workflow_id, o.remote_workflow_id,
  {_SIZE_OF_RUN} + {_SIZE_OF_RECORDS} AS size
FROM deliveries d JOIN runs r ON r.run_id = d.run_id
LEFT JOIN deliveries p ON p.target_id = d.target_id AND p.run_id = {run_of("r.parent_workflow_id")}
LEFT JOIN deliveries o ON o.target_id = d.target_id AND o.run_id = {run_of("r.root_workflow_id")}
WHERE d.target_id = :target AND {IS_PENDING}
  AND (d.not_before IS NULL OR d.not_before <= :now OR d.not_before > :horizon)
  AND (:fresh = 0 OR d.failures = 0)
  AND (:whole = 0 OR NOT {_GOES_BY_REQUESTS})
  AND (:begun = 0 OR {_GOES_BY_REQUESTS})
  AND d.run_id NOT IN (SELECT value FROM json_each(:but))
  AND (:whole OR (
    (p.run_id IS NULL OR p.remote_run_id IS NOT NULL OR p.state = 'parked'
      OR p.state = 'delivered' OR p.run_id >= d.run_id)
    AND (d.remote_run_id IS NULL OR NOT EXISTS (
      SELECT 1 FROM runs c JOIN deliveries cd
        ON cd.run_id = c.run_id AND cd.target_id = d.target_id
      WHERE c.parent_workflow_id = r.workflow_id AND {_IS_TO_START}))))
ORDER BY d.run_id LIMIT :limit
"""  # noqa: S608
# Of many runs that a server refuses, the older ones were tried before.
DUE_NEWEST = DUE.replace("ORDER BY d.run_id", "ORDER BY d.run_id DESC")
DUE_LEAST_FAILED = DUE.replace("ORDER BY d.run_id", "ORDER BY d.failures, d.run_id")
NEXT_DUE = f"""
SELECT min(not_before) FROM deliveries d
WHERE target_id = ? AND {IS_PENDING} AND not_before > ?
"""  # noqa: S608
CHILDREN_WAIT = f"""
SELECT count(*) FROM runs c JOIN deliveries cd ON cd.run_id = c.run_id AND cd.target_id = :target
WHERE c.parent_workflow_id = {workflow_of(":run_id")} AND {_IS_TO_START}
"""  # noqa: S608
CHILDREN_IDS = f"""
SELECT c.run_id, d.remote_run_id
FROM runs c JOIN deliveries d ON d.run_id = c.run_id AND d.target_id = :target
WHERE c.parent_workflow_id = {workflow_of(":run_id")} AND d.remote_run_id IS NOT NULL
"""  # noqa: S608
REFUSED = """
SELECT stage, reason FROM requests
WHERE run_id = :run_id AND target_id = :target AND state = 'parked' AND stage <> 'bulk'
ORDER BY stage = 'start' DESC, last_attempt_at DESC LIMIT 1
"""
SENDING = """
UPDATE deliveries SET state = 'sending'
WHERE target_id = ? AND run_id = ? AND state = 'pending'
"""
KNOWN = """
SELECT run_id, stage, part, idempotency_key, state, positions, attempts,
  iif(state = 'waiting', body, NULL) AS body, states
FROM requests WHERE run_id IN (SELECT value FROM json_each(:run_ids)) AND target_id = :target
ORDER BY run_id, stage, part
"""
# Not of a run that was deleted meanwhile: nothing would remove its requests any more.
FREEZE = """
INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state, positions, states,
  body, bytes)
SELECT run_id, target_id, ?, ?, ?, 'waiting', ?, ?, ?, ?
FROM deliveries WHERE run_id = ? AND target_id = ?
"""
NOTE_ATTEMPT = """
UPDATE requests SET state = ?, attempts = attempts + 1, status = ?, reason = ?,
  first_attempt_at = coalesce(first_attempt_at, ?), last_attempt_at = ?,
  body = iif(? , NULL, body)
WHERE run_id = ? AND target_id = ? AND stage = ? AND part = ?
"""
STARTED = """
UPDATE deliveries SET remote_run_id = ?, remote_workflow_id = ?, failures = 0
WHERE run_id = ? AND target_id = ?
"""
FORGIVE = """
UPDATE deliveries SET failures = 0, not_before = NULL, reason = NULL
WHERE run_id = ? AND target_id = ? AND (failures > 0 OR reason IS NOT NULL)
"""
POSTPONE = """
UPDATE deliveries SET state = 'pending', failures = failures + 1, not_before = ?, reason = ?
WHERE run_id = ? AND target_id = ?
"""
# Somebody asks for an attempt now. One failure is kept where there are any: it has one request go
# first and alone, and the spans grow anew from there.
FORGET_WAIT_OF_HOST = """
UPDATE targets SET failures = min(failures, 1), not_before = NULL, backoff_until = NULL
WHERE target_id = ?
"""
POSTPONED = f"""
SELECT CAST(d.run_id AS BLOB) FROM deliveries d
WHERE target_id = ? AND {IS_PENDING} AND not_before IS NOT NULL
"""  # noqa: S608
FORGET_WAIT = """
UPDATE deliveries SET failures = min(failures, 1), not_before = NULL, backoff_until = NULL
WHERE target_id = ? AND run_id = CAST(? AS TEXT) AND state = 'pending'
"""
DELIVER = """
UPDATE deliveries SET state = 'delivered', delivered_at = ?, not_before = NULL, reason = NULL
WHERE run_id = ? AND target_id = ? AND state = 'sending'
"""
SET_STATE = """
UPDATE deliveries SET state = ?, reason = ?, not_before = ?
WHERE run_id = ? AND target_id = ? AND state = 'sending'
"""
REPLACE_ALL = """
UPDATE requests SET state = 'replaced', body = NULL WHERE run_id = :run_id AND target_id = :target
"""
BEGIN_ANEW = """
UPDATE deliveries SET remote_run_id = NULL, remote_workflow_id = NULL
WHERE run_id = :run_id AND target_id = :target
"""
RECEIPT = f"""
INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state, positions, bytes,
  attempts, status, reason, first_attempt_at, last_attempt_at)
SELECT :run_id, :target, :stage, ({NEXT_PART}), :key, :state, '[]', :bytes,
  :sent_at IS NOT NULL, :status, :reason, :sent_at,
  iif(:sent_at IS NULL, NULL, :now)
FROM deliveries WHERE run_id = :run_id AND target_id = :target
"""  # noqa: S608
REPLACE_LINE = """
UPDATE requests SET state = 'replaced'
WHERE run_id = ? AND target_id = ? AND stage = 'bulk' AND state = 'parked'
"""
# Of a run in hand that was not delivered before: a late score does not make two of it.
COUNT = """
UPDATE targets SET delivered = delivered + 1 WHERE target_id = :target AND EXISTS (
  SELECT 1 FROM deliveries WHERE run_id = :run_id AND target_id = :target AND state = 'sending'
    AND delivered_at IS NULL)
"""
COUNT_SEVERAL = "UPDATE targets SET delivered = delivered + ? WHERE target_id = ?"
HOST_FAILED = """
UPDATE targets SET failures = ?, not_before = ?, backoff_until = ?, reason = ?,
  last_attempt_at = ? WHERE target_id = ?
"""
HOST_PAUSED = """
UPDATE targets SET paused_at = coalesce(paused_at, ?), not_before = ?, reason = ?,
  last_attempt_at = ? WHERE target_id = ?
"""
HOST_ANSWERED = """
UPDATE targets SET failures = 0, not_before = NULL, backoff_until = NULL, paused_at = NULL,
  reason = NULL, last_attempt_at = :now,
  last_success_at = iif(:accepted, :now, last_success_at) WHERE target_id = :target
"""
FAILURES = "SELECT failures FROM deliveries WHERE run_id = ? AND target_id = ?"
# Of one server `t`. Runs in hand are still pending to people. Events outside any run are never
# parked as a whole; refused ones count as one run.
COUNT_PENDING = f"""(SELECT count(*) FROM runs WHERE id > t.cursor)
  + (SELECT count(*) FROM deliveries d WHERE d.target_id = t.target_id AND {IS_PENDING})
  + (SELECT count(*) FROM deliveries d WHERE d.target_id = t.target_id AND {IS_SENDING})"""  # noqa: S608
COUNT_PARKED = f"""(SELECT count(*) FROM deliveries d
    WHERE d.target_id = t.target_id AND {IS_PARKED})
  + EXISTS (SELECT 1 FROM requests q
      WHERE q.target_id = t.target_id AND q.run_id = '' AND q.state = 'parked')"""  # noqa: S608
COUNTS = f"SELECT {COUNT_PENDING}, {COUNT_PARKED} FROM targets t WHERE t.target_id = :target"  # noqa: S608
