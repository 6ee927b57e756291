"""The units that make the daemon a service."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import certifi
import pytest
from click.testing import Result

from tests.tools.cli import invoke
from tests.tools.daemon import KEY
from tests.tools.patience import PATIENCE_S
from waxlocal.errors import ConfigurationError
from waxlocal_daemon.service_units import (
    Service,
    launchd_plist,
    make_unit,
    systemd_unit,
)

ODD = ["plain", "two words", "50%h", "$HOME", 'say "so"', "back\\slash", "it's", "a;b", "ünï"]


def words(unit: str) -> list[str]:
    """Return the command line of a unit as systemd reads it."""
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    line = line.removeprefix("ExecStart=")
    if "$" in line:  # a colon in front keeps it from being a variable
        assert line.startswith(":")
        line = line[1:]
    unquoted = shlex.split(line)
    assert all(word.count("%") % 2 == 0 for word in unquoted)
    return [word.replace("%%", "%") for word in unquoted]


@pytest.mark.parametrize("name", ODD)
def test_odd_paths_reach_the_daemon_as_they_are(tmp_path: Path, name: str) -> None:
    """Blanks, per cent signs, dollars, quotes and backslashes are quoted as systemd wants it."""
    service = Service(tmp_path / name / "waxlocal.db", arguments=("--metrics-file", name))
    assert words(systemd_unit(service)) == service.command()
    assert service.command()[-1] == name


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_systemd_finds_no_fault(tmp_path: Path, name: str, system: bool) -> None:
    """`systemd-analyze verify` is silent about units for the user and for the machine."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    (tmp_path / name).mkdir()
    key_file = tmp_path / name / "key"
    key_file.touch(mode=0o600)
    service = Service(
        tmp_path / name / "waxlocal.db",
        system=system,
        user="daemon" if system else "",
        key_file=key_file,
        writable=(tmp_path / name,),
    )
    unit = tmp_path / "waxlocald.service"
    unit.write_text(systemd_unit(service))
    scope = "--system" if system else "--user"
    done = subprocess.run(
        ["systemd-analyze", scope, "verify", "--man=no", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    about_ours = [line for line in done.stderr.splitlines() if "waxlocald" in line]
    assert (done.returncode, about_ours) == (0, []), done.stderr


def test_the_unit_is_watched_and_started_again(tmp_path: Path) -> None:
    """Notify, watchdog, reload by SIGHUP, restart on failure but not for what it cannot mend."""
    lines = systemd_unit(Service(tmp_path / "waxlocal.db")).splitlines()
    for line in (
        "Type=notify",
        "WatchdogSec=2min",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartPreventExitStatus=2 3 4",
        "NoNewPrivileges=yes",
        "WantedBy=default.target",
    ):
        assert line in lines


def test_the_machines_unit_may_write_beside_the_file(tmp_path: Path) -> None:
    """All else is read-only; processes stay visible, or they would all count as ended."""
    service = Service(
        tmp_path / "a b" / "waxlocal.db",
        system=True,
        user="alice",
        key_file=tmp_path / "key",
        writable=(Path("/var/lib/metrics"),),
    )
    lines = systemd_unit(service).splitlines()
    for line in (
        "User=alice",
        "ProtectSystem=strict",
        f'ReadWritePaths="{tmp_path}/a b" /var/lib/metrics',
        f"LoadCredential=api-key:{tmp_path}/key",
        "Environment=WAXLOCAL_API_KEY_FILE=%d/api-key",
        "WantedBy=multi-user.target",
    ):
        assert line in lines
    assert "--key-file" not in words("\n".join(lines))
    assert not any("ProtectProc" in line or "ProcSubset" in line for line in lines)


def test_the_users_unit_needs_no_namespace(tmp_path: Path) -> None:
    """Not every kernel gives a user one, and the unit would not start there."""
    text = systemd_unit(Service(tmp_path / "waxlocal.db", key_file=tmp_path / "key"))
    for word in ("Protect", "Private", "ReadWritePaths", "LoadCredential", "User="):
        assert f"\n{word}" not in text
    assert words(text)[-2:] == ["--key-file", str(tmp_path / "key")]


@pytest.mark.parametrize("name", ODD)
def test_a_property_list_for_launchd(tmp_path: Path, name: str) -> None:
    """The same command, started at login and again when it fails; stderr goes to a file."""
    service = Service(tmp_path / name, arguments=("--nice", "0"))
    unit = make_unit(service, platform="darwin", home=tmp_path)
    assert unit.path == tmp_path / "Library" / "LaunchAgents" / "waxlocald.plist"
    job = plistlib.loads(unit.text.encode())
    assert job["ProgramArguments"] == service.command()
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["StandardErrorPath"] == str(tmp_path / "Library" / "Logs" / "waxlocald.log")
    assert unit.start == (f"launchctl bootstrap gui/$(id -u) {shlex.quote(str(unit.path))}",)


def test_a_property_list_for_the_machine(tmp_path: Path) -> None:
    """A daemon of the system, as the user that is named."""
    service = Service(tmp_path / "waxlocal.db", system=True, user="alice")
    job = plistlib.loads(launchd_plist(service, Path("/log")))
    assert job["UserName"] == "alice"
    unit = make_unit(service, platform="darwin")
    assert unit.path == Path("/Library/LaunchDaemons/waxlocald.plist")


def test_without_a_home_only_the_machine_has_a_place_for_a_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a number that is no user of the machine, without HOME."""

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(ConfigurationError, match="no home directory") as caught:
        make_unit(Service(tmp_path / "waxlocal.db"))
    assert "--system" in caught.value.hint
    for platform in ("linux", "darwin"):
        unit = make_unit(Service(tmp_path / "waxlocal.db", system=True), platform=platform)
        assert "waxlocald" in unit.path.name


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "-x", "a\nb", "x" * 65])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    """A service's name is a file's name, and stands in commands."""
    with pytest.raises(ConfigurationError):
        Service(tmp_path / "waxlocal.db", name)


def test_a_line_end_in_a_path_is_refused() -> None:
    """It would begin a line of the unit."""
    with pytest.raises(ConfigurationError):
        Service(Path("/tmp/a\nExecStartPre=/bin/evil/waxlocal.db"))


# -- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return where the user's units are."""
    return tmp_path / "config" / "systemd" / "user" / "waxlocald.service"


def command(tmp_path: Path, *args: object, **env: str) -> Result:
    """Run `waxlocal daemon` with a home and a configuration of its own."""
    homes = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return invoke("daemon", *args, db=tmp_path / "state" / "waxlocal.db", **homes, **env)


def tools(tmp_path: Path, status: int = 0) -> tuple[str, Path]:
    """Return a PATH with `systemctl` and `loginctl` that note how they are called, and the note."""
    directory, note = tmp_path / "bin", tmp_path / "called"
    directory.mkdir()
    for name in ("systemctl", "loginctl"):
        script = directory / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {note}\nexit {status}\n')
        script.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}", note


def test_install_writes_the_unit_and_says_what_to_type(tmp_path: Path, place: Path) -> None:
    """Nothing is started; the options are handed on; the key of the shell stays there."""
    path, note = tools(tmp_path)
    environment = {"PATH": path, "WAXELL_API_KEY": KEY, "WAXELL_API_URL": "https://acme.example"}
    done = command(tmp_path, "install", "--metrics", 9464, "--log-format", "json", **environment)
    assert done.exit_code == 0, done.stderr
    assert "systemctl --user enable --now waxlocald.service" in done.stdout
    assert "loginctl enable-linger" in done.stdout
    assert words(place.read_text())[-4:] == ["--metrics", "9464", "--log-format", "json"]
    assert f"{tmp_path}/state/waxlocal.db" in words(place.read_text())
    assert KEY not in place.read_text() + done.stdout + done.stderr
    assert not note.exists()


def test_install_says_that_a_service_sees_no_variables(tmp_path: Path) -> None:
    """A key that only this shell knows would leave the service without any."""
    done = command(tmp_path, "install", WAXELL_API_KEY=KEY, WAXELL_API_URL="https://acme.example")
    assert "a service does not see this shell's key" in done.stderr
    assert "~/.waxell/config" in done.stderr
    config = tmp_path / ".waxell" / "config"
    config.parent.mkdir()
    config.touch(mode=0o600)
    config.write_text(f"[default]\napi_url = https://acme.example\napi_key = {KEY}\n")
    assert command(tmp_path, "install").stderr == ""


def test_what_a_shell_says_of_the_way_to_the_server_is_in_the_unit(
    tmp_path: Path, place: Path
) -> None:
    """Proxies, certificates and how to upload; a password, like a key, is not, and that is told."""
    authorities = tmp_path / "ca 1%.pem"
    shutil.copy(certifi.where(), authorities)
    done = command(
        tmp_path,
        "install",
        HTTPS_PROXY="http://proxy.example:3128",
        no_proxy="10.0.0.0/8",
        ALL_PROXY="http://ada:secret@proxy.example:3128",
        SSL_CERT_FILE=str(authorities),
        WAXLOCAL_SYNC_CONCURRENCY="4",
        WAXELL_API_URL="https://acme.example",
        WAXELL_API_KEY=KEY,
        HOME_OF_ANOTHER="x",
    )
    assert done.exit_code == 0, done.stderr
    unit = place.read_text()
    given = [line for line in unit.splitlines() if line.startswith("Environment=")]
    assert set(given) >= {  # this machine may have more of them
        "Environment=HTTPS_PROXY=http://proxy.example:3128",
        f'Environment="SSL_CERT_FILE={tmp_path}/ca 1%%.pem"',
        "Environment=WAXELL_API_URL=https://acme.example",
        "Environment=WAXLOCAL_SYNC_CONCURRENCY=4",
        "Environment=no_proxy=10.0.0.0/8",
    }
    assert "ALL_PROXY is not in the unit" in done.stderr
    assert "EnvironmentFile=" in done.stderr
    assert "secret" not in unit + done.stdout + done.stderr
    assert KEY not in unit + done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("SSL_CERT_FILE", "/no/such/authorities.pem", "holds no usable certificates"),
        ("HTTPS_PROXY", "socks5://proxy.example:1080", "socks5"),
        ("HTTPS_PROXY", "http://proxy.example:99999", "not a valid URL"),
        ("HTTPS_PROXY", "::::", "not a valid URL"),
        ("WAXLOCAL_SYNC_POLL", "0", "WAXLOCAL_SYNC_POLL"),
    ],
)
@pytest.mark.parametrize("server", ["", "https://acme.example"])
def test_what_the_daemon_would_refuse_is_refused_at_once(
    tmp_path: Path, place: Path, server: str, variable: str, value: str, problem: str
) -> None:
    """A service that fails at its start is looked at days later; also without a server so far."""
    done = command(tmp_path, "install", WAXELL_API_URL=server, **{variable: value})
    assert done.exit_code == 2
    assert problem in done.stderr
    assert "Try: " in done.stderr
    assert not place.exists()


def test_a_launchd_job_has_the_variables_too(tmp_path: Path) -> None:
    """As a dictionary of its own."""
    service = Service(tmp_path / "waxlocal.db", variables={"HTTPS_PROXY": "http://p:1"})
    job = plistlib.loads(launchd_plist(service, tmp_path / "log"))
    assert job["EnvironmentVariables"] == {"HTTPS_PROXY": "http://p:1"}


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """It may come later; also where the unit is only printed."""
    done = command(tmp_path, "install", "--print", "--key-file", "no key")
    assert done.exit_code == 0
    assert f"Note: {Path.cwd()}/no key is not there yet" in done.stderr
    assert "chmod 600" in done.stderr


def test_a_directory_is_no_key_file(tmp_path: Path) -> None:
    """As an option that names the place of the keys, and not the file."""
    done = command(tmp_path, "install", "--print", "--key-file", str(tmp_path))
    assert f"Note: {tmp_path} is not a file" in done.stderr


def test_a_user_who_cannot_run_this_python_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root can find that out; to others it is left to the service manager."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    python = private / "python"
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    for_another = command(tmp_path, "install", "--print", "--system", "--user", "nobody")
    assert for_another.exit_code == 0, for_another.stderr
    if os.geteuid() == 0:
        done = command(tmp_path, "install", "--system", "--user", "nobody")
        assert (done.exit_code, "nobody cannot run this waxlocal" in done.stderr) == (2, True)
        assert "/opt/waxlocal" in done.stderr


def test_print_shows_the_unit_and_writes_nothing(tmp_path: Path, place: Path) -> None:
    """stdout is the unit, whole and alone."""
    done = command(tmp_path, "install", "--print")
    assert done.exit_code == 0
    assert done.stdout.startswith("[Unit]\n")
    assert str(place) in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_now_runs_the_commands(tmp_path: Path, place: Path) -> None:
    """Install starts the service, uninstall stops it and takes the unit away."""
    path, note = tools(tmp_path)
    assert command(tmp_path, "install", "--now", PATH=path).exit_code == 0
    assert place.exists()
    assert command(tmp_path, "uninstall", "--now", PATH=path).exit_code == 0
    assert not place.exists()
    assert note.read_text().splitlines() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now waxlocald.service",
        "loginctl enable-linger",
        "systemctl --user disable --now waxlocald.service",
    ]


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    """Where there is no systemd to talk to, that is said, and the exit status is 2."""
    path, note = tools(tmp_path, status=1)
    done = command(tmp_path, "install", "--now", PATH=path)
    assert done.exit_code == 2
    assert "exit status 1" in done.stderr
    assert len(note.read_text().splitlines()) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="launchd has no such links")
def test_uninstall_takes_the_link_away_and_says_what_still_works(
    tmp_path: Path, place: Path
) -> None:
    """systemd refuses to disable a unit whose file is gone; it stops one."""
    command(tmp_path, "install")
    link = place.parent / "default.target.wants" / place.name
    link.parent.mkdir()
    link.symlink_to(place)
    done = command(tmp_path, "uninstall")
    assert not place.exists()
    assert not link.is_symlink()
    assert "systemctl --user stop waxlocald.service\n" in done.stdout
    assert "systemctl --user daemon-reload\n" in done.stdout
    assert "disable" not in done.stdout


def test_uninstall_twice_is_no_fault(tmp_path: Path) -> None:
    """There is nothing to remove, and that is said."""
    done = command(tmp_path, "uninstall")
    assert done.exit_code == 0
    assert "does not exist" in done.stdout


def test_another_name_is_another_service(tmp_path: Path, place: Path) -> None:
    """A second file gets a unit of its own."""
    command(tmp_path, "install")
    command(tmp_path, "install", "--name", "waxlocald-site")
    assert {one.name for one in place.parent.iterdir()} == {
        "waxlocald.service",
        "waxlocald-site.service",
    }


def test_the_machines_service_runs_as_whose_file_it_is(tmp_path: Path) -> None:
    """Files that root makes beside another's database would lock its recorders out."""
    db = tmp_path / "state" / "waxlocal.db"
    db.parent.mkdir()
    db.touch()
    if os.getuid() == 0:
        os.chown(db, 2, 2)
    found = command(tmp_path, "install", "--system", "--print").stdout
    assert f"\nUser={db.owner()}\n" in found
    named = command(tmp_path, "install", "--system", "--user", "daemon", "--print")
    assert "\nUser=daemon\n" in named.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metrics", "nonsense"), "'nonsense' is not a valid address for metrics"),
        (("--metrics", "my host:9464"), "'my host:9464' is not a valid address for metrics"),
        (("--metrics-file", "."), ". is a directory"),
        (("--api-url", "acme.example"), "the server URL (--api-url) does not begin with https://"),
        (("--system", "--user", "no name"), "'no name' is not a valid name for a user"),
        (("--system", "--user", "a%n"), "'a%n' is not a valid name for a user"),
        (("--system", "--user", "nobody-here"), "this machine has no user 'nobody-here'"),
        (("--name", "../other"), "'../other' is not a valid name for a service"),
    ],
)
def test_what_the_daemon_would_refuse_is_refused_at_the_install(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """With exit status 2, before anything is written, and also where the unit is only printed."""
    # Never --system without --print: should it be accepted, the unit would be the machine's.
    for printed in [("--print",)] if "--system" in options else [("--print",), ()]:
        done = command(tmp_path, "install", *printed, *options)
        assert (done.exit_code, done.stdout) == (2, "")
    assert f"Error: {said}" in done.stderr
    assert "Try: " in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("printed", [("--print",), ()])
def test_a_file_that_the_daemon_cannot_use_is_refused_at_the_install(
    tmp_path: Path, printed: tuple[str, ...]
) -> None:
    """A directory, or no database: with the exit status of the daemon, and nothing is written."""
    (tmp_path / "text.db").write_text("Dear diary.\n" * 200)
    for name, said in ((".", "is a directory"), ("text.db", "file is not a database")):
        done = command(tmp_path, "install", *printed, "--db", str(tmp_path / name))
        assert (done.exit_code, done.stdout) == (4, "")
        assert said in done.stderr
        assert "Try: " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_a_user_may_be_a_number(tmp_path: Path) -> None:
    """As in a container, where nobody has a name."""
    done = command(tmp_path, "install", "--system", "--user", "54321", "--print")
    assert "\nUser=54321\n" in done.stdout


def test_user_without_system_is_wrong_use(tmp_path: Path) -> None:
    """A user's own manager runs nothing as somebody else."""
    assert command(tmp_path, "install", "--user", "daemon").exit_code == 2


def test_what_the_unit_starts_is_there(tmp_path: Path) -> None:
    """The command line of the unit is one that this Python understands, from any directory."""
    done = subprocess.run(
        [*Service(tmp_path / "waxlocal.db").command(), "--help"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_checkout())},
    )
    assert done.returncode == 0, done.stderr
    assert "SIGHUP" in done.stdout


def _checkout() -> list[str]:
    root = Path(__file__).parents[2]
    return [str(root), str(root / "daemon")]
