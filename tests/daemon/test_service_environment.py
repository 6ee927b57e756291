"""Which variables of a shell a service is to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from waxlocal_daemon.service_environment import handed_on


@pytest.mark.parametrize(
    "name",
    ["HTTP_PROXY", "https_proxy", "All_Proxy", "NO_PROXY", "SSL_CERT_DIR", "CURL_CA_BUNDLE",
     "WAXELL_API_URL", "WAX_PROFILE", "WAXLOCAL_SYNC_POLL", "WAXLOCAL_ALLOW_HTTP"],
)  # fmt: skip
def test_what_leads_to_the_server_is_handed_on(name: str) -> None:
    """In either case, as the HTTP client reads it."""
    assert handed_on({name: "/x"}) == ({name: "/x"}, [])


@pytest.mark.parametrize(
    "name",
    ["WAXELL_API_KEY", "WAX_API_KEY", "WAXLOCAL_API_KEY_FILE", "PATH", "WAXLOCAL_DB", "PROXY"],
)
def test_keys_and_what_is_of_the_shell_alone_are_not(name: str) -> None:
    """Nor is the file, which the command line of the service names."""
    assert handed_on({name: "x"}) == ({}, [])


@pytest.mark.parametrize(
    "value",
    [
        "http://u:p@host:1",
        "u:p@host:1",
        "//u@host",
        "http://[u:p@",
        "http://h\n",
        "http://h/?token=x",
    ],
)
def test_a_password_is_named_and_not_shown(value: str) -> None:
    """Everybody who may see a service can read its unit, where a line end would begin another."""
    assert handed_on({"HTTPS_PROXY": value}) == ({}, ["HTTPS_PROXY"])


def test_a_path_is_made_absolute_and_nothing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service starts in another directory."""
    monkeypatch.chdir(tmp_path)
    found = handed_on({"SSL_CERT_FILE": "ca.pem", "HTTPS_PROXY": "", "NO_PROXY": " "})
    assert found == ({"SSL_CERT_FILE": f"{tmp_path}/ca.pem"}, [])
    several = handed_on({"SSL_CERT_DIR": "a:/b"})
    assert several.variables == {"SSL_CERT_DIR": f"{tmp_path}/a:/b"}
