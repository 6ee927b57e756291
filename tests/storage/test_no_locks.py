"""A file system without locks, as NFS is where its lock service does not run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.files import run_program
from tests.tools.cli import recorded, spawn
from waxlocal.storage.lock_support import has_no_locks

# What takes the place of the system's functions: each lock is refused with ENOLCK.
SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>
static int as_asked(int file, int command, void *argument) {
    if (command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK) {
        errno = ENOLCK;
        return -1;
    }
    return syscall(SYS_fcntl, file, command, argument);
}
#define FCNTL(name) int name(int file, int command, ...) { \
    va_list rest; \
    va_start(rest, command); \
    void *argument = va_arg(rest, void *); \
    va_end(rest); \
    return as_asked(file, command, argument); \
}
FCNTL(fcntl)
FCNTL(fcntl64)
int flock(int file, int operation) {
    errno = ENOLCK;
    return -1;
}
"""


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a library that takes the locks away, for LD_PRELOAD."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler for Linux")
    place = tmp_path_factory.mktemp("no-locks")
    source, library = place / "no_locks.c", place / "no_locks.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


@pytest.mark.parametrize(
    "command",
    [
        ("sessions",),
        ("serve", "--port", "0"),
        ("sync", "--api-url", "http://127.0.0.1:9"),
        ("daemon", "status"),
        ("prices", "set", "m", "--input", "1", "--output", "1"),
    ],
)
def test_a_command_names_what_is_missing(
    db_path: Path, preloaded: str, command: tuple[str, ...]
) -> None:
    """SQLite says "locked", the lock of the upload a bare errno: both are told as what they are."""
    with recorded(db_path) as to:
        to.run("s")
    given = {"HOME": str(db_path.parent), "WAXELL_API_KEY": "wax_sk_none"}
    done = spawn("--db", db_path, *command, LD_PRELOAD=preloaded, **given)
    assert done.returncode == 6
    assert f"Error: {db_path}: its file system has no locks" in done.stderr
    assert "Try: use a local disk: WAXLOCAL_DB=" in done.stderr
    assert not [one for one in os.listdir(db_path.parent) if ".locks-" in one]


def test_a_program_that_records_says_it_and_goes_on(db_path: Path, preloaded: str) -> None:
    """What it could not write is told at its end, once."""
    done = run_program(
        db_path,
        """
        from waxlocal import WaxellContext
        with WaxellContext("agent", session_id="s") as run:
            run.record_step("step")
        print("went on")
        """,
        LD_PRELOAD=preloaded,
        WAXLOCAL_WAIT="0.1",
    )
    assert done.stdout == "went on\n"
    assert f"{db_path}: its file system has no locks; runs are kept in memory" in done.stderr
    assert "records were lost" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="all of its file systems have locks")
def test_where_a_lock_was_had_nobody_looks_again(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a lock that lasts, each record that is refused asks why."""
    assert not has_no_locks(db_path)

    def opened(*_args: object) -> int:
        raise AssertionError("it looked again")

    monkeypatch.setattr(os, "open", opened)
    assert not has_no_locks(db_path)
