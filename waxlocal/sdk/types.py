"""The small values that the SDK hands out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from waxlocal.records import NO_COST

__all__ = [
    "ApprovalDecision",
    "CompiledPromptList",
    "CompiledPromptText",
    "DailyRunInfo",
    "GateOutcome",
    "LlmCallInfo",
    "PolicyCheckResult",
    "PromptGuardResult",
    "PromptInfo",
    "RunCompleteResult",
    "RunInfo",
]


@dataclass
class RunInfo:
    """A run that was started: its ids, and when (UTC text)."""

    run_id: str
    workflow_id: str
    started_at: str


@dataclass
class DailyRunInfo:
    """The run that collects a day's records of a long-lived agent; `created` says if it is new."""

    run_id: str
    workflow_id: str
    started_at: str
    date: str
    created: bool


@dataclass
class RunCompleteResult:
    """The answer to the end of a run; `duration` in seconds."""

    run_id: str
    duration: float | None = None
    governance_action: str = "allow"
    governance_reason: str = ""
    retry_feedback: str = ""
    max_retries: int = 0

    @property
    def should_retry(self) -> bool:
        """Whether a policy asks for another attempt."""
        return self.governance_action == "retry"


@dataclass
class LlmCallInfo:
    """One call of a model; `cost` in dollars, by default left to the price list; 0 says free."""

    model: str
    tokens_in: int
    tokens_out: int
    cost: float | None = NO_COST
    task: str = ""
    prompt_preview: str = ""
    response_preview: str = ""


@dataclass
class PolicyCheckResult:
    """What a policy says to a run before it starts."""

    action: str
    reason: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    evaluations: list[Any] = field(default_factory=list)
    redacted_inputs: dict[str, Any] | None = None

    @property
    def allowed(self) -> bool:
        """Whether the run may go on."""
        return self.action in ("allow", "warn", "redact")

    @property
    def blocked(self) -> bool:
        """Whether the run must not go on."""
        return self.action in ("block", "throttle")

    @property
    def should_redact(self) -> bool:
        """Whether the inputs are to be replaced by `redacted_inputs`."""
        return self.redacted_inputs is not None

    @property
    def should_retry(self) -> bool:
        """Whether another attempt is asked for."""
        return self.action == "retry"


@dataclass
class GateOutcome:
    """What a gate in front of a tool or of a deletion says."""

    action: str = "allow"
    reason: str = ""
    surface: str = ""
    decisions: list[Any] = field(default_factory=list)
    redacted_text: str | None = None
    scanned_text: str | None = None


@dataclass
class PromptGuardResult:
    """What a guard found in a prompt."""

    passed: bool
    action: str = "allow"
    violations: list[str] = field(default_factory=list)
    source: str = "local"
    redacted_messages: list[Any] | None = None


@dataclass
class ApprovalDecision:
    """What a person said to a blocked run."""

    approved: bool
    approver: str = ""
    timed_out: bool = False
    elapsed_seconds: float | None = None


class CompiledPromptText(str):
    """The text of a prompt with its places filled."""

    def __new__(cls, value: str, template_hash: str = "") -> CompiledPromptText:
        """Return the text; the hash belongs to the prompts of a server, and is not kept."""
        return str.__new__(cls, value)


class CompiledPromptList(list[Any]):
    """The messages of a prompt with their places filled."""


@dataclass
class PromptInfo:
    """A managed prompt: text with `{{name}}` places, or a list of chat messages with them."""

    name: str
    version: int
    prompt_type: str
    content: object
    config: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    content_hash: str = ""

    def compile(self, **variables: str) -> object:
        """Return the content with each `{{name}}` replaced; unknown names stay as they are."""
        filled = _filled(self.content, variables)
        if isinstance(filled, str):
            return CompiledPromptText(filled)
        return CompiledPromptList(filled) if isinstance(filled, list) else filled


def _filled(content: object, variables: dict[str, str]) -> object:
    if isinstance(content, str):
        for name, value in variables.items():
            content = content.replace("{{" + name + "}}", str(value))
            content = content.replace("{{ " + name + " }}", str(value))
        return content
    if isinstance(content, list):
        return [_filled(item, variables) for item in content]
    if isinstance(content, dict):
        return {key: _filled(value, variables) for key, value in content.items()}
    return content
