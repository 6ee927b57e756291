"""Answers that take long: a page waits a moment, the work goes on, the answer is used again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.tools.patience import PATIENCE_S
from waxlocal.errors import InvalidQuery
from waxlocal.web.api.problems import Problem
from waxlocal.web.cache import (
    MOST,
    MOST_AT_ONCE,
    MOST_S,
    REUSE,
    STALE_S,
    Cache,
    Cached,
)


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Work:
    """Answers with the number of the call, once `finish` is set; takes `took` seconds."""

    def __init__(self, time: Time, took: float = 1.0) -> None:
        self.time, self.took = time, took
        self.calls = 0
        self.begun = asyncio.Event()
        self.finish = asyncio.Event()

    async def __call__(self, show: Callable[[int], None]) -> int:
        self.calls += 1
        number = self.calls
        show(-number)
        self.begun.set()
        await self.finish.wait()
        self.time.now += self.took
        return number


def test_what_is_quick_is_answered_at_once() -> None:
    """Within the patience of a page."""

    async def story() -> Cached[int]:
        time = Time()
        work = Work(time)
        work.finish.set()
        return await Cache(time).take("key", work, patience=10)

    assert asyncio.run(story()) == Cached(1)


def test_what_takes_long_goes_on_and_is_there_the_next_time() -> None:
    """Meanwhile the page has what the work has shown so far; nobody asks twice."""

    async def story() -> tuple[Cached[int], Cached[int], Cached[int], int]:
        time = Time()
        cache, work = Cache(time), Work(time)
        first = await cache.take("key", work, patience=0)
        await work.begun.wait()
        second = await cache.take("key", work, patience=0)
        work.finish.set()
        third = await cache.take("key", work, patience=10)
        return first, second, third, work.calls

    first, second, third, calls = asyncio.run(story())
    assert first.pending
    assert second == Cached(-1, pending=True)
    assert third == Cached(1)
    assert calls == 1


def test_whoever_else_waited_leaves_the_next_work_alone() -> None:
    """Of two that waited for an answer, the second must not forget the work begun since."""

    async def story() -> tuple[int | None, int]:
        time = Time()
        cache, work = Cache(time), Work(time)

        async def take_and_ask_again() -> Cached[int]:
            await cache.take("key", work, patience=10)
            time.now += MOST_S + 1
            work.finish.clear()
            return await cache.take("key", work, patience=10)

        again = asyncio.create_task(take_and_ask_again())
        waits = asyncio.create_task(cache.take("key", work, patience=10))
        await work.begun.wait()
        work.finish.set()
        await waits
        third = asyncio.create_task(cache.take("key", work, patience=10))
        await asyncio.sleep(0)
        work.finish.set()
        assert await again == await third
        return third.result().value, work.calls

    assert asyncio.run(story()) == (2, 2)


def test_an_answer_is_used_again_for_some_times_as_long_as_it_took() -> None:
    """Then the old one serves while the new one is made."""

    async def story() -> list[Cached[int]]:
        time = Time()
        cache, work = Cache(time), Work(time, took=0.5)
        work.finish.set()
        seen = [await cache.take("key", work, patience=10)]
        time.now += REUSE * 0.5 - 0.01
        seen.append(await cache.take("key", work, patience=10))
        time.now += 0.02
        work.finish.clear()
        seen.append(await cache.take("key", work, patience=0.001))
        work.finish.set()
        seen.append(await cache.take("key", work, patience=10))
        return seen

    assert [one.value for one in asyncio.run(story())] == [1, 1, 1, 2]


def test_even_what_took_very_long_is_asked_for_anew() -> None:
    """After a minute."""

    async def story() -> int | None:
        time = Time()
        cache, work = Cache(time), Work(time, took=1_000)
        work.finish.set()
        await cache.take("key", work, patience=10)
        time.now += MOST_S + 1
        return (await cache.take("key", work, patience=10)).value

    assert asyncio.run(story()) == 2


def test_a_stale_answer_is_not_shown_while_the_next_one_is_computed() -> None:
    """Who comes back after a while sees that figures are computed, not those of that time."""

    async def story() -> list[Cached[int]]:
        time = Time()
        cache, work = Cache(time), Work(time)
        work.finish.set()
        seen = [await cache.take("key", work, patience=10)]
        work.finish.clear()
        for later in (STALE_S, 1.0):
            time.now += later
            seen.append(await cache.take("key", work, patience=0.001))
        work.finish.set()
        seen.append(await cache.take("key", work, patience=10))
        return seen

    assert asyncio.run(story()) == [Cached(1), Cached(1), Cached(-2, pending=True), Cached(2)]


@pytest.mark.parametrize(
    "error", [InvalidQuery("bad", hint="better"), Problem(503, "too slow", hint="narrow")]
)
def test_an_error_of_ours_is_the_answer(error: Exception) -> None:
    """A part of a page says what went wrong, and the rest of it stands."""

    async def story() -> Cached[int]:
        async def work(_show: object) -> int:
            raise error

        return await Cache().take("key", work, patience=10)

    taken = asyncio.run(story())
    assert taken.value is None
    assert taken.problem is not None
    assert taken.problem.hint in ("better", "narrow")


def test_a_fault_comes_out() -> None:
    """It is the server's, and belongs into its log."""

    async def story() -> Cached[int]:
        async def work(_show: object) -> int:
            raise ZeroDivisionError

        return await Cache().take("key", work, patience=10)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(story())


def test_only_so_many_answers_are_computed_at_once() -> None:
    """The others follow, in turn: what a page asks beside them finds a thread of the pool."""

    async def story() -> tuple[list[int], list[Cached[int]]]:
        time = Time()
        cache = Cache(time)
        works = [Work(time) for _ in range(2 * MOST_AT_ONCE)]
        takes = [
            asyncio.create_task(cache.take(key, work, patience=PATIENCE_S))
            for key, work in enumerate(works)
        ]
        await works[MOST_AT_ONCE - 1].begun.wait()
        before = [work.calls for work in works]
        for work in works:
            work.finish.set()
        return before, [await take for take in takes]

    before, answers = asyncio.run(story())
    assert before == [1] * MOST_AT_ONCE + [0] * MOST_AT_ONCE
    assert answers == [Cached(1)] * 2 * MOST_AT_ONCE


def test_a_loop_that_has_ended_keeps_no_turn() -> None:
    """A server of the same process may have another one."""
    cache = Cache()

    async def never(_show: object) -> int:
        await asyncio.Event().wait()
        return 0

    async def at_once(_show: object) -> int:
        return 1

    async def fill() -> None:
        for key in range(MOST_AT_ONCE):
            await cache.take(key, never, patience=0)

    asyncio.run(fill())
    found = asyncio.run(cache.take("key", at_once, patience=PATIENCE_S))
    assert found == Cached(1)


def test_only_so_many_answers_are_kept() -> None:
    """The ones looked at last."""

    async def story() -> tuple[int, int]:
        time = Time()
        cache, work = Cache(time), Work(time)
        work.finish.set()
        for key in range(MOST + 1):
            await cache.take(key, work, patience=10)
        before = work.calls
        await cache.take(MOST, work, patience=10)
        await cache.take(0, work, patience=10)
        return before, work.calls

    before, after = asyncio.run(story())
    assert (before, after) == (MOST + 1, MOST + 2)
