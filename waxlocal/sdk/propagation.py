"""Carrying a run to where Python does not: executors, threads, streams after their handler."""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar, overload

from waxlocal.sdk.scope import carried_run, run_here
from waxlocal.sdk.wrapping import Inside, what_runs

__all__ = ["propagate"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@overload
def propagate(target: Executor) -> Executor: ...
@overload
def propagate(target: AsyncIterator[T]) -> AsyncIterator[T]: ...
@overload
def propagate(target: Iterator[T]) -> Iterator[T]: ...
@overload
def propagate(target: F) -> F: ...
def propagate(target: Any) -> Any:
    """Return the executor, function or iterator, with the run that is open around it.

    An executor of threads takes the run along with each `submit` and `map`: that of the caller at
    that moment, with its session, its open span and every other context variable. A function (of
    any kind) and an iterator, plain or async, take along the run that is open now: for
    `threading.Thread(target=propagate(work))` or `StreamingResponse(propagate(stream()))`.

    What is recorded there after the end of the run is kept with it as a late record; a run that
    begins there after its end is not its child. Raises `TypeError` for anything else, and for an
    executor of processes: there, give `WaxellObserveClient` the run's id. Safe from any thread.
    """
    if isinstance(target, Executor):
        processes = sys.modules.get("concurrent.futures.process")
        if processes is not None and isinstance(target, processes.ProcessPoolExecutor):
            raise TypeError("an executor of processes cannot carry a run; pass its run_id along")
        return _Carrying(target)
    if isinstance(target, AsyncIterator):
        return _async_steps(target, _inside())
    if isinstance(target, Iterator):
        return _steps(target, _context())
    if callable(target):
        return _function(target)
    raise TypeError(f"a {type(target).__name__} cannot carry a run")


class _Carrying(Executor):
    """An executor each of whose calls runs in a copy of its caller's context."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Submit a call, in a copy of the caller's context; `map` goes this way, too."""
        return self._executor.submit(_context().run, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor down."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)


def _context() -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(carried_run.set, run_here())
    return context


def _inside() -> Inside:
    """Return the surroundings as they are now, for what a consumer's task will await."""
    before = carried_run.get()
    carried_run.set(run_here())
    try:
        return Inside()
    finally:
        carried_run.set(before)


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    import inspect

    wrapper: Callable[..., Any]
    runs = what_runs(function)
    if inspect.isasyncgenfunction(runs):
        state = _inside()

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return _async_steps(function(*args, **kwargs), state.copy())

    elif inspect.iscoroutinefunction(runs):
        state = _inside()

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with state.copy():
                return await function(*args, **kwargs)

    elif inspect.isgeneratorfunction(runs):
        context = _context()

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return _steps(function(*args, **kwargs), context.copy())

    else:
        context = _context()

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            # A copy for each call: a context cannot be entered twice at the same time.
            return context.copy().run(function, *args, **kwargs)

    return functools.wraps(function)(wrapper)


def _steps(iterator: Iterator[T], context: contextvars.Context) -> Generator[T, None, None]:
    try:
        while True:
            try:
                item = context.run(next, iterator)
            except StopIteration:
                return
            yield item
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            context.run(close)


async def _async_steps(iterator: AsyncIterator[T], inside: Inside) -> AsyncGenerator[T, None]:
    try:
        while True:
            try:
                with inside:
                    item = await anext(iterator)
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            with inside:
                await close()
