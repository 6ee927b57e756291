"""Where runs go and with which key: every place that may say so, in its order."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_rows import everything
from waxlocal import ObserveConfig, WaxellContext
from waxlocal.errors import ConfigurationError
from waxlocal.recording.recorder import Recorder
from waxlocal.settings.addresses import is_loopback, proxy_for, server_url
from waxlocal.settings.secret import Secret
from waxlocal.settings.upload_settings import (
    _NUMBERS,
    _SWITCHES,
    UploadSettings,
)

KEY = "wax_sk_canary_7d1f"
URL = "https://acme.waxell.dev"
FILE = f"[default]\napi_url = {URL}/file\napi_key = file\n[hub]\napi_key = hub\n"


def write_config(home: Path, text: str) -> Path:
    """Write the file of a home."""
    path = home / ".waxell" / "config"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def load(home: Path, environ: dict[str, str] | None = None, **given: Any) -> UploadSettings:
    """Read settings from a home and an environment, and from nothing else."""
    return UploadSettings.load(environ=environ or {}, home=home, **given)


def refusal(home: Path, environ: dict[str, str] | None = None, **given: Any) -> ConfigurationError:
    """Return the error that reading raises, after a look for the key in its text."""
    with pytest.raises(ConfigurationError) as refused:
        load(home, environ, **given)
    assert KEY not in repr(refused.value) + str(refused.value) + refused.value.hint
    assert refused.value.hint
    return refused.value


# Each place with what it says, the strongest first.
PLACES = ("argument", "configure()", "~/.waxell/config [default]", "WAXELL_", "WAX_")


@pytest.mark.parametrize("strongest", range(len(PLACES)))
def test_the_strongest_place_wins(tmp_path: Path, strongest: int) -> None:
    """Arguments, `configure()`, the file, `WAXELL_*`, `WAX_*`: each beats all behind it."""
    given: dict[str, Any] = {}
    environ: dict[str, str] = {}
    for name in PLACES[strongest:]:
        if name == "argument":
            given |= {"api_url": f"{URL}/argument", "api_key": "argument"}
        elif name == "configure()":
            given["configured"] = ObserveConfig(f"{URL}/configure()", "configure()")
        elif name.startswith("WAX"):
            environ |= {f"{name}API_URL": f"{URL}/{name}", f"{name}API_KEY": name}
        else:
            write_config(tmp_path, f"[default]\napi_url = {URL}/{name[:1]}\napi_key = {name}\n")
    settings = load(tmp_path, environ, **given)
    winner = PLACES[strongest]
    assert settings.api_key == winner
    assert settings.api_url.startswith(f"{URL}/{winner[:1]}")
    ends = ("API_URL", "API_KEY") if winner.startswith("WAX") else ("", "")
    assert settings.source == {"api_url": winner + ends[0], "api_key": winner + ends[1]}


def test_address_and_key_are_found_separately(tmp_path: Path) -> None:
    """Each comes from the first place that has it, as in the original SDK."""
    write_config(tmp_path, "[default]\napi_key = file\n")
    settings = load(tmp_path, {"WAXELL_API_URL": URL, "WAXELL_API_KEY": "env"})
    assert (settings.api_url, settings.api_key.reveal()) == (URL, "file")
    assert settings.source["api_url"] == "WAXELL_API_URL"
    assert settings.source["api_key"] == "~/.waxell/config [default]"


def test_a_profile_is_named_by_argument_or_variable(tmp_path: Path) -> None:
    """The argument beats `WAX_PROFILE`, and either names a section of the file."""
    write_config(tmp_path, FILE)
    environ = {"WAX_PROFILE": "hub", "WAX_API_URL": URL}
    assert load(tmp_path, environ).api_key == "hub"
    assert load(tmp_path, environ, profile="default").api_key == "file"
    assert "WAX_PROFILE names" in str(refusal(tmp_path, environ | {"WAX_PROFILE": "none"}))
    assert "--profile names" in str(refusal(tmp_path, environ, profile="none"))


def test_the_file_is_not_needed_when_all_is_given(tmp_path: Path) -> None:
    """A broken file does not stop whoever gives address and key."""
    write_config(tmp_path, "broken")
    assert load(tmp_path, api_url=URL, api_key=KEY).api_key == KEY
    assert "config:1:" in str(refusal(tmp_path, {"WAXELL_API_URL": URL, "WAXELL_API_KEY": KEY}))


@pytest.mark.parametrize(
    ("environ", "said", "typed"),
    [
        (
            {},
            "no server and no API key are configured",
            "export WAXELL_API_URL=https://acme.waxell.dev WAXELL_API_KEY=wax_sk_..., "
            "or put api_url and api_key under [default] in ~/.waxell/config",
        ),
        (
            {"WAX_API_KEY": KEY},
            "no server is configured",
            "export WAXELL_API_URL=https://acme.waxell.dev, "
            "or put api_url under [default] in ~/.waxell/config",
        ),
        (
            {"WAX_API_URL": URL, "WAX_API_KEY": " \n"},
            "no API key is configured",
            "export WAXELL_API_KEY=wax_sk_..., or put api_key under [default] in ~/.waxell/config",
        ),
    ],
)
def test_what_is_missing_is_told(
    tmp_path: Path, environ: dict[str, str], said: str, typed: str
) -> None:
    """The hint says exactly what to type."""
    error = refusal(tmp_path, environ)
    assert (str(error), error.hint, error.exit_code) == (said, typed, 2)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://acme.waxell.dev/", "https://acme.waxell.dev"),
        (" HTTPS://ACME.Waxell.DEV:443// ", "https://acme.waxell.dev"),
        ("https://hub.example:8443/Waxell/api/", "https://hub.example:8443/Waxell/api"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.8.9.1:80/x", "http://127.8.9.1/x"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("https://[2001:DB8:0::1]", "https://[2001:db8::1]"),
        ("https://my_hub", "https://my_hub"),
    ],
)
def test_an_address_has_one_form(text: str, kept: str) -> None:
    """Case, the usual port and slashes at the end do not matter; a path stays as it is."""
    assert server_url(text) == kept
    assert server_url(kept) == kept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("acme.waxell.dev", "does not begin with https://"),
        ("ftp://acme.waxell.dev", "does not begin with https://"),
        ("https:acme.waxell.dev", "does not begin with https://"),
        ("https://", "no valid host"),
        ("https://a..b", "no valid host"),
        ("https://-a", "no valid host"),
        ("https://[::1", "not a valid URL"),
        ("https://[fe80::1%25eth0]", "no valid host"),
        ("https://[1.2.3.4]", "no"),
        (f"https://{KEY}@acme.waxell.dev", "a user or password"),
        (f"https://u:{KEY}@acme.waxell.dev", "a user or password"),
        (f"https://acme.waxell.dev?key={KEY}", "contains \\?, # or"),
        (f"https://acme.waxell.dev/#{KEY}", "contains \\?, # or"),
        ("https://acme.waxell.dev?", "contains \\?, # or"),
        ("https://acme.waxell.dev\\@evil.example", "a user|contains \\?"),
        ("https://acme.waxell.dev:0", "an invalid port"),
        ("https://acme.waxell.dev:65536", "an invalid port"),
        ("https://acme.waxell.dev:https", "an invalid port"),
        ("https://acme.waxell.dev/a b", "spaces"),
        ("https://acme.wax\nell.dev", "spaces"),
        ("https://bücher.example", "non-ASCII"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(text: str, why: str) -> None:
    """It is said why and where it stands; what a key may have been pasted into is not shown."""
    with pytest.raises(ConfigurationError, match=why) as refused:
        server_url(text, allow_http=True, origin="WAX_API_URL")
    assert "(WAX_API_URL)" in str(refused.value)
    assert refused.value.hint
    assert KEY not in repr(refused.value) + refused.value.hint


@pytest.mark.parametrize(
    "host",
    ["hub.example", "10.0.0.7", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost.evil.example"],
)
def test_plain_http_to_another_machine_needs_a_word(tmp_path: Path, host: str) -> None:
    """Without it the key could be read on the way; argument, variable and profile may allow it."""
    url = f"http://{host}"
    given = {"api_url": url, "api_key": KEY}
    refused = refusal(tmp_path, **given)
    assert "(--api-url)" in str(refused)
    assert "--allow-http or WAXLOCAL_ALLOW_HTTP=1" in refused.hint
    assert load(tmp_path, allow_http=True, **given).allow_http
    assert load(tmp_path, {"WAXLOCAL_ALLOW_HTTP": "1"}, **given).allow_http
    write_config(tmp_path, f"[default]\napi_url = {url}\napi_key = k\nallow_http = true\n")
    assert load(tmp_path).allow_http
    assert "plain http" in str(refusal(tmp_path, {"WAXLOCAL_ALLOW_HTTP": "0"}))


def test_what_a_profile_allows_it_allows_to_its_own_server(tmp_path: Path) -> None:
    """Plain http to a hub does not become plain http to whatever an argument names."""
    write_config(tmp_path, "[default]\napi_url = http://hub\napi_key = k\nallow_http = true\n")
    assert "plain http to other" in str(refusal(tmp_path, api_url="http://other"))
    assert load(tmp_path, api_url=URL).allow_http is False


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("128.0.0.1", False),
        ("::", False),
        ("::ffff:127.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine(host: str, is_here: bool) -> None:
    """Names that a resolver decides about are not taken for this machine."""
    assert is_loopback(host) is is_here


def test_the_defaults(tmp_path: Path) -> None:
    """Settings that nobody gives are the documented ones, and have no source."""
    settings = load(tmp_path, api_url=URL, api_key=KEY)
    defaults = UploadSettings(URL, Secret(KEY))
    assert settings._replace(source=defaults.source) == defaults
    assert settings.source == {"api_url": "argument", "api_key": "argument"}
    assert (settings.open_after, settings.concurrency, settings.bulk) == (3600.0, 32, True)
    assert (settings.poll, settings.send_hardware_uuid) == (5.0, False)


NUMBERS = {
    "open_after": "WAXLOCAL_SYNC_OPEN_AFTER",
    "concurrency": "WAXLOCAL_SYNC_CONCURRENCY",
    "connect_timeout": "WAXLOCAL_SYNC_CONNECT_TIMEOUT",
    "read_timeout": "WAXLOCAL_SYNC_READ_TIMEOUT",
    "request_timeout": "WAXLOCAL_SYNC_REQUEST_TIMEOUT",
    "poll": "WAXLOCAL_SYNC_POLL",
}


@pytest.mark.parametrize(("field", "name"), NUMBERS.items())
def test_numbers_come_from_variables(tmp_path: Path, field: str, name: str) -> None:
    """Each has its variable; nonsense is refused with the range that would do."""
    given = {"api_url": URL, "api_key": KEY}
    settings = load(tmp_path, {name: " 7 "}, **given)
    assert getattr(settings, field) == 7
    assert settings.source[field] == name
    assert isinstance(settings.concurrency, int)
    for nonsense in ("seven", "-1", "nan", "inf", "1e12"):
        error = refusal(tmp_path, {name: nonsense}, **given)
        assert str(error) == f"{name} is {nonsense!r}"
        assert "number from " in error.hint


def test_connections_are_counted_in_whole_numbers(tmp_path: Path) -> None:
    """A half is refused, and not silently left out."""
    name = "WAXLOCAL_SYNC_CONCURRENCY"
    error = refusal(tmp_path, {name: "1.5"}, api_url=URL, api_key=KEY)
    assert (str(error), error.hint) == (f"{name} is '1.5'", "write a whole number from 1 to 256")


@pytest.mark.parametrize(
    ("field", "name"),
    [("bulk", "WAXLOCAL_SYNC_BULK"), ("send_hardware_uuid", "WAXLOCAL_SYNC_HARDWARE_UUID")],
)
def test_switches_come_from_variables(tmp_path: Path, field: str, name: str) -> None:
    """They take the words that people use, and no others."""
    given = {"api_url": URL, "api_key": KEY}
    assert [getattr(load(tmp_path, {name: word}, **given), field) for word in ("on", "No")] == [
        True,
        False,
    ]
    assert f"{name} is 'maybe'" in str(refusal(tmp_path, {name: "maybe"}, **given))


def test_every_variable_is_documented() -> None:
    """The table in the documentation has each one, with its default and its range."""
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `WAXLOCAL_SYNC_")]
    defaults = UploadSettings(URL, Secret(KEY))
    expected = [
        f"| `{name}` | `{getattr(defaults, field):g}` | {least:g}\u2013{most:,} |"
        for field, name, least, most in _NUMBERS
    ]
    expected += [
        f"| `{name}` | {'on' if getattr(defaults, field) else 'off'} | |"
        for field, name in _SWITCHES
    ]
    assert sorted("|".join(row.split("|")[:4]) + "|" for row in rows) == sorted(expected)


def key_file(directory: Path, content: bytes = KEY.encode() + b"\n", mode: int = 0o400) -> Path:
    """Write a file that holds a key."""
    path = directory / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440])
def test_a_key_file_is_read(tmp_path: Path, mode: int) -> None:
    """By argument or variable, before any other place but the argument itself."""
    path = key_file(tmp_path, mode=mode)
    write_config(tmp_path, FILE)
    settings = load(tmp_path, key_file=path)
    assert (settings.api_key, settings.source["api_key"]) == (Secret(KEY), str(path))
    settings = load(tmp_path, {"WAXLOCAL_API_KEY_FILE": str(path)})
    assert settings.api_key == KEY
    assert settings.source["api_key"] == f"WAXLOCAL_API_KEY_FILE ({path})"
    assert load(tmp_path, api_key="stronger", key_file=path).api_key == "stronger"


def test_a_key_file_that_all_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that closes it."""
    path = key_file(tmp_path, mode=0o644)
    error = refusal(tmp_path, api_url=URL, key_file=path)
    assert str(error) == f"every user can read the key file {path}"
    assert error.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b" \n", KEY.encode() * 1_000, f"{KEY}\n{KEY}".encode()])
def test_a_key_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, far too long, or of several lines: no key is taken from it, and no other used."""
    path = key_file(tmp_path, content)
    assert str(path) in str(refusal(tmp_path, {"WAX_API_KEY": "other"}, api_url=URL, key_file=path))


def test_a_key_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Nor is a directory one."""
    assert "No such file" in str(refusal(tmp_path, api_url=URL, key_file=tmp_path / "none"))
    assert "Is a directory" in str(refusal(tmp_path, api_url=URL, key_file=tmp_path))


def test_a_key_may_come_through_a_pipe(tmp_path: Path) -> None:
    """As from `--key-file <(pass show waxell)`: a pipe has no mode that matters."""
    read, write = os.pipe()
    os.write(write, KEY.encode() + b"\n")
    os.close(write)
    try:
        assert load(tmp_path, api_url=URL, key_file=f"/dev/fd/{read}").api_key == KEY
    finally:
        os.close(read)


def test_a_file_that_others_can_read_is_noted(tmp_path: Path) -> None:
    """The settings carry what their reader should be told."""
    write_config(tmp_path, FILE).chmod(0o644)
    assert "chmod 600" in load(tmp_path).notes[0]


def test_a_bad_key_is_refused_with_its_place(tmp_path: Path) -> None:
    """Not when it is configured, but when it is to be sent."""
    error = refusal(tmp_path, {"WAX_API_URL": URL, "WAX_API_KEY": f"{KEY}\n{KEY}"})
    assert str(error).startswith("WAX_API_KEY: the API key contains a control character")
    error = refusal(tmp_path, configured=ObserveConfig(URL, f"{KEY}\u2019"))
    assert str(error).startswith("configure(): the API key contains a character outside Latin-1")


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, URL, None),
        ({"HTTPS_PROXY": "http://p:1"}, URL, "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, URL, "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, URL, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, URL, None),
        ({"HTTP_PROXY": "http://p:1"}, "http://hub", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://hub", None),
        ({"ALL_PROXY": "http://p:1"}, URL, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "waxell.dev"}, URL, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, URL, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x.dev, 10.0.0.0/8"}, "https://10.1.2.3", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, "https://[fd00::1]:8", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "https://11.1.2.3", "http://p:1"),
        (
            {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/99,/"},
            "https://10.1.2.3",
            "http://p:1",
        ),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other.dev"}, URL, "http://p:1"),
        ({"HTTPS_PROXY": "", "ALL_PROXY": "http://p:1"}, URL, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "http://localhost:8000", None),
        ({"ALL_PROXY": "http://p:1"}, "http://[::1]:8000", None),
    ],
)
def test_the_proxy_is_found(environ: dict[str, str], url: str, proxy: str | None) -> None:
    """As `urllib.request` finds it; this machine is reached without one."""
    assert proxy_for(url, environ) == proxy


def test_the_process_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment given, it is that of the process."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    assert proxy_for(URL) == "http://p:1"
    monkeypatch.setenv("NO_PROXY", "acme.waxell.dev")
    assert proxy_for(URL) is None


def test_a_proxy_of_another_kind_is_refused() -> None:
    """It is said which kind, and neither address nor password."""
    with pytest.raises(ConfigurationError, match="uses socks5") as refused:
        proxy_for(URL, {"ALL_PROXY": f"socks5://u:{KEY}@p:1"})
    assert KEY not in str(refused.value) + refused.value.hint


HUB = f"""
[default]
api_url = {URL}
api_key = k
proxy = http://u:{KEY}@proxy.example:3128
ca_file = authorities.pem
"""


def test_a_profile_names_the_way_to_its_server(tmp_path: Path) -> None:
    """Before the environment; a relative path begins beside the file. The password is hidden."""
    write_config(tmp_path, HUB)
    settings = load(tmp_path)
    environ = {"HTTPS_PROXY": "http://other:1"}
    assert settings.proxy_url(environ) == f"http://u:{KEY}@proxy.example:3128"
    assert settings.ca_file == str(tmp_path / ".waxell" / "authorities.pem")
    assert KEY not in repr(settings)


def test_the_way_of_a_profile_is_for_its_own_server_only(tmp_path: Path) -> None:
    """Another server may not be reached by it, and this machine needs none."""
    write_config(tmp_path, HUB)
    other = load(tmp_path, api_url="https://other.example")
    assert (other.ca_file, other.proxy_url({"HTTPS_PROXY": "http://other:1"})) == (
        "",
        "http://other:1",
    )
    write_config(tmp_path, HUB.replace(URL, "http://127.0.0.1:8000"))
    assert load(tmp_path).proxy_url({}) is None


@pytest.mark.parametrize("proxy", ["socks5://p:1", "http://", "http://p:none"])
def test_a_proxy_of_a_profile_that_cannot_be_used_is_told(tmp_path: Path, proxy: str) -> None:
    """With where it stands, and what to write."""
    write_config(tmp_path, HUB.replace(f"http://u:{KEY}@proxy.example:3128", proxy))
    with pytest.raises(ConfigurationError, match=r"~/.waxell/config \[default\]") as refused:
        load(tmp_path).proxy_url({})
    assert "http://proxy.example:3128" in refused.value.hint


def test_the_key_is_nowhere(
    tmp_path: Path, recorder: Recorder, db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In no byte of the database, no log line, no text form, no traceback with its variables."""
    write_config(tmp_path, f"[default]\napi_url = ftp://x\napi_key = {KEY}\n")
    with caplog.at_level(logging.DEBUG):
        with WaxellContext("agent", session_id="s", inputs={"message": "hello"}) as context:
            context.record_llm_call(model="gpt-4o", tokens_in=10, tokens_out=5)
            context.set_metadata("config", ObserveConfig(URL, KEY))
            context.set_result({"settings": load(tmp_path, api_url=URL)})
            context.record_step("settings", output=vars(ObserveConfig(URL, KEY)))
        logging.getLogger("any").debug("%s", load(tmp_path, api_url=URL))
    recorder.close()
    assert b"Secret(set)" in everything(db_path)
    assert KEY.encode() not in everything(db_path)
    assert "Secret(set)" in caplog.text
    assert KEY not in caplog.text
    environ = {"WAXELL_API_KEY": KEY, "WAX_API_KEY": KEY, "WAXLOCAL_SYNC_POLL": "often"}
    with pytest.raises(ConfigurationError) as refused:
        UploadSettings.load(api_url=URL, api_key=KEY, environ=environ, home=tmp_path)
    trace = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    package = str(Path(waxlocal.__file__).parent)
    ours = [frame for frame in trace.stack if frame.filename.startswith(package)]
    assert len(ours) >= 3
    assert KEY not in repr([frame.locals for frame in ours])


def test_reading_settings_loads_no_network_code(tmp_path: Path) -> None:
    """Nor the code for proxies, before one is asked for."""
    program = (
        "import sys; from waxlocal.settings.upload_settings import UploadSettings as S\n"
        "S.load(api_url='https://a', api_key='k')\n"
        "print(*{'httpx', 'httpcore', 'ssl', 'urllib.request'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.strip() == ""
