"""The durations of calls, packed by block."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.builders import Builder
from waxlocal.maintenance import durations
from waxlocal.maintenance.sums import add_up
from waxlocal.queries import list_models
from waxlocal.queries.call_durations import packed, unpacked
from waxlocal.storage.connection import autocommit, open_writer, reader

STATES = "SELECT block, packed IS stamp FROM call_blocks ORDER BY block"


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_durations_come_out_in_order(values: list[int]) -> None:
    """Whatever they are: another program may have written them."""
    assert list(unpacked(packed(values))) == sorted(values)


def fill(conn: sqlite3.Connection) -> None:
    """Record runs of three blocks: calls of 0, 1 and 2 ms, and one of 90 in each."""
    make = Builder(conn)
    for block in range(3):
        run = make.run("s", agent=f"a{block}")
        make.llm(run, duration_ms=block)
        make.llm(run, duration_ms=90)
        conn.execute("UPDATE runs SET id = ? WHERE run_id = ?", (block * 4096 + 9, run))


def p50_ms(path: Path, agent: str | None = None) -> int | None:
    """Return the median of the only model."""
    with reader(path) as conn:
        (model,) = list_models(conn, agent=agent)
    return model.p50_ms


def test_a_block_is_packed_once_it_is_full_and_again_after_a_change(db_path: Path) -> None:
    """Meanwhile its calls are read, and every answer is right."""
    with closing(open_writer(db_path)) as conn:
        fill(conn)
        add_up(db_path, enough=1)
        assert conn.execute(STATES).fetchall() == [(0, 1), (1, 1), (2, 0)]
        assert p50_ms(db_path) == 90
        conn.execute("UPDATE llm_calls SET duration_ms = 5 WHERE duration_ms = 90")
        assert conn.execute(STATES).fetchall() == [(0, 0), (1, 0), (2, 0)]
        assert p50_ms(db_path) == 5
        # Nothing has come since, but for the change.
        add_up(db_path)
        assert conn.execute(STATES).fetchall() == [(0, 1), (1, 1), (2, 0)]
    assert (p50_ms(db_path), p50_ms(db_path, "a1"), p50_ms(db_path, "a2")) == (5, 5, 5)


@pytest.mark.parametrize("made_anew", [False, True], ids=["changed", "made anew"])
def test_a_block_of_which_something_changes_while_it_is_packed_is_read(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, made_anew: bool
) -> None:
    """Nobody waits for the packing; all totals may be removed meanwhile, and made again."""

    def and_then(values: Iterable[int]) -> bytes:
        monkeypatch.setattr(durations, "packed", packed)
        with closing(open_writer(db_path)) as other:
            other.execute("UPDATE llm_calls SET duration_ms = 700 WHERE duration_ms = 90")
            if made_anew:
                other.execute("UPDATE runs SET id = 10 WHERE id = 9")
                add_up(db_path, enough=1)
                other.execute("UPDATE call_blocks SET packed = NULL")
        return packed(values)

    with closing(open_writer(db_path)) as conn:
        fill(conn)
        add_up(db_path, enough=1)
        conn.execute("UPDATE llm_calls SET duration_ms = 8 WHERE duration_ms = 0")
        monkeypatch.setattr(durations, "packed", and_then)
        with autocommit(db_path) as packing:
            assert durations.pack_next(packing, durations.FIRST) == 0
        assert conn.execute(STATES).fetchall() == [(0, 0), (1, 0), (2, 0)]
    assert p50_ms(db_path, "a0") == 700


def test_a_name_that_is_no_text_stops_no_packing(db_path: Path) -> None:
    """Another program may have written it."""
    with closing(open_writer(db_path)) as conn:
        fill(conn)
        conn.execute("UPDATE runs SET agent_name = CAST(x'67ff' AS TEXT) WHERE id = 9")
        add_up(db_path, enough=1)
        assert conn.execute(STATES).fetchall() == [(0, 1), (1, 1), (2, 0)]
        names = "SELECT hex(agent), model FROM block_durations ORDER BY block"
        assert conn.execute(names).fetchall() == [("67FF", "gpt-4o"), ("6131", "gpt-4o")]
    with reader(db_path) as found:
        assert sum(one.calls for one in list_models(found)) == 6
