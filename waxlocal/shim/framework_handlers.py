"""What the callback handlers of all frameworks have in common: their arguments and their run."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from waxlocal.capture.handler_spans import RecordsSpans
from waxlocal.shim.framework_runs import FrameworkRun
from waxlocal.shim.model_calls import ModelCall

__all__ = ["FrameworkHandler", "handler_function"]

_NAMED = ("__module__", "__name__", "__qualname__", "__doc__")


class FrameworkHandler(RecordsSpans):
    """What a program asks of a handler; derived classes add what the framework calls."""

    def set_up(self, run: FrameworkRun) -> None:
        """Take the run that everything is recorded into."""
        self._run = run
        # The calls of models that have begun, by the framework's ids.
        self._calls: dict[Any, ModelCall] = {}

    def records(self) -> bool:
        """Return whether there is a run to record into, or to begin."""
        return self._run.is_anywhere()

    @property
    def run_id(self) -> str:
        """The id of the run, empty before the first callback."""
        return self._run.run_id

    def flush_sync(
        self, result: dict[str, Any] | None = None, status: str = "success", error: str = ""
    ) -> None:
        """End the run with a result; the next callback begins another one."""
        self._run.finish(result, status, error)

    async def flush(
        self, result: dict[str, Any] | None = None, status: str = "success", error: str = ""
    ) -> None:
        """Do the same as `flush_sync`."""
        self._run.finish(result, status, error)


def handler_function(make: Callable[[], Any]) -> Callable[..., Any]:
    """Give what makes a handler the arguments of the original, most of which are of its run."""

    def make_with_run(
        agent_name: str,
        workflow_name: str = "default",
        client: Any = None,
        enforce_policy: bool = True,
        auto_start_run: bool = True,
        parent_span: Any = None,
        session_id: str = "",
        user_id: str = "",
        user_group: str = "",
    ) -> Any:
        handler = make()
        handler.set_up(
            FrameworkRun(
                starts_run=auto_start_run,
                agent_name=agent_name,
                workflow_name=workflow_name,
                session_id=session_id,
                user_id=user_id,
                user_group=user_group,
            )
        )
        return handler

    named = update_wrapper(make_with_run, make, _NAMED)
    del named.__wrapped__  # `inspect.signature` and `help` would show its arguments: none
    return named
