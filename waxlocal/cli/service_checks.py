"""What can be wrong with a service before it is installed: its user, its settings, its key."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click

from waxlocal import escaping
from waxlocal.cli.hints import say_hint
from waxlocal.errors import ConfigurationError

if TYPE_CHECKING:
    from waxlocal_daemon.service_units import Service

__all__ = ["check_user", "check_variables", "warn_of_settings", "warn_of_unit"]

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


def check_variables(given: dict[str, Any], variables: dict[str, str]) -> None:
    """Raise `ConfigurationError` for what of this shell `daemon run` would refuse, too."""
    from waxlocal.settings.upload_settings import UploadSettings
    from waxlocal_daemon.network import check_network

    urls = (variables.get(name, "") for name in ("WAXELL_API_URL", "WAX_API_URL"))
    # Without a server, and without the key, all else can be checked.
    url = given["api_url"] or next(filter(None, urls), "") or "https://server.invalid"
    settings = UploadSettings.load(
        api_url=url, api_key="none", allow_http=given["allow_http"], environ=variables
    )
    check_network(settings, variables)


def warn_of_unit(service: Service, secret: list[str]) -> None:
    """Print what of this shell the service goes without, and a key file that is not there."""
    for name in secret:
        click.echo(
            f"Note: {name} is not in the unit: it may hold a password, or has odd characters",
            err=True,
        )
        say_hint(_for_secrets(service))
    if service.key_file is not None and not service.key_file.is_file():
        problem = "is not a file" if service.key_file.exists() else "is not there yet"
        click.echo(f"Note: {escaping.line(str(service.key_file))} {problem}", err=True)
        say_hint("write the key into a file of that name before the service starts (chmod 600)")


def _for_secrets(service: Service) -> str:
    """Return how a service gets a variable that not everybody may read."""
    if sys.platform == "darwin":
        return "use an address without a password"
    control = "systemctl" if service.system else "systemctl --user"
    return f"put it into a file (chmod 600), and EnvironmentFile= by: {control} edit {service.name}"


def warn_of_settings(given: dict[str, Any], variables: dict[str, str]) -> None:
    """Print which settings are missing: of a shell's variables, a service sees no key."""
    from waxlocal.settings.upload_settings import UploadSettings

    names = ("api_url", "profile", "allow_http")
    try:
        UploadSettings.load(
            **{name: given[name] for name in names},
            key_file=given["key_file"] or "",
            environ=variables,
        )
    except ConfigurationError as error:
        click.echo(f"Note: a service does not see this shell's key; without it, {error}", err=True)
        say_hint("put them under [default] in ~/.waxell/config (chmod 600)")
