"""Recording goes on, on both sides, however a process is copied."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, environment, rows, run_program
from tests.tools.patience import PATIENCE_S
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder
from waxlocal.storage import kept_files

pytestmark = pytest.mark.crash

# From Python 3.12 on a fork beside threads is warned of. These programs do it on purpose.
MEANT = "ignore:This process:DeprecationWarning"


def test_both_sides_of_a_fork_record(db_path: Path) -> None:
    """Parent and child of a fork inside an open run each record all of their runs."""
    done = run_program(
        db_path,
        """
        import os
        from waxlocal import WaxellContext
        with WaxellContext("before", session_id="s"):
            child = os.fork() == 0
            for number in range(100):
                with WaxellContext("child" if child else "parent") as run:
                    run.record_step("step")
            if child:
                os._exit(0)
            os.wait()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    asked = "SELECT agent_name, count(*) FROM runs GROUP BY 1 ORDER BY 1"
    assert rows(db_path, asked) == [("before", 1), ("child", 100), ("parent", 100)]
    lineage = """SELECT count(*) FROM runs c JOIN runs p ON p.workflow_id = c.parent_workflow_id
      WHERE p.agent_name = 'before' AND c.session_id = 's' AND c.run_id > p.run_id"""
    assert rows(db_path, lineage) == [200]
    assert rows(db_path, "SELECT count(DISTINCT process_id) FROM runs") == [2]
    assert_sound(db_path)


def test_both_sides_record_into_the_same_run(db_path: Path) -> None:
    """Records of parent and child into one run meet at every position, and none is lost."""
    done = run_program(
        db_path,
        """
        import os
        from waxlocal import WaxellContext
        with WaxellContext("shared", session_id="s") as run:
            run.record_step("before")
            child = os.fork() == 0
            name = "child" if child else "parent"
            for number in range(150):
                span = run.enter_span(f"{name}-{number}")
                run.record_step(name)
                run.record_llm_call(model="m", tokens_in=1, tokens_out=1, cost=1.0)
                run.set_tag(name, str(number))
                run.record_score(name, number)
                run.exit_span(span, output_data={"of": f"{name}-{number}"})
            if child:
                os._exit(0)
            os.wait()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    tables = ("steps", "llm_calls", "scores", "spans")
    assert [count(db_path, table) for table in tables] == [301, 300, 300, 300]
    asked = "SELECT count(*) FROM spans WHERE status = 'ok' AND json_extract(output, '$.of') = name"
    assert rows(db_path, asked) == [300]
    assert_sound(db_path)


@pytest.mark.parametrize("left_by", ["sys.exit(0)", "raise ValueError", "raise KeyboardInterrupt"])
def test_a_forked_child_thrown_out_of_the_block_does_not_end_the_run(
    db_path: Path, left_by: str
) -> None:
    """Its parent goes on with it."""
    done = run_program(
        db_path,
        f"""
        import os, sys
        from waxlocal import WaxellContext
        child = False
        try:
            with WaxellContext("parent") as run:
                child = not os.fork()
                if child:
                    run.record_step("of the child")
                    {left_by}
                os.wait()
                run.record_step("later")
                run.set_result({{"response": "all is well"}})
        except BaseException:
            if not child:
                raise
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db_path, "SELECT status, error FROM runs") == [("success", None)]
    assert count(db_path, "steps") == 2


WITHIN = {
    "a span": "span_of(run)",
    "a captured tool": "captured('TOOL')",
    "a captured agent": "captured('AGENT')",
}


@pytest.mark.parametrize("within", WITHIN.values(), ids=WITHIN)
def test_a_forked_child_thrown_out_of_a_span_does_not_end_it(db_path: Path, within: str) -> None:
    """The span has the end that its parent gives it, and the run has both records."""
    done = run_program(
        db_path,
        """
        import os
        from contextlib import contextmanager
        from waxlocal import WaxellContext
        from waxlocal.capture.provider import provider

        def captured(kind):
            tracer = provider().get_tracer("openinference.instrumentation.a")
            given = {"openinference.span.kind": kind, "tool.name": "t", "agent.name": "t"}
            return tracer.start_as_current_span("work", attributes=given)

        @contextmanager
        def span_of(run):
            span = run.enter_span("work")
            try:
                yield
            except BaseException as error:
                run.exit_span(span, exc=error)
                raise
            run.exit_span(span)

        with WaxellContext("parent") as run:
            child = False
            try:
                with WITHIN:
                    child = not os.fork()
                    if child:
                        run.record_step("of the child")
                        raise ValueError("child")
                    os.wait()
                    run.record_step("later")
            except ValueError:
                os._exit(0)
        """.replace("WITHIN", within),
    )
    assert (done.returncode, done.stderr) == (0, "")
    ended = "SELECT status, error FROM runs UNION SELECT status, error FROM spans"
    assert rows(db_path, ended) in ([("ok", None), ("success", None)], [("success", None)])
    assert count(db_path, "steps") == 2


def test_a_fork_waits_for_a_recording_thread(db_path: Path) -> None:
    """100 forks beside a thread that records without pause: no hang, nothing lost or inherited."""
    done = run_program(
        db_path,
        """
        import os, sys, threading
        from waxlocal import WaxellContext
        stop = threading.Event()
        recorded = 0
        def record():
            global recorded
            while not stop.is_set():
                with WaxellContext("thread") as run:
                    run.set_tag("a", "b")
                    run.record_step("step")
                recorded += 1
        thread = threading.Thread(target=record)
        thread.start()
        for number in range(100):
            child = os.fork()
            if child == 0:
                fds = "/proc/self/fd"
                names = [os.readlink(f"{fds}/{n}") for n in os.listdir(fds)
                         if os.path.lexists(f"{fds}/{n}")]
                if any(name.startswith(os.environ["WAXLOCAL_DB"]) for name in names):
                    print("inherited", names, file=sys.stderr)
                with WaxellContext("child") as run:
                    run.record_step("step")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        thread.join()
        print(recorded)
        """,
        PYTHONWARNINGS=MEANT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    asked = "SELECT agent_name, count(*) FROM runs GROUP BY 1 ORDER BY 1"
    assert rows(db_path, asked) == [("child", 100), ("thread", int(done.stdout))]
    assert count(db_path, "steps") == 100 + int(done.stdout)
    assert_sound(db_path)


def test_threads_that_fork_at_once_go_on(db_path: Path) -> None:
    """Each fork gives back what it held itself: no hang, no error, nothing lost on any side."""
    done = run_program(
        db_path,
        """
        import os, threading
        from waxlocal import WaxellContext
        def record(name):
            with WaxellContext(name) as run:
                run.record_step("step")
        together = threading.Barrier(8)
        def fork_and_record():
            for _ in range(15):
                together.wait()
                child = os.fork()
                record("child" if child == 0 else "parent")
                if child == 0:
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
        threads = [threading.Thread(target=fork_and_record) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        record("parent")
        """,
        PYTHONWARNINGS=MEANT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    asked = "SELECT agent_name, count(*) FROM runs WHERE status = 'success' GROUP BY 1 ORDER BY 1"
    assert rows(db_path, asked) == [("child", 120), ("parent", 121)]
    assert count(db_path, "steps") == 241
    assert_sound(db_path)


def test_a_fork_beside_open_readers(db_path: Path) -> None:
    """Forks beside threads that read and record: no hang, and all records are kept."""
    done = run_program(
        db_path,
        """
        import os, threading
        from pathlib import Path
        from waxlocal import WaxellContext
        from waxlocal.storage.connection import reader
        from waxlocal.queries import list_sessions
        with WaxellContext("first", session_id="s"):
            pass
        stop = threading.Event()
        def read():
            while not stop.is_set():
                with reader(Path(os.environ["WAXLOCAL_DB"])) as conn:
                    list_sessions(conn)
        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(30):
            with WaxellContext("parent", session_id="s"):
                pass
            child = os.fork()
            if child == 0:
                with WaxellContext("child", session_id="s"):
                    pass
                with reader(Path(os.environ["WAXLOCAL_DB"])) as conn:
                    os._exit(0 if list_sessions(conn) else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        """,
        PYTHONWARNINGS=MEANT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    asked = "SELECT agent_name, count(*) FROM runs GROUP BY 1 ORDER BY 1"
    assert rows(db_path, asked) == [("child", 30), ("first", 1), ("parent", 30)]
    assert_sound(db_path)


def test_a_daemon_goes_on_when_its_parents_are_gone(db_path: Path) -> None:
    """A double fork whose parents exit in the middle of their runs goes on recording."""
    done = run_program(
        db_path,
        """
        import os, sys
        from waxlocal import WaxellContext
        reading, writing = os.pipe()
        with WaxellContext("parent", session_id="s") as outer:
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.close(writing)
                    os.read(reading, 1)  # until both parents are gone
                    for number in range(50):
                        with WaxellContext("daemon") as run:
                            outer.record_step("from the daemon")
                            run.record_step("step")
                    print("done", flush=True)
                    os._exit(0)
                sys.exit(0)
            os.wait()
        """,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert rows(db_path, "SELECT count(*) FROM runs WHERE agent_name = 'daemon'") == [50]
    assert count(db_path, "steps") == 100
    assert_sound(db_path)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(tmp_path: Path, db_path: Path, method: str) -> None:
    """Pools and processes of each start method record beside their parent."""
    script = tmp_path / "program.py"
    script.write_text(
        """
import multiprocessing, sys
from waxlocal import WaxellContext

def work(number):
    with WaxellContext("worker", inputs={"n": number}) as run:
        run.record_step("step")
    return number

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with WaxellContext("parent", session_id="s"):
        with context.Pool(3) as pool:
            for number in pool.imap_unordered(work, range(60)):
                with WaxellContext("own"):
                    pass
            pool.close()
            pool.join()
        process = context.Process(target=work, args=(60,))
        process.start()
        process.join()
        assert process.exitcode == 0
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script), method],
        env=environment(db_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    asked = "SELECT agent_name, count(*) FROM runs WHERE status = 'success' GROUP BY 1 ORDER BY 1"
    assert rows(db_path, asked) == [("own", 60), ("parent", 1), ("worker", 61)]
    workers = "SELECT count(DISTINCT json_extract(inputs, '$.n')) FROM runs"
    assert rows(db_path, workers) == [61]
    assert_sound(db_path)


def test_a_multiprocessing_child_keeps_its_backlog_to_the_end(db_path: Path) -> None:
    """What a locked file kept from a forked worker is written when the worker ends."""
    done = run_program(
        db_path,
        """
        import multiprocessing, os, sqlite3, time
        from waxlocal import WaxellContext
        def work(pipe):
            with WaxellContext("worker") as run:
                pipe.send("locked")
                pipe.recv()
                run.record_step("kept")
            pipe.send("unlock")
            pipe.recv()
        with WaxellContext("parent"):
            pass
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there,))
        process.start()
        here.recv()
        other = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        here.send("go on")
        here.recv()
        other.execute("COMMIT")
        other.close()
        here.send("end")
        process.join()
        """,
        WAXLOCAL_WAIT="0.02",
    )
    assert (done.returncode, "lost" in done.stderr) == (0, False)
    assert rows(db_path, "SELECT count(*) FROM steps") == [1]
    assert rows(db_path, "SELECT status FROM runs WHERE agent_name = 'worker'") == ["success"]


APPLICATION = """
import os
from waxlocal import WaxellContext

with WaxellContext("master", session_id="s") as run:
    run.record_step("loaded")


def application(environ, start_response):
    with WaxellContext("request", session_id="s") as run:
        run.record_llm_call(model="m", tokens_in=1, tokens_out=1)
        run.record_step("answer")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


def test_gunicorn_with_preload(tmp_path: Path, db_path: Path) -> None:
    """A preloaded application records in gunicorn's master and in each of its workers."""
    (tmp_path / "application.py").write_text(APPLICATION, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"]
        command += ["--bind", f"fd://{listening.fileno()}", "--chdir", str(tmp_path)]
        command += ["--worker-tmp-dir", str(tmp_path), "--no-control-socket", "application"]
        server = subprocess.Popen(
            [part for part in command if part != "--no-control-socket" or _has_control_socket()],
            env=environment(db_path),
            pass_fds=(listening.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            workers = {
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S).read()
                for _ in range(60)
            }
        finally:
            server.send_signal(signal.SIGTERM)
            _, said = server.communicate(timeout=PATIENCE_S)
    assert workers
    assert "waxlocal" not in said
    asked = "SELECT agent_name, status, count(*) FROM runs GROUP BY 1, 2 ORDER BY 1"
    assert rows(db_path, asked) == [("master", "success", 1), ("request", "success", 60)]
    assert (count(db_path, "llm_calls"), count(db_path, "steps")) == (60, 61)
    assert rows(db_path, "SELECT count(DISTINCT process_id) FROM runs") == [1 + len(workers)]
    assert_sound(db_path)


def _has_control_socket() -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--help"], capture_output=True, text=True, check=True
    )
    return re.search(r"--no-control-socket\b", done.stdout) is not None


def test_a_subprocess_gets_no_handle_of_the_file(db_path: Path) -> None:
    """A program that is started while recording inherits no descriptor of the file."""
    done = run_program(
        db_path,
        """
        import json, os, subprocess, sys
        from waxlocal import WaxellContext
        code = "import json, os; print(json.dumps([os.readlink(f'/proc/self/fd/{n}')"
        code += " for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')]))"
        with WaxellContext("agent"):
            subprocess.run([sys.executable, "-c", code], close_fds=False)
        """,
    )
    with contextlib.suppress(json.JSONDecodeError):
        assert not [name for name in json.loads(done.stdout) if str(db_path) in name]
    assert done.returncode == 0
    assert os.path.exists(db_path)


def test_a_closed_file_leaves_no_handle(recorder: Recorder, db_path: Path) -> None:
    """Another thread's frame may still hold the cursor; SQLite closes the file all the same."""
    with WaxellContext("agent"):
        pass
    hot = recorder.store._file.hot
    recorder.close()
    kept = set(map(str, kept_files._descriptors.values()))
    handles = [os.readlink(f"/proc/self/fd/{n}") for n in _descriptors() if str(n) not in kept]
    assert not [name for name in handles if name.startswith(str(db_path))]
    with pytest.raises(sqlite3.ProgrammingError):
        hot("SELECT 1")


def _descriptors() -> list[str]:
    return [n for n in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{n}")]
