"""What a program does about a `PolicyViolationError`: ask a person, approve, or deny."""

from __future__ import annotations

import builtins
import inspect
import sys
import time
from collections.abc import Callable
from typing import Any

from waxlocal.errors import PolicyViolationError
from waxlocal.sdk.scope import run_here
from waxlocal.sdk.types import ApprovalDecision

__all__ = [
    "auto_approve",
    "auto_deny",
    "extract_block_metadata",
    "handle_policy_block",
    "prompt_approval",
]

Handler = Callable[[PolicyViolationError], Any]


def auto_approve(error: PolicyViolationError) -> ApprovalDecision:
    """Approve without asking anybody."""
    return ApprovalDecision(True, "auto_approve")


def auto_deny(error: PolicyViolationError) -> ApprovalDecision:
    """Deny without asking anybody."""
    return ApprovalDecision(False, "auto_deny")


def prompt_approval(error: PolicyViolationError) -> ApprovalDecision:
    """Ask on the terminal and wait; without a terminal the answer is no."""
    if not sys.stdin or not sys.stdin.isatty():
        return ApprovalDecision(False, "no terminal")
    started = time.monotonic()
    answer = builtins.input(f"{error}. Go on? [y/N] ")
    approved = answer.strip().lower() in ("y", "yes")
    return ApprovalDecision(approved, "terminal", False, time.monotonic() - started)


def extract_block_metadata(error: PolicyViolationError) -> dict[str, Any]:
    """Return what is known of a block: `reason`, `action_type`, `approvers`, `timeout_minutes`.

    What the policy did not say is `unknown`, an empty list or None.
    """
    known = error.policy_result.metadata if error.policy_result is not None else {}
    return {
        "reason": str(error),
        "action_type": known.get("action_type", "unknown"),
        "approvers": known.get("approvers", []),
        "timeout_minutes": known.get("timeout_minutes"),
    }


async def handle_policy_block(handler: Handler, error: PolicyViolationError) -> ApprovalDecision:
    """Ask a handler, plain or async; record question and answer in the open run.

    It may return an `ApprovalDecision`, or any value whose truth counts. What it raises goes on to
    the caller.
    """
    run = run_here()
    if run is not None:
        run.record_approval_request(action_type="policy_block", reason=str(error))
    answer = handler(error)
    if inspect.isawaitable(answer):
        answer = await answer
    decision = answer if isinstance(answer, ApprovalDecision) else ApprovalDecision(bool(answer))
    if run is not None:
        run.record_approval_response(
            action_type="policy_block",
            decision="approved" if decision.approved else "denied",
            approver=decision.approver,
            elapsed_seconds=decision.elapsed_seconds,
        )
    return decision
