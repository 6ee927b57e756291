"""The guard in front of prompts: it is asked, and lets everything pass."""

from __future__ import annotations

from typing import Any

from waxlocal.errors import PromptGuardError
from waxlocal.sdk.types import PromptGuardResult

__all__ = ["PromptGuardError", "PromptGuardResult", "check_prompt", "configure"]


def configure(enabled: bool = False, server: bool = False, action: str = "block") -> None:
    """Accept the settings; there is no guard here to use them."""


def check_prompt(
    messages: list[Any], model: str = "", system: str = ""
) -> PromptGuardResult | None:
    """Return None: nothing was found, because nothing was looked for."""
    return None
