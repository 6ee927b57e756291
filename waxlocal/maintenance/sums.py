"""Adds up the totals of what was recorded long ago: of models, sessions and users.

`schema.sql` says what they are, and its triggers keep them true afterwards.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import StorageError
from waxlocal.maintenance.durations import ARE_TO_PACK, FIRST, pack_next
from waxlocal.queries.columns import unmetered_calls
from waxlocal.queries.run_conditions import JSON_OBJECT, PAIR_VALUE
from waxlocal.queries.sums import can_have_sums
from waxlocal.queries.turns import TURN, turn_columns
from waxlocal.queries.user_parts import COLUMNS, user_parts
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import autocommit, checkpointer, reader
from waxlocal.storage.transaction import begin, commit, roll_back

__all__ = ["add_up"]

# Below this number, questions read the new runs themselves, in a few milliseconds.
ENOUGH = 1_000
# How long a piece may take, about: recorders wait for it.
PIECE_NS = 5_000_000
# Runs, or sessions, in a piece.
FIRST_IN_PIECE = 10
MOST_IN_PIECE = 1_000

_ARE_ENOUGH = f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM runs WHERE id > up_to LIMIT :enough)) >= :enough
  OR (SELECT count(*) FROM changed_sessions) - left_over >= :enough
  OR EXISTS ({ARE_TO_PACK})
FROM summary
"""  # noqa: S608

# -- the runs of a piece, and their calls

_UP_TO = "(SELECT up_to FROM summary)"
# Ids may have gaps.
_TO = f"(SELECT max(id) FROM (SELECT id FROM runs WHERE id > {_UP_TO} ORDER BY id LIMIT :most))"  # noqa: S608
_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM runs WHERE id > {_UP_TO} LIMIT :most)"  # noqa: S608
_RUNS = f"runs r WHERE r.id > {_UP_TO} AND r.id <= {_TO}"
_CALLS = f"""(SELECT run_id, agent_name, id >> 12 AS block FROM {_RUNS})
  CROSS JOIN call_figures ON call_run = run_id"""  # noqa: S608
_NOTE_ODD = f"""
INSERT INTO odd_calls (call_run, call_position)
SELECT call_run, call_position FROM {_CALLS} WHERE is_odd ON CONFLICT DO NOTHING
"""  # noqa: S608
_WIDEN = f"""
INSERT INTO call_blocks (block, first, last, stamp)
SELECT block, min(called_at), max(called_at), random() FROM {_CALLS} WHERE true GROUP BY block
ON CONFLICT (block) DO UPDATE SET
  first = min(first, excluded.first),
  last = max(last, excluded.last),
  stamp = excluded.stamp
"""  # noqa: S608
_ADD_CALLS = f"""
INSERT INTO sum_changes (block, hour, model, provider, agent, calls, errors, unmetered_calls,
  priced_calls, tokens_in, tokens_out, cached_tokens, priced_tokens, total_cost)
SELECT block, hour, model, provider, agent_name, count(*), sum(errors), sum(unmetered_calls),
  sum(priced_calls), sum(tokens_in), sum(tokens_out), sum(cached_tokens), sum(priced_tokens),
  sum(total_cost)
FROM {_CALLS} WHERE NOT is_odd GROUP BY block, hour, model, provider, agent_name
"""  # noqa: S608
_NOTE_OUTSIDE = f"""
INSERT INTO outside_runs (id) SELECT id FROM {_RUNS} AND session_id IS NULL ON CONFLICT DO NOTHING
"""  # noqa: S608
_NOTE_SESSIONS = f"""
INSERT INTO changed_sessions (session_id)
SELECT DISTINCT session_id FROM {_RUNS} AND session_id IS NOT NULL ON CONFLICT DO NOTHING
"""  # noqa: S608
_COME_TO = f"""
UPDATE summary SET newest = max(newest, (SELECT max(run_id) FROM {_RUNS})), up_to = {_TO}
WHERE {_TO} IS NOT NULL
"""  # noqa: S608
_ADD_RUNS = (
    _NOTE_ODD,
    _WIDEN,
    _ADD_CALLS,
    _NOTE_OUTSIDE,
    _NOTE_SESSIONS,
    _COME_TO,
)

# -- the sessions of a piece

# Deleted sessions are included: their totals are removed. Killed programs leave sessions that stay
# open. Each piece begins where the last one ended, so that it does not walk all of these again.
_CLOSED = """changed_sessions c LEFT JOIN sessions s USING (session_id)
  WHERE c.session_id >= (SELECT look_from FROM summary) AND coalesce(s.open_runs, 0) = 0
  ORDER BY c.session_id"""
_SESSIONS = f"(SELECT c.session_id FROM {_CLOSED} LIMIT :most)"  # noqa: S608
# After the last session it begins at the first one again.
_GO_ON = f"""
UPDATE summary SET look_from = coalesce((SELECT c.session_id FROM {_CLOSED} LIMIT 1), '')
"""  # noqa: S608
_ANY = f"SELECT EXISTS (SELECT 1 FROM {_CLOSED})"  # noqa: S608
_FORGET_SUMS = f"DELETE FROM session_sums WHERE session_id IN {_SESSIONS}"  # noqa: S608
_FORGET_USERS = f"DELETE FROM user_sums WHERE session_id IN {_SESSIONS}"  # noqa: S608
_ADD_SUMS = f"""
INSERT INTO session_sums (session_id, turns, failed, duration, cost, tokens, priced_tokens, calls,
  unmetered_calls, runs, elapsed, waiting)
SELECT s.session_id, {{turns.count}}, {{turns.failed}}, {{turns.duration}}, {{turns.cost}},
  s.total_tokens, s.priced_tokens, s.llm_calls, {{unmetered}}, s.run_count,
  {{turns.elapsed}}, max(0.0, {{turns.elapsed}} - {{turns.duration}})
FROM sessions s WHERE s.session_id IN {_SESSIONS}
"""  # noqa: S608
_NAMES = ", ".join(COLUMNS)
_ADD_USERS = f"""
INSERT INTO user_sums (user_id, session_id, {_NAMES})
{{parts.owned}} SELECT user_id, session_id, {_NAMES} FROM ({{parts.rows}})
"""  # noqa: S608
_FORGET_FACTS = f"DELETE FROM session_facts WHERE session_id IN {_SESSIONS}"  # noqa: S608
_ADD_FACTS = f"""
INSERT INTO session_facts (session_id, facts)
SELECT session_id, char(10) || group_concat(fact, char(10)) || char(10) FROM (
  SELECT r.session_id AS session_id, hex(pair.key) || '=' || hex({PAIR_VALUE}) AS fact
  FROM runs r CROSS JOIN json_each({JSON_OBJECT.format(column="r.tags")}) AS pair
  WHERE r.session_id IN {_SESSIONS} AND typeof(pair.key) = 'text'
  UNION
  SELECT r.session_id, '@' || hex(c.model)
  FROM runs r CROSS JOIN llm_calls c ON c.run_id = r.run_id
  WHERE r.session_id IN {_SESSIONS} AND typeof(c.model) = 'text'
  UNION
  SELECT r.session_id, '#' || hex(r.status) FROM runs r
  WHERE r.session_id IN {_SESSIONS} AND r.status <> 'success' AND r.status <> 'error' AND {TURN})
GROUP BY session_id
"""  # noqa: S608
_DONE = f"DELETE FROM changed_sessions WHERE session_id IN {_SESSIONS}"  # noqa: S608
_LEAVE = "UPDATE summary SET left_over = (SELECT count(*) FROM changed_sessions)"


def add_up(
    path: Path, seconds: float = math.inf, clock: Clock = SYSTEM_CLOCK, *, enough: int = ENOUGH
) -> int:
    """Bring the totals up to date once `enough` runs or sessions have come; return how many had.

    For about so many seconds, in pieces of some milliseconds, for which recorders wait. Safe while
    others record, and when it is killed: the next one goes on. Does nothing if this version may not
    write to the file, or while `count_turns` has work to do; raises nothing.
    """
    end_ns = clock.monotonic_ns() + seconds * 1e9
    with suppress(StorageError):
        with reader(path) as connection:
            begins = _may_begin(connection, enough)
        if begins:
            with autocommit(path) as connection, closing(checkpointer(path)) as log:
                pieces = _Pieces(connection, log, end_ns, clock)
                added = pieces.add(_add_runs) + pieces.add(_add_sessions)
                pieces.pack()
                return added
    return 0


def _may_begin(connection: sqlite3.Connection, enough: int) -> bool:
    if not can_have_sums(connection):
        return False
    row = connection.execute(_ARE_ENOUGH, {"enough": enough}).fetchone()
    return bool(row and row[0])


class _Pieces:
    """Adds pieces, until a moment."""

    def __init__(
        self, connection: sqlite3.Connection, log: Checkpointer, end_ns: float, clock: Clock
    ) -> None:
        self._connection = connection
        self._log = log
        self._end_ns = end_ns
        self._clock = clock

    def add(self, some: Callable[[sqlite3.Connection, int], int]) -> int:
        """Add pieces, each as large as fits by the time that the one before has taken."""
        count, most = 0, FIRST_IN_PIECE
        while self._clock.monotonic_ns() < self._end_ns:
            found, took_ns = self._piece(some, most)
            if not found:
                break
            count += found
            most = max(1, min(most * PIECE_NS // max(took_ns, 1), 2 * most, MOST_IN_PIECE))
        return count

    def pack(self) -> None:
        """Pack the durations of the blocks that lack them."""
        block: int | None = FIRST
        while self._clock.monotonic_ns() < self._end_ns and block is not None:
            block = pack_next(self._connection, block)
            self._log.look()

    def _piece(self, some: Callable[[sqlite3.Connection, int], int], most: int) -> tuple[int, int]:
        try:
            begin(self._connection)
            begun_ns = self._clock.monotonic_ns()
            found = some(self._connection, most)
            commit(self._connection)
            took_ns = self._clock.monotonic_ns() - begun_ns
        finally:
            roll_back(self._connection)
        self._log.look()
        return found, took_ns


def _add_runs(connection: sqlite3.Connection, most: int) -> int:
    """Add the calls of the next runs, and note their sessions; return how many runs."""
    count = connection.execute(_COUNT, {"most": most}).fetchone()[0]
    for statement in _ADD_RUNS:
        connection.execute(statement, {"most": most})
    return int(count)


def _add_sessions(connection: sqlite3.Connection, most: int) -> int:
    """Make the totals of the next sessions; return how many."""
    connection.execute(_GO_ON)
    if not connection.execute(_ANY).fetchone()[0]:
        connection.execute(_LEAVE)
        return 0
    figures = {"turns": turn_columns(connection), "unmetered": unmetered_calls(connection)}
    parts = user_parts(connection, among=_SESSIONS, by_session=True)
    statements = (
        _FORGET_SUMS,
        _FORGET_USERS,
        _FORGET_FACTS,
        _ADD_SUMS.format(**figures),
        _ADD_FACTS,
        _ADD_USERS.format(parts=parts),
    )
    for statement in statements:
        connection.execute(statement, {"most": most})
    return connection.execute(_DONE, {"most": most}).rowcount
