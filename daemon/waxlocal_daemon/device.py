"""The id of this machine, sent only if the settings ask for it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["hardware_uuid"]

_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def hardware_uuid() -> str:
    """Return the id of the machine as the original SDK sends it; empty if there is none."""
    for path in map(Path, _MACHINE_IDS):
        if path.is_file():
            return path.read_text(encoding="ascii", errors="replace").strip()
    return ""
