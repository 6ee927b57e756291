"""`waxlocal recover`: what can be read of a damaged file is saved, and recording never stops."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.crash.files import assert_sound, count, rows, start_program
from tests.tools.cli import answer, invoke
from tests.tools.sync import ask, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.errors import FileDamaged, FileLocked, NotADatabase
from waxlocal.maintenance.recovery import recover
from waxlocal.recording.recorder import configure, current_recorder
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import reader, writer

RUNS = 400
PAGE = 4096
RECORDED = ("runs", *(table.name for table in RECORD_TABLES))
# A damaged page holds so many rows at most, of rows as large as these.
ROWS_OF_PAGE = 40
# Records until it is killed, and says which runs are written.
RECORDS = """
import sys, time
from waxlocal import WaxellContext
while True:
    with WaxellContext("chatbot", session_id="s") as run:
        run.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1)
    print(run.run_id, flush=True)
    time.sleep(0.002)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with sessions, sub-agents, messages and records of all kinds, half delivered."""
    path = tmp_path_factory.mktemp("whole") / "waxlocal.db"
    configure(db=path)
    with serving(path.with_name("hub.db")) as client:
        for number in range(RUNS):
            if number == RUNS // 2:
                upload(path, url_of(client), bulk=False)
            _record(number)
    current_recorder().close()
    configure()
    with writer(path) as connection:
        connection.execute("UPDATE targets SET url = 'https://hub.example'")
    return path


def _record(number: int) -> None:
    said = [{"role": "user", "content": f"What became of order {n}?"} for n in range(number % 7)]
    session, inputs = f"s{number // 4}", {"messages": said}
    with WaxellContext("planner", session_id=session, user_id="alice", inputs=inputs) as run:
        run.record_llm_call(
            model="gpt-4o", tokens_in=9, tokens_out=3, cost=0.01, full_messages=said
        )
        run.record_step("think", {"n": number})
        run.record_tool_call(name="look_up", input={"order": number}, output={"found": True})
        run.record_score("quality", 0.5)
        run.record_policy_check(policy_name="limits", action="allow")
        run.set_result({"answer": f"order {number} is on its way " * 5})


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """Give a copy to be damaged."""
    return Path(shutil.copy(whole, tmp_path / "waxlocal.db"))


def _spoil(path: Path, pages: list[int], random: Random) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(random.randbytes(PAGE))


def _pages(path: Path, *tables: str) -> list[int]:
    marks = ", ".join("?" * len(tables))
    leaves = f"SELECT pageno FROM dbstat WHERE name IN ({marks}) AND pagetype = 'leaf'"
    return [page for (page,) in ask(path, leaves, *tables)]


def _read_all(connection: sqlite3.Connection) -> None:
    for table in (*RECORDED, "contents", "deliveries"):
        connection.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.parametrize("seed", range(6))
def test_what_is_on_other_pages_is_saved(whole: Path, damaged: Path, seed: int) -> None:
    """Each row as it was; the totals of sessions fit what is left of them."""
    random = Random(seed)
    spoiled = random.sample(_pages(damaged, *RECORDED, "contents", "deliveries"), 4)
    _spoil(damaged, spoiled, random)
    with pytest.raises(FileDamaged), reader(damaged) as connection:
        _read_all(connection)
    done = recover(damaged)
    assert done.unread
    assert done.kept is not None
    for table in RECORDED:
        before = set(ask(whole, f"SELECT * FROM {table}"))
        after = set(ask(damaged, f"SELECT * FROM {table}"))
        elsewhere = {row for row in after - before if "(started elsewhere)" in row}
        assert after - before == elsewhere
        assert len(before - after) <= ROWS_OF_PAGE * len(spoiled)
        assert done.rows[table] == len(after) - len(elsewhere)
    assert rows(damaged, "PRAGMA integrity_check") == ["ok"]
    if not any(page in spoiled for page in _pages(whole, "contents")):
        assert_sound(damaged)


def test_a_damaged_index_costs_nothing(whole: Path, damaged: Path) -> None:
    """All is read from the tables, also how far the upload was."""
    indexes = ask(damaged, "SELECT name FROM sqlite_schema WHERE type = 'index'")
    _spoil(damaged, _pages(damaged, *(name for (name,) in indexes)), Random(1))
    recover(damaged)
    for table in (*RECORDED, "session_users", "deliveries", "requests", "contents", "targets"):
        named = f"SELECT * FROM {table} ORDER BY 1, 2"
        assert ask(damaged, named) == ask(whole, named)
    assert_sound(damaged)


def test_a_sound_file_stays_as_it_is(damaged: Path) -> None:
    """Byte for byte, and nothing is put beside it."""
    before = damaged.read_bytes()
    assert recover(damaged).kept is None
    assert damaged.read_bytes() == before
    assert not list(damaged.parent.glob("*.damaged-*"))
    assert "is sound" in invoke("recover", db=damaged).stdout


def test_the_damaged_file_is_kept_with_its_log(whole: Path, damaged: Path) -> None:
    """As they were; a person, or another tool, may look once more."""
    with closing(sqlite3.connect(damaged, isolation_level=None)) as held:
        held.execute("PRAGMA journal_mode = WAL")
        held.execute("UPDATE runs SET user_group = 'g' WHERE id = 1")
        copies = [shutil.copy(f"{damaged}{end}", f"{damaged}{end}.copy") for end in ("", "-wal")]
    for copy in copies:
        os.replace(copy, copy.removesuffix(".copy"))
    _spoil(damaged, _pages(whole, "steps")[:1], Random(2))
    before = [Path(f"{damaged}{end}").read_bytes() for end in ("", "-wal")]
    kept = recover(damaged).kept
    assert [Path(f"{kept}{end}").read_bytes() for end in ("", "-wal")] == before
    assert ask(damaged, "SELECT user_group FROM runs WHERE id = 1") == [("g",)]


def test_a_log_of_another_file_is_put_away(whole: Path, damaged: Path) -> None:
    """As where a copy was put in place of a file whose programs had been killed."""
    with closing(sqlite3.connect(damaged, isolation_level=None)) as held:
        held.execute("PRAGMA journal_mode = WAL")
        held.execute("CREATE TABLE more AS SELECT randomblob(90000) AS x")
        held.execute("DROP TABLE more")
        held.execute("CREATE TABLE more AS SELECT n.id FROM runs n")
        log = shutil.copy(f"{damaged}-wal", f"{damaged}.old")
    shutil.copy(whole, damaged)
    with closing(sqlite3.connect(damaged, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("DELETE FROM steps")
        other.execute("VACUUM")
        other.execute("PRAGMA journal_mode = WAL")
    os.replace(log, f"{damaged}-wal")
    done = recover(damaged)
    assert done.log
    assert ask(damaged, "SELECT count(*) FROM runs") == [(RUNS,)]
    assert_sound(damaged)


def test_a_file_without_its_beginning_is_left_alone(damaged: Path) -> None:
    """Nothing can be read of it; what to do is said."""
    _spoil(damaged, [1], Random(4))
    before = damaged.read_bytes()
    with pytest.raises(NotADatabase, match="lost its beginning") as caught:
        recover(damaged)
    assert "mv " in caught.value.hint
    assert damaged.read_bytes() == before


def test_a_damaged_file_that_somebody_uses_is_left_alone(damaged: Path) -> None:
    """The other would go on with a file that is no longer there."""
    _spoil(damaged, _pages(damaged, "steps")[:1], Random(5))
    with closing(sqlite3.connect(damaged, isolation_level=None)) as held:
        held.execute("SELECT count(*) FROM runs").fetchall()
        with pytest.raises(FileLocked):
            recover(damaged)
    assert recover(damaged).kept is not None


def test_where_the_tables_are_lost_a_new_file_begins(damaged: Path) -> None:
    """Nothing could be read: the damaged file is kept, and another tool is named."""
    _spoil(damaged, [page for page in _all_pages(damaged) if page > 1], Random(6))
    done = invoke("recover", db=damaged)
    assert done.exit_code == 0
    assert "recovered 0 runs" in done.stdout
    assert ".recover" in done.stderr
    assert count(damaged, "runs") == 0


def _all_pages(path: Path) -> list[int]:
    return list(range(1, path.stat().st_size // PAGE + 1))


# -- recording goes on -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["runs", "cut off"])
def test_what_is_recorded_meanwhile_goes_beside_and_then_into_the_file(
    damaged: Path, how: str
) -> None:
    """Nothing that a call returned for is lost, once the damage was met."""
    if how == "runs":  # each new run meets it
        _spoil(damaged, _pages(damaged, "runs_by_session", "sqlite_autoindex_runs_1"), Random(7))
    program = start_program(damaged, RECORDS)
    assert program.stdout is not None
    written = [program.stdout.readline().strip()]
    if how == "cut off":
        os.truncate(damaged, 0)
    while not (beside := damaged.with_name("waxlocal.db.side-3")).exists():
        written.append(program.stdout.readline().strip())
    noticed = len(written)
    while not rows(beside, "SELECT 1 FROM sqlite_schema WHERE name = 'runs'"):
        written.append(program.stdout.readline().strip())
    written += [program.stdout.readline().strip() for _ in range(50)]
    program.send_signal(signal.SIGINT)
    more, said = program.communicate()
    written += more.split()
    assert "waxlocal recover" in said
    assert "lost" not in said
    answer("recover", db=damaged)
    assert not beside.exists()
    there = set(rows(damaged, "SELECT run_id FROM runs"))
    assert not set(written[noticed:]) - there
    if how == "runs":
        assert not set(written) - there
    assert_sound(damaged)


def test_a_program_that_goes_on_takes_to_the_recovered_file(damaged: Path) -> None:
    """Within a second, without a restart."""
    _spoil(damaged, _pages(damaged, "runs_by_session", "sqlite_autoindex_runs_1"), Random(8))
    program = start_program(damaged, RECORDS)
    assert program.stdout is not None
    for _ in range(20):
        program.stdout.readline()
    invoke("recover", db=damaged)
    newest = "SELECT count(*) FROM runs WHERE run_id = ?"
    while rows(damaged, newest, (program.stdout.readline().strip(),)) == [0]:
        pass
    program.send_signal(signal.SIGINT)
    more, _ = program.communicate()
    invoke("sessions", db=damaged)
    assert not set(more.split()) - set(rows(damaged, "SELECT run_id FROM runs"))
    assert_sound(damaged)
