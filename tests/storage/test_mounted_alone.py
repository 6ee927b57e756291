"""A file that is mounted without its directory, as in a container, is told of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from waxlocal.storage.paths import mounted_alone

# A file of another file system at a path of this one.
SCRIPT = """
set -e
mkdir {there} {disk}
mount -t tmpfs none {disk}
touch {disk}/waxlocal.db {there}/waxlocal.db
mount --bind {disk}/waxlocal.db {there}/waxlocal.db
export WAXLOCAL_DB={there}/waxlocal.db
{python} -c 'import waxlocal
for _ in range(3):
    with waxlocal.WaxellContext("a"): pass' 2>&1
{python} -m waxlocal doctor
"""


def test_the_recorder_and_doctor_tell_of_a_file_that_is_mounted_alone(tmp_path: Path) -> None:
    """Once, with what to do instead."""
    unshared = ["unshare", "--mount", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*unshared, "true"], check=False).returncode:
        pytest.skip("this user may not mount")
    there = tmp_path / "there"
    script = SCRIPT.format(there=there, disk=tmp_path / "disk", python=sys.executable)
    done = subprocess.run(
        [*unshared, "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("mounted without its directory") == 2
    assert f"Try: mount the directory, {there}" in done.stdout


def test_other_files_are_not_told_of(tmp_path: Path) -> None:
    """Nor is one that does not exist yet."""
    (tmp_path / "here.db").touch()
    (tmp_path / "link.db").symlink_to("here.db")
    for name in ("here.db", "link.db", "none.db"):
        assert not mounted_alone(tmp_path / name)
