"""`waxlocal recover`: what can be read of a damaged file is saved, and recording never stops."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from pathlib import Path
from random import Random

import pytest

from tests.crash.files import assert_sound, count, rows, start_program, wrong_totals
from tests.tools.cli import invoke
from tests.tools.movable_clock import MovableClock
from tests.tools.patience import PATIENCE_S, killed_if_late
from tests.tools.sync import ask, change, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.errors import FileDamaged, FileLocked, FileMissing, NotADatabase
from waxlocal.maintenance.recovery import recover
from waxlocal.recording.damage import OPEN_AGAIN_S, Damage
from waxlocal.recording.recorder import configure, current_recorder
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import reader, writer

RUNS = 400
PAGE = 4096
RECORDED = ("runs", *(table.name for table in RECORD_TABLES))
UNSHARED = ["unshare", "--mount", "--map-root-user"]
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
    tables = (*RECORDED, "contents", "deliveries")
    pages = {table: _pages(damaged, table) for table in tables}
    spoiled = random.sample(sorted(chain.from_iterable(pages.values())), 4)
    _spoil(damaged, spoiled, random)
    with pytest.raises(FileDamaged), reader(damaged) as connection:
        _read_all(connection)
    done = recover(damaged)
    assert done.kept is not None
    assert 0 < done.unread <= len(spoiled)
    assert done.refused == 0
    for table in RECORDED:
        before = set(ask(whole, f"SELECT * FROM {table}"))
        after = set(ask(damaged, f"SELECT * FROM {table}"))
        added = {row for row in after - before if "(started elsewhere)" in row}
        assert after - before == added
        assert len(before - after) <= ROWS_OF_PAGE * len(set(pages[table]) & set(spoiled))
        assert done.rows[table] == len(after) - len(added)
    for table in ("contents", "deliveries"):
        lost = count(whole, table) - done.rows[table]
        assert lost <= ROWS_OF_PAGE * len(set(pages[table]) & set(spoiled))
    assert rows(damaged, "PRAGMA integrity_check") == ["ok"]
    assert wrong_totals(damaged) == []


@pytest.mark.parametrize("which", [(0, -1), (0, 0), (-1, -1), (0, 5)], ids=str)
def test_damage_at_the_ends_of_a_table_costs_no_more(damaged: Path, which: tuple[int, int]) -> None:
    """What lies between is read, though nothing says where it begins and ends."""
    pages = _pages(damaged, "runs")
    _spoil(damaged, [pages[number] for number in {*which}], Random(9))
    done = recover(damaged)
    assert done.rows["runs"] >= RUNS - ROWS_OF_PAGE * len({*which})
    assert done.unread == len({*which})


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(damaged: Path) -> None:
    """SQLite itself opens no file that is shorter than it says."""
    os.truncate(damaged, damaged.stat().st_size // PAGE * 99 // 100 * PAGE)
    assert recover(damaged).rows["runs"] > RUNS // 2
    assert rows(damaged, "PRAGMA integrity_check") == ["ok"]


@pytest.mark.parametrize(
    "change",
    ["run_id = CAST(x'ff' AS TEXT) WHERE run_id = :run", "step_name = CAST(x'ff' AS TEXT)"],
    ids=["key", "text"],
)
def test_text_that_is_not_utf_8_holds_up_nothing(damaged: Path, change: str) -> None:
    """It is saved with replacement characters, or passed over where it is a key."""
    ((run_id,),) = ask(damaged, "SELECT max(run_id) FROM runs")
    with closing(sqlite3.connect(damaged)) as connection:
        connection.execute(f"UPDATE steps SET {change}", {"run": run_id})
        connection.commit()
    _spoil(damaged, _pages(damaged, "steps")[1:2], Random(10))
    assert recover(damaged).rows["steps"] >= RUNS - ROWS_OF_PAGE - 2


def test_rows_that_no_file_can_have_are_counted(damaged: Path) -> None:
    """Damage may make any value; the others are saved."""
    _write_schema(damaged, "steps", "step_name   TEXT NOT NULL", "step_name   TEXT")
    change(damaged, "UPDATE steps SET step_name = NULL")
    _spoil(damaged, _pages(damaged, "scores")[:1], Random(11))
    done = recover(damaged)
    assert (done.rows["steps"], done.refused) == (0, RUNS)
    assert done.rows["runs"] == RUNS


def test_an_index_that_lacks_a_row_is_damage(damaged: Path) -> None:
    """Readers do not see it; whoever changes that row does."""
    _write_schema(damaged, "runs_by_session", "IS NOT NULL", "> 's50'")
    change(damaged, "REINDEX runs_by_session")
    _write_schema(damaged, "runs_by_session", "> 's50'", "IS NOT NULL")
    done = recover(damaged)
    assert (done.kept is not None, done.rows["runs"]) == (True, RUNS)
    assert_sound(damaged)


def _write_schema(path: Path, name: str, old: str, new: str) -> None:
    """Let the file say something else of a table or an index than it has."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        written = (
            "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = ? AND instr(sql, ?)"
        )
        assert connection.execute(written, (old, new, name, old)).rowcount == 1
        connection.commit()


def test_a_run_that_has_lost_its_delivery_is_sent_again(damaged: Path) -> None:
    """And one that gets the id of a lost one is sent, too; the hub has each once."""
    _spoil(damaged, [*_pages(damaged, "deliveries"), _pages(damaged, "runs")[-1]], Random(12))
    recover(damaged)
    configure(db=damaged)
    for number in range(30):
        _record(number)
    current_recorder().close()
    configure()
    hub = damaged.with_name("hub.db")
    with serving(hub) as client:
        change(damaged, "UPDATE targets SET url = ?", url_of(client))
        upload(damaged, url_of(client))
    assert count(hub, "runs") == count(damaged, "runs")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_the_new_file_has_the_mode_of_the_damaged_one(damaged: Path, mode: int) -> None:
    """Its copy has it, too."""
    damaged.chmod(mode)
    _spoil(damaged, _pages(damaged, "steps")[:1], Random(13))
    before = os.umask(0)
    try:
        kept = recover(damaged).kept
    finally:
        os.umask(before)
    assert kept is not None
    assert [stat.S_IMODE(one.stat().st_mode) for one in (damaged, kept)] == [mode, mode]


def test_what_a_killed_recovery_has_left_is_not_taken_for_ours(whole: Path, damaged: Path) -> None:
    """The second time everything is read again; and no earlier copy is written over."""
    _spoil(damaged, _pages(damaged, "steps")[:1], Random(14))
    beside = Path(f"{damaged}.recovering")
    shutil.copy(whole, beside)
    change(beside, "UPDATE runs SET agent_name = 'ghost'")
    clock = MovableClock(1_769_851_800_000_000_000)
    first = recover(damaged, clock=clock).kept
    assert rows(damaged, "SELECT count(*) FROM runs WHERE agent_name = 'ghost'") == [0]
    _spoil(damaged, _pages(damaged, "steps")[:1], Random(15))
    second = recover(damaged, clock=clock).kept
    assert first is not None
    assert second == Path(f"{first}.2")
    assert not beside.exists()


FULL = """
mount -t tmpfs -o size={size} none {there} && cp {file} {there}/waxlocal.db
{python} -m waxlocal --db {there}/waxlocal.db recover; echo "status $?"; ls {there}
"""


@pytest.mark.parametrize("copies", [1.5, 2.3], ids=["no copy", "no new file"])
def test_a_disk_without_room_leaves_all_as_it_was(
    damaged: Path, tmp_path: Path, copies: float
) -> None:
    """What to do is said, and nothing else lies there."""
    if not shutil.which("unshare") or subprocess.run([*UNSHARED, "true"], check=False).returncode:
        pytest.skip("this user may not mount")
    _spoil(damaged, _pages(damaged, "steps")[:1], Random(16))
    there = tmp_path / "disk"
    there.mkdir()
    size = int(damaged.stat().st_size * copies)
    script = FULL.format(size=size, there=there, file=damaged, python=sys.executable)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*UNSHARED, "sh", "-c", script], env=environ, capture_output=True, text=True, check=False
    )
    assert "free as much as the file takes twice" in done.stderr
    assert done.stdout.startswith("status 6\nwaxlocal.db\n")
    assert not {"damaged", "recovering"} & set(re.split(r"[.\-\n]", done.stdout))


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
    with pytest.raises(NotADatabase, match="does not begin as a database") as caught:
        recover(damaged)
    assert caught.value.hint.endswith(f": mv {damaged} {damaged}.damaged")
    assert damaged.read_bytes() == before


def test_what_is_no_file_is_not_to_be_moved_away(tmp_path: Path) -> None:
    """A directory or a device holds no recordings, and others need it."""
    for path in (tmp_path, Path(os.devnull)):
        refused = invoke("recover", db=path)
        assert refused.exit_code == NotADatabase.exit_code
        assert "is a directory" in refused.stderr or "not a plain file" in refused.stderr
        assert "mv " not in refused.stderr


def test_a_file_that_is_not_there_is_to_be_named(tmp_path: Path) -> None:
    """The damaged file has another name, and to record a run would not help."""
    refused = invoke("recover", db=tmp_path / "typed-wrong.db")
    assert refused.exit_code == FileMissing.exit_code
    assert "recover" in refused.stderr.splitlines()[-1]


HOLDS = """
import os, sqlite3, sys
held = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
held.execute("SELECT count(*) FROM scores").fetchall()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_damaged_file_that_somebody_uses_is_left_alone(damaged: Path) -> None:
    """The other would go on with a file that is no longer there; no copy of it stays."""
    _spoil(damaged, _pages(damaged, "steps")[:1], Random(5))
    with start_program(damaged, HOLDS) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for _ in range(2):
            with pytest.raises(FileLocked, match="locked") as caught:
                recover(damaged)
        assert "stop the programs" in caught.value.hint
        assert not list(damaged.parent.glob("*.damaged-*"))
        other.communicate("")
    assert recover(damaged).kept is not None


def test_where_the_tables_are_lost_a_new_file_begins(damaged: Path) -> None:
    """Nothing could be read: the damaged file is kept, and another tool is named."""
    _spoil(damaged, [page for page in _all_pages(damaged) if page > 1], Random(6))
    done = invoke("recover", db=damaged)
    assert done.exit_code == 4
    assert "recovered 0 runs" in done.stdout
    assert "no run could be read" in done.stderr
    assert ".recover" in done.stderr
    assert count(damaged, "runs") == 0


def _all_pages(path: Path) -> list[int]:
    return list(range(1, path.stat().st_size // PAGE + 1))


# -- recording goes on -----------------------------------------------------------------------------


class _Lines:
    """What a program that records has written, line by line."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self.program = program
        self.written: list[str] = []

    def next(self) -> str:
        """Return the id of the next run; the program is killed if none comes."""
        assert self.program.stdout is not None
        with killed_if_late(self.program):
            line = self.program.stdout.readline().strip()
        assert line, "the program records no more"
        self.written.append(line)
        return line

    def until(self, is_so: Callable[[], bool]) -> None:
        """Read on until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline
            self.next()

    def end(self) -> str:
        """Interrupt the program; return what it said on stderr."""
        self.program.send_signal(signal.SIGINT)
        assert self.program.stdout is not None
        assert self.program.stderr is not None
        with self.program:
            # Not `communicate`, which knows nothing of the part of a line that was read already.
            self.written += self.program.stdout.read().split()
            return self.program.stderr.read()


def _spoil_index(path: Path) -> None:
    """Spoil what each new run meets, and nothing else."""
    _spoil(path, _pages(path, "runs_by_session", "sqlite_autoindex_runs_1"), Random(7))


@pytest.mark.parametrize("how", ["runs", "cut off"])
def test_what_is_recorded_meanwhile_goes_beside_and_then_into_the_file(
    damaged: Path, how: str
) -> None:
    """Nothing that a call returned for is lost, once the damage was met."""
    if how == "runs":
        _spoil_index(damaged)
    lines = _Lines(start_program(damaged, RECORDS))
    lines.next()
    if how == "cut off":
        os.truncate(damaged, 0)
    beside = damaged.with_name("waxlocal.db.side-3")
    lines.until(beside.exists)
    noticed = len(lines.written)
    for _ in range(50):
        lines.next()
    said = lines.end()
    assert f"waxlocal --db {damaged} recover" in said
    assert "lost" not in said
    invoke("recover", db=damaged)
    assert not beside.exists()
    there = set(rows(damaged, "SELECT run_id FROM runs"))
    assert not set(lines.written[noticed if how == "cut off" else 0 :]) - there
    assert_sound(damaged)


@pytest.mark.parametrize("how", ["recovered", "restored"])
def test_a_program_that_goes_on_takes_to_the_sound_file(
    damaged: Path, whole: Path, how: str
) -> None:
    """Within a second, without a restart."""
    _spoil_index(damaged)
    lines = _Lines(start_program(damaged, RECORDS))
    for _ in range(20):
        lines.next()
    if how == "recovered":
        invoke("recover", db=damaged)
    else:
        shutil.copy(whole, damaged.with_name("copy.db"))
        damaged.with_name("copy.db").replace(damaged)
    newest = "SELECT 1 FROM runs WHERE run_id = ?"
    lines.until(lambda: bool(rows(damaged, newest, (lines.written[-1],))))
    lines.end()
    invoke("sessions", db=damaged)
    assert not set(lines.written) - set(rows(damaged, "SELECT run_id FROM runs"))
    assert_sound(damaged)


AT_ONCE = "import waxlocal.recording.damage as it; it.OPEN_AGAIN_S = 0.0\n"


def test_a_file_that_could_not_be_opened_is_tried_again_once_it_has_changed(
    damaged: Path, whole: Path
) -> None:
    """Also where the same file has other contents; what went beside it is taken in."""
    damaged.write_text("no database")
    lines = _Lines(start_program(damaged, AT_ONCE + RECORDS))
    for _ in range(20):
        lines.next()
    damaged.write_bytes(whole.read_bytes())
    newest = "SELECT 1 FROM runs WHERE run_id = ?"
    lines.until(lambda: bool(rows(damaged, newest, (lines.written[-1],))))
    lines.end()
    invoke("sessions", db=damaged)
    assert not set(lines.written) - set(rows(damaged, "SELECT run_id FROM runs"))


def test_a_file_that_changes_stays_closed_for_a_while(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may still write to it; then it is tried again. Another file is opened at once."""
    now = [100.0]
    monkeypatch.setattr("waxlocal.recording.damage.monotonic", lambda: now[0])
    damage = Damage(damaged)
    assert not damage.is_noted
    assert not damage.stays
    damage.note()
    assert damage.stays
    os.utime(damaged, (1, 1))
    assert damage.stays
    now[0] += OPEN_AGAIN_S + 1
    assert not damage.stays
    damage.note()
    shutil.copy(damaged, damaged.with_name("copy.db"))
    damaged.with_name("copy.db").replace(damaged)
    assert not damage.stays


def test_a_file_that_is_gone_is_made_anew_from_what_was_recorded_beside_it(damaged: Path) -> None:
    """As it is where its beginning was lost, and the person has put it away."""
    _spoil_index(damaged)
    lines = _Lines(start_program(damaged, RECORDS))
    lines.until(damaged.with_name("waxlocal.db.side-3").exists)
    lines.end()
    damaged.unlink()
    for ending in ("-wal", "-shm"):
        damaged.with_name(f"{damaged.name}{ending}").unlink(missing_ok=True)
    asked = invoke("sessions", db=damaged)
    assert asked.exit_code == 5
    assert f"Try: waxlocal --db {damaged} recover" in asked.stderr
    assert "what was recorded beside the file is in it now" in invoke("recover", db=damaged).stdout
    assert set(lines.written) <= set(rows(damaged, "SELECT run_id FROM runs"))
    assert_sound(damaged)


def test_what_was_recorded_beside_a_file_that_is_gone_may_be_damaged_itself(
    damaged: Path,
) -> None:
    """Then no empty file is made, and what to do is said."""
    beside = damaged.with_name("waxlocal.db.side-3")
    _spoil_index(damaged)
    lines = _Lines(start_program(damaged, RECORDS))
    lines.until(beside.exists)
    lines.end()
    for ending in ("", "-wal", "-shm"):
        damaged.with_name(f"{damaged.name}{ending}").unlink(missing_ok=True)
    with closing(sqlite3.connect(beside)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    _spoil_index(beside)
    refused = invoke("recover", db=damaged)
    assert refused.exit_code == 4
    assert f"waxlocal --db {beside} recover && mv {beside} {damaged}" in refused.stderr
    assert not damaged.exists()
    assert invoke("recover", db=beside).exit_code == 0
    beside.rename(damaged)
    assert set(lines.written) <= set(rows(damaged, "SELECT run_id FROM runs"))
