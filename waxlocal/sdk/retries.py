"""Calling a function again when it raises, plain or async."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from waxlocal.sdk.exception_text import printed
from waxlocal.sdk.scope import run_for
from waxlocal.sdk.to_come import has_begun, is_argument

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
        attempt = 0
        while True:
            attempt += 1
            started_ns = time.monotonic_ns()
            try:
                value = function(*args, **kwargs)
            except Exception as error:
                if attempt >= self._max_attempts:
                    raise
                time.sleep(_retry_wait(attempt))
                self._record(attempt, error, started_ns)
                continue
            if _is_new(value) and not is_argument(value, args, kwargs):
                return self.call_async(function, args, kwargs, value, attempt)
            return value

    async def call_async(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        made: Any = None,
        attempt: int = 1,
    ) -> Any:
        """Call an async function; `made` is the coroutine that this attempt has, if there is one.

        Where the function gives a failed coroutine again, its error goes to the caller.
        """
        import asyncio  # 15 ms that only programs with a loop should pay

        failed: Exception | None = None
        try:
            while True:
                started_ns = time.monotonic_ns()
                try:
                    value, made = made or function(*args, **kwargs), None
                    if failed is None or type(value) is not CoroutineType or _is_new(value):
                        return await value
                except Exception as error:
                    if attempt >= self._max_attempts:
                        raise
                    failed = error
                    await asyncio.sleep(_retry_wait(attempt))
                    self._record(attempt, error, started_ns)
                    attempt += 1
                    continue
                raise failed
        finally:
            failed = None  # its traceback holds this frame, which would hold it

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


def _is_new(value: Any) -> bool:
    return type(value) is CoroutineType and not has_begun(value)
