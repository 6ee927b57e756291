"""A cache of slow query results; a page waits for one only briefly.

A result is reused for twenty times as long as it took to compute, so that computing it takes at
most a twentieth of the time, however many requests there are. On a small file, every page is
current.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from waxlocal.errors import ObserveError
from waxlocal.web.api.problems import Problem, problem_of
from waxlocal.web.db import ask

__all__ = ["PATIENCE_S", "Cache", "Cached", "ask_kept", "cache_of"]

Answer = TypeVar("Answer")
# Takes a function that publishes a partial result, and returns the full result.
Work = Callable[[Callable[[Answer], None]], Awaitable[Answer]]

# Seconds that a page waits for a result that is not in the cache.
PATIENCE_S = 0.06
# A result is reused for this many times its computing time.
REUSE = 20
# For at most this many seconds.
MOST_S = 60.0
# A result of this age is not shown any more while the next one is computed: nobody has asked for
# it in the meantime. A page that refreshes itself asks more often, and never loses its figures.
STALE_S = 2 * MOST_S
# How many results are computed at once, of the threads of `read_pool`. What somebody waits for, as
# the prices beside them, does not wait behind them all.
MOST_AT_ONCE = 2
# The maximum number of cached results: enough for the filters of a few people.
MOST = 64


@dataclass(frozen=True)
class Cached(Generic[Answer]):
    """The current result: `pending` while it is incomplete, `problem` if it failed."""

    value: Answer | None
    pending: bool = False
    problem: Problem | None = None


@dataclass
class _Entry:
    """The last result of a query, and the task that computes the next one."""

    value: Any = None
    partial: Any = None
    problem: Problem | None = None
    answered: bool = False
    at: float = 0.0
    took: float = 0.0
    task: asyncio.Task[None] | None = None

    def is_fresh(self, now: float) -> bool:
        return self.answered and now - self.at < min(REUSE * self.took, MOST_S)

    def forget(self) -> None:
        self.value, self.problem, self.answered = None, None, False

    def cached(self, pending: bool) -> Cached[Any]:
        if self.answered:
            return Cached(self.value, problem=self.problem)
        return Cached(self.partial, pending=pending)


class Cache:
    """Query results by key; for one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns: asyncio.Semaphore

    async def take(
        self, key: Hashable, work: Work[Answer], *, patience: float = PATIENCE_S
    ) -> Cached[Answer]:
        """Return the result if it is cached or ready within `patience` seconds, else what there is:
        the previous result (unless it is stale) or a partial one, while the work continues.

        A waxlocal error raised by the work becomes the result, as a problem; others are raised.
        """
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        while len(self._entries) > MOST:
            self._entries.popitem(last=False)
        now = self._clock()
        if entry.is_fresh(now):
            return entry.cached(pending=False)
        if now - entry.at > STALE_S:
            entry.forget()
        if entry.task is None or not _is_running(entry.task):
            entry.task = asyncio.create_task(self._work(entry, work))
        task = entry.task
        done, _ = await asyncio.wait({task}, timeout=patience)
        if done:
            if entry.task is task:  # another request that waited for it may have begun the next
                entry.task = None
            task.result()  # raises unexpected exceptions
        return entry.cached(pending=not done)

    async def close(self) -> None:
        """Break off what is being computed: its next question would open the file again."""
        tasks = [entry.task for entry in self._entries.values()]
        running = [task for task in tasks if task is not None and _is_running(task)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _work(self, entry: _Entry, work: Work[Any]) -> None:
        def show(partial: Any) -> None:
            entry.partial = partial

        async with self._turn():
            began = self._clock()
            try:
                entry.value, entry.problem = await work(show), None
            except (ObserveError, Problem) as error:
                entry.value, entry.problem = None, problem_of(error)
            entry.at = self._clock()
            entry.took = entry.at - began
            entry.partial, entry.answered = None, True

    def _turn(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a task of a loop that has ended keeps its turn
            self._loop, self._turns = loop, asyncio.Semaphore(MOST_AT_ONCE)
        return self._turns


def _is_running(task: asyncio.Task[None]) -> bool:
    # A task of an event loop that has ended never finishes.
    return not task.done() and task.get_loop() is asyncio.get_running_loop()


def cache_of(request: Request) -> Cache:
    """Return the cache of the server that received this request."""
    cache: Cache = request.app.state.cache
    return cache


async def ask_kept(
    request: Request,
    key: Hashable,
    question: Callable[[sqlite3.Connection], Answer],
    *,
    patience: float = PATIENCE_S,
) -> Cached[Answer]:
    """Return the answer of a query function as `ask` gives it, kept under a key as `take` does."""

    async def work(_show: object) -> Answer:
        return await ask(request, question)

    return await cache_of(request).take(key, work, patience=patience)
