"""Functions of the original that waxlocal has no use for itself, with what they mean here."""

from __future__ import annotations

import os
from typing import Any

from waxlocal.sdk.approval import handle_policy_block as handle_policy_block_sync
from waxlocal.sdk.scope import remote_parent_scope, session

__all__ = [
    "INTERACTION_MODES",
    "close_pooled_clients",
    "detect_platform_external_id",
    "extract_trace_context",
    "generate_trace_id",
    "get_default_on_policy_block",
    "handle_policy_block_sync",
    "inject_trace_context",
    "normalize_interaction_mode",
    "remote_parent_scope",
    "session_scope",
]

session_scope = session
INTERACTION_MODES = ("auto", "interactive", "autonomous")


def normalize_interaction_mode(value: str | None) -> str:
    """Return the mode in lower case; `auto` for one that does not exist."""
    mode = (value or "").strip().lower()
    return mode if mode in INTERACTION_MODES else "auto"


def detect_platform_external_id() -> str:
    """Return nothing: waxlocal asks no platform who it is."""
    return ""


def generate_trace_id(prefix: str = "") -> str:
    """Return a new id: the prefix and 24 random hexadecimal digits."""
    return prefix + os.urandom(12).hex()


def get_default_on_policy_block() -> Any:
    """Return None: no policy blocks anything."""
    return None


def close_pooled_clients() -> None:
    """Do nothing: no connection is kept open."""


def inject_trace_context(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers as they are: no trace leaves the process."""
    return headers


def extract_trace_context(headers: dict[str, str]) -> dict[str, str]:
    """Return nothing: no trace comes from outside."""
    return {}
