"""Packs how long the calls of a block of runs took, once all its runs are added up."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from waxlocal.queries.call_blocks import IS_PACKED
from waxlocal.queries.call_durations import DURATION, HAS_DURATION, packed
from waxlocal.queries.snapshot import snapshot
from waxlocal.storage.transaction import begin, commit, roll_back

__all__ = ["TO_PACK", "pack_next"]

# The newest block changes with each run: it is read.
TO_PACK = f"""
SELECT block, changes FROM call_blocks
WHERE block < (SELECT up_to >> 12 FROM summary) AND NOT ({IS_PACKED}) ORDER BY block LIMIT 1
"""  # noqa: S608
_CALLS = f"""
SELECT c.model, c.provider, r.agent_name, {DURATION}
FROM runs r CROSS JOIN llm_calls c USING (run_id)
WHERE r.id BETWEEN :block << 12 AND (:block << 12) + 4095 AND {HAS_DURATION}
"""  # noqa: S608
_NOTE = """
UPDATE call_blocks SET packed = changes WHERE block = :block AND changes = :changes
"""
_FORGET = "DELETE FROM block_durations WHERE block = :block"
_KEEP = """
INSERT INTO block_durations (block, model, provider, agent, durations) VALUES (?, ?, ?, ?, ?)
"""


def pack_next(connection: sqlite3.Connection) -> bool:
    """Pack the durations of the next block that lacks them; return whether there was one.

    Recorders do not wait while they are read, and a block that is changed meanwhile stays as it is.
    """
    found: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    with snapshot(connection):
        row = connection.execute(TO_PACK).fetchone()
        if row is None:
            return False
        block = {"block": row[0], "changes": row[1]}
        for model, provider, agent, duration in connection.execute(_CALLS, block):
            found[model, provider, agent].append(duration)
    rows = [(row[0], *key, packed(durations)) for key, durations in found.items()]
    try:
        begin(connection)
        if connection.execute(_NOTE, block).rowcount:
            connection.execute(_FORGET, block)
            connection.executemany(_KEEP, rows)
        commit(connection)
    finally:
        roll_back(connection)
    return True
