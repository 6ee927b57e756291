"""Uploads runs by the requests of the original SDK: start, records, end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from waxlocal.clock import utc_text
from waxlocal.delivery.due import Due
from waxlocal.delivery.outbox import Outbox
from waxlocal.delivery.progress import RequestState
from waxlocal.delivery.requests import OUTSIDE, Part, StoredPart, read_part
from waxlocal.errors import StorageError
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire import request_keys
from waxlocal.wire.paths import of_stage
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal_daemon.answers import Answer
from waxlocal_daemon.circuit import Circuit
from waxlocal_daemon.connection import Request
from waxlocal_daemon.device import hardware_uuid
from waxlocal_daemon.doubts import Doubts, Whose
from waxlocal_daemon.job import Job, SentPart, within
from waxlocal_daemon.log import Log
from waxlocal_daemon.outside_events import STAGE, planned_events
from waxlocal_daemon.plan import (
    MAX_ITEMS,
    has_start,
    planned,
    start_part,
)
from waxlocal_daemon.replacements import (
    divided,
    with_cut_values,
    with_new_key,
    without_state,
)
from waxlocal_daemon.verdicts import Action, Verdict, is_of_content

__all__ = ["SingleRequests"]

# Runs taken in hand together; see `within`, too.
RUNS_AT_ONCE = 16
# A larger request has a connection to itself.
JOINING_BYTES = 16 * 1024
# How often a run is started at a server that forgets it each time.
MOST_STARTS = 3
# A body of no more bytes that is too large for a server is so for reasons of its own.
ANY_SERVER_TAKES = 64 * 1024


class SingleRequests:
    """The runs in hand, and what is sent of each next; for one thread."""

    def __init__(
        self,
        outbox: Outbox,
        circuit: Circuit,
        doubts: Doubts,
        settings: UploadSettings,
        log: Log,
        at: Callable[[str], None],
    ) -> None:
        self._outbox = outbox
        self._circuit = circuit
        self._doubts = doubts
        self._settings = settings
        self._log = log
        self._at = at
        self._hand: dict[str, Job] = {}
        # Runs of which nothing could be sent just now: not taken in hand again at once.
        self._set_back: set[str] = set()
        self._uuid = hardware_uuid() if settings.send_hardware_uuid else ""

    def requests(self, room: int, *, begun: bool) -> Iterator[Request]:
        """Give up to `room` requests that may leave now.

        `begun`: only of runs some of whose requests were made before.
        """
        self._take_events()
        self._set_back.clear()
        for job in list(self._hand.values()):
            for request in self._of(job, room):
                room -= 1
                yield request
            if room <= 0:
                return
        while room > 0 and (jobs := self._take(begun, room)) is not None:
            for job in jobs:
                for request in self._of(job, room):
                    room -= 1
                    yield request

    def _of(self, job: Job, room: int) -> Iterator[Request]:
        for part in job.ready()[:room]:
            job.in_flight.add((part.stage, part.part))
            yield self._request(job, part)

    def _request(self, job: Job, part: Part) -> Request:
        about = SentPart(job.due.run_id, part, utc_text(self._outbox.clock.time_ns()))
        headers = (
            ("Content-Type", "application/json"),
            (request_keys.HEADER, part.idempotency_key),
        )
        path, body = of_stage(part.stage, job.due.remote_run_id or ""), part.body or b""
        # The response to a start says what the other requests of its run are about.
        joins = part.stage != "start" and len(body) <= JOINING_BYTES
        return Request("POST", path, body, headers, about, joins=joins)

    # -- taking runs in hand --------------------------------------------------------------------

    def _take(self, begun: bool, room: int) -> list[Job] | None:
        """Take the next runs in hand, with all their requests written down; None if none is due."""
        most = RUNS_AT_ONCE if room > 1 else 1
        found = self._outbox.due(
            most,
            horizon=self._circuit.horizon(),
            but=self._hand.keys() | self._set_back,
            begun=begun,
            troubled=self._circuit.troubled,
        )
        chosen = within(found)
        if not chosen:
            return None
        run_ids = [due.run_id for due in chosen]
        self._outbox.mark_sending(run_ids)
        self._at("marked")
        # All the thinking first: who records must not wait for it.
        loaded = self._loaded(run_ids)
        stored = self._outbox.stored(run_ids)
        made = [
            self._job(due, loaded[due.run_id], stored[due.run_id])
            for due in chosen
            if due.run_id in loaded
        ]
        jobs = [job for job in made if job is not None]
        with self._outbox.together():
            self._outbox.freeze({job.due.run_id: job.new for job in jobs})
            self._hand.update((job.due.run_id, job) for job in jobs)
            self._drop_idle(jobs)
        self._at("frozen")
        return jobs

    def _take_events(self) -> None:
        """Take the next events outside any run in hand, in whatever way runs are sent."""
        outbox = self._outbox
        if OUTSIDE in self._hand or (due := outbox.due_events(self._circuit.horizon())) is None:
            return
        outbox.mark_sending([OUTSIDE])
        job = Job(due)
        with outbox.together():
            waiting = outbox.waiting_parts(OUTSIDE)
            rows = [] if waiting else outbox.take_events(MAX_ITEMS)
            job.new = planned_events(rows, outbox.next_part(OUTSIDE, STAGE))
            outbox.freeze({OUTSIDE: job.new})
            job.parts = {(part.stage, part.part): part for part in waiting + job.new}
            self._hand[OUTSIDE] = job
            self._drop_idle([job])
        self._at("frozen")

    def _loaded(self, run_ids: list[str]) -> dict[str, RecordedRun]:
        try:
            return {run.run["run_id"]: run for run in self._outbox.load(run_ids)}
        except StorageError:
            raise
        except Exception as error:  # text that is not valid, for example: find out whose
            if len(run_ids) > 1:
                return {k: v for one in run_ids for k, v in self._loaded([one]).items()}
            self._park(run_ids[0], f"cannot be read: {error}")
            return {}

    def _job(self, due: Due, run: RecordedRun, stored: list[StoredPart]) -> Job | None:
        """Return a run with its requests; None if none can be made of it, and it is set aside."""
        job = Job(due)
        try:
            self._plan(job, run, [read_part(*columns) for columns in stored])
        except StorageError:
            raise
        except Exception as error:  # a row that somebody else wrote: the other runs go on
            self._park(due.run_id, f"cannot be sent: {type(error).__name__}: {error}")
            return None
        return job

    def _plan(self, job: Job, run: RecordedRun, parts: list[Part]) -> None:
        """Find the requests that wait from before, and make those that are missing."""
        due, outbox = job.due, self._outbox
        if any(not request_keys.fits(part.idempotency_key) for part in parts):
            raise ValueError("a key that no header can carry")
        if any(part.state == RequestState.PARKED for part in parts) and (
            refused := outbox.refused(due.run_id)
        ):
            job.parked = "{}: {}".format(*refused)
            if refused[0] == "start" and not has_start(parts):
                return  # nothing of a run that the server does not know
        start = start_part(run, due, parts)
        job.new = [start] if start else []
        # Children are listed with the ids that the server gave them, events name its workflow, and
        # what has changed since the start was made goes to another waxlocal only.
        job.waits = (due.remote_run_id is None and (bool(run.events) or start is None)) or (
            bool(run.delegates) and outbox.children_wait(due.run_id)
        )
        if not job.waits:
            children: list[ChildRun] = []
            remote_ids: dict[str, str] = {}
            if due.remote_workflow_id:
                remote_ids[run.run["workflow_id"]] = due.remote_workflow_id
            if run.delegates:
                children = outbox.load_children(run.run["workflow_id"])
                remote_ids |= outbox.remote_ids_of_children(due.run_id)
            job.new += planned(
                run,
                children,
                remote_ids,
                parts,
                of_waxlocal=due.of_waxlocal,
                hardware_uuid=self._uuid,
            )
        waiting = [part for part in parts if part.state == RequestState.WAITING]
        job.parts = {(part.stage, part.part): part for part in waiting + job.new}

    # -- settling -------------------------------------------------------------------------------

    def take_back(self, about: SentPart) -> None:
        """Have a request that got no answer sent again when it may leave; in a transaction."""
        if job := self._hand.get(about.run_id):
            job.in_flight.discard((about.part.stage, about.part.part))
            self._drop_idle([job])

    def settle(self, about: SentPart, answer: Answer, verdict: Verdict) -> Verdict:
        """Write down what an answer means for its run; within a transaction."""
        job, part = self._hand[about.run_id], about.part
        key = (part.stage, part.part)
        job.in_flight.discard(key)
        key_used = verdict.action is Action.NEW_KEY
        verdict, instead = self._instead(job, part, answer, verdict)
        if verdict.action is Action.PARK and not instead and not key_used:
            verdict = self._in_doubt(job, part, answer, verdict)
        state = _STATES[verdict.action]
        self._outbox.note_attempt(
            about.run_id, part, state, answer.status, verdict.reason, about.sent_at
        )
        if state != RequestState.WAITING:
            del job.parts[key]
        if verdict.action is Action.DELIVERED:
            self._accepted(job, part, verdict)
        elif verdict.action is Action.PARK:
            if answer.status == 404 and self._may_begin_anew(job, part):
                job.unknown, job.failure = True, verdict.reason
            else:
                self._refused(job, part, verdict, instead)
        elif instead:
            self._make(job, instead)
        elif verdict.action is Action.PAUSE:
            job.stopped = True
        else:
            job.failure = verdict.reason
        self._drop_idle([job])
        return verdict

    def _in_doubt(self, job: Job, part: Part, answer: Answer, verdict: Verdict) -> Verdict:
        """Return a refusal as it is if it is the run's, else as a failure: see `Doubts`."""
        too_large = answer.status == 413 and len(part.body or b"") > ANY_SERVER_TAKES
        # A hub says in JSON that it does not know a run; a proxy in front of it knows none.
        lost = answer.status == 404 and not verdict.foreign and _is_of_known_run(job, part)
        if too_large or lost:
            return verdict
        whose = self._doubts.settle(job.due.run_id, part, read=is_of_content(answer, verdict))
        if whose is Whose.RUN:
            return verdict
        return Verdict(Action.RETRY, verdict.reason, of_nobody=whose is Whose.UNKNOWN_STILL)

    def _accepted(self, job: Job, part: Part, verdict: Verdict) -> None:
        run_id = job.due.run_id
        self._doubts.accept(run_id, part)
        if part.stage == "start":
            remote, workflow = verdict.body["run_id"], verdict.body.get("workflow_id")
            workflow = workflow if isinstance(workflow, str) and workflow else None
            job.due = job.due._replace(remote_run_id=remote, remote_workflow_id=workflow)
            self._outbox.note_started(run_id, remote, workflow)
        elif job.due.failures:
            job.due = job.due._replace(failures=0)
            self._outbox.forgive(run_id)

    def _instead(
        self, job: Job, part: Part, answer: Answer, verdict: Verdict
    ) -> tuple[Verdict, list[Part]]:
        """Return the requests that go in place of one, and what the answer means with them."""
        too_large = answer.status == 413
        if not too_large and verdict.action not in (Action.NEW_KEY, Action.SPLIT):
            return verdict, []
        instead, names = self._replacement(job, part, verdict, too_large=too_large)
        if names:
            reason = f"{verdict.reason}; all else was sent, with a part of: {', '.join(names)}"
            verdict = Verdict(Action.PARK, reason)
        elif not instead:
            verdict = verdict._replace(action=Action.PARK)
        elif verdict.action is Action.PARK:
            verdict = verdict._replace(action=Action.SPLIT)
        return verdict, instead

    def _replacement(
        self, job: Job, part: Part, verdict: Verdict, *, too_large: bool
    ) -> tuple[list[Part], list[str]]:
        """Return the requests that go in place of one, and the names of the values cut in them."""
        run_id, of_waxlocal = job.due.run_id, job.due.of_waxlocal
        number = self._outbox.next_part(run_id, part.stage)
        instead: list[Part] = []
        if verdict.action is Action.NEW_KEY:
            instead = with_new_key(run_id, part, number)
        elif too_large:
            instead = without_state(run_id, part, number, of_waxlocal=of_waxlocal)
        if not instead and verdict.action is Action.SPLIT:
            instead = divided(run_id, part, number, of_waxlocal=of_waxlocal)
        # A run that has begun, with cut values, is not begun a second time.
        begun = part.stage == "start" and job.due.remote_run_id is not None
        if not instead and too_large and not begun:
            return with_cut_values(run_id, part, number, of_waxlocal=of_waxlocal)
        return instead, []

    def _make(self, job: Job, parts: list[Part]) -> None:
        """Write requests down, and have them sent with the others of the run."""
        self._outbox.freeze({job.due.run_id: parts})
        job.parts.update(((part.stage, part.part), part) for part in parts)

    def _may_begin_anew(self, job: Job, part: Part) -> bool:
        """Return whether a run can be sent from its start again to a server that has lost it.

        To another waxlocal, where a run has the id that it has here: nothing is doubled. Any other
        server may have kept what it had accepted of the run.
        """
        known = _is_of_known_run(job, part)
        return known and self._outbox.next_part(job.due.run_id, "start") < MOST_STARTS

    def _refused(self, job: Job, part: Part, verdict: Verdict, instead: list[Part]) -> None:
        """Set the run aside once all else of it has gone; `instead`: what goes of this request."""
        run_id = job.due.run_id
        job.parked = f"{part.stage}: {verdict.reason}"
        self._log.event(
            "parked", level="warning", run_id=run_id, stage=part.stage, reason=verdict.reason
        )
        if instead:
            self._make(job, instead)
        elif part.stage == "start" and job.due.remote_run_id is None:
            job.parts.clear()  # nothing of a run that the server does not know

    def _drop_idle(self, jobs: list[Job]) -> None:
        """Let go of runs with nothing in flight and nothing to send."""
        for job in jobs:
            if not job.in_flight and not job.ready():
                self._hand.pop(job.due.run_id, None)
                self._let_go(job)

    def _let_go(self, job: Job) -> None:
        run_id, outbox = job.due.run_id, self._outbox
        if job.unknown:
            outbox.begin_anew(run_id)
        if job.failure:
            slot = self._circuit.postponed(job.due.failures + 1)
            outbox.postpone(run_id, self._circuit.text(slot.at), job.failure)
            return
        if job.stopped or (job.waits and run_id != OUTSIDE):
            outbox.release(run_id)
            self._set_back.add(run_id)
            return
        self._doubts.forget(run_id)
        if run_id == OUTSIDE:
            # What is parked of them stays so by itself: it holds up none that come later.
            outbox.deliver(OUTSIDE)
            outbox.admit_events()
        elif job.parked and not (job.due.running and job.due.remote_run_id):
            outbox.set_aside(run_id, job.parked)
        elif job.due.running:  # its end is to follow, whatever else the server refuses of it
            again = self._circuit.now() + self._settings.open_after
            outbox.leave_open(run_id, self._circuit.text(again))
        else:
            outbox.deliver(run_id)

    def _park(self, run_id: str, reason: str) -> None:
        self._outbox.park(run_id, reason)
        self._log.event("parked", level="warning", run_id=run_id, reason=reason)

    def release(self) -> None:
        """Let go of all runs; what was not answered is sent again another time."""
        for run_id in self._hand:
            self._outbox.release(run_id)
        self._hand.clear()


_STATES = {
    Action.DELIVERED: RequestState.DELIVERED,
    Action.RETRY: RequestState.WAITING,
    Action.PAUSE: RequestState.WAITING,
    Action.SPLIT: RequestState.REPLACED,
    Action.NEW_KEY: RequestState.REPLACED,
    Action.PARK: RequestState.PARKED,
}


def _is_of_known_run(job: Job, part: Part) -> bool:
    """Return whether a request is about a run of which another waxlocal accepted the start."""
    return job.due.of_waxlocal and part.stage not in ("start", STAGE)
