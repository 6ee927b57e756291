"""The one run of a whole process, for programs that begin none: `WAXELL_AGENT_NAME`."""

from __future__ import annotations

import atexit
import os
import sys

from waxlocal.ids import workflow_id_of
from waxlocal.records import RunStatus
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import outermost

__all__ = ["begin_process_run"]

# Taken by whoever begins it: `pop` is done by one thread alone.
_to_begin = [True]


def begin_process_run() -> None:
    """Begin the run that `WAXELL_AGENT_NAME` asks for, once in a process; it ends at exit.

    All threads and forked children record into it what is outside any other run, and other runs
    are its children, also those of processes that this one starts. Its workflow is
    `WAXELL_WORKFLOW`, or `agent`. A process that is killed leaves it interrupted.
    """
    name = os.environ.get("WAXELL_AGENT_NAME", "").strip()
    if not name or not _to_begin:
        return
    _to_begin.pop()
    run = WaxellContext(name, os.environ.get("WAXELL_WORKFLOW", "").strip() or "agent")
    run._open(None)
    if not run._run_id:  # recording is switched off
        return
    outermost.run = run
    parent = workflow_id_of(run._run_id)
    os.environ["WAXELL_PARENT_WORKFLOW_ID"] = parent
    os.environ["WAXELL_ROOT_WORKFLOW_ID"] = run._root_id or parent
    # Runs before that of the recorder, which ends what is left open as interrupted.
    atexit.register(_end, run, os.getpid())


def _end(run: WaxellContext, process: int) -> None:
    if os.getpid() != process:  # a forked child: it is the parent's to end
        return
    outermost.run = None
    _write_what_was_said(run)
    # Python keeps there what ended the program, once it has printed it.
    error = getattr(sys, "last_value", None)
    if error is None or hasattr(sys, "ps1"):
        run._close(RunStatus.SUCCESS)
    else:
        run._close_with(type(error), error, error.__traceback__)


def _write_what_was_said(run: WaxellContext) -> None:
    """Write what its calls were asked and answered, unless the program has said it."""
    if outermost.asked is not None and not run.inputs:
        run._set_late_inputs({"message": outermost.asked})
    if outermost.answered is not None and not run._result_json:
        run._set_result({"response": outermost.answered})
