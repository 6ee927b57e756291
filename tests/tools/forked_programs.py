"""Runs programs in forks of one process that has loaded the libraries they need.

To start Python and load a large library takes longer than most programs of tests then run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.tools.patience import killed_if_late
from tests.tools.sdk_programs import program_environment

__all__ = ["Programs", "loaded_with"]

# A fork leaves the loop: it ends as any program does, with all that is to be done at exit.
_FORKING = """
import importlib, json, os, sys
for _name in sys.argv[1:]:
    importlib.import_module(_name)
for _line in sys.stdin:
    _asked = json.loads(_line)
    if not (_child := os.fork()):
        break
    print(os.waitstatus_to_exitcode(os.waitpid(_child, 0)[1]), flush=True)
else:
    sys.exit()
for _stream, _place in enumerate(_asked["streams"], 1):
    os.dup2(os.open(_place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), _stream)
os.environ["WAXLOCAL_DB"] = _asked["db"]
exec(_asked["code"])
"""


class Programs:
    """The process with the libraries; runs one program after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, code: str, db: Path) -> str:
        """Run a program that records into the file; return what it printed, all of it on stdout."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        streams = [db.with_name("stdout"), db.with_name("stderr")]
        request = {"code": code, "db": str(db), "streams": [str(one) for one in streams]}
        with killed_if_late(self._process):
            self._process.stdin.write(f"{json.dumps(request)}\n")
            self._process.stdin.flush()
            status = self._process.stdout.readline()
        said, complained = (one.read_text() for one in streams)
        assert (status, complained) == ("0\n", "")
        return said


@contextmanager
def loaded_with(modules: Sequence[str], path: Sequence[Path] = ()) -> Iterator[Programs]:
    """Start the process, with these directories first on the programs' path."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _FORKING, *modules],
        env=program_environment(path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Programs(process)
