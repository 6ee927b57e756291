"""Calls of models outside any run, as some programs hand them in."""

from __future__ import annotations

from typing import Any

from waxlocal.capture.outside_calls import AUTO_WORKFLOW, ONE_CALL, auto_agent, run_outside
from waxlocal.sdk.arguments import with_usage
from waxlocal.sdk.client import WaxellObserveClient
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import run_here

__all__ = ["BackgroundCollector"]


class BackgroundCollector:
    """Records each call at once: in the open run, else as a run of its own.

    A call that was captured as well is the same call, inside a run and outside.
    """

    def record_call(self, call_data: dict[str, Any]) -> None:
        """Record one call; `call_data` has the fields of `record_llm_call`."""
        client = WaxellObserveClient()
        run = run_here()
        if run is not None and run.run_id:
            client.record_llm_calls_sync(run_id=run.run_id, calls=[call_data])
            return
        if (made := _captured(call_data)) is not None:
            client._remember(made)
            client.record_llm_calls_sync(run_id=made.run_id, calls=[call_data])
            return
        started = client.start_run_sync(
            agent_name=auto_agent(call_data.get("model", "")),
            workflow_name=AUTO_WORKFLOW,
            metadata=dict(ONE_CALL),
        )
        client.record_llm_calls_sync(run_id=started.run_id, calls=[call_data])
        client.complete_run_sync(run_id=started.run_id)

    def flush(self) -> None:
        """Do nothing: every call is written when it is handed in."""

    def shutdown(self) -> None:
        """Do nothing: there is no thread to stop."""


def _captured(call: dict[str, Any]) -> WaxellContext | None:
    """Return the run in which this call was captured a moment ago, outside any run."""
    told = with_usage(call) if "usage" in call else call
    counts = {name: told.get(name) or 0 for name in ("tokens_in", "tokens_out")}
    return run_outside({"model": str(call.get("model") or ""), **counts})


_collector = BackgroundCollector()
