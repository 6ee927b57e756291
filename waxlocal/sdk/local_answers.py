"""What the original asks a server for, answered here: allowed, passed, not found.

Each question is recorded as an event, so that a program's gates show up in its runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waxlocal.errors import PromptNotFoundError
from waxlocal.ids import run_id_of
from waxlocal.sdk.arguments import checked, need_count
from waxlocal.sdk.governance import ALLOWED_HERE
from waxlocal.sdk.runs_by_id import RunsById, result_of

if TYPE_CHECKING:  # at run time inside the methods: dataclasses cost 15 ms to import
    from waxlocal.sdk.types import PolicyCheckResult, PromptInfo

__all__ = ["LocalAnswers"]

Json = dict[str, Any]


@checked("WaxellObserveClient")
class LocalAnswers(RunsById):
    """Answers about policies, prompts and guards; see `WaxellObserveClient`."""

    async def check_policy(
        self,
        agent_name: str,
        workflow_name: str = "",
        agent_id: str = "",
        inputs: Json | None = None,
        user_id: str = "",
        user_group: str = "",
        agent_type: str = "",
        delegation: Json | None = None,
    ) -> PolicyCheckResult:
        """Record that the policies were asked; return a result that allows everything."""
        data = {"agent_name": agent_name, "workflow_name": workflow_name, "action": "allow"}
        self._note("policy_check", data)
        from waxlocal.sdk import types

        return types.PolicyCheckResult("allow", ALLOWED_HERE)

    def check_policy_sync(self, **kwargs: Any) -> PolicyCheckResult:
        """Do the same as `check_policy`, at once; takes its arguments by keyword."""
        return result_of(self.check_policy(**kwargs))

    def check_policy_surface_sync(
        self,
        agent_name: str,
        workflow_name: str = "",
        user_group: str = "",
        *,
        surface: str,
        signal: Json | None = None,
        categories: list[str] | None = None,
        policies: list[str] | None = None,
        workflow_id: str = "",
    ) -> Json:
        """Record that the policies were asked; return a result that allows everything."""
        self._note("policy_check", {"agent_name": agent_name, "surface": surface})
        return {"action": "allow", "reason": ALLOWED_HERE, "metadata": {}, "evaluations": []}

    async def get_policy_manifest(
        self, agent_name: str, workflow_name: str = "", agent_id: str = "", user_group: str = ""
    ) -> Json:
        """Return a manifest without any policy."""
        return {
            "manifest_version": "1",
            "ttl_seconds": 3600,
            "checkpoints": [],
            "surfaces": {},
            "policies": [],
        }

    def get_policy_manifest_sync(self, **kwargs: Any) -> Json:
        """Do the same as `get_policy_manifest`, at once; takes its arguments by keyword."""
        return result_of(self.get_policy_manifest(**kwargs))

    async def get_prompt(
        self, name: str, *, label: str = "", version: int = 0, use_cache: bool = True
    ) -> PromptInfo:
        """Raise `PromptNotFoundError`: prompts are kept on a server, and no server is asked."""
        raise PromptNotFoundError(name, label, need_count("version", version), 404)

    def get_prompt_sync(self, **kwargs: Any) -> PromptInfo:
        """Do the same as `get_prompt`, at once; takes its arguments by keyword."""
        return result_of(self.get_prompt(**kwargs))

    def invalidate_prompt_cache(self, name: str = "") -> None:
        """Do nothing: no prompt is cached."""

    async def prompt_guard(self, text: str, agent_name: str = "", model: str = "") -> Json:
        """Record that the guard was asked; return that the text passed, whatever it is."""
        self._note("prompt_guard", {"agent_name": agent_name, "model": model, "action": "allow"})
        return {"passed": True, "action": "allow", "violations": []}

    def prompt_guard_sync(self, **kwargs: Any) -> Json:
        """Do the same as `prompt_guard`, at once; takes its arguments by keyword."""
        return result_of(self.prompt_guard(**kwargs))

    def prompt_guard_gate_sync(self, text: str, model: str = "") -> Json:
        """Record that the guard was asked; return that the text passed, whatever it is."""
        return result_of(self.prompt_guard(text, model=model))

    async def record_governance_decisions(
        self,
        agent_name: str,
        surface: str,
        decisions: list[Any],
        workflow_id: str = "",
        span_only: bool = False,
    ) -> Json:
        """Record what a gate of the program's own decided, in the run that `workflow_id` names."""
        data = {"agent_name": agent_name, "surface": surface, "decisions": decisions}
        run_id = run_id_of(workflow_id)
        self._note("governance_decision", data, workflow_id if run_id is None else run_id)
        return {"recorded": len(decisions)}

    def record_governance_decisions_sync(self, **kwargs: Any) -> Json:
        """Do the same as `record_governance_decisions`, at once; takes its arguments by keyword."""
        return result_of(self.record_governance_decisions(**kwargs))
