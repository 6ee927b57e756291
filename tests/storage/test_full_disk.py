"""A disk without a free byte, or mounted `ro`: what is in the file is read, priced and served."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNSHARED = ["unshare", "--mount", "--map-root-user"]
SCRIPT = """
set -e
mount -t tmpfs -o size=6m none {there}
export WAXLOCAL_DB={there}/waxlocal.db HOME={home} PYTHONPATH={path}
{python} -c '{record}'
dd if=/dev/zero of={there}/fill bs=1k 2>/dev/null || true
set +e
{command}
"""
RECORD = """
from waxlocal import WaxellContext
for number in range(30):
    with WaxellContext("a", session_id=f"s{number % 3}") as run:
        run.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=100)
"""
# A server that is asked while the disk is full, and again once it is not and more has come.
SERVED = """
import subprocess, sys, os, json, urllib.request
from pathlib import Path
server = subprocess.Popen([sys.executable, "-m", "waxlocal", "serve", "--port", "0"],
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
address = server.stdout.readline().strip()
def sessions():
    with urllib.request.urlopen(address + "api/v1/observability/sessions/") as answer:
        return json.loads(answer.read())["count"]
print(sessions())
os.unlink(Path(os.environ["WAXLOCAL_DB"]).with_name("fill"))
from waxlocal import WaxellContext
for number in range(4):
    with WaxellContext("a", session_id=f"later{number}"):
        pass
print(sessions())
server.terminate()
print(server.communicate()[1])
"""

# One whose file may only be read: a question, and what a program wants to record.
READ_ONLY = """
import subprocess, sys, json, urllib.error, urllib.request
server = subprocess.Popen([sys.executable, "-m", "waxlocal", "serve", "--port", "0"],
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
address = server.stdout.readline().strip()
with urllib.request.urlopen(address + "api/v1/observability/sessions/") as answer:
    print(json.loads(answer.read())["count"])
start = urllib.request.Request(address + "api/v1/observe/runs/start/", b'{"agent_name": "a"}',
    {"Content-Type": "application/json"})
try:
    urllib.request.urlopen(start)
except urllib.error.HTTPError as refused:
    print(refused.code)
server.terminate()
print(server.communicate()[1])
"""


def _on_a_full_disk(tmp_path: Path, command: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("unshare") or subprocess.run([*UNSHARED, "true"], check=False).returncode:
        pytest.skip("this user may not mount")
    there = tmp_path / "disk"
    there.mkdir()
    script = SCRIPT.format(
        there=there,
        home=tmp_path,
        path=os.pathsep.join(sys.path),
        python=sys.executable,
        record=RECORD,
        command=command,
    )
    return subprocess.run(
        [*UNSHARED, "sh", "-c", script], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("sessions --csv", "s2,"),
        ("sql 'SELECT count(*) AS runs FROM runs' --csv", "30"),
        ("stats", "$0.105"),
        ("models", "gpt-4o"),
        ("session s1", "10 turns"),
        ("sync status", "30 runs, none uploaded yet"),
    ],
)
def test_commands_read_what_is_there(tmp_path: Path, asked: str, said: str) -> None:
    """With the costs that could not be written down."""
    done = _on_a_full_disk(tmp_path, f"{sys.executable} -m waxlocal {asked}")
    assert done.returncode == 0
    assert "full" not in done.stderr
    assert said in done.stdout


def test_the_server_serves_what_is_there_and_then_what_comes(tmp_path: Path) -> None:
    """It says that it takes nothing in; and sees what is written once there is space."""
    done = _on_a_full_disk(tmp_path, f"{sys.executable} -c '{SERVED}'")
    assert done.stdout.splitlines()[:2] == ["3", "7"]
    assert "the disk is full; it is read, and takes nothing in" in done.stdout


def test_a_volume_that_may_only_be_read_is_served(tmp_path: Path) -> None:
    """As a container has it with `:ro`; what would be recorded gets 503."""
    program = tmp_path / "served.py"
    program.write_text(READ_ONLY)
    command = f"mount -o remount,ro {tmp_path}/disk; {sys.executable} {program}"
    done = _on_a_full_disk(tmp_path, command)
    assert done.stdout.startswith("3\n503\n"), done.stderr
    assert "it is read, and takes nothing in" in done.stdout


def test_a_file_that_cannot_be_made_is_not_served(tmp_path: Path) -> None:
    """Where the volume has none."""
    command = (
        f"mount -o remount,ro {tmp_path}/disk; "
        f"{sys.executable} -m waxlocal --db {tmp_path}/disk/none.db serve --port 0"
    )
    done = _on_a_full_disk(tmp_path, command)
    assert done.returncode == 5
    assert "none.db does not exist" in done.stderr
