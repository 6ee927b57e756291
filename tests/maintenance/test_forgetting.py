"""Runs that are forgotten: all that belongs to them goes, and nothing else."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.maintenance.test_sums import answers, change_all, plain_answers, rounded
from tests.tools.builders import Builder, run_id
from tests.tools.cli import environment
from tests.tools.examples import examples
from tests.tools.row_changes import CHANGE
from tests.tools.sync import ask, change
from waxlocal import WaxellContext
from waxlocal.encode import dumps
from waxlocal.maintenance.chosen_runs import Choice, Kind, chosen_runs
from waxlocal.maintenance.forgetting import forget
from waxlocal.maintenance.sums import add_up
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.records import LLM_CALLS, PROCESSES, RECORD_TABLES, RUNS
from waxlocal.search.building import bring_up_to_date
from waxlocal.search.index_file import index_path, index_writer
from waxlocal.settings.config import Settings
from waxlocal.storage.connection import open_writer, reader
from waxlocal.storage.contents import put
from waxlocal.storage.forgotten import Forgotten


def without(path: Path, new: Path, gone: set[str]) -> None:
    """Make a file in which some of the runs of another one have never been."""
    with closing(sqlite3.connect(path)) as old, closing(open_writer(new)) as made:
        old.text_factory = bytes
        made.execute("PRAGMA synchronous = OFF")
        for table in (PROCESSES, RUNS, *RECORD_TABLES):
            names = [name for name in table.names if name != "workflow_id"]
            marks = ", ".join("?" * len(names))
            kinds = ", ".join(f"typeof({name}), {name}" for name in names)
            at = names.index("run_id") if "run_id" in names else None
            order = "id" if table is RUNS else "1, 2"
            for row in old.execute(f"SELECT {kinds} FROM {table.name} ORDER BY {order}"):
                values = [
                    value.decode() if kind == b"text" and _is_text(value) else value
                    for kind, value in zip(row[::2], row[1::2], strict=True)
                ]
                if at is None or values[at] not in gone:
                    made.execute(
                        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", values
                    )


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def chosen_ids(path: Path, choice: Choice) -> tuple[set[str], set[str]]:
    """Return the runs of a choice that are to go, and those that are still open."""
    with reader(path) as conn:
        chosen = chosen_runs(conn, choice)
    return (
        {one.run_id for one in chosen if not one.is_open},
        {one.run_id for one in chosen if one.is_open},
    )


def is_plain(change: tuple[Any, ...]) -> bool:
    """Return whether a session is the same after a change as if the run had come so.

    Not where an ended run is open again, whose end stays the last activity of its session. The
    agents of a session are those that its runs had when they came.
    """
    return change[0] != "agent" and not (change[0] in ("end", "merge") and change[2] == "running")


def ends_later(change: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a change in which no end is before a start or an earlier end, for the same reason."""
    if change[0] not in ("end", "merge"):
        return change
    return (*change[:3], 2_000, *change[4:])


CHOICES = st.sampled_from(
    [
        *(Choice(Kind.USER, name) for name in ("alice", "bob")),
        *(Choice(Kind.SESSION, name) for name in ("a", "b", "c")),
        *(Choice(Kind.RUN, run_id(number)) for number in (1, 2, 3, 5)),
    ]
)


@given(
    st.lists(
        st.one_of(
            CHANGE.filter(is_plain).map(ends_later),
            st.tuples(st.just("add up"), st.sampled_from([2, 5, 100])),
        ),
        max_size=30,
    ),
    CHOICES,
    st.booleans(),
)
@settings(max_examples=examples(60), deadline=None)
def test_what_is_left_is_as_if_the_runs_had_never_been(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[Any, ...]],
    choice: Choice,
    added_up: bool,
) -> None:
    """Statistics, models, users and tags, with totals and without, and every remaining row."""
    directory = tmp_path_factory.mktemp("forget")
    path, never = directory / "waxlocal.db", directory / "never.db"
    change_all(path, [*changes, *([("add up", 100)] if added_up else [])])
    gone, still_open = chosen_ids(path, choice)
    without(path, never, gone)
    done = forget(path, choice)
    assert (done.runs, done.open_runs) == (len(gone), len(still_open))
    assert rounded(answers(path)) == rounded(answers(never))
    assert rows_of(path) == rows_of(never)
    add_up(path, enough=1)
    assert rounded(answers(path)) == rounded(answers(never))


def rows_of(path: Path) -> dict[str, Any]:
    """Return all rows that say something of runs and sessions."""
    with closing(sqlite3.connect(path)) as conn:
        conn.text_factory = bytes
        found = {
            table.name: conn.execute(f"SELECT * FROM {table.name} ORDER BY 1, 2").fetchall()
            for table in (RUNS, *RECORD_TABLES)
        }
        found["sessions"] = conn.execute(
            "SELECT session_id, agents, run_count, open_runs, failed_runs, llm_calls,"
            " priced_calls, tokens_in, tokens_out, total_tokens, priced_tokens,"
            " round(total_cost, 6), round(total_duration, 6), first_run_at, last_run_at,"
            " unmetered_calls, nested_runs,"
            " round(nested_duration, 6), last_end_at FROM sessions ORDER BY 1"
        ).fetchall()
        found["session_users"] = conn.execute(
            "SELECT * FROM session_users ORDER BY 1, 2"
        ).fetchall()
    return found


def test_a_shared_session_names_only_the_agents_and_users_that_are_left(db_path: Path) -> None:
    """In the order of their arrival; runs that name nobody stay where others took part."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        first = make.run("s", user="alice", agent="planner")
        make.run("s", parent=first, agent="helper")
        make.run("s", user="bob", agent="writer")
        make.run("s", agent="planner two")
        make.run("s", user="alice", agent="writer")
    add_up(db_path, enough=1)
    assert forget(db_path, Choice(Kind.USER, "alice")).runs == 3
    agents = ask(db_path, "SELECT agents, user_id, run_count, nested_runs FROM sessions")
    assert agents == [('["writer","planner two"]', "bob", 2, 0)]
    assert ask(db_path, "SELECT user_id FROM session_users") == [("bob",)]
    assert files_with(db_path, "helper") == []


# -- bytes -----------------------------------------------------------------------------------------

SECRET, KEPT = "zarquon", "keepsake"


def leave_everywhere(path: Path, word: str, user: str, session: str) -> None:
    """Record a word wherever a run may have it, and let an upload write its requests down."""
    with using(path):
        inputs = {"q": word}
        with WaxellContext(
            f"agent {word}",
            session_id=session,
            user_id=user,
            inputs=inputs,
            metadata={"plan": word},
        ) as run:
            run.set_tag("plan", word)
            run.record_llm_call(
                model="gpt-4o",
                tokens_in=1,
                tokens_out=1,
                prompt_preview=word,
                response_preview=word,
            )
            run.record_tool_call(name="look", input={"arg": word}, output={"found": word})
            run.record_step(f"think {word}", {"about": word})
            run.record_score("quality", 0.5, comment=word)
            run.set_result({"answer": word})
        with (
            suppress(RuntimeError),
            WaxellContext("agent", session_id=session, user_id=user),
        ):
            raise RuntimeError(word)
    with closing(open_writer(path)) as conn:
        make = Builder(conn, first=1_000 + len(word))
        messages = [{"role": "user", "content": word}]
        keys = store(conn, [*messages, {"role": "user", "content": "hello"}])
        make.llm(make.run(session, user=user, inputs={"q": word}), message_keys=keys)
        # As a program that does not overwrite what it deletes leaves the page of a row.
        conn.execute("PRAGMA secure_delete = OFF")
        for _ in range(3):
            conn.execute(
                "UPDATE runs SET inputs = ? WHERE session_id = ?", (f'"{word * 90}"', session)
            )
            conn.execute("UPDATE runs SET inputs = NULL WHERE session_id = ?", (session,))
        conn.execute(
            "INSERT INTO events (run_id, position, recorded_at, event, data)"
            " SELECT '', id, started_at, 'early', json_object('workflow_id', workflow_id, 'x', ?)"
            " FROM runs WHERE session_id = ?",
            (word, session),
        )


def store(conn: sqlite3.Connection, messages: list[dict[str, str]]) -> str:
    """Store messages as a recorder does; return the keys of a call."""
    row = dict.fromkeys(LLM_CALLS.names) | {"messages": dumps(messages)}
    (stored,) = put(conn, LLM_CALLS, [row])
    keys = stored["message_keys"]
    assert isinstance(keys, str)
    return keys


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Let the SDK record into a file in the block."""
    made = Recorder(Settings(db=path))
    before = use_recorder(made)
    try:
        yield
    finally:
        use_recorder(before)
        made.close()


def files_with(path: Path, word: str) -> list[str]:
    """Return the files of a recording in whose bytes a word is, also as hex digits."""
    words = (word.encode(), word.encode().hex().encode(), word.encode().hex().upper().encode())
    return sorted(
        one.name
        for one in path.parent.iterdir()
        if one.is_file() and any(text in one.read_bytes() for text in words)
    )


def wait_for_upload(path: Path) -> None:
    """Leave requests as an upload does that got no answer: of each run, and of events outside."""
    change(path, "INSERT INTO targets (target_id, url, cursor) VALUES (1, 'http://hub', 99)")
    change(
        path,
        "INSERT INTO deliveries (run_id, target_id, state)"
        " SELECT run_id, 1, 'pending' FROM runs UNION ALL SELECT '', 1, 'pending'",
    )
    request = (
        "INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state, positions,"
        " body, bytes) VALUES (?, 1, ?, 0, ?, 'waiting', ?, ?, 9)"
    )
    for run_id_, inputs, session in ask(path, "SELECT run_id, result, session_id FROM runs"):
        body = dumps({"inputs": inputs, "session_id": session}).encode()
        change(path, request, run_id_, "start", f"{run_id_}:start:0", "[]", body)
        received = "INSERT INTO received VALUES (?, 'print', ?, '2026')"
        change(path, received, f"{run_id_}:episodic:0", dumps({"slot_name": session}))
    events = ask(path, "SELECT position, data FROM events WHERE run_id = '' ORDER BY position")
    outside = dumps({"events": [{"data": data} for _, data in events]}).encode()
    positions = dumps([position for position, _ in events])
    change(path, request, "", "events", "some:events:0", positions, outside)


def filled(path: Path) -> None:
    """Make a file with what two users said, which is added up, indexed and waits for an upload."""
    leave_everywhere(path, SECRET, f"user {SECRET}", f"session {SECRET}")
    leave_everywhere(path, KEPT, f"user {KEPT}", f"session {KEPT}")
    add_up(path, enough=1)
    bring_up_to_date(path)
    wait_for_upload(path)
    assert ask(path, "SELECT count(*) FROM requests WHERE body IS NOT NULL")[0][0] > 0
    assert ask(path, "SELECT count(*) FROM session_facts") == [(2,)]
    assert {"waxlocal.db", "waxlocal.db.search"} <= set(files_with(path, SECRET))


CHOSEN = [Choice(Kind.USER, f"user {SECRET}"), Choice(Kind.SESSION, f"session {SECRET}")]


@pytest.mark.parametrize("choice", CHOSEN, ids=str)
def test_no_byte_is_left_in_any_file(db_path: Path, choice: Choice) -> None:
    """Of messages, prompts, arguments, errors, tags, ids, in file, log and index; others stay."""
    filled(db_path)
    kept = contents_of_user(db_path, KEPT)
    done = forget(db_path, choice)
    assert (done.runs, done.outside_events, done.log_is_empty, done.compacted) == (3, 3, True, True)
    assert files_with(db_path, SECRET) == []
    assert files_with(db_path, KEPT) == ["waxlocal.db"]
    assert contents_of_user(db_path, KEPT) == kept
    assert ask(db_path, "SELECT content FROM contents ORDER BY content") == [
        ('{"role":"user","content":"hello"}',),
        (f'{{"role":"user","content":"{KEPT}"}}',),
    ]
    with reader(db_path) as conn:
        assert Forgotten(conn).is_unfinished is False


def contents_of_user(path: Path, word: str) -> dict[str, Any]:
    """Return all rows of the runs of a session, with those of their delivery."""
    these = f"run_id IN (SELECT run_id FROM runs WHERE session_id = 'session {word}')"
    tables = ("runs", *(table.name for table in RECORD_TABLES), "deliveries", "requests")
    found = {
        name: ask(path, f"SELECT * FROM {name} WHERE {these} ORDER BY 1, 2") for name in tables
    }
    return found | {
        "outside": ask(path, "SELECT * FROM events WHERE run_id = '' AND instr(data, ?)", word)
    }


KILLED = """
import os, signal, sys
from pathlib import Path
from waxlocal.maintenance import forgetting
from waxlocal.maintenance.chosen_runs import Choice, Kind

left, name = int(sys.argv[1]), sys.argv[2]
forgetting.PIECE_NS, forgetting.ROWS_AT_ONCE = 0, 1

def counted(work):
    def called(*given, **named):
        global left
        answer = work(*given, **named)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return called

for each in ("commit", "remove_unused", "remove_index", "_emptied"):
    setattr(forgetting, each, counted(getattr(forgetting, each)))
forgetting.forget(Path(sys.argv[3]), Choice(Kind.USER, name))
print("done")
"""


@pytest.mark.parametrize("point", [1, 2, 3, 4, 6, 9, 10, 11, 12, 13])
def test_after_a_kill_the_same_call_goes_on(db_path: Path, point: int) -> None:
    """At any point the file is sound, and in the end nothing is left of what was to go."""
    filled(db_path)
    kept = contents_of_user(db_path, KEPT)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(point), f"user {SECRET}", str(db_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, (killed.stdout, killed.stderr)
    assert ask(db_path, "PRAGMA integrity_check") == [("ok",)]
    assert rounded(answers(db_path)) == rounded(plain_answers(db_path))
    with reader(db_path) as conn:
        assert Forgotten(conn).is_unfinished
    forget(db_path, Choice(Kind.USER, f"user {SECRET}"))
    assert files_with(db_path, SECRET) == []
    assert contents_of_user(db_path, KEPT) == kept


def test_an_index_that_is_being_made_is_waited_for(db_path: Path) -> None:
    """Until it is closed nobody sees whose file it is; another program's is left alone."""
    filled(db_path)
    index_path(db_path).unlink()
    with ExitStack() as being_made:
        being_made.enter_context(index_writer(db_path))

        def sleep(_seconds: float) -> None:
            being_made.close()

        done = forget(db_path, CHOSEN[0], sleep=sleep)
    assert done.log_is_empty
    assert not index_path(db_path).exists()
    index_path(db_path).write_text("something else")
    forget(db_path, Choice(Kind.USER, f"user {KEPT}"))
    assert index_path(db_path).read_text() == "something else"


def test_a_reader_of_an_older_state_keeps_the_log(db_path: Path) -> None:
    """Which is said; the same call, once the reader has ended, cuts it."""
    filled(db_path)
    with reader(db_path) as older:
        older.execute("BEGIN")
        older.execute("SELECT * FROM runs").fetchall()
        done = forget(db_path, CHOSEN[0], sleep=lambda _: None)
        assert (done.runs, done.log_is_empty) == (3, False)
    assert forget(db_path, CHOSEN[0]).log_is_empty
    assert files_with(db_path, SECRET) == []
