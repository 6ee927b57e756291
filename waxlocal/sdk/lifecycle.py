"""Recording as a whole: set it up, write what is kept, end it, ask how it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from waxlocal._version import __version__
from waxlocal.recording import recorder
from waxlocal.records import INTERACTION_MODES
from waxlocal.sdk.scope import run_here
from waxlocal.settings.config import is_on

__all__ = [
    "flush",
    "flush_sync",
    "flush_tracing",
    "init_tracing",
    "is_tracing_enabled",
    "recording_state",
    "set_up",
    "shutdown",
    "shutdown_tracing",
]


def set_up(
    *,
    api_key: str = "",
    api_url: str = "",
    capture_content: bool | None = None,
    interaction_mode: str | None = None,
    db: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    mask: Callable[[str], str] | None = None,
    keep_blobs: bool | None = None,
) -> None:
    """Change settings of this process; see `init`. Raises `ConfigurationError`."""
    if api_url or api_key:
        from waxlocal.sdk.client import WaxellObserveClient

        WaxellObserveClient.configure(api_url, api_key)
    given = {
        "capture_content": capture_content,
        "durability": durability,
        "mask": mask,
        "keep_blobs": keep_blobs,
        "interaction_mode": interaction_mode if interaction_mode in INTERACTION_MODES else None,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    recorder.configure(db=db, **changes)


def shutdown() -> None:
    """Write what is only in memory and close the file; the next record opens it again."""
    recorder.current_recorder().close()


async def flush() -> None:
    """Write what is only in memory: tags, metadata and result of the open run, and any backlog."""
    flush_sync()


def flush_sync() -> None:
    """Do the same as `flush`, in code that is not async."""
    run = run_here()
    if run is not None:
        run.flush_sync()
    recorder.current_recorder().store.drain()


def recording_state() -> dict[str, Any]:
    """Return the settings and the state of recording; opens no file."""
    from waxlocal.sdk.client import WaxellObserveClient  # not at import: see waxlocal/__init__.py

    made = recorder.current_recorder()
    config = WaxellObserveClient.get_config()
    return {
        "sdk_version": __version__,
        "initialized": made.enabled,
        "database": str(made.settings.db),
        "durability": made.settings.durability,
        "capture_content": made.capture_content,
        "keep_blobs": made.settings.keep_blobs,
        "waiting": made.store.in_memory,
        "lost": made.store.backlog.lost,
        "reason": made.store.backlog.why,
        "config": {
            "api_url": (config and config.api_url) or "(not set)",
            "api_key_set": bool(config and config.api_key),
            "observe_enabled": is_on("WAXELL_OBSERVE"),
        },
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
    """Do nothing: spans go into the file in any case."""


def flush_tracing(timeout_millis: int = 30000) -> None:
    """Do the same as `flush_sync`."""
    flush_sync()


def shutdown_tracing() -> None:
    """Do the same as `flush_sync`."""
    flush_sync()


def is_tracing_enabled() -> bool:
    """Return False: nothing is sent to a collector."""
    return False
