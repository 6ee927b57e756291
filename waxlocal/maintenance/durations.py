"""Packs how long the calls of a block of runs took, once all its runs are added up."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from waxlocal.queries.call_blocks import IS_PACKED
from waxlocal.queries.call_durations import DURATION, HAS_DURATION, packed
from waxlocal.queries.snapshot import snapshot
from waxlocal.storage.transaction import begin, commit, roll_back

__all__ = ["ARE_TO_PACK", "FIRST", "pack_next"]

# Before all blocks.
FIRST = -(1 << 62)

# The newest block changes with each run: it is read.
ARE_TO_PACK = f"""
SELECT block, stamp FROM call_blocks
WHERE block < (SELECT up_to >> 12 FROM summary) AND NOT ({IS_PACKED})
"""  # noqa: S608
_NEXT = f"{ARE_TO_PACK} AND block > :after ORDER BY block LIMIT 1"
# As bytes: another program may have written names that are no UTF-8.
_CALLS = f"""
SELECT CAST(c.model AS BLOB), CAST(c.provider AS BLOB), CAST(r.agent_name AS BLOB), {DURATION}
FROM runs r CROSS JOIN llm_calls c USING (run_id)
WHERE r.id BETWEEN :block << 12 AND (:block << 12) + 4095 AND {HAS_DURATION}
"""  # noqa: S608
_NOTE = """
UPDATE call_blocks SET packed = stamp WHERE block = :block AND stamp = :stamp
"""
_FORGET = "DELETE FROM block_durations WHERE block = :block"
_KEEP = """
INSERT INTO block_durations (block, model, provider, agent, durations)
VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?)
"""


def pack_next(connection: sqlite3.Connection, after: int) -> int | None:
    """Pack the durations of the next block that lacks them; return the block, None after the last.

    Recorders do not wait while they are read, and a block that is changed meanwhile stays as it is.
    """
    found: defaultdict[tuple[bytes, bytes, bytes], list[int]] = defaultdict(list)
    with snapshot(connection):
        row = connection.execute(_NEXT, {"after": after}).fetchone()
        if row is None:
            return None
        block = {"block": row[0], "stamp": row[1]}
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
    return int(row[0])
