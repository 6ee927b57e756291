"""Answers that take long, kept for a while: a page waits a moment for them, never longer.

An answer may be used again for twenty times as long as it took, so that at most a twentieth of the
time goes into it, however often it is asked for; on a small file everything is as new as the page.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from waxlocal.errors import ObserveError
from waxlocal.web.api.problems import Problem, problem_of

__all__ = ["PATIENCE_S", "Kept", "Taken", "kept_of"]

Answer = TypeVar("Answer")
# Takes a function that shows what is known so far, and returns the whole answer.
Work = Callable[[Callable[[Answer], None]], Awaitable[Answer]]

# How long a page waits for an answer that is not there.
PATIENCE_S = 0.06
# For how many times the time that it took an answer is used again.
REUSE = 20
# Seconds after which even an answer that took long is asked for anew.
MOST_S = 60.0
# Answers kept: those of the filters that a few people look at.
MOST = 64


@dataclass(frozen=True)
class Taken(Generic[Answer]):
    """What is known now: `pending` while there is more to come, `problem` when it failed."""

    value: Answer | None
    pending: bool = False
    problem: Problem | None = None


@dataclass
class _Entry:
    """The last answer to a question, and the task that works on the next one."""

    value: Any = None
    partial: Any = None
    problem: Problem | None = None
    answered: bool = False
    at: float = 0.0
    took: float = 0.0
    task: asyncio.Task[None] | None = None

    def is_fresh(self, now: float) -> bool:
        return self.answered and now - self.at < min(REUSE * self.took, MOST_S)

    def taken(self, pending: bool) -> Taken[Any]:
        if self.answered:
            return Taken(self.value, problem=self.problem)
        return Taken(self.partial, pending=pending)


class Kept:
    """Answers by what was asked; for one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    async def take(
        self, key: Hashable, work: Work[Answer], *, patience: float = PATIENCE_S
    ) -> Taken[Answer]:
        """Return the answer if it is known or comes within `patience` seconds, else what there is.

        That is the answer before it, or what the work has shown so far; the work goes on. An error
        of ours that it raises is the answer, as a problem; any other is raised.
        """
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        while len(self._entries) > MOST:
            self._entries.popitem(last=False)
        if entry.is_fresh(self._clock()):
            return entry.taken(pending=False)
        if entry.task is None or not _is_running(entry.task):
            entry.task = asyncio.create_task(self._work(entry, work))
        task = entry.task
        done, _ = await asyncio.wait({task}, timeout=patience)
        if done:
            entry.task = None
            task.result()  # raises what was nobody's fault but ours
        return entry.taken(pending=not done)

    async def _work(self, entry: _Entry, work: Work[Any]) -> None:
        began = self._clock()

        def show(partial: Any) -> None:
            entry.partial = partial

        try:
            entry.value, entry.problem = await work(show), None
        except (ObserveError, Problem) as error:
            entry.value, entry.problem = None, problem_of(error)
        entry.at = self._clock()
        entry.took = entry.at - began
        entry.partial, entry.answered = None, True


def _is_running(task: asyncio.Task[None]) -> bool:
    # A task of a loop that has ended will never be done.
    return not task.done() and task.get_loop() is asyncio.get_running_loop()


def kept_of(request: Request) -> Kept:
    """Return what the server that got this request keeps."""
    state = request.app.state
    if not hasattr(state, "kept"):
        state.kept = Kept()
    kept: Kept = state.kept
    return kept
