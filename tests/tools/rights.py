"""Programs without the right to write everywhere, whoever runs the tests."""

from __future__ import annotations

import os

__all__ = ["HOMELESS", "as_anybody", "as_homeless"]

# No machine knows a user of this number.
_USER = "54321"

# What the program of `as_homeless` begins with. An ordinary user cannot become somebody without a
# home: the list of users is hidden instead.
HOMELESS = """
import os, pwd
def unknown(uid): raise KeyError(uid)
if os.getuid() != 54321:
    pwd.getpwuid = unknown
os.environ.pop("HOME", None)
os.environ.pop("XDG_STATE_HOME", None)
"""


def as_anybody() -> tuple[str, ...]:
    """Return what a command begins with so that the rights of files hold for it, even as root.

    It stays root, and can read an interpreter that lies below root's own home.
    """
    rights = "-dac_override,-dac_read_search,-fowner"
    return _setpriv("--inh-caps", "-all", "--bounding-set", rights)


def as_homeless() -> tuple[str, ...]:
    """Return what a command begins with to run, if root begins it, as a user that does not exist.

    It reads what root may read, and writes what everybody may.
    """
    reading = "-all,+dac_read_search"
    who = ("--reuid", _USER, "--regid", _USER, "--clear-groups")
    return _setpriv(
        *who, "--inh-caps", reading, "--ambient-caps", reading, "--bounding-set", reading
    )


def _setpriv(*arguments: str) -> tuple[str, ...]:
    return ("setpriv", *arguments) if os.getuid() == 0 else ()
