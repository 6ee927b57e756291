"""The user that a service runs as: whether the machine knows them, and they can run it."""

from __future__ import annotations

import os
import subprocess
import sys

from waxlocal.errors import ConfigurationError

__all__ = ["check_user"]

_PATIENCE_S = 60


def check_user(name: str, *, runs_here: bool) -> None:
    """Raise `ConfigurationError` for a user that this machine does not know; a number may be.

    And, if the service `runs_here`, for one who cannot run it: as far as root asks.
    """
    if not name or name.isdecimal() or sys.platform == "win32":
        return
    import pwd

    try:
        known = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"this machine has no user {name!r}",
            hint="create the user first, or leave --user out: then it is the owner of the file",
        ) from None
    if runs_here and os.geteuid() == 0 and not _can_run(name, known.pw_uid, known.pw_gid):
        raise ConfigurationError(
            f"{name} cannot run this waxlocal: {sys.executable} and what it imports must be "
            "readable by that user",
            hint="install waxlocal where all users may read it: python3 -m venv /opt/waxlocal",
        )


def _can_run(name: str, user: int, group: int) -> bool:
    """Return whether a user may run this Python and import waxlocal; for root to ask.

    With the groups that the service manager gives them, and without root's variables.
    """
    if sys.platform == "win32":
        return True
    try:
        done = subprocess.run(
            (sys.executable, "-c", "import waxlocal_daemon.runner"),
            user=user,
            group=group,
            extra_groups=os.getgrouplist(name, group),
            env={},
            cwd="/",
            capture_output=True,
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
