"""The gates in front of tools, memory and network: they are asked, and let everything pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from waxlocal.sdk.types import GateOutcome

__all__ = [
    "UnifiedDecisionResult",
    "WaxellPolicyDenied",
    "clear_server_cache",
    "emit_warn",
    "evaluate_decision",
    "fail_closed",
    "flush_reports",
    "gate_enabled",
    "gate_surface",
    "governance_overhead",
    "is_unified_decisions_enabled",
    "reset_governance_overhead",
]


class WaxellPolicyDenied(Exception):
    """A policy refused an action; a program may raise and catch it, waxlocal never raises it."""

    def __init__(
        self, reason: str = "", *, category: str = "", policy: str = "", surface: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.category = category
        self.policy = policy
        self.surface = surface


@dataclass
class UnifiedDecisionResult:
    """What a policy says to the call of a tool."""

    action: str
    reason: str = ""
    violations: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    local_rule: str = ""
    policy_provenance: dict[str, Any] | None = None
    hop_latencies_ms: dict[str, float] = field(default_factory=dict)

    @property
    def should_block(self) -> bool:
        """Whether the tool must not run."""
        return self.action in ("block", "deny")

    @property
    def should_ask(self) -> bool:
        """Whether a person is to be asked."""
        return self.action == "ask"


def evaluate_decision(*, tool_name: str, **_rest: Any) -> UnifiedDecisionResult:
    """Return `allow`: there is no policy to ask."""
    return UnifiedDecisionResult("allow")


def is_unified_decisions_enabled() -> bool:
    """Return False: nothing is decided."""
    return False


def gate_surface(surface: str, signal: dict[str, Any], **_rest: Any) -> GateOutcome:
    """Return `allow`: there is no policy to ask."""
    return GateOutcome("allow", surface=surface)


def gate_enabled() -> bool:
    """Return False: no gate is closed."""
    return False


def fail_closed() -> bool:
    """Return False: what cannot be asked passes."""
    return False


def governance_overhead(ctx: Any = None) -> dict[str, Any]:
    """Return that asking took no time."""
    return {"total": {"ms": 0, "calls": 0}}


def reset_governance_overhead(ctx: Any = None) -> None:
    """Do nothing: there is nothing to reset."""


def emit_warn(outcome: GateOutcome) -> None:
    """Do nothing: no gate warns."""


def clear_server_cache() -> None:
    """Do nothing: no answer of a server is kept."""


def flush_reports(timeout: float = 5.0) -> None:
    """Do nothing: no report waits."""
