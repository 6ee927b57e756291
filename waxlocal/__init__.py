"""waxlocal records the runs of LLM agents into one local SQLite file.

The names are those of the Waxell Observe SDK: a program says `from waxlocal import WaxellContext`
where it said `from waxell_observe import WaxellContext`, or runs unchanged under `waxlocal run`.
"""

from typing import TYPE_CHECKING, Any

from waxlocal._version import __version__
from waxlocal.context import HumanTurn, WaxellContext, generate_session_id
from waxlocal.errors import (
    ConfigurationError,
    ObserveError,
    PolicyViolationError,
    PromptGuardError,
    PromptNotFoundError,
)
from waxlocal.recording.recorder import Health, health
from waxlocal.sdk.scope import session
from waxlocal.settings.config import ObserveConfig

if TYPE_CHECKING:
    from waxlocal.capture.diagnosis import diagnose
    from waxlocal.capture.entry import init
    from waxlocal.sdk.approval import (
        auto_approve,
        auto_deny,
        extract_block_metadata,
        handle_policy_block,
        prompt_approval,
    )
    from waxlocal.sdk.client import WaxellObserveClient
    from waxlocal.sdk.decorators import (
        decision,
        observe,
        reasoning_dec,
        retrieval,
        retry_dec,
        step_dec,
        tool,
        waxell_agent,
    )
    from waxlocal.sdk.functions import (
        agent_response,
        approval_request,
        approval_response,
        communication,
        decide,
        gate_memory_delete,
        gate_tool,
        get_context,
        human_interaction,
        human_turn,
        input,
        mark_resumed,
        metadata,
        pause,
        phase,
        prompt_use,
        reason,
        recall,
        remember_episodic,
        remember_semantic,
        retrieve,
        retry,
        score,
        step,
        tag,
        user_message,
    )
    from waxlocal.sdk.lifecycle import (
        flush,
        flush_sync,
        flush_tracing,
        init_tracing,
        is_tracing_enabled,
        shutdown,
        shutdown_tracing,
    )
    from waxlocal.sdk.propagation import propagate
    from waxlocal.sdk.redaction import redact
    from waxlocal.sdk.types import (
        ApprovalDecision,
        LlmCallInfo,
        PolicyCheckResult,
        PromptGuardResult,
        PromptInfo,
        RunCompleteResult,
        RunInfo,
    )

# `waxlocal.context` is the class here, and a module to `import waxlocal.context`, as it is in the
# original: programs use both.
context = WaxellContext

__all__ = [
    "ApprovalDecision",
    "ConfigurationError",
    "Health",
    "HumanTurn",
    "LlmCallInfo",
    "ObserveConfig",
    "ObserveError",
    "PolicyCheckResult",
    "PolicyViolationError",
    "PromptGuardError",
    "PromptGuardResult",
    "PromptInfo",
    "PromptNotFoundError",
    "RunCompleteResult",
    "RunInfo",
    "WaxellContext",
    "WaxellObserveClient",
    "__version__",
    "agent_response",
    "approval_request",
    "approval_response",
    "auto_approve",
    "auto_deny",
    "communication",
    "context",
    "decide",
    "decision",
    "diagnose",
    "extract_block_metadata",
    "flush",
    "flush_sync",
    "flush_tracing",
    "gate_memory_delete",
    "gate_tool",
    "generate_session_id",
    "get_context",
    "handle_policy_block",
    "health",
    "human_interaction",
    "human_turn",
    "init",
    "init_tracing",
    "input",
    "is_tracing_enabled",
    "mark_resumed",
    "metadata",
    "observe",
    "pause",
    "phase",
    "prompt_approval",
    "prompt_use",
    "propagate",
    "reason",
    "reasoning_dec",
    "recall",
    "redact",
    "remember_episodic",
    "remember_semantic",
    "retrieval",
    "retrieve",
    "retry",
    "retry_dec",
    "score",
    "session",
    "shutdown",
    "shutdown_tracing",
    "step",
    "step_dec",
    "tag",
    "tool",
    "user_message",
    "waxell_agent",
]

# Imported when they are first used, for a program needs few of these: each module takes 0.2 ms to
# import, the dataclasses of `types` as much as all the rest.
# fmt: off
_MODULES = {
    "approval": (
        "auto_approve", "auto_deny", "extract_block_metadata", "handle_policy_block",
        "prompt_approval",
    ),
    "sdk.client": ("WaxellObserveClient",),
    "sdk.decorators": (
        "decision", "observe", "reasoning_dec", "retrieval", "retry_dec", "step_dec", "tool",
        "waxell_agent",
    ),
    "sdk.functions": (
        "agent_response", "approval_request", "approval_response", "communication", "decide",
        "gate_memory_delete", "gate_tool", "get_context", "human_interaction", "human_turn",
        "input", "mark_resumed", "metadata", "pause", "phase", "prompt_use", "reason",
        "recall", "remember_episodic", "remember_semantic", "retrieve", "retry", "score",
        "step", "tag", "user_message",
    ),
    "capture.diagnosis": ("diagnose",),
    "capture.entry": ("init",),
    "sdk.lifecycle": (
        "flush", "flush_sync", "flush_tracing", "init_tracing",
        "is_tracing_enabled", "shutdown", "shutdown_tracing",
    ),
    "sdk.propagation": ("propagate",),
    "sdk.redaction": ("redact",),
    "types": (
        "ApprovalDecision", "LlmCallInfo", "PolicyCheckResult", "PromptGuardResult",
        "PromptInfo", "RunCompleteResult", "RunInfo",
    ),
}
# fmt: on
_LATER = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'waxlocal' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"waxlocal.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
