"""A server's certificate is always checked, against the authorities that the user names."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import certifi
import httpx
import pytest

from tests.tools.builders import Builder
from tests.tools.certificates import make_certificate
from tests.tools.patience import PATIENCE_S
from tests.tools.session_server import SessionServer, listing, session_server
from waxlocal.errors import ConfigurationError, ServerUnreachable
from waxlocal.settings.secret import Secret
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.storage.connection import open_writer
from waxlocal_daemon.connection import Request
from waxlocal_daemon.network import check_network
from waxlocal_daemon.sender import Sender
from waxlocal_daemon.tls import tls_context
from waxlocal_daemon.verify import make_client, verify


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a certificate for this machine and one for another."""
    base = tmp_path_factory.mktemp("certificates")
    return {
        "here": make_certificate(base / "here", "IP:127.0.0.1,DNS:localhost"),
        "elsewhere": make_certificate(base / "elsewhere", "DNS:other.example"),
    }


@pytest.fixture(autouse=True)
def no_certificates_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this machine's user trusts."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["here"])
def server(
    request: pytest.FixtureRequest, certificates: dict[str, Path]
) -> Iterator[SessionServer]:
    """Run an HTTPS server on this machine that lists one session."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates[request.param])
    session = {"session_id": "s", "run_count": 1, "total_tokens": 0, "total_cost": None}
    with session_server(listing([session]), tls=context) as running:
        yield running


@pytest.fixture
def settings(server: SessionServer, db_path: Path) -> UploadSettings:
    """Return settings for that server, of a file with that session delivered."""
    with closing(open_writer(db_path)) as connection:
        run = Builder(connection).run("s")
        connection.execute("INSERT INTO targets (url) VALUES (?)", (server.url,))
        connection.execute(
            "INSERT INTO deliveries (run_id, target_id, state) VALUES (?, 1, 'delivered')", (run,)
        )
    return UploadSettings(server.url, Secret("k"))


def test_an_unknown_authority_is_refused(
    settings: UploadSettings, server: SessionServer, db_path: Path
) -> None:
    """A server that vouches for itself gets no request, and the reason is told."""
    with pytest.raises(ServerUnreachable, match=r"self.signed certificate"):
        verify(db_path, settings)
    assert server.asked == []


def test_a_trusted_file_is_accepted(
    settings: UploadSettings,
    db_path: Path,
    certificates: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`SSL_CERT_FILE` names who is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    assert verify(db_path, settings).checked == 1
    assert verify(db_path, settings).agrees


def test_the_file_of_the_profile_comes_before_the_environment(
    settings: UploadSettings,
    db_path: Path,
    certificates: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the list of sessions and by the upload's own connections alike."""
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    trusting = settings._replace(ca_file=str(certificates["here"]))
    assert verify(db_path, trusting).agrees
    with closing(Sender(trusting)) as sender:
        sender.send(Request("GET", "/", b""))
        ((_, answer),) = sender.collect(PATIENCE_S)
        assert answer.status is not None
    missing = settings._replace(ca_file=str(db_path.with_name("none.pem")))
    with pytest.raises(ConfigurationError, match=r"ca_file is .*none\.pem"):
        verify(db_path, missing)
    with pytest.raises(ConfigurationError, match=r"ca_file is .*none\.pem"):
        check_network(missing)


def test_a_trusted_directory_is_accepted(
    settings: UploadSettings,
    db_path: Path,
    certificates: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`SSL_CERT_DIR` does, too, as `openssl rehash` prepares it."""
    directory = certificates["here"].parent
    subprocess.run(
        ["openssl", "rehash", directory], check=True, capture_output=True, timeout=PATIENCE_S
    )
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    assert verify(db_path, settings).agrees


@pytest.mark.parametrize("server", ["elsewhere"], indirect=True)
def test_another_hosts_certificate_is_refused(
    settings: UploadSettings,
    server: SessionServer,
    db_path: Path,
    certificates: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A valid certificate for another name is as good as none."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["elsewhere"]))
    with pytest.raises(ServerUnreachable, match=r"certificate is not valid for .127\.0\.0\.1."):
        verify(db_path, settings)
    assert server.asked == []


def test_a_named_file_replaces_the_usual_authorities(certificates: dict[str, Path]) -> None:
    """Whoever names one certificate trusts that one; without any, it is certifi's list."""
    named = tls_context({"SSL_CERT_FILE": str(certificates["here"])})
    assert len(named.get_ca_certs()) == 1
    assert len(tls_context({}).get_ca_certs()) > 50


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_bundles_of_requests_and_curl_are_taken(
    certificates: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """A file or a directory; `SSL_CERT_FILE` goes first."""
    named = {name: str(certificates["here"])}
    assert len(tls_context(named).get_ca_certs()) == 1
    assert len(tls_context({**named, "SSL_CERT_FILE": certifi.where()}).get_ca_certs()) > 50
    assert tls_context({name: str(tmp_path)}).get_ca_certs() == []
    with pytest.raises(ConfigurationError, match="SSL_CERT_DIR is "):
        tls_context({name: str(tmp_path), "SSL_CERT_DIR": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError, match=f"{name} is ") as refused:
        tls_context({name: str(tmp_path / "none")})
    assert f"unset {name}" in refused.value.hint


def test_the_authorities_of_the_system_are_trusted_beside_those_of_certifi(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's own is installed there. OpenSSL looks where this variable of the process says."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    mine = tls_context({"SSL_CERT_FILE": str(certificates["here"])}).get_ca_certs()
    both = tls_context({}).get_ca_certs()
    assert len(both) > 50
    assert all(one in both for one in mine)


@pytest.mark.parametrize("environ", [{}, {"SSL_CERT_FILE": ""}, {"PYTHONHTTPSVERIFY": "0"}])
def test_nothing_turns_the_check_off(environ: dict[str, str]) -> None:
    """Certificate and name are demanded, of a protocol that is not broken."""
    context = tls_context(environ)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("kind", ["none", "directory", "text"])
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, kind: str) -> None:
    """Not silently replaced by another list; the error names the variable."""
    named = {"none": tmp_path / "none", "directory": tmp_path, "text": tmp_path / "text"}[kind]
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE is ") as refused:
        tls_context({"SSL_CERT_FILE": str(named)})
    assert "unset SSL_CERT_FILE" in refused.value.hint
    assert str(named) in str(refused.value)


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    """OpenSSL itself would trust nobody, and say so of each server."""
    with pytest.raises(ConfigurationError, match="is not a directory"):
        tls_context({"SSL_CERT_DIR": str(tmp_path / "none")})


def test_the_client_does_not_follow_redirects() -> None:
    """Nor does it read the environment by rules of its own."""
    with make_client(UploadSettings("http://localhost:1", Secret("clé"))) as client:
        assert isinstance(client, httpx.Client)
        assert (client.follow_redirects, client.trust_env) == (False, False)
        assert client.headers.raw.count((b"X-Wax-Key", b"cl\xe9")) == 1
