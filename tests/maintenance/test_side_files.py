"""A file that needs a later waxlocal: what is recorded goes beside it, and from there into it."""

from __future__ import annotations

import json
import logging
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.crash.files import assert_sound, count, rows, run_program, start_program
from tests.crash.harness import PROMISES, missing, read_acknowledged, start_worker
from tests.tools.alarms import handling, raising, strike_in
from tests.tools.cli import invoke
from tests.tools.file_versions import make_newer
from tests.tools.patience import PATIENCE_S
from tests.tools.time_limits import ERRORS
from waxlocal import WaxellContext
from waxlocal.capture.call_rows import row_of_call
from waxlocal.capture.calls import CapturedCalls
from waxlocal.capture.facts import CallFacts
from waxlocal.capture.pairing import Report
from waxlocal.errors import FileLocked, NewerSchema, NotADatabase
from waxlocal.maintenance import main_rows, side_files
from waxlocal.prices.lookup import Prices
from waxlocal.prices.table import set_price
from waxlocal.recording import statements
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.records import RECORD_TABLES, TABLES
from waxlocal.settings.config import Settings
from waxlocal.storage import schema, side_file
from waxlocal.storage.connection import open_writer
from waxlocal.storage.record_sql import Statement
from waxlocal.token_counts import TokenCounts
from waxlocal.web.db import Database

VERSION = schema.VERSION


def needs_later(path: Path) -> None:
    """Let the file say that this version must not write to it, nor read it."""
    make_newer(path, min_writer=99, min_reader=99)


def allows_this(path: Path) -> None:
    """Let the file say that this version may write to it: what is able to take in, now is."""
    make_newer(path, min_writer=VERSION, min_reader=VERSION)


@pytest.fixture
def main(db_path: Path) -> Path:
    """Return a file that needs a later waxlocal, with nothing in it."""
    open_writer(db_path).close()
    needs_later(db_path)
    return db_path


@pytest.fixture
def side(main: Path) -> Path:
    """Return where the side file will be."""
    return main.with_name(f"{main.name}.side-{VERSION}")


def record(number: int, **more: object) -> None:
    """Record a run with all kinds of records."""
    with WaxellContext(
        f"agent-{number % 3}", session_id=f"s{number % 4}", inputs={"n": number}
    ) as run:
        run.set_tag("number", str(number))
        run.record_llm_call(model="m", tokens_in=number, tokens_out=2, cost=0.5)
        span = run.enter_span("outer")
        run.record_tool_call(name="search", input={"q": "x"}, output={"hits": [number]})
        run.exit_span(span)
        run.record_step("think", {"n": number})
        run.record_score("quality", 0.25)
        run.record_policy_check(policy_name="budget", action="allow")
        run.set_metadata("kind", "test")
        run.set_result({"n": number, **more})


@pytest.fixture
def recording(main: Path) -> Iterator[Recorder]:
    """Let the SDK record into the file that needs a later waxlocal."""
    made = Recorder(Settings(db=main))
    before = use_recorder(made)
    yield made
    use_recorder(before)
    made.close()


def content(path: Path, columns_of: Path | None = None) -> dict[str, list[tuple[object, ...]]]:
    """Return all that travels of all rows, in order."""
    found = {}
    for table in TABLES:
        names = [c.name for c in table.columns if not c.local or c.name == "process_id"]
        found[table.name] = sorted(
            rows(path, f"SELECT {', '.join(names)}, 0 FROM {table.name}"), key=repr
        )
    return found


# -- recording beside the file --------------------------------------------------------------------


def test_what_is_recorded_goes_beside_the_file(
    main: Path, side: Path, recording: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost, the file stays as it was to the last byte, and one warning says so."""
    before = main.read_bytes()
    with caplog.at_level(logging.WARNING, "waxlocal"):
        for number in range(5):
            record(number)
        assert (recording.health().file, recording.health().in_memory) == (side, 0)
        recording.store.look_around(0)
        recording.close()
        record(5)
        recording.close()
    assert main.read_bytes() == before
    assert rows(side, "SELECT count(*), sum(status = 'success') FROM runs") == [(6, 6)]
    assert_sound(side)
    assert side.stat().st_mode & 0o777 == 0o600
    (said,) = [entry.getMessage() for entry in caplog.records]
    assert f"{main}: written by a later waxlocal" in said
    assert str(side) in said
    assert "pip install --upgrade waxlocal" in said


def _damaged(path: Path) -> None:
    path.write_text("damaged " * 1000)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")


def _without_log(path: Path) -> None:
    open_writer(path).close()


def _newer(path: Path) -> None:
    open_writer(path).close()
    needs_later(path)


def _without_identity(path: Path) -> None:
    main = path.with_name("other.db")
    opened, side = side_file.open_side_file(main, {})
    opened.execute("DELETE FROM side_file")
    opened.close()
    side.rename(path)


@pytest.mark.parametrize(
    "obstacle", [_damaged, _foreign, Path.mkdir, _without_log, _newer, _without_identity]
)
def test_what_is_no_side_file_is_left_alone_and_the_next_name_taken(
    main: Path, side: Path, recording: Recorder, obstacle: Callable[[Path], object]
) -> None:
    """Nothing waits in memory for a file that will never be right, and all of it is taken in."""
    obstacle(side)
    # Without SQLite's header: whoever looks whether it is sealed changes its journal mode.
    as_it_was = side.is_dir() or side.read_bytes()[100:]
    record(1)
    second = side.with_name(f"{side.name}.1")
    assert (recording.health().file, recording.health().in_memory) == (second, 0)
    run_program(main, "from waxlocal import WaxellContext as C\nwith C('a', session_id='s'): pass")
    recording.close()
    assert count(second, "runs") == 2
    assert str(second) in json.loads(invoke("path", "--json", db=main).stdout)["side_files"]
    assert (side.is_dir() or side.read_bytes()[100:]) == as_it_was
    allows_this(main)
    assert side_files.take_in_all(main)
    assert rows(main, "SELECT count(*), sum(status = 'success') FROM runs") == [(2, 2)]
    assert_sound(main)
    assert side.exists()
    assert not second.exists()


def test_where_no_name_is_free_the_reason_is_said(main: Path, side: Path) -> None:
    """The records stay in memory until one of the names can be used."""
    for ending in ("", ".1", ".2", ".3"):
        _damaged(side.with_name(f"{side.name}{ending}"))
    with pytest.raises(NotADatabase, match=re.escape(str(side))):
        side_file.open_side_file(main, {})


def test_processes_and_forks_share_the_side_file(main: Path, side: Path) -> None:
    """A side file is a file like any other: many processes, threads and children record into it."""
    code = """
        import os, threading
        from waxlocal import WaxellContext
        def record():
            for _ in range(10):
                with WaxellContext("agent", session_id="s") as run:
                    run.record_step("step")
        record()
        children = []
        for _ in range(3):
            if (child := os.fork()) == 0:
                record()
                os._exit(0)
            children.append(child)
        threads = [threading.Thread(target=record) for _ in range(3)]
        for one in threads: one.start()
        for one in threads: one.join()
        for child in children: os.waitpid(child, 0)
        """
    for _ in range(2):
        done = run_program(main, code)
        assert done.returncode == 0
        assert len([line for line in done.stderr.splitlines() if "later waxlocal" in line]) <= 4
    assert (count(side, "runs"), count(side, "steps")) == (140, 140)
    assert_sound(side)


def test_a_link_to_the_file_leads_to_the_same_side_file(
    main: Path, side: Path, tmp_path: Path
) -> None:
    """The side file is beside the file itself, so that whoever opens the file finds it."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(main)
    run_program(link, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    assert count(side, "runs") == 1
    assert sorted(link.parent.iterdir()) == [link]


def test_a_file_upgraded_while_it_is_recorded_into(db_path: Path, recorder: Recorder) -> None:
    """A new run looks once a second whether the file may still be written to."""
    record(1)
    needs_later(db_path)
    recorder.store.look_around(0)
    record(2)
    side = side_file.side_path(db_path)
    assert (count(db_path, "runs"), count(side, "runs")) == (1, 1)


FENCE = f"""
CREATE TRIGGER fence BEFORE INSERT ON steps WHEN NEW.kind <> 'of a later version'
BEGIN SELECT raise(ABORT, '{schema.FENCE}'); END
"""


def test_a_run_under_way_when_the_file_is_upgraded(db_path: Path, recorder: Recorder) -> None:
    """What a later version makes fail goes beside the file; the end of the run finds the run."""
    with WaxellContext("agent", session_id="s", metadata={"before": 1}) as run:
        run.record_llm_call(model="m", tokens_in=1, tokens_out=1, cost=1.0)
        span = run.enter_span("open")
        run.set_tag("before", "yes")
        run.flush_sync()
        with closing(sqlite3.connect(db_path)) as later:
            later.execute(FENCE)
            later.commit()
        needs_later(db_path)
        run.record_step("after")
        run.exit_span(span)
        run.set_tag("after", "yes")
        run.set_result({"answer": 42})
    side = side_file.side_path(db_path)
    assert rows(side, "SELECT step_name FROM steps") == ["after"]
    assert rows(db_path, "SELECT status FROM runs") == ["running"]
    with closing(sqlite3.connect(db_path)) as later:
        later.execute("DROP TRIGGER fence")
        later.commit()
    allows_this(db_path)
    recorder.close()
    assert side_files.take_in_all(db_path)
    (ended,) = rows(db_path, "SELECT status, duration > 0, metadata, tags, result FROM runs")
    assert ended[:2] == ("success", 1)
    assert [json.loads(text) for text in ended[2:]] == [
        {"before": 1},
        {"before": "yes", "after": "yes"},
        {"answer": 42},
    ]
    assert rows(db_path, "SELECT status, duration_ms >= 0 FROM spans") == [("ok", 1)]
    assert rows(db_path, "SELECT step_name FROM steps") == ["after"]
    assert_sound(db_path)
    assert not side.exists()


def test_a_captured_call_that_is_changed_beside_the_file_keeps_its_messages(
    db_path: Path, recorder: Recorder
) -> None:
    """Its contents are beside the file, too, and the keys of them mean nothing in the file."""
    asked = [{"role": "user", "content": "how deep?"}]
    facts = CallFacts(model="m", tokens=TokenCounts(5, 7), messages=asked)
    with WaxellContext("agent") as run:
        CapturedCalls.of(run).record(Report("openai", 0, 1, row_of_call(facts, 3, "openai")), [])
        needs_later(db_path)
        recorder.store.look_around(0)
        run.record_llm_call(model="m", tokens_in=5, tokens_out=7, task="judge")
    allows_this(db_path)
    recorder.close()
    assert side_files.take_in_all(db_path)
    assert rows(db_path, "SELECT task FROM llm_calls") == ["judge"]
    assert rows(db_path, "SELECT role, content FROM llm_call_messages") == [("user", "how deep?")]
    assert_sound(db_path)


def test_a_run_that_is_left_open_is_interrupted_in_the_file(db_path: Path) -> None:
    """The end that a program leaves to its exit arrives, too, and only while the run is open."""
    code = """
        import os, sqlite3
        from waxlocal import WaxellContext
        from waxlocal.recording.recorder import current_recorder
        WaxellContext("agent", session_id="s").__enter__()
        with sqlite3.connect(os.environ["WAXLOCAL_DB"]) as later:
            later.execute("UPDATE schema_version SET version = 99, min_writer = 99")
        current_recorder().store.look_around(0)
        """
    run_program(db_path, code)
    assert rows(db_path, "SELECT status FROM runs") == ["running"]
    allows_this(db_path)
    side_files.take_in_all(db_path)
    assert rows(db_path, "SELECT status, error_type FROM runs") == [("interrupted", "Interrupted")]
    assert_sound(db_path)


def test_where_nothing_can_be_written_the_loss_is_said(tmp_path: Path, main: Path) -> None:
    """Where no side file can be made, under any of its names, the program is told at exit."""
    for ending in ("", ".1", ".2", ".3"):
        main.with_name(f"{main.name}.side-{VERSION}{ending}").mkdir()
    done = run_program(main, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    assert done.returncode == 0
    assert "2 records were lost" in done.stderr


# -- taking in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_s", [main_rows.PIECE_S, 0.0], ids=["usual", "one by one"])
def test_all_of_it_is_taken_in(
    main: Path,
    side: Path,
    recording: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    piece_s: float,
) -> None:
    """Every row arrives with every value, totals included, and the side file is removed.

    However many transactions it takes: a row that was read after its change has no revision.
    """
    monkeypatch.setattr(main_rows, "PIECE_S", piece_s)
    for number in range(20):
        record(number)
    with WaxellContext("open") as run:
        run.record_step("step")
    recording.close()
    expected = content(side)
    assert len(expected["runs"]) == 21
    allows_this(main)
    with closing(open_writer(main)) as opened:
        assert side_files.take_in(opened, main)
    assert content(main) == expected
    assert_sound(main)
    assert [path.name for path in main.parent.iterdir() if "side" in path.name] == []
    assert rows(main, "SELECT * FROM side_files") == []


@pytest.mark.parametrize("then", ["record", "command", "serve"])
def test_who_opens_the_file_for_writing_takes_in(
    main: Path, side: Path, recording: Recorder, then: str
) -> None:
    """A recorder, bit by bit; a command before it reads; a server before it answers."""
    record(1)
    recording.close()
    allows_this(main)
    records = 0
    if then == "command":
        result = invoke("sessions", "--json", db=main)
        assert (result.exit_code, result.stderr) == (0, "")
        assert '"s1"' in result.stdout
    database = Database(main)
    # On a busy machine a little may be less than all of it.
    for _ in range(100):
        if then == "record":
            recording.store.look_around(0)
            record(2)
            records += 1
        elif then == "serve":
            database._keep_up()
        if not side.exists():
            break
    database.close()
    assert rows(main, "SELECT count(*) FROM runs") == [1 + records]
    assert not side.exists()


def test_a_recorder_may_be_writing_meanwhile(main: Path, side: Path, recording: Recorder) -> None:
    """The side file stays while it is open, what comes later follows, and nothing comes twice."""
    record(1)
    allows_this(main)
    for number in range(2, 5):
        assert side_files.take_in_all(main)
        assert not side_files.take_in_all(main)
        assert count(main, "runs") == number - 1
        assert side.exists()
        assert side_files.waiting(main) == []
        needs_later(main)
        record(number)
        allows_this(main)
        assert [waits.path for waits in side_files.waiting(main)] == [side]
    needs_later(main)
    recording.close()
    expected = content(side)
    allows_this(main)
    side_files.take_in_all(main)
    assert content(main) == expected
    assert_sound(main)
    assert not side.exists()


def test_an_open_run_goes_on_after_it_was_taken_in(
    main: Path, side: Path, recording: Recorder
) -> None:
    """Its records, the end of its spans and its own end arrive with the next time."""
    with WaxellContext("agent", session_id="s") as run:
        span = run.enter_span("open")
        run.set_result({"a": 1})
        run.flush_sync()
        allows_this(main)
        side_files.take_in_all(main)
        needs_later(main)
        assert rows(main, "SELECT status, result FROM runs") == [("running", '{"a":1}')]
        run.record_step("late")
        run.exit_span(span)
        run.set_result({"b": 2})
    expected = content(side)
    recording.close()
    allows_this(main)
    side_files.take_in_all(main)
    assert content(main) == expected
    assert rows(main, "SELECT open_runs FROM sessions") == [0]
    assert_sound(main)


def test_positions_that_are_taken(db_path: Path, recorder: Recorder) -> None:
    """A run that both files have records of keeps all of them, those of the side file behind."""
    with WaxellContext("agent", session_id="s") as run:
        run.record_step("1")
        run.record_step("2")
        run.flush_sync()
        needs_later(db_path)
        recorder.store.look_around(0)
        # As another process does that goes on with the run, and sees nothing of it.
        run._positions = iter(range(1, 10))
        outer = run.enter_span("3")
        inner = run.enter_span("4")
        allows_this(db_path)
        side_files.take_in_all(db_path)
        needs_later(db_path)
        run.exit_span(inner)
        run.exit_span(outer)
        run.record_step("5")
    recorder.close()
    allows_this(db_path)
    side_files.take_in_all(db_path)
    asked = "SELECT position, {} FROM {} ORDER BY position"
    assert rows(db_path, asked.format("step_name", "steps")) == [(1, "1"), (2, "2"), (5, "5")]
    assert rows(db_path, asked.format("name, parent_position, status", "spans")) == [
        (3, "3", None, "ok"),
        (4, "4", 3, "ok"),
    ]
    assert rows(db_path, "SELECT * FROM side_moves") == []
    assert_sound(db_path)


def test_calls_get_the_price_of_the_file(main: Path, recording: Recorder) -> None:
    """Prices are in the file, which the recorder could not read; unknown ones are noted."""
    allows_this(main)
    set_price(main, "mine", input_per_mtok=1.0, output_per_mtok=2.0)
    needs_later(main)
    with WaxellContext("agent", session_id="s") as run:
        run.record_llm_call(model="mine", tokens_in=1_000_000, tokens_out=0)
        run.record_llm_call(model="other", tokens_in=1, tokens_out=0)
    recording.close()
    allows_this(main)
    side_files.take_in_all(main)
    asked = "SELECT model, cost, cost_source FROM llm_calls ORDER BY position"
    assert rows(main, asked) == [("mine", 1.0, "price"), ("other", None, None)]
    assert rows(main, "SELECT source FROM model_prices WHERE model = 'other'") == ["pending"]
    assert_sound(main)


def test_a_deleted_run_does_not_come_back(main: Path, side: Path, recording: Recorder) -> None:
    """What was deleted in the file after it was taken in stays deleted."""
    record(1)
    allows_this(main)
    side_files.take_in_all(main)
    with closing(sqlite3.connect(main)) as conn:
        conn.execute("DELETE FROM runs")
        conn.commit()
    recording.close()
    side_files.take_in_all(main)
    assert count(main, "runs") == 0
    assert not side.exists()


def test_the_removal_may_be_cut_short(main: Path, side: Path, recording: Recorder) -> None:
    """A side file that is taken in and sealed is removed by whoever comes next."""
    for then in ("record", "take in"):
        needs_later(main)
        record(1)
        recording.close()
        allows_this(main)
        held, _ = side_file.open_side_file(main, {})
        assert side_files.take_in_all(main)
        held.close()
        # As if the process had been killed between sealing the file and removing it.
        sealed = {"min_writer": side_file.SEALED, "min_reader": side_file.SEALED}
        make_newer(side, version=VERSION, **sealed)
        if then == "record":
            needs_later(main)
            record(2)
            recording.close()
            assert count(side, "runs") == 1
            allows_this(main)
        side_files.take_in_all(main)
        assert not side.exists()
    assert count(main, "runs") == 3
    assert_sound(main)


def test_a_damaged_side_file_stops_nothing(main: Path, side: Path, recording: Recorder) -> None:
    """It stays where it is, and commands say that it holds something."""
    side.write_text("damaged " * 1000)
    allows_this(main)
    record(1)
    recording.close()
    result = invoke("sessions", "--json", db=main)
    assert result.exit_code == 0
    assert f"Note: {side} holds records that are not shown here:" in result.stderr
    assert side.read_text() == "damaged " * 1000


def test_commands_say_what_is_not_in_the_file(main: Path, side: Path, recording: Recorder) -> None:
    """As long as the file may be read, but not written: on stderr, with a way out."""
    record(1)
    recording.close()
    make_newer(main, min_writer=99, min_reader=VERSION)
    result = invoke("sessions", "--json", db=main)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == []
    changes = count(side, "side_changes")
    assert (
        f"Note: {side} holds records that are not shown here ({changes} changes)" in result.stderr
    )
    assert "Try: pip install --upgrade waxlocal" in result.stderr
    needs_later(main)
    result = invoke("sessions", db=main)
    assert result.exit_code == 4
    assert str(side) in result.stderr
    described = json.loads(invoke("path", "--json", db=main).stdout)
    assert described["side_files"] == [str(side)]
    assert invoke("sessions", "--json", db=side).exit_code == 0


def test_a_side_file_is_not_removed_while_it_is_open(main: Path, side: Path) -> None:
    """Whoever has opened it may record into it at any time."""
    opened, path = side_file.open_side_file(main, {})
    assert path == side
    with closing(opened), pytest.raises(FileLocked):
        side_file.remove(side, taken=10)
    assert side_file.remove(side, taken=10)
    assert side_file.remove(side, taken=10)


def test_who_has_opened_a_side_file_that_goes_finds_out(main: Path, side: Path) -> None:
    """Before it writes anything: the file that it has open is one that nobody will look into."""
    side_file.open_side_file(main, {})[0].close()
    with closing(sqlite3.connect(side)) as waiting:  # opened, but nothing read yet
        assert side_file.remove(side, taken=10)
        with pytest.raises(NewerSchema):
            schema.check(waiting, writing=True)


def test_a_side_file_that_goes_while_it_is_opened_is_opened_anew(main: Path, side: Path) -> None:
    """What is opened in the end is what stands at the path."""
    opened = []

    def open_(path: Path, **more: Any) -> sqlite3.Connection:
        opened.append(open_writer(path, **more))
        if len(opened) == 1:
            path.rename(path.with_name("taken away"))
        return opened[-1]

    last, _ = side_file.open_side_file(main, {}, open_=open_)
    with closing(last):
        last.execute(
            "INSERT INTO events (run_id, position, recorded_at, event) VALUES ('', 1, '', '')"
        )
    assert len(opened) == 2
    assert count(side, "events") == 1


# -- what a change of the schema must keep in mind ------------------------------------------------


def test_every_update_of_the_recorder_is_described() -> None:
    """A row that is in the main file alone gets its new values through `UPDATES`."""
    named = [getattr(statements, name) for name in statements.__all__]
    texts = [one.sql for one in named if isinstance(one, Statement)]
    updates = {text for text in texts if text.lstrip().startswith("UPDATE")}
    assert updates == set(statements.UPDATES)
    for sql, update in statements.UPDATES.items():
        assert sql.count("?") == len(update.columns)
        columns = {
            column.name
            for table in TABLES
            if table.name == update.table
            for column in table.columns
        }
        assert {*update.columns, *update.always} <= columns
        for value in update.always.values():
            assert f"'{value}'" in sql


def test_the_log_has_the_changes_of_every_table(main: Path, side: Path) -> None:
    """Each row that is added or changed in a side file is noted, whatever its table."""
    side_file.open_side_file(main, {})[0].close()
    triggers = set(
        rows(side, "SELECT name FROM sqlite_schema WHERE name LIKE 'side!_%' ESCAPE '!'")
    )
    for table in RECORD_TABLES:
        assert {f"side_{table.name}_insert", f"side_{table.name}_update"} <= triggers


# -- killed, and raced ----------------------------------------------------------------------------

# A later version of waxlocal, as far as it matters here: one that may write to the file.
LATER = """
import os, sys
from pathlib import Path
import waxlocal.storage.schema
waxlocal.storage.schema.VERSION = 99
"""
TAKE_IN = (
    LATER
    + """
from waxlocal.maintenance import side_files
side_files.CHANGES_AT_ONCE = int(sys.argv[2])
path = Path(os.environ["WAXLOCAL_DB"])
sys.stdout.write("ready\\n")
sys.stdout.flush()
while True:
    side_files.take_in_all(path)
    if os.path.exists(sys.argv[1]):
        side_files.take_in_all(path)
        break
"""
)


@pytest.mark.crash
def test_taking_in_may_be_killed_at_any_point(main: Path, side: Path, tmp_path: Path) -> None:
    """kill -9 again and again while others record: nothing is lost, nothing comes twice."""
    random, end = Random(5), tmp_path / "end"
    workers = [start_worker(main, seed) for seed in range(2)]
    acknowledged: Counter[tuple[str, str]] = Counter()
    killed = 0
    try:
        # On a busy machine the first ones may come to nothing.
        while killed < 10 or not rows(main, "SELECT count(*) FROM runs")[0]:
            taking = start_program(main, TAKE_IN, str(end), "20")
            assert taking.stdout is not None
            taking.stdout.readline()
            time.sleep(random.random() * 0.01 * (1 + killed))
            taking.kill()
            killed += taking.wait() == -signal.SIGKILL
            taking.communicate()
    finally:
        for worker, _pipe in workers:
            worker.kill()
            worker.wait()
    for _worker, pipe in workers:
        acknowledged += read_acknowledged(pipe)
    end.touch()
    done = run_program(main, TAKE_IN, str(end), "500")
    assert done.returncode == 0, done.stderr
    assert missing(main, acknowledged) == []
    assert not side.exists()
    assert_sound(main)
    # Not one more of anything than the workers can have recorded: two of each kind were under way.
    for kind, sql in PROMISES.items():
        stored = sum(number for _run, number in rows(main, sql))
        promised = sum(number for (of, _run), number in acknowledged.items() if of == kind)
        assert promised <= stored <= promised + 2


SHORT = """
import os, sys
from waxlocal import WaxellContext
from waxlocal.recording.recorder import current_recorder
sys.stdin.read()
for number in range(int(sys.argv[1])):
    with WaxellContext(f"agent", session_id="s") as run:
        run.record_step(str(number))
    current_recorder().close()
"""


@pytest.mark.crash
def test_recorders_that_come_while_the_side_file_goes(
    main: Path, side: Path, tmp_path: Path
) -> None:
    """Each opens the side file anew for every run, while others take it in and remove it."""
    end = tmp_path / "end"
    recording = [start_program(main, SHORT, "60") for _ in range(3)]
    taking = [start_program(main, TAKE_IN, str(end), "20") for _ in range(2)]
    for one in taking:
        assert one.stdout is not None
        one.stdout.readline()
    for one in recording:
        assert one.stdin is not None
        one.stdin.close()
    for one in recording:
        with one:
            assert one.wait(timeout=PATIENCE_S) == 0
            assert one.stderr is not None
            assert "lost" not in one.stderr.read()
    end.touch()
    for one in taking:
        with one:
            assert one.wait(timeout=PATIENCE_S) == 0
            assert one.stderr is not None
            assert one.stderr.read() == ""
    run_program(main, TAKE_IN, str(end), "20")
    assert not side.exists()
    assert rows(main, "SELECT status, count(*) FROM runs GROUP BY status") == [("success", 180)]
    assert count(main, "steps") == 180
    assert_sound(main)


_CHANGE = "INSERT INTO side_changes (table_name, run_id, position, added, changes) VALUES "
_ODD = {
    "no identity": "DELETE FROM side_file",
    "an unknown table": _CHANGE + "('nope', 'x', 1, 1, NULL)",
    "no JSON": _CHANGE + "('runs', 'x', 1, 0, '{bad')",
    "no object": _CHANGE + "('runs', 'x', 1, 0, '[1]')",
    "deep JSON": _CHANGE + f"('runs', 'x', 1, 0, '{'[' * 100_000}')",
    "an unknown column": _CHANGE + "('runs', 'x', 1, 0, '{\"status = 1 --\": 1}')",
    "an object for a text": _CHANGE + "('steps', 'x', 1, 0, '{\"step_name\": {}}')",
    "a refused value": "UPDATE runs SET status = 'odd'",
}


@pytest.mark.parametrize("what", _ODD)
def test_a_side_file_with_something_odd_in_it_is_left_alone(
    main: Path,
    side: Path,
    recorder: Recorder,
    what: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Recording goes on, one warning says which file it is, and commands work."""
    opened, path = side_file.open_side_file(main, statements.UPDATES)
    assert path == side
    with closing(opened):
        opened.execute("PRAGMA ignore_check_constraints = ON")
        opened.execute(
            "INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode,"
            " status, started_at) VALUES ('x', 'a', 'w', 't', 'autonomous', 'running', '2026')"
        )
        opened.execute(_ODD[what])
    allows_this(main)
    monkeypatch.setattr("waxlocal.recording.store.CHECK_NS", 0)
    with caplog.at_level(logging.WARNING, "waxlocal"):
        for number in range(3):
            record(number)
        recorder.close()
        result = invoke("sessions", "--json", db=main)
    assert result.exit_code == 0, result.output
    assert [str(side) in message for message in caplog.messages] == [True]
    assert rows(main, "SELECT count(*) FROM runs WHERE status = 'success'") == [3]
    assert side.exists()
    assert recorder.health().ok


@pytest.mark.parametrize("error", ERRORS.values())
@pytest.mark.parametrize(
    ("owner", "name"), [(schema, "check"), (Prices, "load"), (side_file, "file_version")]
)
def test_an_alarm_while_records_are_taken_in_reaches_the_program(
    main: Path,
    side: Path,
    recording: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: type[Exception],
) -> None:
    """While the side file is read, its records are written, or it is removed; nothing is lost."""
    record(1)
    recording.close()
    allows_this(main)
    with closing(open_writer(main)) as opened, handling(raising(error)):
        strike_in(monkeypatch, owner, name)
        with pytest.raises(error):
            side_files.take_in(opened, main)
        assert not opened.in_transaction
        assert side_files.take_in(opened, main)
    assert not side.exists()
    assert rows(main, "SELECT agent_name, status FROM runs") == [("agent-1", "success")]


def test_a_schema_version_that_is_no_number_stops_no_program(
    db_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that has the file open goes on; nothing of it reaches the program."""
    monkeypatch.setattr("waxlocal.recording.store.CHECK_NS", 0)
    record(1)
    with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute("UPDATE schema_version SET min_writer = 'abc'")
    record(2)
    assert count(db_path, "runs") == 2
    result = invoke("sessions", db=db_path)
    assert result.exit_code == 4
    assert "schema_version" in result.stderr


@pytest.mark.parametrize("start_beside", [True, False])
def test_a_run_whose_start_and_records_are_in_two_files_becomes_one(
    main: Path, recording: Recorder, start_beside: bool
) -> None:
    """Whichever of the two has the start: it takes over what stood for it, and nothing more."""
    run_id = "019a8e40-1111-7222-8333-444455556666"
    about = ("helper", "w", "s1", "ada", None, None, None, "1" * 32, "interactive", None)
    start = (run_id, *about, "2026-01-31T09:30:00.000000Z", '{"m":1}', '{"q":1}')
    elsewhere = {
        "run_id": run_id,
        "trace_id": "2" * 32,
        "started_at": "2026-01-31T09:30:05.000000Z",
    }
    both = [(statements.BEGIN_RUN, start), (statements.BEGIN_ELSEWHERE, elsewhere)]
    (beside, there) = both if start_beside else reversed(both)
    recording.store.write(*beside)
    recording.close()
    allows_this(main)
    with closing(sqlite3.connect(main)) as connection:
        connection.execute(there[0].sql, there[1])
        connection.commit()
    with closing(Recorder(Settings(db=main))) as later:
        later.store.fetch("SELECT 1", ())
    names = "agent_name, session_id, started_at, metadata, inputs, status"
    wanted = ("helper", "s1", "2026-01-31T09:30:00.000000Z", '{"m":1}', '{"q":1}', "running")
    assert rows(main, f"SELECT {names} FROM runs") == [wanted]
    assert rows(main, "SELECT session_id, run_count FROM sessions") == [("s1", 1)]
