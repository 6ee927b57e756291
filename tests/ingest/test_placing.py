"""Where a record goes whose position is taken, and how one is known that another file has moved."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import Builder, moment
from waxlocal.ingest.placing import STRIDE, place
from waxlocal.records import LLM_CALLS
from waxlocal.storage.connection import open_writer

SHOWN = "SELECT position, tokens_in, revision FROM llm_calls ORDER BY position"


def call(position: int, tokens: int, revision: int = 0) -> dict[str, Any]:
    """Return a call at one moment, of one model: all of them have the same name."""
    row = {column.name: column.default for column in LLM_CALLS.columns}
    row |= {"recorded_at": moment(1), "model": "m", "tokens_in": tokens, "tokens_out": 0}
    return row | {"position": position, "revision": revision or None}


def placed(path: Path, *rows: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Store calls of one run, one after another; return position, tokens and revision of each."""
    with closing(open_writer(path)) as connection:
        run = Builder(connection).run("s")
        for row in rows:
            place(connection, LLM_CALLS, run, [row])
        return [(at, tokens, revision or 0) for at, tokens, revision in connection.execute(SHOWN)]


def test_a_record_whose_position_is_taken_gets_the_next_place_each_time(db_path: Path) -> None:
    """So it is found there when it comes again."""
    rows = [call(1, 5), call(1, 7), call(1, 7), call(1, 9), call(1, 7)]
    assert placed(db_path, *rows) == [(1, 5, 0), (1 + STRIDE, 7, 0), (1 + 2 * STRIDE, 9, 0)]


@pytest.mark.parametrize("strides", [1, 2, 63])
def test_a_record_that_was_moved_elsewhere_is_known_in_its_first_place(
    db_path: Path, strides: int
) -> None:
    """It has come by another way, too."""
    moved = call(1 + strides * STRIDE, 5)
    assert placed(db_path, call(1, 5), moved, moved) == [(1, 5, 0)]
    newer = placed(db_path.with_name("b.db"), call(1, 5), moved | {"revision": 2})
    assert newer == [(1, 5, 2)]


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 1), (2, 3)])
def test_another_record_of_that_name_is_not_taken_for_a_moved_one(
    db_path: Path, first: int, second: int
) -> None:
    """Two calls may have one moment and model; neither takes the place of the other."""
    rows = [call(1, 5, first), call(1 + STRIDE, 777, second)]
    assert placed(db_path, *rows) == [(1, 5, first), (1 + STRIDE, 777, second)]


def test_a_moved_record_that_is_nowhere_keeps_its_place(db_path: Path) -> None:
    """Where those in front of it are free as well."""
    assert placed(db_path, call(1 + 2 * STRIDE, 5)) == [(1 + 2 * STRIDE, 5, 0)]


def test_a_position_that_is_a_time_is_none_of_a_moved_record(db_path: Path) -> None:
    """It is far above, and looked for only there."""
    at = 1_769_851_800_000_000_000
    assert placed(db_path, call(at % STRIDE, 5), call(at, 5)) == [(at % STRIDE, 5, 0), (at, 5, 0)]
