"""`waxlocal serve install`: the server as a service."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from click.testing import Result

from tests.crash.files import ROOT
from tests.tools.cli import invoke
from tests.tools.patience import PATIENCE_S
from waxlocal_daemon.service_units import SERVE, Service, launchd_plist, systemd_unit

KEY = "a-key-of-more-than-16-characters"


def install(tmp_path: Path, *arguments: object, verb: str = "install", **env: str) -> Result:
    """Run it with a home and a configuration of its own."""
    homes = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return invoke("serve", verb, *arguments, db=tmp_path / "state" / "w.db", **homes, **env)


def unit_of(tmp_path: Path, name: str = "waxlocal-serve") -> Path:
    """Return where the user's unit is."""
    return tmp_path / "config" / "systemd" / "user" / f"{name}.service"


def command_of(unit: str) -> list[str]:
    """Return the command line of a unit."""
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    return shlex.split(line.removeprefix("ExecStart="))


def test_the_unit_serves_with_the_options_that_were_given(tmp_path: Path) -> None:
    """Each that is not its default, also those given twice; what to type next is said."""
    options = ("--port", 9000, "--allow-host", "a.example", "--allow-host", "b.example:80")
    done = install(tmp_path, *options, "--access-log", "--trusted-proxy", "127.0.0.1")
    assert done.exit_code == 0, done.stderr
    assert "systemctl --user enable --now waxlocal-serve.service" in done.stdout
    command = command_of(unit_of(tmp_path).read_text())
    assert command[1:4] == ["-m", "waxlocal", "serve"]
    assert command[4:] == [
        *("--db", str(tmp_path / "state" / "w.db"), "--port", "9000", "--allow-host", "a.example"),
        *("--allow-host", "b.example:80", "--trusted-proxy", "127.0.0.1", "--access-log"),
    ]


def test_what_the_unit_starts_serves(tmp_path: Path) -> None:
    """From the directory that a service starts in, without any variable of a shell."""
    assert install(tmp_path, "--access-log").exit_code == 0
    command = [*command_of(unit_of(tmp_path).read_text()), "--port", "0"]
    paths = os.pathsep.join((str(ROOT), str(ROOT / "daemon")))
    with subprocess.Popen(
        command, cwd="/", env={"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}readyz", timeout=PATIENCE_S) as answer:
                assert answer.status == 200
        finally:
            server.terminate()
    assert server.returncode == 0


@pytest.mark.parametrize("system", [False, True])
def test_systemd_finds_no_fault(tmp_path: Path, system: bool) -> None:
    """Of the user's unit and of the machine's, whose key is a credential."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    user = "daemon" if system else ""
    service = Service(
        tmp_path / "w.db", "served", system, user, key_file, ("--port", "9000"), work=SERVE
    )
    unit = tmp_path / "served.service"
    unit.write_text(systemd_unit(service))
    assert ("Environment=WAXLOCAL_SERVE_KEY_FILE=%d/api-key" in unit.read_text()) is system
    assert ("--key-file" in unit.read_text()) is not system
    done = subprocess.run(
        ["systemd-analyze", "--system" if system else "--user", "verify", "--man=no", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert not [line for line in done.stderr.splitlines() if "served" in line]
    assert done.returncode == 0


def test_a_property_list_for_launchd(tmp_path: Path) -> None:
    """macOS starts the same command."""
    service = Service(tmp_path / "w.db", "served", arguments=("--port", "9000"), work=SERVE)
    job = plistlib.loads(launchd_plist(service, tmp_path / "log"))
    assert job["ProgramArguments"] == service.command()
    assert job["ProgramArguments"][3:6] == ["serve", "--db", str(tmp_path / "w.db")]


def test_the_key_is_never_in_the_unit(tmp_path: Path) -> None:
    """One that only the shell knows is told of; the file is named."""
    done = install(tmp_path, WAXLOCAL_SERVE_KEY=KEY)
    assert "WAXLOCAL_SERVE_KEY is not in the unit" in done.stderr
    assert "give --key-file FILE" in done.stderr
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    done = install(tmp_path, "--key-file", key_file, "--host", "0.0.0.0", WAXLOCAL_SERVE_KEY=KEY)
    assert (done.exit_code, done.stderr) == (0, "")
    text = unit_of(tmp_path).read_text()
    assert KEY not in text
    assert command_of(text)[-4:] == ["--key-file", str(key_file), "--host", "0.0.0.0"]


def test_a_file_that_a_variable_names_is_that_of_the_unit(tmp_path: Path) -> None:
    """As it is that of `serve` in the same shell."""
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    done = install(tmp_path, "--host", "0.0.0.0", WAXLOCAL_SERVE_KEY_FILE=str(key_file))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "--key-file" in command_of(unit_of(tmp_path).read_text())


def test_a_file_that_a_variable_names_has_the_key(tmp_path: Path) -> None:
    """As the unit of the machine has it; it must be one that only its owner reads."""
    key_file = tmp_path / "key"
    key_file.touch(mode=0o644)
    key_file.write_text(KEY)
    done = invoke("serve", db=tmp_path / "w.db", WAXLOCAL_SERVE_KEY_FILE=str(key_file))
    assert done.exit_code == 2
    assert str(key_file) in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "no key is set"),
        (("--port", "0"), "a service needs a port that others know"),
        (("--root-path", "a b"), "not a valid path"),
        (("--allow-host", "a/b"), "a/b"),
        (("--trusted-proxy", "nobody"), "nobody"),
        (("--user", "daemon"), "--user needs --system"),
        (("--name", "a b"), "not a valid name"),
    ],
)
def test_what_the_server_would_refuse_is_refused_at_the_install(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """Before anything is written."""
    done = install(tmp_path, *options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "config").exists()


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """With exit status 4, as `serve` does."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "w.db").write_text("notes " * 1000)
    assert install(tmp_path).exit_code == 4


def test_with_a_daemon_its_variables_are_in_the_unit(tmp_path: Path) -> None:
    """And without one they are not; how durable commits are always is."""
    given = {"WAXELL_API_URL": "https://acme.example", "WAXLOCAL_DURABILITY": "full"}
    install(tmp_path, **given)
    assert "WAXELL_API_URL" not in unit_of(tmp_path).read_text()
    assert "Environment=WAXLOCAL_DURABILITY=full" in unit_of(tmp_path).read_text()
    install(tmp_path, "--daemon", **given)
    assert "Environment=WAXELL_API_URL=https://acme.example" in unit_of(tmp_path).read_text()


def test_uninstall_removes_the_unit_of_its_name(tmp_path: Path) -> None:
    """And not that of the daemon."""
    install(tmp_path)
    other = unit_of(tmp_path, "waxlocald")
    other.touch()
    assert "Removed" in install(tmp_path, verb="uninstall").stdout
    assert not unit_of(tmp_path).exists()
    assert other.exists()
    shown = install(tmp_path, "--print", verb="uninstall")
    assert f"Note: {unit_of(tmp_path)} does not exist" in shown.stderr


def test_options_in_front_of_it_are_refused(tmp_path: Path) -> None:
    """They would have no effect."""
    done = invoke("serve", "--port", 9000, "install", db=tmp_path / "w.db")
    assert done.exit_code == 2
    assert "--port has no effect in front of 'install'" in done.stderr
