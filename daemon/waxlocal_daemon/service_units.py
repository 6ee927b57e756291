"""The daemon or the server as a system service: units for systemd, property lists for launchd.

A unit never contains the key: everybody who may see the service can read its unit.
"""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from waxlocal.errors import ConfigurationError
from waxlocal_daemon.metrics import write_file

__all__ = [
    "SERVE",
    "UPLOAD",
    "Service",
    "Unit",
    "Work",
    "launchd_plist",
    "make_unit",
    "remove_unit",
    "systemd_unit",
    "write_unit",
]

WATCHDOG = "2min"
# The daemon exits within 10 s; SIGKILL follows, which loses nothing either.
STOP_TIMEOUT_S = 15
CREDENTIAL = "api-key"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# As systemd reads User=; a number is a user without a name. Active Directory names have a backslash
# or @ or +, and a $ ends the name of a machine.
_USER = re.compile(r"[0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.@+\\-]{0,255}\$?")


@dataclass(frozen=True)
class Work:
    """What a service does: the command that it runs, in words, and where it looks for its key.

    `notifies`: it tells systemd when it is ready and that it is alive, and reloads on SIGHUP.
    """

    command: tuple[str, ...]
    said: str
    key_variable: str
    notifies: bool = False


UPLOAD = Work(("daemon", "run"), "uploads the runs of", "WAXLOCAL_API_KEY_FILE", notifies=True)
SERVE = Work(("serve",), "serves", "WAXLOCAL_SERVE_KEY_FILE")


@dataclass(frozen=True)
class Service:
    """The service to install; `arguments` of its command, besides the file and the key.

    `system`: for the whole machine, running as `user`, instead of for the installing user.
    `writable`: directories that the service writes to, besides that of the file. `variables`: what
    its environment has besides what the service manager gives it.
    """

    db: Path
    name: str = "waxlocald"
    system: bool = False
    user: str = ""
    key_file: Path | None = None
    arguments: tuple[str, ...] = ()
    writable: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    work: Work = UPLOAD
    python: str = sys.executable

    def __post_init__(self) -> None:
        """Check that a unit can express it; raises `ConfigurationError`."""
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} is not a valid name for a service",
                hint="use letters, digits, - and _",
            )
        if self.user and not _USER.fullmatch(self.user):
            raise ConfigurationError(
                f"{self.user!r} is not a valid name for a user",
                hint="use a name such as waxlocal, or a number",
            )
        texts = (str(self.db), self.python, self.user, str(self.key_file), *self.arguments)
        for text in (*texts, *self.variables.values()):
            if not text.isprintable():
                raise ConfigurationError(
                    f"{text!r} has characters that a unit cannot contain",
                    hint="use a path or a value of printable characters",
                )

    def command(self, *, key_file: bool = True) -> list[str]:
        """Return the command line, with or without the key file as an argument."""
        command = [self.python, "-m", "waxlocal", *self.work.command, "--db", str(self.db)]
        if key_file and self.key_file is not None:
            command += ["--key-file", str(self.key_file)]
        return [*command, *self.arguments]


@dataclass(frozen=True)
class Unit:
    """A unit: its path and text, and the commands that start, stop and show it.

    `stop` is for a unit that is still there; `stop_removed` for one whose file is gone.
    """

    path: Path
    text: str
    start: tuple[str, ...]
    stop: tuple[str, ...]
    stop_removed: tuple[str, ...]
    look: tuple[str, ...]


def make_unit(service: Service, *, platform: str = sys.platform, home: Path | None = None) -> Unit:
    """Return the unit for this platform: launchd on macOS, otherwise systemd.

    Raises `ConfigurationError` where the user's own units have no place.
    """
    home = home or _home(service)
    if platform == "darwin":
        return _launchd(service, home)
    return _systemd(service, home)


def _home(service: Service) -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user whom the machine does not know, as in a container
        if service.system:
            return Path("/")  # nothing of the machine's unit is below it
        raise ConfigurationError(
            "this user has no home directory, where a service of the user would lie",
            hint="set HOME, or install a service of the machine: --system",
        ) from None


def write_unit(unit: Unit) -> None:
    """Write the unit to its path, readable by all. Raises `ConfigurationError`."""
    try:
        unit.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(unit.path, unit.text)
    except OSError as error:
        raise _not_changed(unit, error) from error


def remove_unit(unit: Unit) -> bool:
    """Remove the unit, and the links by which systemd starts it; return whether there was one.

    Raises `ConfigurationError`.
    """
    try:
        for link in unit.path.parent.glob(f"*.wants/{unit.path.name}"):
            link.unlink()
        unit.path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _not_changed(unit, error) from error
    return True


def _not_changed(unit: Unit, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{unit.path}: {error.strerror}", hint="a service for the whole machine needs root"
    )


# -- systemd --------------------------------------------------------------------------------------

# Settings that need no namespace, so that they also work in a user's service manager on kernels
# that forbid user namespaces.
_HARDENING = """\
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
"""
# No ProtectProc=, ProcSubset= or PrivatePIDs=: the daemon checks whether recording processes still
# run, and would consider those that it cannot see as ended.
_SYSTEM_HARDENING = """\
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateDevices=yes
RestrictNamespaces=yes
"""
_NETWORK = ("Wants=network-online.target", "After=network-online.target")


def systemd_unit(service: Service) -> str:
    """Return the text of a systemd unit."""
    lines = [
        "[Unit]",
        f"Description=waxlocal: {service.work.said} {_specifiers(service.db.name)}",
        *(_NETWORK if service.system else ()),
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"Type={'notify' if service.work.notifies else 'exec'}",
        # Python looks for modules in the directory that it starts in.
        "WorkingDirectory=/",
        f"ExecStart={_command(service.command(key_file=not service.system))}",
        *(("ExecReload=/bin/kill -HUP $MAINPID",) if service.work.notifies else ()),
        "Restart=on-failure",
        "RestartSec=5",
        "# A restart does not help: wrong settings, another uploader, a file of another program.",
        "RestartPreventExitStatus=2 3 4",
        *((f"WatchdogSec={WATCHDOG}",) if service.work.notifies else ()),
        f"TimeoutStopSec={STOP_TIMEOUT_S}",
        *(f"Environment={_quoted(f'{name}={text}')}" for name, text in service.variables.items()),
        *_system_lines(service),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if service.system else 'default'}.target",
    ]
    return "\n".join(lines) + "\n"


def _system_lines(service: Service) -> list[str]:
    if not service.system:
        return _HARDENING.splitlines()
    lines = [f"User={service.user}"] if service.user not in ("", "root") else []
    if service.key_file is not None:
        # The service manager reads it as root; only the service can see it.
        lines += [
            f"LoadCredential={CREDENTIAL}:{_specifiers(str(service.key_file))}",
            f"Environment={service.work.key_variable}=%d/{CREDENTIAL}",
        ]
    directories = dict.fromkeys((service.db.parent, *service.writable))
    paths = " ".join(_quoted(str(one)) for one in directories)
    return [
        *lines,
        *_HARDENING.splitlines(),
        *_SYSTEM_HARDENING.splitlines(),
        f"ReadWritePaths={paths}",
    ]


def _command(words: Sequence[str]) -> str:
    quoted = " ".join(_quoted(word) for word in words)
    # The colon keeps systemd from reading `$` as a variable.
    return f":{quoted}" if "$" in quoted else quoted


def _quoted(word: str) -> str:
    """Return a word as systemd.syntax(7) reads it: C escapes in quotes, and % doubled."""
    word = _specifiers(word)
    if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _systemd(service: Service, home: Path) -> Unit:
    name = f"{service.name}.service"
    if service.system:
        directory, control, journal = Path("/etc/systemd/system"), "systemctl", "journalctl"
        linger: tuple[str, ...] = ()
    else:
        config = os.environ.get("XDG_CONFIG_HOME", "")
        directory = (Path(config) if config else home / ".config") / "systemd" / "user"
        control, journal = "systemctl --user", "journalctl --user"
        # Without it the service manager, and so the daemon, stops when the user logs out.
        linger = ("loginctl enable-linger",)
    return Unit(
        directory / name,
        systemd_unit(service),
        (f"{control} daemon-reload", f"{control} enable --now {name}", *linger),
        (f"{control} disable --now {name}",),
        # systemd disables no unit without a file, but stops the one that it has in memory.
        (f"{control} stop {name}", f"{control} daemon-reload"),
        (f"{control} status {name}", f"{journal} -u {name} -n 50"),
    )


# -- launchd --------------------------------------------------------------------------------------


def launchd_plist(service: Service, log: Path) -> bytes:
    """Return the property list of a launchd job, whose stderr goes to `log`."""
    job: dict[str, object] = {
        "Label": service.name,
        "ProgramArguments": service.command(),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ProcessType": "Background",
        "ExitTimeOut": STOP_TIMEOUT_S,
        "StandardErrorPath": str(log),
        "Umask": 0o077,
    }
    if service.variables:
        job["EnvironmentVariables"] = dict(service.variables)
    if service.system and service.user:
        job["UserName"] = service.user
    return plistlib.dumps(job)


def _launchd(service: Service, home: Path) -> Unit:
    library = Path("/Library") if service.system else home / "Library"
    directory = library / ("LaunchDaemons" if service.system else "LaunchAgents")
    path = directory / f"{service.name}.plist"
    log = library / "Logs" / f"{service.name}.log"
    domain = "system" if service.system else "gui/$(id -u)"
    control = "sudo launchctl" if service.system else "launchctl"
    return Unit(
        path,
        launchd_plist(service, log).decode(),
        (f"{control} bootstrap {domain} {shlex.quote(str(path))}",),
        (f"{control} bootout {domain}/{service.name}",),
        (f"{control} bootout {domain}/{service.name}",),
        (f"{control} print {domain}/{service.name}", f"tail -n 50 {shlex.quote(str(log))}"),
    )
