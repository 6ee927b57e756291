"""The index has what the file has, whatever happens to either."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.search.conftest import Searched, searched_in
from tests.tools.cli import PYTHON, environment
from tests.tools.search_index import damage_from, damage_words
from waxlocal.errors import FileLocked, ForeignDatabase
from waxlocal.search import building
from waxlocal.search.building import bring_up_to_date
from waxlocal.search.hits import search
from waxlocal.search.index_file import index_path, index_reader, index_writer
from waxlocal.search.line import parse_line
from waxlocal.search.reading import Document
from waxlocal.storage.connection import open_writer


def test_a_run_that_is_open_is_found_and_again_when_it_has_ended(file: Searched) -> None:
    """By what it has said until then."""
    run = file.to.run(seconds=None, inputs={"message": "question"})
    assert file.runs("question") == [run]
    file.to.llm(run, response="thinking")
    file.to.conn.execute(
        "UPDATE runs SET status = 'success', completed_at = started_at, result = ?",
        [json.dumps({"answer": "reply"})],
    )
    assert file.runs("question reply thinking") == [run]
    assert file.runs("status:running") == []
    assert file.documents() == 1


def test_a_run_whose_process_is_gone_is_interrupted(file: Searched) -> None:
    """Also once somebody has written it down."""
    process = file.to.process(alive=False)
    run = file.to.run(seconds=None, process=process, inputs={"message": "question"})
    assert file.runs("status:interrupted question") == [run]
    file.to.conn.execute("UPDATE runs SET status = 'interrupted'")
    assert file.runs("status:interrupted question") == [run]
    assert file.runs("status:running") == []


def test_what_comes_late_is_found(file: Searched) -> None:
    """A call, a tool, a step of a run that had ended long before."""
    run = file.to.run(inputs={"message": "question"})
    file.bring_up()
    file.to.llm(run, response="late")
    assert file.runs("late") == [run]
    file.to.span(run, output={"a": "later"})
    assert file.runs("later late") == [run]
    file.to.step(run, "last")
    assert file.runs("last later late question") == [run]
    assert file.documents() == 1


@pytest.mark.parametrize(
    "change",
    [
        'UPDATE runs SET inputs = \'{"message":"new"}\'',
        'UPDATE runs SET result = \'{"answer":"new"}\', inputs = NULL',
        "UPDATE llm_calls SET response = 'new'; UPDATE runs SET inputs = NULL",
        'DELETE FROM llm_calls; UPDATE runs SET inputs = \'{"message":"new"}\'',
    ],
)
def test_what_was_changed_is_not_found_any_more(file: Searched, change: str) -> None:
    """Whoever changed it, also by SQL; what stands there now is."""
    run = file.to.run(inputs={"message": "old"})
    file.to.llm(run, response="words")
    assert file.runs("old words") == [run]
    file.to.conn.executescript(change)
    assert file.runs("old") == []
    assert file.runs("new") == [run]


def test_a_message_that_was_redacted_is_not_found(file: Searched) -> None:
    """One row that many calls have."""
    from waxlocal.maintenance.changed_contents import mark_calls

    run = file.to.run()
    file.to.llm(run, message_keys=["k"])
    file.to.insert("contents", key="k", content='{"role":"user","content":"my address"}')
    assert file.runs("address") == [run]
    file.to.conn.execute("""UPDATE contents SET content = '{"role":"user","content":"gone"}'""")
    mark_calls(file.path)
    assert file.runs("address") == []
    assert file.runs("gone") == [run]


def test_a_run_that_was_deleted_is_not_found(file: Searched) -> None:
    """Nor is the next one found by its words, though it has the same number."""
    file.to.run(inputs={"message": "old"})
    file.bring_up()
    file.to.conn.execute("DELETE FROM runs")
    assert file.runs("old") == []
    assert file.documents() == 0
    run = file.to.run(inputs={"message": "new"})
    assert file.runs("new") == [run]
    assert file.runs("old") == []


def test_runs_that_are_put_back_are_found(file: Searched) -> None:
    """With their old numbers, below those in the index."""
    first, second = (file.to.run(inputs={"message": word}) for word in ("one", "two"))
    kept = file.to.conn.execute("SELECT id, run_id FROM runs").fetchall()
    file.to.conn.execute("DELETE FROM runs WHERE id = 1")
    assert (file.runs("one"), file.runs("two")) == ([], [second])
    file.to.run(id=kept[0][0], inputs={"message": "three"})
    assert len(file.runs("three")) == 1
    file.to.conn.execute("UPDATE runs SET id = id + 10")
    assert file.runs("two") == [second]
    assert first not in file.runs("-two")


def test_a_file_that_was_put_back_gets_a_new_index(tmp_path: Path) -> None:
    """Its numbers may mean other runs now."""
    with searched_in(tmp_path) as file:
        file.to.run(inputs={"message": "one"})
        file.bring_up()
        file.to.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(file.path, tmp_path / "copy")
        file.to.run(inputs={"message": "two"})
        file.bring_up()
    for ending in ("-wal", "-shm"):
        Path(f"{file.path}{ending}").unlink(missing_ok=True)
    shutil.move(tmp_path / "copy", file.path)
    with searched_in(tmp_path) as file:
        file.to._runs = 7
        run = file.to.run(inputs={"message": "three"})
        assert file.runs("three") == [run]
        assert file.runs("two") == []
        assert len(file.runs("one")) == 1


def test_an_index_that_is_damaged_is_made_anew(file: Searched) -> None:
    """It has nothing that the file has not."""
    run = file.to.run(inputs={"message": "needle"})
    file.bring_up()
    damage_from(file.path, 100)
    assert file.runs("needle") == [run]


@pytest.mark.parametrize("content", [b"notes of somebody", b"SQLite format 3\0" + bytes(200)])
def test_another_file_of_that_name_is_left_alone(file: Searched, content: bytes) -> None:
    """Whoever it belongs to is told what to do."""
    index_path(file.path).write_bytes(content)
    with pytest.raises(ForeignDatabase, match="is no search index"):
        file.bring_up()
    assert index_path(file.path).read_bytes() == content


def test_an_index_of_another_version_is_made_anew(file: Searched) -> None:
    """It may know other words."""
    run = file.to.run(inputs={"message": "needle"})
    file.bring_up()
    with closing(sqlite3.connect(index_path(file.path))) as index, index:
        index.execute("UPDATE state SET version = 0")
        index.execute("DELETE FROM documents")
    assert file.runs("needle") == [run]


def test_an_index_is_as_private_as_its_file(file: Searched) -> None:
    """Nobody else reads what was said."""
    file.bring_up()
    assert index_path(file.path).stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_where_nothing_has_come(file: Searched) -> None:
    """Who watches the directory sleeps on."""
    file.to.run(inputs={"message": "needle"})
    file.bring_up()
    index = index_path(file.path).read_bytes()
    (seen,) = file.to.conn.execute("PRAGMA data_version").fetchone()
    file.bring_up()
    (now,) = file.to.conn.execute("PRAGMA data_version").fetchone()
    assert (index_path(file.path).read_bytes(), now) == (index, seen)


def test_an_index_with_more_that_has_changed_than_not_is_made_anew(
    file: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it does not grow for ever."""
    monkeypatch.setattr(building, "LEAST_STALE", 3)
    run = file.to.run(inputs={"message": "needle"})
    for number in range(9):
        file.to.conn.execute("UPDATE runs SET result = ?", [json.dumps({"answer": str(number)})])
        assert file.runs(f"needle {number}") == [run]
    with index_reader(file.path) as index:
        assert index.do("SELECT stale FROM state").fetchone()[0] <= 4


def test_what_another_program_has_stored_as_it_likes_is_no_trouble(file: Searched) -> None:
    """Bytes and numbers where texts belong, and texts that are no UTF-8."""
    odd = sqlite3.Binary(b"\xff needle")
    run = file.to.run(inputs=odd, result=12, error=odd, tags=odd)
    file.to.conn.execute("UPDATE runs SET user_id = 7")
    file.to.llm(run, model=odd, messages=5, response=odd, details=odd)  # type: ignore[arg-type]
    file.to.span(run, name=odd, kind=odd, input=odd, output=3)  # type: ignore[arg-type]
    file.to.step(run, name=odd, output=odd)  # type: ignore[arg-type]
    file.to.conn.execute("UPDATE runs SET error_type = CAST(x'ff6e' AS TEXT)")
    assert file.runs("needle 12") == [run]


def test_two_that_index_at_once_make_one_index(file: Searched) -> None:
    """While one adds, the other leaves it alone; nothing is noted twice or lost."""
    run = file.to.run(inputs={"message": "one"})
    file.bring_up()
    file.to.llm(run, response="late")
    with index_writer(file.path) as index:
        index.do("BEGIN IMMEDIATE")
        with pytest.raises(FileLocked):
            bring_up_to_date(file.path)
        index.do("ROLLBACK")
    assert file.runs("late") == [run]


def test_a_run_that_ends_is_read_again_however_many_are_open(
    file: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed programs leave runs open for ever."""
    monkeypatch.setattr(building, "MOST_OPEN", 2)
    gone = file.to.process(alive=False)
    run = file.to.run(seconds=None, inputs={"message": "question"})
    for _ in range(5):
        file.to.run(seconds=None, process=gone)
    file.bring_up()
    file.to.conn.execute(
        "UPDATE runs SET status = 'success', result = '{\"answer\":\"reply\"}' WHERE run_id = ?",
        [run],
    )
    assert file.runs("reply") == [run]


def test_all_that_has_changed_is_read_before_it_is_said_to_be(
    file: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much that is."""
    monkeypatch.setattr(building, "HAND_OVER", 3)
    monkeypatch.setattr(building, "MOST_IN_PIECE", 2)
    for number in range(20):
        file.to.run(inputs={"message": f"old{number}"})
    file.bring_up()
    file.to.conn.execute("""UPDATE runs SET inputs = '{"message":"new"}'""")
    done = bring_up_to_date(file.path, 0.0)
    assert done is not None
    assert (done.is_complete, done.changed) == (False, 20)
    assert len(file.runs("new")) == 20


def test_what_comes_late_to_a_run_with_the_number_of_another_is_found(file: Searched) -> None:
    """SQLite gives the number of the last run again, once that is deleted."""
    file.to.run()
    file.bring_up()
    file.to.conn.execute("DELETE FROM runs")
    run = file.to.run()
    file.bring_up()
    file.to.llm(run, response="late")
    assert file.runs("late") == [run]


def test_a_span_that_ends_after_its_run_is_found(file: Searched) -> None:
    """With what it gave back."""
    run = file.to.run()
    file.to.span(run, status="running")
    file.bring_up()
    file.to.conn.execute("""UPDATE spans SET status = 'ok', output = '{"a":"found"}'""")
    assert file.runs("found") == [run]


def test_what_is_changed_in_an_open_run_is_not_found_any_more(file: Searched) -> None:
    """A secret is one, whatever the run does."""
    run = file.to.run(seconds=None, inputs={"message": "secret"})
    file.to.llm(run, response="password")
    assert file.runs("secret password") == [run]
    file.to.conn.execute("""UPDATE runs SET inputs = '{"message":"gone"}'""")
    file.to.conn.execute("UPDATE llm_calls SET response = 'gone'")
    assert file.runs("secret") == file.runs("password") == []
    assert file.runs("gone") == [run]


def put_back(file: Searched, copy: Path) -> None:
    """Put an older copy of the file in its place, as it was."""
    for ending in ("-wal", "-shm"):
        Path(f"{file.path}{ending}").unlink(missing_ok=True)
    shutil.move(copy, file.path)


def test_a_file_of_before_a_change_gets_a_new_index(tmp_path: Path) -> None:
    """What was changed after the copy is as it was before."""
    with searched_in(tmp_path) as file:
        for number in range(5):
            file.to.run(inputs={"message": f"word{number} common"})
        file.bring_up()
        file.to.conn.execute("VACUUM INTO ?", [str(tmp_path / "copy")])
        file.to.conn.execute("DELETE FROM runs WHERE id < 3")
        file.to.conn.execute("""UPDATE runs SET inputs = '{"message":"other"}' WHERE id = 3""")
        assert len(file.runs("common")) == 2
    put_back(file, tmp_path / "copy")
    with searched_in(tmp_path) as file:
        assert len(file.runs("common")) == 5
        assert len(file.runs("word2")) == 1
        assert file.runs("other") == []


def test_an_older_copy_of_the_index_is_made_anew(file: Searched, tmp_path: Path) -> None:
    """It lacks what the file has already forgotten."""
    file.to.run(inputs={"message": "old"})
    file.bring_up()
    with closing(sqlite3.connect(index_path(file.path))) as index:
        index.execute("VACUUM INTO ?", [str(tmp_path / "copy")])
    file.to.conn.execute("""UPDATE runs SET inputs = '{"message":"new"}'""")
    file.bring_up()
    for ending in ("-wal", "-shm"):
        Path(f"{index_path(file.path)}{ending}").unlink(missing_ok=True)
    shutil.move(tmp_path / "copy", index_path(file.path))
    assert (file.runs("old"), len(file.runs("new"))) == ([], 1)


def test_whoever_is_killed_between_the_index_and_the_file_does_it_again(
    file: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index has taken a change over, and the file still notes it."""
    run = file.to.run(inputs={"message": "old"})
    file.bring_up()
    file.to.conn.execute("""UPDATE runs SET inputs = '{"message":"new"}'""")

    @contextmanager
    def killed(_path: Path) -> Iterator[None]:
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patched:
        patched.setattr(building, "autocommit", killed)
        with pytest.raises(KeyboardInterrupt):
            file.bring_up()
    before = file.documents()
    assert (file.runs("new"), file.runs("old")) == ([run], [])
    assert file.documents() == before


def test_an_index_whose_maker_was_killed_is_made(file: Searched) -> None:
    """A file of one page, without tables."""
    run = file.to.run(inputs={"message": "needle"})
    with closing(sqlite3.connect(index_path(file.path))) as index:
        index.execute("PRAGMA journal_mode = WAL")
    assert file.runs("needle") == [run]


def test_an_index_with_a_damaged_beginning_is_made_anew(file: Searched) -> None:
    """It is known by what else stands there."""
    run = file.to.run(inputs={"message": "needle"})
    file.bring_up()
    damage_from(file.path, 0, 4)
    assert file.runs("needle") == [run]


def test_an_index_with_damaged_words_is_made_anew(file: Searched) -> None:
    """Its other tables may be whole."""
    runs = [file.to.run(inputs={"message": f"needle{number} hay"}) for number in range(300)]
    file.bring_up()
    damage_words(file.path)
    file.to.run(inputs={"message": "new"})
    assert file.runs("hay") == runs[::-1]


@pytest.mark.parametrize("to", ["nowhere.txt", "notes.txt"])
def test_a_link_in_the_place_of_the_index_is_left_alone(
    file: Searched, tmp_path: Path, to: str
) -> None:
    """Nothing is written where it leads."""
    (tmp_path / "notes.txt").touch()
    index_path(file.path).symlink_to(to)
    with pytest.raises(ForeignDatabase, match="is no search index"):
        file.bring_up()
    assert not (tmp_path / "nowhere.txt").exists()
    assert (tmp_path / "notes.txt").stat().st_size == 0


def test_a_pipe_in_the_place_of_the_index_is_left_alone(file: Searched) -> None:
    """Nobody waits for who writes into it."""
    os.mkfifo(index_path(file.path))
    with pytest.raises(ForeignDatabase, match="is no search index"):
        file.bring_up()


def test_who_asks_an_index_of_another_file_gets_no_answer(file: Searched) -> None:
    """It is made anew first."""
    file.to.run(inputs={"message": "needle"})
    file.bring_up()
    file.to.conn.execute("UPDATE search_index SET stamp = 'another'")
    with index_reader(file.path) as index:
        assert search(file.main, index, parse_line("needle")) is None


CHANGES = st.lists(
    st.sampled_from(["run", "open", "end", "call", "edit", "delete", "look"]), max_size=25
)


@given(CHANGES)
def test_the_index_has_what_the_file_has(
    tmp_path_factory: pytest.TempPathFactory, changes: list[str]
) -> None:
    """However runs come, go on, change and go between two looks."""
    with searched_in(tmp_path_factory.mktemp("index")) as file:
        words: dict[str, set[str]] = {}
        for number, change in enumerate(changes):
            word = f"word{number}"
            last = next(reversed(words), None)
            if change in ("run", "open"):
                seconds = None if change == "open" else 1.0
                words[file.to.run(seconds=seconds, inputs={"message": word})] = {word}
            elif change == "look":
                file.bring_up()
            elif last is None:
                continue
            elif change == "end":
                file.to.conn.execute("UPDATE runs SET status = 'success' WHERE run_id = ?", [last])
            elif change == "call":
                file.to.llm(last, response=word)
                words[last].add(word)
            elif change == "edit":
                said = json.dumps({"message": word})
                file.to.conn.execute("UPDATE runs SET inputs = ? WHERE run_id = ?", [said, last])
                calls = file.to.conn.execute(
                    "SELECT response FROM llm_calls WHERE run_id = ?", [last]
                ).fetchall()
                words[last] = {word, *(row[0] for row in calls)}
            else:
                file.to.conn.execute("DELETE FROM runs WHERE run_id = ?", [last])
                del words[last]
        # The calls of an open run since the last look are found when it has ended.
        file.to.conn.execute("UPDATE runs SET status = 'success' WHERE status = 'running'")
        for number in range(len(changes)):
            had = [run for run, of_run in words.items() if f"word{number}" in of_run]
            assert file.runs(f"word{number}") == had
        file.bring_up()
        assert file.documents() == len(words)


INDEX = """
import sys
from pathlib import Path
from waxlocal.search import building
building.MOST_IN_PIECE = 5
building.TRANSACTION_S = 0.0
put = building._Builder._put
def said(self, runs):
    put(self, runs)
    print("put", flush=True)
building._Builder._put = said
building.bring_up_to_date(Path(sys.argv[1]))
"""


def test_whoever_is_killed_while_indexing_leaves_an_index_to_go_on_with(file: Searched) -> None:
    """Each run is in it once."""
    for number in range(300):
        file.to.run(inputs={"message": f"every word{number}"})
    for _ in range(3):
        with subprocess.Popen(
            [PYTHON[0], "-c", INDEX, str(file.path)], env=environment(), stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
    assert len(file.runs("every")) == 300
    assert file.documents() == 300


def test_who_records_does_not_wait_for_who_indexes(
    file: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is a file of its own; not even in the midst of a piece."""
    for number in range(20):
        file.to.run(inputs={"message": f"word{number}"})
    recorded = []

    class Recording(building.Reader):
        def documents(self, runs: Sequence[int]) -> Iterator[Document]:
            with closing(open_writer(file.path)) as other:  # waits for nobody
                other.execute("UPDATE runs SET agent_name = 'another' WHERE id = 1")
                recorded.append(runs)
            return super().documents(runs)

    monkeypatch.setattr(building, "Reader", Recording)
    file.bring_up()
    assert len(recorded) > 1
    assert file.runs("agent:another word0")
