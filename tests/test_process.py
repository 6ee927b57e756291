"""Telling a process that has ended from one that lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.files import rows, run_program, start_program
from waxlocal import process
from waxlocal.process import Life, ProcessIdentity, current_process, is_gone, life_of
from waxlocal.queries import get_run
from waxlocal.storage.connection import reader

IDENTITY = """
import json
from waxlocal.process import current_process
print(json.dumps(current_process()), flush=True)
input()
"""


def _child(path: Path) -> tuple[subprocess.Popen[str], ProcessIdentity]:
    import json

    child = start_program(path, IDENTITY)
    assert child.stdout
    return child, ProcessIdentity(*json.loads(child.stdout.readline()))


LISTENING = """
import socket
from waxlocal.process import is_server

socket.setdefaulttimeout(5)
(far, near), waiting = socket.socketpair(), socket.socket()
waiting.bind(("127.0.0.1", 0))
now = iter(range(0, 1000, 2))
said = [is_server(lambda: next(now))]
waiting.listen()
said.append(is_server(lambda: 0.0))  # nobody looks again within a second
said.append(is_server(lambda: next(now)))
waiting.close()
said.append(is_server(lambda: next(now)))
far.settimeout(None)
print(said, far.getblocking(), near.gettimeout())
"""


def test_a_process_with_a_socket_that_listens_is_a_server(db_path: Path) -> None:
    """And stays one; to ask changes none of its sockets."""
    child = start_program(db_path, LISTENING)
    assert child.communicate()[0] == "[False, False, True, True] True 5.0\n"


def test_this_process_lives() -> None:
    """A process knows that it has not ended."""
    assert not is_gone(current_process())


def test_another_process_lives_until_it_ends(db_path: Path) -> None:
    """A child is there while it runs and gone when it has ended."""
    child, identity = _child(db_path)
    assert not is_gone(identity)
    child.communicate("\n")
    assert is_gone(identity)


def test_a_zombie_is_gone(db_path: Path) -> None:
    """A process that was killed and not yet waited for can end no run."""
    child, identity = _child(db_path)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(identity)
    child.communicate()


def test_a_number_given_again_is_another_process() -> None:
    """The same number with another start is not the process that had it."""
    assert is_gone(current_process()._replace(started="1"))


def test_another_boot_ended_everything() -> None:
    """No process lives longer than its machine is up."""
    assert is_gone(current_process()._replace(boot_id="11111111-2222-3333-4444-555555555555"))


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"host": "another", "pid": 2**22},
        {"host": "another", "boot_id": "another"},
        {"pid_namespace": "pid:[1]", "pid": 2**22},
    ],
)
def test_what_cannot_be_known_is_not_gone(elsewhere: dict[str, object]) -> None:
    """Of other machines and other containers nothing is claimed."""
    assert not is_gone(current_process()._replace(**elsewhere))  # type: ignore[arg-type]


def test_a_process_that_proc_hides_may_be_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `hidepid`, those of other users are not listed; their numbers are not free."""
    hidden = current_process()._replace(pid=1)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr("waxlocal.process._started", lambda _pid: None)
    assert life_of(hidden) == Life.UNKNOWN
    assert life_of(hidden._replace(pid=ended.pid)) == Life.GONE


def test_a_process_lives_for_one_that_has_no_file_descriptor_left() -> None:
    """It cannot read the start mark, and has to go by the number."""
    program = """
import os, resource
from waxlocal.process import current_process, life_of
this = current_process()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
print(life_of(this), life_of(this._replace(pid=2**22)))
"""
    if sys.platform == "linux":
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout == "alive gone\n"


def test_without_a_start_mark_the_number_decides() -> None:
    """Where the system tells no start, a process is gone when its number is free."""
    assert not is_gone(current_process()._replace(started=""))
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_gone(current_process()._replace(started="", pid=child.pid))
    assert not is_gone(current_process()._replace(started="", pid=1))


def test_each_process_introduces_itself(db_path: Path) -> None:
    """A run names the process that made it, and that names its program."""
    run_program(db_path, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    (found,) = rows(db_path, "SELECT p.* FROM runs JOIN processes p USING (process_id)")
    identity = ProcessIdentity(*found[1:6])
    assert identity.host == current_process().host
    assert identity.boot_id == current_process().boot_id
    assert identity.pid != os.getpid()
    assert is_gone(identity)
    assert found[6] == "-c"
    assert process.current_process().pid == os.getpid()


@pytest.mark.parametrize(
    ("end", "status", "error_type"),
    [
        ("sys.exit(3)", "error", "SystemExit"),
        ("raise KeyboardInterrupt", "cancelled", "KeyboardInterrupt"),
        ("sys.exit(0)", "cancelled", "SystemExit"),
        ("raise ValueError('x')", "error", "ValueError"),
        ("globals().update(kept=run); entered.pop_all()", None, None),
    ],
)
def test_a_program_that_ends_inside_a_run(
    db_path: Path, end: str, status: str | None, error_type: str | None
) -> None:
    """What leaves the block as an exception ends the run; a run left open is interrupted."""
    run_program(
        db_path,
        f"""
        import sys
        from contextlib import ExitStack
        from waxlocal import WaxellContext
        with ExitStack() as entered:
            run = entered.enter_context(WaxellContext("agent", session_id="s"))
            run.record_step("step")
            {end}
        """,
    )
    expected = (status or "interrupted", error_type or "Interrupted")
    ((run_id, *found),) = rows(
        db_path, "SELECT run_id, status, error_type, completed_at, duration FROM runs"
    )
    assert tuple(found[:2]) == expected
    assert found[2] is not None
    assert found[3] >= 0
    failed = int(expected[0] != "cancelled")
    assert rows(db_path, "SELECT open_runs, failed_runs FROM sessions") == [(0, failed)]
    with reader(db_path) as conn:
        assert get_run(conn, run_id).run.status == expected[0]


def test_a_terminated_program_leaves_its_run_running(db_path: Path) -> None:
    """SIGTERM ends a program without a word; answers show its open run as interrupted."""
    program = start_program(
        db_path,
        """
        from waxlocal import WaxellContext
        with WaxellContext("agent", session_id="s"):
            print("open", flush=True)
            input()
        """,
    )
    assert program.stdout
    program.stdout.readline()
    (run_id,) = rows(db_path, "SELECT run_id FROM runs WHERE status = 'running'")
    with reader(db_path) as conn:
        assert get_run(conn, run_id).run.status == "running"
    program.send_signal(signal.SIGTERM)
    program.communicate()
    assert rows(db_path, "SELECT status FROM runs") == ["running"]
    with reader(db_path) as conn:
        assert get_run(conn, run_id).run.status == "interrupted"


def test_a_run_left_open_in_another_file_is_ended_too(tmp_path: Path, db_path: Path) -> None:
    """After a change of the file, runs that are open in the first are still ended at exit."""
    other = tmp_path / "other.db"
    done = run_program(
        db_path,
        f"""
        from waxlocal import WaxellContext
        from waxlocal.recording.recorder import configure
        run = WaxellContext("first")
        run.__enter__()
        configure(db={str(other)!r})
        with WaxellContext("second"):
            pass
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db_path, "SELECT agent_name, status FROM runs") == [("first", "interrupted")]
    assert rows(other, "SELECT agent_name, status FROM runs") == [("second", "success")]
