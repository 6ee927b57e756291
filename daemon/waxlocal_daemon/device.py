"""Which machine this is, for those who ask for it to be sent."""

from __future__ import annotations

from pathlib import Path

__all__ = ["hardware_uuid"]

_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def hardware_uuid() -> str:
    """Return the machine's own id as the original SDK sends it, empty where there is none."""
    for path in map(Path, _MACHINE_IDS):
        if path.is_file():
            return path.read_text(encoding="ascii", errors="replace").strip()
    return ""
