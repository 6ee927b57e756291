"""The write side: every record is one committed statement, and nothing is dropped on the way.

A `Store` owns the process's one writing connection (`open_file`) behind one lock. A record that
meets a locked file waits a bounded while (`slow_path`); what still cannot be written goes to a
bounded backlog in memory, and from there into the file with the next record, by a thread that lives
only as long as there is a backlog, or at exit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from waxlocal.clock import SYSTEM_CLOCK, Clock, monotonic
from waxlocal.recording.apart_threads import ApartThreads
from waxlocal.recording.attempt import free_position
from waxlocal.recording.backlog import Backlog
from waxlocal.recording.backlog_thread import BacklogThread
from waxlocal.recording.forks import ForkGate, follow_forks
from waxlocal.recording.notices import Notices, say
from waxlocal.recording.open_file import OpenFile, cold
from waxlocal.recording.slow_path import SlowPath
from waxlocal.recording.transactions import Bound, Parameters, Unit
from waxlocal.storage.checkpoint import LONG_BYTES, LOOK_S
from waxlocal.storage.record_sql import Statement

__all__ = ["Store"]

T = TypeVar("T")

# A record call that meets a locked or full file waits at most this long; where others get on, up to
# `attempt.PATIENT_S` more.
WAIT_S = 1.0
# At exit the backlog is worth a little patience; a program that hangs at its end is not.
EXIT_WAIT_S = 2.0
# Writers that never rest take the lock from each other by luck, and the unlucky wait for 0.1 s and
# more. One that found the file locked a moment ago (`slow_path.CROWD_S`), and writes without a
# pause, rests for so long at each look at the log: of eight the slowest call takes half the time.
COURTESY_S = 0.000_2
# How often a record looks whether the file is still the one that was opened.
CHECK_NS = 1_000_000_000


class Store:
    """The writing half of one file, for all threads of this process.

    `write` and `write_together` return when their statements are committed (`durability="full"`:
    and synced to the disk) or kept in the backlog. They raise nothing but what a signal handler of
    the program raises meanwhile. Safe from any thread and over `fork`: before a fork the connection
    is closed, and parent and child each open their own with their next record. Safe from signal
    handlers and finalizers, too: what they record in the middle of another record is written right
    after that one.

    `starts` gives the starts of the runs that are open. They are written once more when another
    file has taken the place of the one that was recorded into.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str = "normal",
        wait: float = WAIT_S,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], None] = time.sleep,
        backlog: Backlog | None = None,
        starts: Callable[[], Iterable[Unit]] = tuple,
    ) -> None:
        self.path = path
        self.wait = wait
        self.backlog = Backlog() if backlog is None else backlog
        self._sleep = sleep
        self._clock = clock
        self._starts = starts
        # What is to be said as soon as the lock is free.
        self._notices = Notices()
        self._file = OpenFile(
            path,
            durability=durability,
            clock=clock,
            on_copying=lambda copying: self._apart.note(copying),
            notice=self._notices.append,
            sleep=sleep,
        )
        self.prices = self._file.prices
        self._begin_process()
        follow_forks(self)

    def _begin_process(self) -> None:
        """Take the state of a process that has recorded nothing yet: a new one, or a fork's child.

        The file has it already.
        """
        # Reentrant: a signal handler or a finalizer may record while this thread is recording.
        self._lock = threading.RLock()
        self._gate = ForkGate(self._lock)
        self._writing = False
        self._later: list[Unit] = []
        # When the log's size is looked at next.
        self._look_at = 0.0
        self._apart = ApartThreads(self._lock, write_kept=self._write_kept, leave=self._leave)
        self._drainer = BacklogThread(
            self._lock,
            waits=lambda: bool(self.in_memory),
            drain=lambda forget: self._alone(lambda: self._slow.drain(monotonic(), forget), False),
            close=self.close,
        )
        self._slow = SlowPath(
            self._file,
            self.backlog,
            self._notices,
            wait=lambda: self.wait,
            rest=self._rest,
            on_kept=self._drainer.start,
        )
        self._checked_ns = 0
        self.process_id = self._file.process_id

    @property
    def is_held_here(self) -> bool:
        """Whether this thread is recording: then a signal handler or a finalizer asks."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]

    @property
    def file(self) -> Path:
        """Where records go now: `path`, or the file beside it if that needs a later waxlocal."""
        return self._file.current

    @property
    def in_memory(self) -> int:
        """How many units are only in memory though the calls that recorded them have returned."""
        return len(self.backlog) + len(self._later)

    # -- the hot path ---------------------------------------------------------------------------

    def write(self, statement: Statement, parameters: Parameters) -> None:
        """Execute one statement and commit it."""
        if self._apart and self._apart.has_this():
            self._later.append(((statement, parameters),))
            return
        waits = True
        try:
            with self._lock:
                waits = False
                if self._writing:
                    self._later.append(((statement, parameters),))
                    return
                try:  # no `finally`: see `_use`
                    try:
                        self._writing = True
                        self._file.hot(statement.sql, parameters)
                    except BaseException as error:
                        self._slow.unsettled = ((statement, parameters),)
                        try:
                            self._slow.not_written(((statement, parameters),), error)
                        except RecursionError:  # no frame is left, and a call would need one
                            self._file.hot = cold
                            self._later += [((statement, parameters),)]
                            self._slow.unsettled = None
                            self._writing = False
                            return
                    self._writing = False
                except BaseException:
                    self._writing = False
                    if self._slow.unsettled is not None:  # struck before it was kept
                        self._later += [self._slow.unsettled]
                        self._slow.unsettled = None
                    raise
                if monotonic() > self._look_at:
                    self._use(self._look_at_log, ((statement, parameters),))
                if self._later:
                    self._write_later()
        except BaseException:
            if waits:  # a signal handler has struck
                self._leave_to_others(((statement, parameters),))
            raise
        if self._notices:
            self.say_notices()

    def write_together(self, *unit: Bound) -> None:
        """Execute several statements in one transaction."""
        if self._apart and self._apart.has_this():
            self._later.append(unit)
            return
        waits = True
        try:
            with self._lock:
                waits = False
                if self._writing:
                    self._later.append(unit)
                    return
                try:
                    hot = self._file.hot
                    try:
                        self._writing = True
                        hot("BEGIN IMMEDIATE")
                        for statement, parameters in unit:
                            hot(statement.sql, parameters)
                        hot("COMMIT")
                    except BaseException as error:
                        self._slow.unsettled = unit
                        try:
                            self._slow.not_written(unit, error)
                        except RecursionError:  # as in `write`
                            self._file.hot = cold
                            self._later += [unit]
                            self._slow.unsettled = None
                            self._writing = False
                            return
                    self._writing = False
                except BaseException:
                    self._writing = False
                    if self._slow.unsettled is not None:  # struck before it was kept
                        self._later += [self._slow.unsettled]
                        self._slow.unsettled = None
                    raise
                if monotonic() > self._look_at:
                    self._use(self._look_at_log, unit)
                if self._later:
                    self._write_later()
        except BaseException:
            if waits:  # as in `write`
                self._leave_to_others(unit)
            raise
        if self._notices:
            self.say_notices()

    # -- everything else ------------------------------------------------------------------------

    def look_around(self, now_ns: int) -> None:
        """Notice a replaced file and new prices; a cheap comparison most of the times.

        Called with the start of a run, and after records. A deleted or moved file would go on
        accepting rows that nobody can reach; after a second every record goes to a new file.
        """
        if self._is_due(now_ns):
            self._alone(lambda: self._look_around(now_ns), None)

    def _is_due(self, now_ns: int) -> bool:
        return not -CHECK_NS < now_ns - self._checked_ns < CHECK_NS

    def _look_around(self, now_ns: int, written: Sequence[Unit] = ()) -> None:
        """Look around; where the file was replaced, write again what the new one must have.

        That is the start of each open run, for nobody finds records without it, and what was
        `written` a moment ago, into a file that perhaps nobody has any more.
        """
        self._checked_ns = now_ns
        if self._file.look_around(now_ns):
            self._later[:0] = [*self._starts(), *written]

    def _look_at_log(self, written: Unit) -> None:
        """Copy the log back if it is long, and look around, after a unit was written.

        What signal handlers record meanwhile is kept apart.
        """
        self._gate.let_pass(self._file.close, self._sleep)
        if self._file.log is not None:
            self._file.log.look(LONG_BYTES)
        now = monotonic()
        without_pause = now - self._look_at < LOOK_S / 2
        if without_pause and now < self._slow.crowded_until and not self.backlog:
            self._sleep(COURTESY_S)
        if self._is_due(now_ns := self._clock.time_ns()):
            self._look_around(now_ns, [written])
        self._look_at = monotonic() + LOOK_S

    def _write_kept(self) -> None:
        if self._later:
            self._alone(lambda: None, None)

    def _leave(self) -> None:
        """Begin anew beside a thread that has the store for good."""
        later = self._later
        self._file.leave()
        self._begin_process()
        self._later = later

    def end(self) -> None:
        """Close the file as the interpreter is about to end; a later record opens it again."""
        self.close()
        self._apart.note_end()

    def drain(self, wait: float = 0.0) -> bool:
        """Write what is waiting; return whether nothing waits any more."""
        return self._alone(lambda: self._slow.drain(monotonic() + wait), False)

    def fetch(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a small query; none when the file cannot be read now."""
        return self._alone(lambda: self._file.fetch(sql, parameters), [])

    def next_position(self, run_id: str) -> int:
        """Return a position after every record of the run; 1 when it has none or none is known."""
        return self._alone(lambda: free_position(self._file, run_id), 1)

    def lose(self, reason: Exception) -> None:
        """Count a record that could not wait for the beginning of its run."""
        self._alone(lambda: self.backlog.lose_early(reason), None)

    def close(self) -> None:
        """Write what is waiting, then close the file; a later record opens it again.

        What cannot be written within two seconds is lost, and said so once on stderr.
        """
        self._drainer.closing.set()
        try:
            self._alone(self._close, None)
        finally:
            self._drainer.closing.clear()
        with self._lock:
            report = self.backlog.report()
            self._drainer.start()  # for what another thread has recorded since
        if report:
            say(f"waxlocal: {report}{'' if str(self.path) in report else f' ({self.path})'}.")

    def _close(self) -> None:
        self._file.retry_now()
        if not self._slow.drain(monotonic() + EXIT_WAIT_S):
            self.backlog.give_up()
        self._file.close()

    def _alone(self, act: Callable[[], T], otherwise: T) -> T:
        """Do something with the file; not inside a signal handler that found this thread using it.

        No context manager: what a signal handler raises between its entry and the block would leave
        the store held for as long as the traceback lives.
        """
        if self._apart and self._apart.has_this():
            return otherwise
        with self._lock:
            if self._writing:
                return otherwise
            result = self._use(act)
            self._write_later()
        if self._notices:
            self.say_notices()
        return result

    def _use(self, act: Callable[..., T], *given: Unit) -> T:
        """Do something with the file, while what this thread records in the middle is kept apart.

        Without `finally`, as in `write`: Python 3.10 looks for signals before its first step, too.
        What a handler raises there would leave the file in use, and all later records in memory.
        """
        try:
            self._writing = True
            result = act(*given)
            self._writing = False
        except BaseException:
            self._writing = False
            raise
        return result

    def say_notices(self) -> None:
        """Say what is to be said, unless this is within a call that has the lock and says it."""
        if not self._gate.is_owned():
            self._notices.say_all()

    def _write_later(self) -> None:
        """Write what a signal handler or a finalizer recorded in the middle of another record."""
        while self._later:
            self._use(self._write_all_later)

    def _write_all_later(self) -> None:  # loop apart
        while self._later:  # a unit is counted as in memory until it is settled
            self._slow.unsettled = unit = self._later[0]
            try:
                self._slow.write(unit)
            except BaseException:  # no frame is left, or a signal handler has struck
                if self._slow.is_settled():
                    del self._later[0]
                self._slow.unsettled = None
                raise
            del self._later[0]

    def _leave_to_others(self, unit: Unit) -> None:
        """Keep a unit whose thread was struck while it waited for another one that has the store.

        That one writes it, or the thread of the backlog does.
        """
        self._later.append(unit)
        self._drainer.start()

    def _rest(self, seconds: float) -> None:
        """Rest while others have the file, and let other threads fork meanwhile."""
        self._gate.let_pass(self._file.close, self._sleep)
        self._sleep(seconds)

    # -- forks ----------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the file for a fork, once no record is being written.

        Nothing is written until `after_fork_in_parent`. Should the record of another thread never
        end, the fork goes on after a while, and the child starts with nothing of this store.

        What a signal handler records in this thread meanwhile is kept apart: another thread may
        hold the store until the fork is done, and to write would open the file again.
        """
        self._apart.note(True)
        if self._gate.enter():
            self._file.close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._gate.leave()
        self._apart.note(False)

    def after_fork_in_child(self) -> tuple[object, ...]:
        """Begin anew; return what could not be closed before the fork, to be kept for good."""
        inherited = self._file.handles
        self._file.begin_process()
        self._begin_process()
        self._notices.clear()
        self.backlog.clear()
        return inherited
