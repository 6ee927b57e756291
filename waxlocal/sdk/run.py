"""One run on its way into the file: its beginning, its place among other runs, its end.

`WaxellContext` and the low-level client give it the SDK's faces. All methods are silent when the
run is not being recorded (before its beginning, or with `WAXELL_OBSERVE=false`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

from waxlocal.clock import stored_ns, utc_text
from waxlocal.encode import dumps
from waxlocal.errors import PolicyViolationError
from waxlocal.ids import foreign_trace_id, trace_id_of, workflow_id_of
from waxlocal.known_types import name_of_type
from waxlocal.recording.recorder import current_recorder
from waxlocal.recording.statements import (
    BEGIN_ELSEWHERE,
    BEGIN_RUN,
    FINISH_RUN,
    RUN_SO_FAR,
)
from waxlocal.records import NOT_FINAL_STATUSES, RunStatus, mode_of
from waxlocal.sdk.exception_text import formatted, printed
from waxlocal.sdk.run_records import FORK_POSITIONS, RunRecords
from waxlocal.sdk.scope import current_scope, outermost, remote_parent, still_open
from waxlocal.sdk.stops import is_stop
from waxlocal.storage.record_sql import ELSEWHERE_METADATA

if TYPE_CHECKING:
    from waxlocal.sdk.context import WaxellContext

__all__ = ["Run", "captured", "entered"]


class Captured:
    """What `capture` does with a call that the program hands over by hand.

    `claim(run, call)` merges it into the same call as it was captured, and returns whether there is
    one. None as long as nothing was captured in this process: then it costs nothing.
    """

    __slots__ = ("claim",)

    def __init__(self) -> None:
        self.claim: Callable[[Run, dict[str, Any]], bool] | None = None


captured = Captured()


class Run(RunRecords):
    """One run: its start and its end are on disk when their methods return."""

    __slots__ = (
        "_agent_name",
        "_captured",
        "_inputs_json",
        "_interaction_mode",
        "_outer",
        "_root_id",
        "_session_id",
        "_steady_ns",
        "_trace_id",
        "_user_group",
        "_user_id",
        "_workflow_name",
    )

    def __init__(
        self,
        agent_name: str,
        workflow_name: str = "default",
        inputs: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        session_id: str = "",
        user_id: str = "",
        user_group: str = "",
        interaction_mode: str = "",
    ) -> None:
        self._agent_name = agent_name
        self._workflow_name = workflow_name
        self._recorder = recorder = current_recorder()
        self._inputs_json = self._metadata_json = None
        if inputs and recorder.enabled and recorder.capture_content:
            self._inputs_json = dumps(inputs)
        if metadata and recorder.enabled:
            self._metadata_json = dumps(metadata)
        self._metadata = None
        # SQLite's JSON functions end a text at NUL, and the queries look up ids with them.
        self._session_id = session_id.replace("\0", "\ufffd") if "\0" in session_id else session_id
        self._user_id = user_id.replace("\0", "\ufffd") if "\0" in user_id else user_id
        self._user_group = user_group
        self._interaction_mode = interaction_mode
        self._tags = self._tags_json = self._result_json = None
        self._early = []
        self._attributes_dirty = False
        self._ended = False
        # The calls that instrumentations have reported of this run.
        self._captured: object = None
        # The run around the one that is open.
        self._outer: WaxellContext | None = None
        self._run_id = ""
        self._generation = 0
        self._positions = count(1)

    # -- beginning and end ----------------------------------------------------------------------

    def _open(self, outer: WaxellContext | None, started_ns: int = 0) -> None:
        """Begin a run inside another one; until it is closed it is found by its id."""
        self._outer = outer
        self._begin(outer, started_ns)
        if self._run_id:
            entered[self._run_id] = self

    def _begin(self, parent: WaxellContext | None, started_ns: int = 0) -> None:
        """Write the start of a run; what is not given comes from around it.

        `started_ns`: since when it goes on, in nanoseconds since 1970; by default from now on.
        """
        recorder = current_recorder()
        self._recorder = recorder
        if not recorder.enabled:
            return
        started_ns = started_ns or recorder.clock.time_ns()
        run_id = recorder.ids.next(started_ns)
        self._trace_id = trace_id_of(run_id)
        parent_id = root_id = ""
        if parent is None:
            parent = outermost.run
        if parent is not None or remote_parent is not None or current_scope.get() is not None:
            parent_id, root_id = self._inherit(parent)
        if recorder.grouped:
            self._take_over(recorder.settings.session_id, recorder.settings.user_id)
        self._write_start(run_id, started_ns, parent_id, root_id)

    def _begin_alone(self, trace_id: str, parent_id: str, root_id: str) -> None:
        """Write the start of a run with exactly this lineage; nothing comes from around it.

        Session and user may come from the settings, as for any run.
        """
        self._recorder = recorder = current_recorder()
        if not recorder.enabled:
            return
        started_ns = recorder.clock.time_ns()
        run_id = recorder.ids.next(started_ns)
        self._trace_id = trace_id or trace_id_of(run_id)
        if recorder.grouped:
            self._take_over(recorder.settings.session_id, recorder.settings.user_id)
        self._write_start(run_id, started_ns, parent_id, root_id)

    def _write_start(self, run_id: str, started_ns: int, parent_id: str, root_id: str) -> None:
        recorder = self._recorder
        store = recorder.store
        self._started_ns = started_ns
        # Beside the wall time, so that the two agree: the first run of a process opens the file.
        self._steady_ns = recorder.clock.monotonic_ns()
        self._root_id = root_id
        if self._attributes_dirty:
            self._join_attributes()
            if not recorder.capture_content:
                self._result_json = None
        store.look_around(started_ns)
        row = (
            run_id,
            self._agent_name,
            self._workflow_name,
            self._session_id or None,
            self._user_id or None,
            self._user_group or None,
            parent_id or None,
            root_id or None,
            self._trace_id,
            self._interaction_mode
            or recorder.settings.interaction_mode
            or mode_of(self._session_id),
            store.process_id,
            utc_text(started_ns),
            self._metadata_json,
            self._inputs_json if recorder.capture_content else None,
        )
        # Before it is written: a signal handler may strike that, and somebody is to end the run.
        self._run_id = run_id
        self._generation = recorder.generation
        recorder.open_runs[run_id] = self._steady_ns, row
        store.write(BEGIN_RUN, row)
        if self._early:
            self._write_early()

    def _begin_again(self) -> None:
        """Write the start once more: a signal handler has struck the first time."""
        known = self._recorder.open_runs.get(self._run_id)
        if known is not None:
            self._recorder.store.write(BEGIN_RUN, known[1])
            entered[self._run_id] = self

    def _attach(self, run_id: str) -> None:
        """Go on with a run that another process began, or another part of this one."""
        self._recorder = recorder = current_recorder()
        if recorder.enabled:
            self._run_id = run_id
            self._generation = recorder.generation
            self._started_ns = recorder.clock.time_ns()
            self._steady_ns = recorder.clock.monotonic_ns()
            known = recorder.store.fetch(RUN_SO_FAR, (run_id,))
            self._positions = count(self._first_position(known))
            if not known:
                self._begin_elsewhere()
            for row in known:
                self._go_on(*row)

    def _first_position(self, known: list[tuple[Any, ...]]) -> int:
        """Return where this process begins to count, given what the file has of the run.

        If another process is recording into the run, far away from it: where the two met, a span of
        that process would be moved while it is open. Its end would find nothing, and what is inside
        it would lie in another span.
        """
        store = self._recorder.store
        first = store.next_position(self._run_id)
        for _start, status, *_, process in known:
            if status == RunStatus.RUNNING and process not in (None, store.process_id):
                first += FORK_POSITIONS * os.getpid()
        return first

    def _go_on(
        self,
        start: str,
        status: str,
        metadata: str | None,
        tags: str | None,
        result: str | None,
        _process: int | None,
    ) -> None:
        """Go on from what the file has of the run."""
        # One that its process only left behind may still be completed by another.
        self._ended = status not in NOT_FINAL_STATUSES
        # The steady clock of another process is not ours: go by the wall clock. A start that is not
        # a valid time (any program may have written the row) counts as now.
        if (started_ns := stored_ns(start)) is not None:
            self._steady_ns -= max(self._started_ns - started_ns, 0)
            self._started_ns = started_ns
        self._metadata_json, self._tags_json, self._result_json = metadata, tags, result
        self._tags = _object(tags)

    def _look_for_start(self) -> None:
        """Go on from the start if it has come since: the end would write over what it says."""
        if self._metadata_json == ELSEWHERE_METADATA:
            for row in self._recorder.store.fetch(RUN_SO_FAR, (self._run_id,)):
                self._go_on(*row)

    def _begin_elsewhere(self) -> None:
        """Write a run of which only the id is known, so that its records can be found and sent."""
        row = {
            "run_id": self._run_id,
            "trace_id": foreign_trace_id(self._run_id),
            "started_at": utc_text(self._started_ns),
        }
        self._recorder.store.write(BEGIN_ELSEWHERE, row)
        self._metadata_json = ELSEWHERE_METADATA

    def _inherit(self, parent: Run | None) -> tuple[str, str]:
        """Take session and user from what is nearest around; return the lineage."""
        scope = current_scope.get()
        remote = None
        # The blocks inside the run around are nearer than that run, which took over what was
        # around it when it began.
        while scope is not None and (
            parent is None or parent is outermost.run or still_open(scope.inside) is parent
        ):
            if not scope.ended:
                self._take_over(scope.session_id, scope.user_id)
                remote = remote or scope.remote_parent
            scope = scope.outer
        if parent is not None:
            self._take_over(parent._session_id, parent._user_id)
            if parent._run_id:
                self._trace_id = parent._trace_id
                parent_id = workflow_id_of(parent._run_id)
                return parent_id, parent._root_id or parent_id
        remote = remote or remote_parent
        return ("", "") if remote is None else remote

    def _take_over(self, session_id: str, user_id: str) -> None:
        self._session_id = self._session_id or session_id
        self._user_id = self._user_id or user_id

    def _close(self, status: str, *error: str, at: tuple[int, int] | None = None) -> None:
        """Write the end of a run that was opened; the arguments are those of `_finish`."""
        entered.pop(self._run_id, None)
        self._finish(status, *error, at=at)

    def _close_with(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the end of a run that was opened: that of the exception that left it, if any.

        `kind` alone: nothing was raised, and nobody wanted the rest.
        """
        if kind is None or error is None:
            self._close(RunStatus.SUCCESS if kind is None else RunStatus.CANCELLED)
            return
        if self._run_id not in self._recorder.open_runs:
            # A forked child is thrown out of the block: the run goes on, and ends, in its parent.
            entered.pop(self._run_id, None)
            self._ended = True
            return
        words = printed(error), name_of_type(kind), formatted(kind, error, traceback)
        self._close(_status_after(kind, error), *words)

    def _finish(
        self,
        status: str,
        error: str = "",
        error_type: str = "",
        traceback: str = "",
        *,
        at: tuple[int, int] | None = None,
    ) -> float | None:
        """Write the end, unless it has been written; return the duration in seconds.

        `at`: when it ended, by default now; in nanoseconds since 1970, and on the steady clock. The
        first end stays: a `finally` that completes a run must not undo its `except`. One that a
        signal handler strikes may be written again.
        """
        if self._ended:
            return None
        run_id = self._run_id
        if not run_id:
            self._ended = True
            return None
        recorder = self._recorder
        clock = recorder.clock
        ended_ns, steady_ns = at or (clock.time_ns(), clock.monotonic_ns())
        duration = (steady_ns - self._steady_ns) / 1e9
        if ended_ns < self._started_ns:  # a wall clock that was set back
            ended_ns = self._started_ns
        if self._attributes_dirty:
            self._take_attributes()
        if error or traceback:
            error, traceback = self._words(error), self._words(traceback)
        recorder.store.write(
            FINISH_RUN,
            (
                status,
                utc_text(ended_ns),
                duration,
                error or None,
                error_type or None,
                traceback or None,
                self._metadata_json,
                self._tags_json,
                self._result_json or None,
                run_id,
            ),
        )
        self._ended = True
        recorder.open_runs.pop(run_id, None)  # if a signal handler raised before: ended at exit
        return duration


# The runs of this process that were opened, by id. Whoever records by id, in whatever thread, goes
# on with the same object: a second one would count positions, keep tags and end the run beside it.
entered: dict[str, Run] = {}


def _status_after(kind: type[BaseException], error: BaseException) -> str:
    """Return the status of a run that an exception left."""
    if issubclass(kind, PolicyViolationError):
        return RunStatus.BLOCKED
    return RunStatus.CANCELLED if is_stop(error) else RunStatus.ERROR


def _object(json: str | None) -> dict[str, Any] | None:
    if not json:
        return None
    from json import loads

    return dict(loads(json))
