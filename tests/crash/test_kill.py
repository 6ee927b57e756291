"""kill -9 at any moment loses nothing that had returned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, environment, rows, run_program, start_program
from tests.crash.harness import PROMISES, kill_cycle, missing, start_worker
from tests.tools.file_versions import old_file, parsed_schema
from waxlocal.queries import get_run
from waxlocal.storage.connection import open_writer, reader

pytestmark = pytest.mark.crash

# Of each durability. `make crash` asks for many more.
CYCLES = int(os.environ.get("KILL_CYCLES", "20")) // 2
# Of each version of a file, killed at moments of these milliseconds.
CREATIONS = max(6, CYCLES // 10)
CREATION_S = 0.007


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_kill_loses_nothing_acknowledged(db_path: Path, durability: str) -> None:
    """Workers killed while recording: all that they acknowledged is stored, totals included."""
    first = int.from_bytes(os.urandom(4), "big")
    print(f"seeds {first} to {first + CYCLES - 1}")
    open_writer(db_path).close()  # kills while the tables are made are below
    acknowledged = 0
    for seed in range(first, first + CYCLES):
        before = count(db_path, "runs")
        killed = kill_cycle(db_path, seed, WAXLOCAL_DURABILITY=durability)
        assert missing(db_path, killed) == []
        runs = sum(kind == "run" for kind, _ in killed)
        assert count(db_path, "runs") - before - runs in (0, 1)
        acknowledged += sum(killed.values())
        assert_sound(db_path)
    assert acknowledged > CYCLES


def test_nothing_unacknowledged_is_stored_twice(db_path: Path) -> None:
    """A kill leaves at most one record that was not acknowledged."""
    open_writer(db_path).close()
    killed = kill_cycle(db_path, 20_260_131)
    promised = sum(n for (kind, _), n in killed.items() if kind not in ("end", "run"))
    stored = sum(count(db_path, table) for table in ("llm_calls", "steps", "spans", "scores"))
    assert stored - promised in (0, 1)


def test_open_runs_of_the_killed_are_shown_interrupted(db_path: Path) -> None:
    """A run whose process was killed is `running` in the file and `interrupted` in answers."""
    run_program(
        db_path,
        """
        import os, signal
        from waxlocal import WaxellContext
        with WaxellContext("agent", session_id="s") as run:
            run.record_step("begun")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    (run_id,) = rows(db_path, "SELECT run_id FROM runs WHERE status = 'running'")
    with reader(db_path) as conn:
        assert get_run(conn, run_id).run.status == "interrupted"


def test_acknowledgements_are_complete() -> None:
    """The harness knows what to look for after each kind of acknowledgement."""
    assert set(PROMISES) == {"run", "call", "step", "span", "tool", "score", "end"}


def test_kill_while_the_schema_is_created(tmp_path: Path) -> None:
    """Workers that meet at a new file and are killed at once leave a file that works."""
    for cycle in range(6):
        path = tmp_path / str(cycle) / "waxlocal.db"
        workers = [start_worker(path, number) for number in range(4)]
        for _, reading in workers:
            os.read(reading, 8)
        time.sleep(0.002 * cycle)
        for process, _ in workers:
            process.kill()
        for process, reading in workers:
            process.wait()
            os.close(reading)
        done = run_program(
            path,
            """
            from waxlocal import WaxellContext
            with WaxellContext("after"): pass
            """,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert rows(path, "SELECT status FROM runs WHERE agent_name = 'after'") == ["success"]
        assert_sound(path)


CREATE = """
import os, sys
from pathlib import Path
from waxlocal.storage.connection import open_writer
from waxlocal.errors import FileLocked
sys.stdin.read()
os.write(1, b"r")
while True:
    try:
        open_writer(Path(os.environ["WAXLOCAL_DB"])).close()
        break
    except FileLocked:
        pass
"""


@pytest.mark.parametrize("version", [0, 1, 2])
def test_kill_while_a_file_is_made_or_upgraded(tmp_path: Path, version: int) -> None:
    """A process killed within those milliseconds leaves one version whole, never a half."""
    whole: list[object] = [{}]
    for known in (1, 2):
        old_file(tmp_path / f"v{known}.db", known)
        whole.append(parsed_schema(tmp_path / f"v{known}.db"))
    open_writer(tmp_path / "new.db").close()
    whole.append(parsed_schema(tmp_path / "new.db"))
    for cycle in range(CREATIONS):
        path = tmp_path / f"{cycle}.db"
        if version:
            old_file(path, version)
        process = subprocess.Popen(
            [sys.executable, "-c", CREATE],
            env=environment(path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        process.stdin.close()  # type: ignore[union-attr]
        process.stdout.read(1)  # type: ignore[union-attr]
        time.sleep(CREATION_S * cycle / CREATIONS)
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
        if path.exists():
            assert parsed_schema(path) in whole
        run_program(path, "from waxlocal import WaxellContext as C\nwith C('after'): pass")
        assert parsed_schema(path) == whole[-1]
        assert rows(path, "SELECT count(*) FROM runs WHERE agent_name = 'after'") == [1]
        assert_sound(path)


@pytest.mark.parametrize("then", ["run.record_step('next')", "run.flush_sync()"])
def test_attributes_are_written_with_the_next_record_or_flush(db_path: Path, then: str) -> None:
    """Tags, metadata and result survive a kill after the next record, or after flush()."""
    run_program(
        db_path,
        f"""
        import os, signal
        from waxlocal import WaxellContext
        with WaxellContext("agent") as run:
            run.set_tag("colour", "red")
            run.set_metadata("size", 7)
            run.set_result({{"answer": 42}})
            {then}
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert rows(db_path, "SELECT tags, metadata, result FROM runs") == [
        ('{"colour":"red"}', '{"size":7}', '{"answer":42}')
    ]


def test_reading_in_the_recording_process_costs_no_record(db_path: Path) -> None:
    """A reader that opens and closes the file beside the recorder drops none of its locks."""
    done = run_program(
        db_path,
        """
        import os, signal, subprocess, sys
        from pathlib import Path
        from waxlocal import WaxellContext
        from waxlocal.storage.connection import reader, writer
        from waxlocal.queries import list_sessions
        path = Path(os.environ["WAXLOCAL_DB"])
        for number in range(60):
            with WaxellContext("agent", session_id="s") as run:
                run.record_step("one")
            with reader(path) as conn:
                list_sessions(conn)
            if number % 10 == 0:
                with writer(path) as conn:
                    conn.execute("DELETE FROM model_prices")
        # Whoever closes the file last removes its WAL, and must see the recorder's lock.
        code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        code += "c.execute('SELECT count(*) FROM runs').fetchall(); c.close()"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        with WaxellContext("agent", session_id="s") as run:
            run.record_step("one")
        os.write(1, b"done")
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert done.stdout == "done"
    assert (count(db_path, "runs"), count(db_path, "steps")) == (61, 61)
    assert_sound(db_path)


def test_another_reader_costs_a_recorder_nothing(db_path: Path) -> None:
    """Readers of other processes come and go beside a recorder that is then killed."""
    process = start_program(
        db_path,
        """
        import sys
        from waxlocal import WaxellContext
        for line in sys.stdin:
            with WaxellContext("agent"): pass
            print("ok", flush=True)
        """,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    for number in range(1, 11):
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ok\n"
        assert count(db_path, "runs") == number
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert count(db_path, "runs") == 10
