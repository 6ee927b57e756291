"""Recording as a whole: set it up, write what is kept, end it, ask how it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from waxlocal._version import __version__
from waxlocal.recording import recorder
from waxlocal.sdk.client import WaxellObserveClient
from waxlocal.sdk.scope import run_here
from waxlocal.settings.config import is_on

__all__ = [
    "diagnose",
    "flush",
    "flush_sync",
    "flush_tracing",
    "init",
    "init_tracing",
    "is_tracing_enabled",
    "shutdown",
    "shutdown_tracing",
]


def init(
    api_key: str = "",
    api_url: str = "",
    agent_name: str = "",
    workflow_name: str = "",
    capture_content: bool | None = None,
    instrument: list[str] | None = None,
    exclude: list[str] | None = None,
    instrument_infra: bool = True,
    infra_libraries: list[str] | None = None,
    infra_exclude: list[str] | None = None,
    resource_attributes: dict[str, Any] | None = None,
    debug: bool = False,
    prompt_guard: bool = False,
    prompt_guard_server: bool = False,
    prompt_guard_action: str = "block",
    interaction_mode: str | None = None,
    on_policy_block: Callable[..., Any] | None = None,
    *,
    db: str | os.PathLike[str] | None = None,
    durability: str | None = None,
) -> None:
    """Set up recording; not needed unless a setting differs from the environment's.

    `db` is the file to record into, `durability` is `normal` or `full`, `capture_content=False`
    leaves out everything that people and models said. Libraries are not instrumented: calls are
    recorded where the program says so. Raises `ConfigurationError`.
    """
    if api_url or api_key:
        WaxellObserveClient.configure(api_url, api_key)
    changes: dict[str, Any] = {}
    if capture_content is not None:
        changes["capture_content"] = capture_content
    if durability is not None:
        changes["durability"] = durability
    if interaction_mode in ("interactive", "autonomous"):
        changes["interaction_mode"] = interaction_mode
    recorder.configure(db=db, **changes)


def shutdown() -> None:
    """Write what is kept in memory and close the file; recording again opens it again."""
    recorder.current_recorder().close()


async def flush() -> None:
    """Write what is kept: the open run's tags, metadata and result, and any backlog."""
    flush_sync()


def flush_sync() -> None:
    """Do the same as `flush`, for code that is not async."""
    run = run_here()
    if run is not None:
        run.flush_sync()
    recorder.current_recorder().store.drain()


def diagnose() -> dict[str, Any]:
    """Return what is needed to understand why something is, or is not, recorded."""
    made = recorder.current_recorder()
    return {
        "sdk_version": __version__,
        "initialized": made.enabled,
        "database": str(made.settings.db),
        "durability": made.settings.durability,
        "capture_content": made.capture_content,
        "waiting": len(made.store.backlog),
        "lost": made.store.backlog.lost,
        "reason": str(made.store.backlog.reason or ""),
        "config": {"observe_enabled": is_on("WAXELL_OBSERVE")},
        "tracing": {"otel_available": False, "tracing_enabled": False},
    }


def init_tracing(
    api_url: str | None = None,
    api_key: str | None = None,
    otel_endpoint: str | None = None,
    tenant_id: str | None = None,
    debug: bool | None = None,
    capture_content: bool | None = None,
    shutdown_on_exit: bool = True,
    resource_attributes: dict[str, Any] | None = None,
) -> None:
    """Do nothing: spans go into the file, with or without it."""


def flush_tracing(timeout_millis: int = 30000) -> None:
    """Write what is kept in memory."""
    flush_sync()


def shutdown_tracing() -> None:
    """Write what is kept in memory."""
    flush_sync()


def is_tracing_enabled() -> bool:
    """Return False: nothing is sent to a collector."""
    return False
