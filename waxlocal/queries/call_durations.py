"""How long the calls of a period took: packed by block, as `schema.sql` says, where they can be."""

from __future__ import annotations

import sqlite3
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing

from waxlocal.queries.call_blocks import IN_PERIOD, IS_INSIDE, IS_PACKED, Asked, to_read
from waxlocal.queries.ordered_values import PIECE, ListedValues

__all__ = ["DURATION", "HAS_DURATION", "call_durations", "packed", "unpacked"]

# Of a call. Another program may have written fractions, infinities or texts.
DURATION = "CAST(duration_ms AS INTEGER)"
HAS_DURATION = "(typeof(duration_ms) = 'integer' OR typeof(duration_ms) = 'real')"

_READ = f"""
SELECT model, provider, {DURATION} FROM {{calls}} WHERE {HAS_DURATION} AND {IN_PERIOD}
"""  # noqa: S608
_PACKED = f"""
SELECT model, provider, durations FROM call_blocks CROSS JOIN block_durations USING (block)
WHERE {IS_INSIDE} AND {IS_PACKED} AND (:agent IS NULL OR agent = :agent)
"""  # noqa: S608


def packed(durations: Iterable[int]) -> bytes:
    """Return whole milliseconds as `block_durations` holds them.

    Not compressed: that would save 0.6 % of a file, and half of the time to answer.
    """
    values = array("q", sorted(durations))
    # Least byte first, on any machine: the file may be read on another.
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def unpacked(blob: bytes) -> array[int]:
    """Return the milliseconds of `packed`."""
    values = array("q", blob)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def call_durations(conn: sqlite3.Connection, asked: Asked) -> dict[tuple[str, str], ListedValues]:
    """Return the durations of the calls in whole milliseconds, of each model and provider.

    Calls of unknown duration are left out. Call it as `call_sums`.
    """
    values = asked._asdict()
    calls, rest_is_packed = to_read(conn, asked, packed=True)
    found: defaultdict[tuple[str, str], ListedValues] = defaultdict(lambda: ListedValues((), "q"))
    # Some at a time, as there may be as many as calls: a list of them would take tens of MB.
    with closing(conn.execute(_READ.format(calls=calls), values)) as rows:
        while some := rows.fetchmany(PIECE):
            for model, provider, milliseconds in some:
                found[model, provider].extend((milliseconds,))
    if rest_is_packed:
        with closing(conn.execute(_PACKED, values)) as rows:
            for model, provider, blob in rows:
                found[model, provider].add(unpacked(blob))
    return found
