"""How long a test waits for a state before it gives up."""

from __future__ import annotations

__all__ = ["PATIENCE_S"]

# Seconds. Never reached where things work, however busy the machine is: it only keeps a test that
# hangs from hanging for ever.
PATIENCE_S = 180.0
