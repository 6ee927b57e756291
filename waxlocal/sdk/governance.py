"""Policies, approvals and signals, recorded as events. No policy is evaluated: all is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waxlocal.sdk.arguments import checked, need
from waxlocal.sdk.run import Run

if TYPE_CHECKING:
    from waxlocal.sdk.types import PolicyCheckResult

__all__ = ["ALLOWED_HERE", "GovernanceRecords"]

# Policies live on a server, and waxlocal does not ask one.
ALLOWED_HERE = "no policies are evaluated locally"


@checked("WaxellContext")
class GovernanceRecords(Run):
    """The records about what an agent may do and touch; see `WaxellContext`."""

    __slots__ = ()

    # -- policies -------------------------------------------------------------------------------

    async def check_policy(self) -> PolicyCheckResult:
        """Record that the policies were asked; return a result that allows the run."""
        return self.check_policy_sync()

    def check_policy_sync(self) -> PolicyCheckResult:
        """Do the same as `check_policy`."""
        from waxlocal.sdk.types import PolicyCheckResult  # see waxlocal/__init__.py

        self._add_event("policy_check", {"action": "allow", "reason": ALLOWED_HERE})
        return PolicyCheckResult("allow", ALLOWED_HERE)

    async def check_governance(self) -> None:
        """Do nothing: no server could have stopped the run."""

    async def aflush_governance(self) -> None:
        """Do the same as `flush`."""
        self._flush()

    def check_tool_before_execution(self, tool_name: str) -> None:
        """Record that a tool is about to be used; every tool may be."""
        need("tool_name", tool_name, str)
        self._add_event("tool_gate", {"tool_name": tool_name, "action": "allow"})

    def take_feedback(self) -> list[dict[str, Any]]:
        """Return the feedback of policies: always an empty list."""
        return []

    def feedback_text(self) -> str:
        """Return the feedback of policies as text: always empty."""
        return ""

    def record_policy_check(
        self,
        *,
        policy_name: str,
        action: str,
        category: str = "",
        reason: str = "",
        duration_ms: float = 0.0,
        phase: str = "pre_execution",
        priority: int = 100,
    ) -> None:
        """Record the result of a policy of the program's own; it took `duration_ms`."""
        need("policy_name", policy_name, str)
        need("action", action, str)
        self._add_event(
            "policy_check",
            {
                "policy_name": policy_name,
                "action": action,
                "category": category,
                "reason": reason,
                "duration_ms": duration_ms,
                "phase": phase,
                "priority": priority,
            },
            content=("reason",),
        )

    def record_approval_request(
        self,
        *,
        action_type: str,
        approvers: list[str] | None = None,
        timeout_minutes: float | None = None,
        reason: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record that someone was asked to approve an action."""
        need("action_type", action_type, str)
        data = {
            "action_type": action_type,
            "approvers": approvers or [],
            "timeout_minutes": timeout_minutes,
            "reason": reason,
            **(metadata or {}),
        }
        self._add_event("approval_requested", data, content=("reason",))

    def record_approval_response(
        self,
        *,
        action_type: str,
        decision: str,
        approver: str = "",
        elapsed_seconds: float | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record what the approver decided.

        `approved`, `approve`, `granted` and `yes` make it the event `approval_granted`, any other
        decision `approval_denied`.
        """
        need("action_type", action_type, str)
        need("decision", decision, str)
        granted = decision.lower() in ("approved", "approve", "granted", "yes")
        data = {
            "action_type": action_type,
            "decision": decision,
            "approver": approver,
            "elapsed_seconds": elapsed_seconds,
            **(metadata or {}),
        }
        event = "approval_granted" if granted else "approval_denied"
        self._add_event(event, data, content=("decision",))

    # -- what the agent touched -----------------------------------------------------------------

    def record_data_access(self, *, source: str, operation: str = "read", records: int = 0) -> None:
        """Record that data was read or written; `records` says how many records."""
        need("source", source, str)
        data = {"source": source, "operation": operation, "records": records}
        self._add_event("data_access", data)

    def record_network_request(self, *, url: str) -> None:
        """Record that the agent requested a URL; it counts as content."""
        need("url", url, str)
        self._add_event("network_request", {"url": url}, content=("url",))

    def record_scope_impact(
        self,
        *,
        records_modified: int = 0,
        records_deleted: int = 0,
        files_changed: int = 0,
        transaction_total: float = 0.0,
        api_writes: int = 0,
    ) -> None:
        """Record how much the run changed."""
        self._add_event(
            "scope_impact",
            {
                "records_modified": records_modified,
                "records_deleted": records_deleted,
                "files_changed": files_changed,
                "transaction_total": transaction_total,
                "api_writes": api_writes,
            },
        )

    def record_retrieval_result(
        self,
        *,
        relevance_score: float = 0.0,
        source: str = "",
        collection: str = "",
        age_days: int = 0,
    ) -> None:
        """Record how relevant one retrieved document was, and how old."""
        self._add_event(
            "retrieval_result",
            {
                "relevance_score": relevance_score,
                "source": source,
                "collection": collection,
                "age_days": age_days,
            },
        )

    def record_delegation(
        self,
        *,
        delegate: str,
        depth: int = 1,
        approved: bool = True,
        policies_inherited: bool = True,
    ) -> None:
        """Record that work was handed to another agent."""
        need("delegate", delegate, str)
        self._add_event(
            "delegation",
            {
                "delegate": delegate,
                "depth": depth,
                "approved": approved,
                "policies_inherited": policies_inherited,
            },
        )

    def record_bias_flag(self, *, flag: str) -> None:
        """Record a sign of bias in what the agent said or did."""
        need("flag", flag, str)
        self._add_event("bias_flag", {"flag": flag}, content=("flag",))

    def record_breach_signal(self, *, signal: str, event_at: str = "") -> None:
        """Record a sign of a data breach."""
        need("signal", signal, str)
        data = {"signal": signal, "event_at": event_at}
        self._add_event("breach_signal", data, content=("signal",))

    def record_erasure_request(self, *, subject_id: str, requested_at: str = "") -> None:
        """Record that a person wants their data erased."""
        need("subject_id", subject_id, str)
        data = {"subject_id": subject_id, "requested_at": requested_at}
        self._add_event("erasure_request", data)

    def record_domain_intent(self, *, domain_name: str, action_name: str) -> None:
        """Record what the agent is about to do, in terms of its domain."""
        need("domain_name", domain_name, str)
        need("action_name", action_name, str)
        self._add_event("domain_intent", {"domain_name": domain_name, "action_name": action_name})

    def record_emitted_signal(self, *, signal_name: str) -> None:
        """Record that the agent sent a signal to other parts of the system."""
        need("signal_name", signal_name, str)
        self._add_event("emitted_signal", {"signal_name": signal_name})

    def record_pending_action(
        self, *, kind: str, tool: str, args: dict[str, Any] | None = None
    ) -> None:
        """Record an action that has yet to be done."""
        need("kind", kind, str)
        need("tool", tool, str)
        data = {"kind": kind, "tool": tool, "args": args or {}}
        self._add_event("pending_action", data, content=("args",))

    def record_intermediate_output(self, *, output: str) -> None:
        """Record something the agent said before its final answer."""
        need("output", output, str)
        self._add_event("intermediate_output", {"output": output}, content=("output",))

    def set_output_text(self, *, text: str) -> None:
        """Record the answer as text, beside the result."""
        need("text", text, str)
        self._add_event("output_text", {"text": text}, content=("text",))

    def set_privacy_context(
        self, *, consent_token: str = "", execution_region: str = "", data_purpose: str = ""
    ) -> None:
        """Record on which terms data is processed: consent, region, purpose."""
        self._add_event(
            "privacy_context",
            {
                "consent_token": consent_token,
                "execution_region": execution_region,
                "data_purpose": data_purpose,
            },
        )

    def set_prompt_name(self, name: str) -> None:
        """Record the name of the prompt that the run uses."""
        need("name", name, str)
        self._add_event("prompt_name", {"name": name})
