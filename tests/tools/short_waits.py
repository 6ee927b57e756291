"""Commands that give up a locked file soon."""

from __future__ import annotations

import pytest

from waxlocal.storage import connection

__all__ = ["IMPATIENT", "impatient_commands"]

# Seconds; commands wait for five otherwise.
_WAIT_S = 0.1
# The same at the beginning of a program of its own.
IMPATIENT = f"""
from waxlocal.storage import connection
connection.COMMAND_WAIT_S = {_WAIT_S}
"""


def impatient_commands(patch: pytest.MonkeyPatch) -> None:
    """Let commands of this process wait no longer than that for a locked file."""
    patch.setattr(connection, "COMMAND_WAIT_S", _WAIT_S)
