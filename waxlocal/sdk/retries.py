"""Calling a function again when it raises, plain or async."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from waxlocal.sdk.exception_text import printed
from waxlocal.sdk.scope import run_for

__all__ = ["Retries"]

# Between two attempts of a function: 0.1 s, then twice as long each time.
RETRY_WAIT_S = 0.1
RETRY_WAIT_MAX_S = 10.0


class Retries:
    """Calls a function until it does not raise, and records each failed attempt but the last."""

    def __init__(self, max_attempts: int, strategy: str, fallback_to: str) -> None:
        self._max_attempts = max_attempts
        self._strategy = strategy
        self._fallback_to = fallback_to

    def call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a plain function; a wrapper around an async one gets its coroutine retried."""
        for attempt in range(1, self._max_attempts):
            started_ns = time.monotonic_ns()
            try:
                value = function(*args, **kwargs)
            except Exception as error:
                time.sleep(_retry_wait(attempt))
                self._record(attempt, error, started_ns)
                continue
            if type(value) is CoroutineType:
                return self.call_async(function, args, kwargs, value)
            return value
        return function(*args, **kwargs)

    async def call_async(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        made: Any = None,
    ) -> Any:
        """Call an async function; `made` is the coroutine of its first call, if there is one."""
        import asyncio  # 15 ms that only programs with a loop should pay

        for attempt in range(1, self._max_attempts):
            started_ns = time.monotonic_ns()
            first, made = made, None
            try:
                return await (first or function(*args, **kwargs))
            except Exception as error:
                await asyncio.sleep(_retry_wait(attempt))
                self._record(attempt, error, started_ns)
        return await function(*args, **kwargs)

    def _record(self, attempt: int, error: Exception, started_ns: int) -> None:
        run = run_for("a retried function")
        if run is not None:
            run.record_retry(
                attempt=attempt,
                reason=printed(error),
                strategy=self._strategy,
                original_error=f"{type(error).__name__}: {printed(error)}",
                fallback_to=self._fallback_to,
                max_attempts=self._max_attempts,
                duration_ms=(time.monotonic_ns() - started_ns) / 1e6,
            )


def _retry_wait(attempt: int) -> float:
    return min(RETRY_WAIT_S * 2.0 ** (attempt - 1), RETRY_WAIT_MAX_S)
