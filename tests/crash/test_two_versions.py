"""The released 0.2.0 and this version on one file, at the same time, for real."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.crash import harness
from tests.crash.files import ROOT, assert_sound, count, rows
from tests.crash.harness import PIPE_BYTES, Acknowledged, missing, read_acknowledged
from tests.tools.file_versions import make_newer, parsed_schema
from tests.tools.old_version import install_0_2_0
from tests.tools.patience import PATIENCE_S
from waxlocal.storage.connection import open_writer
from waxlocal.storage.schema import VERSION
from waxlocal.storage.side_file import side_path

pytestmark = pytest.mark.crash

# What a worker does, without the imports of this checkout: `work` needs nothing else.
WORK = f"import os, sys\n{inspect.getsource(harness.work)}\nwork(int(sys.argv[1]), sys.argv[2])\n"
RECORD = """
import sys
from waxlocal import WaxellContext
with WaxellContext(sys.argv[1], session_id="s", user_id="u") as run:
    said = [{"role": "user", "content": "Why?"}]
    run.record_llm_call(model="m", tokens_in=1, tokens_out=2, cost=0.25, full_messages=said)
    run.record_step("step")
    run.record_score("quality", 0.5)
"""
KEY = "wax_sk_test"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python in which waxlocal is 0.2.0."""
    python = install_0_2_0(tmp_path_factory.mktemp("old"))
    said = _run(python, "-c", "import waxlocal; print(waxlocal.__version__)")
    assert said.stdout == "0.2.0\n"
    return python


NEW = Path(sys.executable)


def _environment(python: Path, path: Path | None, **more: str) -> dict[str, str]:
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WAX") and name != "PYTHONPATH"
    }
    if python == NEW:
        plain["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "daemon")))
    return {**plain, **({"WAXLOCAL_DB": str(path)} if path else {}), **more}


def _run(
    python: Path, *arguments: str, path: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [python, *arguments],
        env=_environment(python, path, **env),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def _start_worker(
    python: Path, path: Path, seed: int, before: str = ""
) -> tuple[subprocess.Popen[bytes], int]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = subprocess.Popen(
        [python, "-c", before + WORK, str(writing), str(seed)],
        # What is only in memory is lost by a kill, and a busy machine may hold the file for long.
        env=_environment(python, path, WAXLOCAL_WAIT="60"),
        cwd="/",
        pass_fds=(writing,),
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    return process, reading


def _killed(workers: Sequence[tuple[subprocess.Popen[bytes], int]]) -> tuple[Acknowledged, str]:
    """Kill workers; return what they had acknowledged, and what they said on stderr."""
    acknowledged: Acknowledged = Counter()
    said = ""
    for process, _pipe in workers:
        process.send_signal(signal.SIGKILL)
    for process, pipe in workers:
        with process:
            assert process.wait() == -signal.SIGKILL
            assert process.stderr is not None
            said += process.stderr.read().decode()
        acknowledged += read_acknowledged(pipe)
    return acknowledged, said


def _wait_for_runs(path: Path, agents: int) -> None:
    """Wait until that many processes have ended a run."""
    asked = "SELECT count(DISTINCT process_id) FROM runs WHERE status = 'success'"
    deadline = time.monotonic() + PATIENCE_S
    while (
        not path.exists()
        or not rows(path, "PRAGMA user_version")[0]
        or rows(path, asked)[0] < agents
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _wait_for_more(path: Path, runs: int) -> None:
    """Wait until that many more runs are in the file, of everybody who records into it."""
    wanted = count(path, "runs") + runs
    deadline = time.monotonic() + PATIENCE_S
    while count(path, "runs") < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_old_and_new_record_into_one_file(old: Path, db_path: Path, tmp_path: Path) -> None:
    """The file is upgraded under old programs, more of them come, some are killed: all is kept."""
    open_writer(tmp_path / "fresh.db").close()
    random = Random(3)
    workers = [_start_worker(old, db_path, seed) for seed in range(2)]
    _wait_for_runs(db_path, 2)
    assert rows(db_path, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'") == [0]
    # New processes come, and are killed, perhaps in the middle of the upgrade.
    acknowledged: Acknowledged = Counter()
    for seed in range(10, 16):
        new = _start_worker(NEW, db_path, seed)
        time.sleep(random.uniform(0.0, 0.4))
        more, said = _killed([new])
        acknowledged += more
        assert said == ""
    workers += [_start_worker(python, db_path, 20 + n) for n, python in enumerate((NEW, old, NEW))]
    before = rows(db_path, "SELECT count(DISTINCT process_id) FROM runs WHERE status = 'success'")[
        0
    ]
    _wait_for_runs(db_path, before + 3)
    assert parsed_schema(db_path) == parsed_schema(tmp_path / "fresh.db")
    _wait_for_more(db_path, 500)
    more, said = _killed(workers)
    acknowledged += more
    assert said == ""
    assert missing(db_path, acknowledged) == []
    for python in (old, NEW):
        _run(python, "-c", RECORD, "after", path=db_path)
    assert rows(db_path, "SELECT status FROM runs WHERE agent_name = 'after'") == ["success"] * 2
    assert_sound(db_path)
    assert sorted(entry.name for entry in tmp_path.iterdir() if "side" in entry.name) == []


@contextmanager
def _serving(python: Path, path: Path) -> Iterator[str]:
    """Serve a file with that version; yields the address."""
    command = [python, "-m", "waxlocal", "--db", str(path), "serve", "--port", "0"]
    with subprocess.Popen(
        command,
        env=_environment(python, path),
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        try:
            assert found, said + (process.stderr.read() if process.stderr else "")
            yield found[0]
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


def test_0_2_delivers_and_serves_upgraded_files(old: Path, db_path: Path, tmp_path: Path) -> None:
    """Its uploader, its server and its commands find what they know, whoever recorded it."""
    hub = tmp_path / "hub.db"
    for path in (db_path, hub):
        _run(old, "-c", RECORD, "old", path=path)
        _run(NEW, "-c", RECORD, "new", path=path)
        assert rows(path, "SELECT version, min_writer, min_reader FROM schema_version") == [
            (VERSION, 2, 2)
        ]
    with _serving(old, hub) as url:
        for bulk in ("1", "0"):
            _run(old, "-c", RECORD, f"then {bulk}", path=db_path)
            upload = {"WAXELL_API_URL": url, "WAXELL_API_KEY": KEY, "WAXLOCAL_SYNC_BULK": bulk}
            done = _run(old, "-m", "waxlocal", "sync", "--json", path=db_path, **upload)
            assert json.loads(done.stdout)["pending"] == 0
    assert rows(db_path, "SELECT state, count(*) FROM deliveries GROUP BY state") == [
        ("delivered", 4)
    ]
    assert (count(hub, "runs"), count(hub, "llm_calls"), count(hub, "scores")) == (6, 6, 6)
    for verb in ("sessions", "models", "users", "stats"):
        said = _run(old, "-m", "waxlocal", verb, "--json", path=hub)
        assert json.loads(said.stdout)
    _run(old, "-m", "waxlocal", "prices", "set", "m", "--input", "1", "--output", "2", path=hub)
    assert '"m"' in _run(old, "-m", "waxlocal", "prices", "list", "--json", path=hub).stdout
    for path in (db_path, hub):
        assert_sound(path)
        open_writer(path).close()
        assert parsed_schema(path) == parsed_schema(db_path)


def test_0_2_refuses_a_file_that_needs_a_later_version(old: Path, db_path: Path) -> None:
    """Why `user_version` stays 2: a greater number costs programs of 0.2 all that they record."""
    _run(NEW, "-c", RECORD, "new", path=db_path)
    rows(db_path, "PRAGMA user_version = 3")
    said = _run(old, "-c", RECORD, "old", path=db_path)
    assert "records were lost" in said.stderr
    assert count(db_path, "runs") == 1
    rows(db_path, "PRAGMA user_version = 2")
    _run(old, "-c", RECORD, "old", path=db_path)
    assert count(db_path, "runs") == 2


# A later version of this one, as far as it matters here.
LATER = """
import waxlocal.storage.schema
waxlocal.storage.schema.VERSION = 99
"""
TAKE_IN = """
import os
from pathlib import Path
from waxlocal.maintenance.side_files import take_in_all, waiting
path = Path(os.environ["WAXLOCAL_DB"])
take_in_all(path)
assert waiting(path) == []
"""


def test_a_later_version_and_this_one_record_at_once(db_path: Path) -> None:
    """This one beside the file, the later one into it, taking in as it goes: all is kept."""
    open_writer(db_path).close()
    make_newer(db_path, min_writer=99, min_reader=99)
    workers = [_start_worker(NEW, db_path, 1), _start_worker(NEW, db_path, 2)]
    _wait_for_runs(side_path(db_path), 2)
    workers += [_start_worker(NEW, db_path, seed, LATER) for seed in (3, 4)]
    _wait_for_runs(db_path, 2)
    acknowledged, said = _killed(workers)
    assert len(said.splitlines()) == 2
    assert said.count("needs 99, this one knows") == 2
    _run(NEW, "-c", LATER + TAKE_IN, path=db_path)
    assert missing(db_path, acknowledged) == []
    assert not side_path(db_path).exists()
    assert_sound(db_path)
