"""What was forgotten comes back neither from a side file nor from a damaged file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random

from tests.tools.bulk_lines import batch, line
from tests.tools.file_versions import make_newer
from tests.tools.ingest import Hub
from tests.tools.sync import ask, change, record
from waxlocal import WaxellContext
from waxlocal.maintenance.chosen_runs import Choice, Kind
from waxlocal.maintenance.forget_preview import files_beside, preview
from waxlocal.maintenance.forgetting import forget
from waxlocal.maintenance.recovery import recover
from waxlocal.maintenance.side_files import take_in_all
from waxlocal.recording.recorder import Recorder
from waxlocal.storage.connection import autocommit, open_writer, reader
from waxlocal.storage.forgotten import Forgotten
from waxlocal.storage.schema import VERSION
from waxlocal.storage.transaction import begin, commit

ALICE = Choice(Kind.USER, "user_alice")


def test_a_side_file_brings_back_nothing(db_path: Path, recorder: Recorder) -> None:
    """Runs of the user that were recorded beside the file, and late records of a deleted one."""
    with WaxellContext("chatbot", session_id="s", user_id="user_alice") as run:
        recorder.close()
        make_newer(db_path, min_writer=99, min_reader=99)
        record(2)
        with WaxellContext("helper", session_id="s", user_id="carol"):  # called by that run
            run.record_step("late")
    with WaxellContext("chatbot", session_id="s", user_id="bob"):
        pass
    recorder.close()
    make_newer(db_path, min_writer=VERSION, min_reader=VERSION)
    (side,) = (one for one in db_path.parent.glob("*.side-*") if one.name[-1].isdigit())
    with reader(db_path) as connection:
        assert files_beside(db_path, preview(connection, ALICE)).side_files == [str(side)]
    # As if the side file had been out of reach then.
    side.rename(away := db_path.with_name("away"))
    change(db_path, "UPDATE runs SET status = 'success'")
    assert forget(db_path, ALICE).runs == 1
    away.rename(side)
    assert take_in_all(db_path)
    assert ask(db_path, "SELECT user_id FROM runs") == [("bob",)]
    assert ask(db_path, "SELECT run_id FROM steps UNION ALL SELECT run_id FROM llm_calls") == []
    assert not side.exists()


def test_side_files_are_taken_in_first(db_path: Path, recorder: Recorder) -> None:
    """What they have of the user goes, too."""
    with closing(open_writer(db_path)):
        pass
    make_newer(db_path, min_writer=99, min_reader=99)
    record(2)
    recorder.close()
    make_newer(db_path, min_writer=VERSION, min_reader=VERSION)
    assert forget(db_path, ALICE).runs == 2
    assert ask(db_path, "SELECT count(*) FROM runs") == [(0,)]


def test_a_saved_file_knows_what_was_forgotten(db_path: Path) -> None:
    """A device that sends it again is answered as before; the copy that is kept is named."""
    hub = Hub(db_path)
    hub.merge(batch(*(line(number, user_id="user_alice") for number in range(1, 4))))
    hub.merge(batch(line(9, user_id="bob", inputs='{"q":"' + "x" * 9_000 + '"}')))
    assert forget(db_path, ALICE).runs == 3
    ((size,),) = ask(db_path, "PRAGMA page_size")
    change(db_path, "PRAGMA wal_checkpoint(TRUNCATE)")
    # A page of an index: the rows can be read, but the file is not sound.
    ((page,),) = ask(
        db_path, "SELECT max(pageno) FROM dbstat WHERE name = 'runs_by_session' AND pageno > 1"
    )
    with db_path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(Random(1).randbytes(size))
    kept = recover(db_path).kept
    assert kept is not None
    assert [one.status for one in hub.merge(batch(line(2, user_id="user_alice")))] == ["merged"]
    assert ask(db_path, "SELECT user_id FROM runs") == [("bob",)]
    with reader(db_path) as connection:
        assert files_beside(db_path, preview(connection, ALICE)).copies == [str(kept)]


def test_a_later_time_covers_more(db_path: Path) -> None:
    """An earlier one does not take anything back."""
    with closing(open_writer(db_path)):
        pass
    with autocommit(db_path) as connection:
        begin(connection)
        forgotten = Forgotten(connection)
        assert bool(forgotten) is False
        token = 0
        for before in ("2026-02", "2026-03", "2026-01"):
            earlier, token = token, forgotten.begin([], before)
            forgotten.add_run("r", before)
        states = [forgotten.is_unfinished]
        forgotten.finish(earlier)  # which leaves what another one may leave
        states.append(forgotten.is_unfinished)
        forgotten.finish(token)
        commit(connection)
        states.append(forgotten.is_unfinished)
        known = [forgotten.has_run(one) for one in ("r", "s", None)]
    assert (states, known) == ([True, True, False], [True, False, False])
    assert ask(db_path, "SELECT before FROM forgotten") == [("2026-03",)]
