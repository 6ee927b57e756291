"""Runs by their ids, for programs that start a run in one place and go on with it in another."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.ids import daily_run_id, trace_id_of, workflow_id_of
from waxlocal.known_types import is_a
from waxlocal.process import current_process
from waxlocal.recording.recorder import current_recorder
from waxlocal.recording.statements import STARTED_AT
from waxlocal.records import ENDED_STATUSES, RunStatus
from waxlocal.sdk.arguments import checked, need, need_dict, need_items, plain_text
from waxlocal.sdk.run import Run, entered
from waxlocal.sdk.run_records import note_outside
from waxlocal.sdk.scope import run_here, unplaced
from waxlocal.storage.record_sql import BEGIN_DAILY_RUN

if TYPE_CHECKING:  # at run time inside the methods: dataclasses cost 15 ms to import
    from waxlocal.sdk.types import DailyRunInfo, RunCompleteResult, RunInfo

__all__ = ["RunsById", "add_step", "result_of"]

# Runs that were started and not completed; the oldest are let go and taken up again by id.
MAX_OPEN_RUNS = 10_000

Json = dict[str, Any]
T = TypeVar("T")


@checked("WaxellObserveClient")
class RunsById:
    """Starts and completes runs, and finds them again; see `WaxellObserveClient`."""

    # Of the process, not of a client: programs make a client wherever they need one.
    _open: ClassVar[dict[str, Run]] = {}

    async def start_run(
        self,
        agent_name: str,
        workflow_name: str = "default",
        inputs: Json | None = None,
        metadata: Json | None = None,
        trace_id: str = "",
        user_id: str = "",
        user_group: str = "",
        session_id: str = "",
        parent_workflow_id: str = "",
        root_workflow_id: str = "",
        pre_execution_evaluations: list[Any] | None = None,
        agent_slug: str = "",
        agent_id: str = "",
        interaction_mode: str = "",
    ) -> RunInfo:
        """Start a run; it is on disk when this returns.

        It has the session and the parent that it is given: neither `session()` nor the run that is
        open here. Complete it by `complete_run`, from any thread or process; a process that exits
        before that leaves it `interrupted`. Where recording is off, all ids are empty.
        """
        from waxlocal.sdk import types

        for name, value in (("agent_name", agent_name), ("session_id", session_id)):
            need(name, value, str)
        run = Run(
            plain_text(agent_name),
            plain_text(workflow_name, "default"),
            need_dict("inputs", inputs),
            need_dict("metadata", metadata),
            plain_text(session_id),
            plain_text(user_id),
            plain_text(user_group),
            plain_text(interaction_mode),
        )
        lineage = (trace_id, parent_workflow_id, root_workflow_id)
        run._begin_alone(*map(plain_text, lineage))
        if not run._run_id:
            return types.RunInfo("", "", "")
        self._remember(run)
        return types.RunInfo(run._run_id, workflow_id_of(run._run_id), utc_text(run._started_ns))

    def start_run_sync(self, **kwargs: Any) -> RunInfo:
        """Do the same as `start_run`, at once; takes its arguments by keyword."""
        return result_of(self.start_run(**kwargs))

    async def complete_run(
        self,
        run_id: str,
        result: Json | None = None,
        status: str = RunStatus.SUCCESS,
        error: str = "",
        error_type: str = "",
        traceback: str = "",
        steps: list[Any] | None = None,
        trace_id: str = "",
        root_span_id: str = "",
        conversation_state: Json | None = None,
    ) -> RunCompleteResult:
        """End a run: with one of `ENDED_STATUSES`; any other status is `error`.

        A run that has ended keeps its end; `steps` and `result` are recorded all the same.
        """
        result = need_dict("result", result)
        run = self._run(run_id)
        for step in need_items("steps", steps):
            add_step(run, step)
        self._keep_conversation(run, conversation_state)
        run._look_for_start()
        if result:
            run._set_result(result)
        status = plain_text(status)
        known = status if status in ENDED_STATUSES else RunStatus.ERROR
        duration = run._finish(known, *map(plain_text, (error, error_type, traceback)))
        self._open.pop(run._run_id, None)
        from waxlocal.sdk import types

        return types.RunCompleteResult(run_id, duration)

    def complete_run_sync(self, **kwargs: Any) -> RunCompleteResult:
        """Do the same as `complete_run`, at once; takes its arguments by keyword."""
        return result_of(self.complete_run(**kwargs))

    async def start_daily_run(
        self, agent_slug: str, agent_type: str = "mcp", date: str | None = None
    ) -> DailyRunInfo:
        """Return the run that collects this agent's records of a day; it is started if needed.

        All processes of a host get the same run. `date` is a text such as `2026-01-31`, else today
        in UTC. The run is never completed.
        """
        from waxlocal.sdk import types

        recorder = current_recorder()
        now = utc_text(recorder.clock.time_ns())
        day = date or now[:10]
        if not recorder.enabled:
            return types.DailyRunInfo("", "", "", day, False)
        run_id = daily_run_id(current_process().host, agent_type, agent_slug, day)
        created = not recorder.store.fetch(STARTED_AT, (run_id,))
        row = {
            "run_id": run_id,
            "agent_name": agent_slug,
            "trace_id": trace_id_of(run_id),
            "started_at": now,
            "metadata": dumps({"agent_type": agent_type, "date": day}),
        }
        recorder.store.write(BEGIN_DAILY_RUN, row)
        for (began,) in recorder.store.fetch(STARTED_AT, (run_id,)):
            now = began
        return types.DailyRunInfo(run_id, workflow_id_of(run_id), now, day, created)

    def start_daily_run_sync(self, **kwargs: Any) -> DailyRunInfo:
        """Do the same as `start_daily_run`, at once; takes its arguments by keyword."""
        return result_of(self.start_daily_run(**kwargs))

    def _remember(self, run: Run) -> None:
        if len(self._open) >= MAX_OPEN_RUNS:
            self._open.pop(next(iter(self._open)), None)
        self._open[run._run_id] = run

    def _run(self, run_id: str) -> Run:
        """Return a run by its id, also one that another process began, or that nobody has begun."""
        need("run_id", run_id, str)
        # SQLite's JSON functions, by which the upload finds runs, end a text at NUL.
        run_id = run_id.replace("\0", "\ufffd")
        around = run_here()
        if around is not None and run_id and around._run_id == run_id:
            return around
        run = entered.get(run_id) or self._open.get(run_id)
        if run is None:
            run = Run("")
            if run_id:
                run._attach(run_id)
                self._remember(run)
            elif run._recorder.enabled:
                unplaced("WaxellObserveClient, given an empty run_id,")
        return run

    def _keep_conversation(self, run: Run, state: Json | None) -> None:
        state = need_dict("conversation_state", state)
        if state:
            texts = tuple(name for name, value in state.items() if not is_a(value, int, float))
            run._add_event("conversation_state", state, content=texts)

    def _note(self, event: str, data: Json, run_id: str = "") -> None:
        """Record an event in a run, else in the one that is open, else outside any."""
        run = self._run(run_id) if run_id else run_here()
        if run is not None:
            run._add_event(event, data)
            return
        note_outside(current_recorder(), event, data)


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine of the client returns, at once: none of them ever waits.

    So the methods that are not async work with an event loop running, too.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise RuntimeError("a method of the client waited for something")


def add_step(run: Run, step: Any) -> None:
    """Record one step: a dict with `step_name` (or `name`), or what stands for the name alone."""
    step = step if is_a(step, dict) else {"step_name": step}
    name = plain_text(step.get("step_name")) or plain_text(step.get("name")) or "step"
    run._add_step(name, step.get("kind") or "chain", step.get("output"))
