"""`diagnose()`: why something is not recorded, as the process itself sees it."""

from __future__ import annotations

from typing import Any

from waxlocal.capture.engines import states
from waxlocal.capture.libraries import LIBRARIES
from waxlocal.sdk.lifecycle import recording_state

__all__ = ["diagnose"]


def diagnose() -> dict[str, Any]:
    """Return the settings and the state of recording, to find out why something is not recorded.

    `active_instrumentors` names the libraries whose calls are captured, `detected_libraries` says
    of each known one whether it is installed, and `not_captured` why one is not that was to be.
    Opens no file and imports no library. For programs, `health()` says whether all records are in
    the file.
    """
    from waxlocal.capture.installed import installed_libraries  # takes 15 ms

    stand = states()
    installed = {one.library for one in installed_libraries()}
    return {
        **recording_state(),
        "active_instrumentors": [name for name, state in stand.items() if state.captured],
        "detected_libraries": {name: name in installed for name in LIBRARIES},
        "not_captured": {
            name: state.reason
            for name, state in stand.items()
            if name in installed and not state.captured
        },
    }
