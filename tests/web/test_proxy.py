"""The server behind nginx, as docs/proxy.md has it: at a name of its own, and below a path."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.tools.certificates import make_certificate
from tests.tools.cli import recorded, spawn
from tests.tools.nginx import documented, nginx, without
from tests.tools.patience import PATIENCE_S
from tests.tools.web import OBSERVABILITY, OBSERVE, get, spawned
from waxlocal.wire.paths import DOCUMENT, SESSIONS

KEY = "a-key-of-forty-characters-for-this-test-"
NAMED = ("--trusted-proxy", "127.0.0.1", "--allow-host", "localhost")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for this machine."""
    return make_certificate(tmp_path_factory.mktemp("certificate") / "here", "DNS:localhost")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with three sessions; one has slashes in its id."""
    path = tmp_path_factory.mktemp("proxy") / "waxlocal.db"
    with recorded(path) as to:
        for session in ("s1", "s2", "a//b"):
            to.run(session, user="ada")
    return path


Behind = Callable[..., AbstractContextManager[httpx.Client]]


@pytest.fixture
def behind(path: Path, certificate: Path, tmp_path: Path) -> Behind:
    """Return what serves the file behind a proxy, and gives a client of that proxy."""

    @contextmanager
    def run(configuration: str, *options: str, db: Path = path) -> Iterator[httpx.Client]:
        with (
            spawned(*options, db=db, WAXLOCAL_SERVE_KEY=KEY) as (_, address),
            nginx(configuration, address, certificate, tmp_path / "nginx") as proxy,
            httpx.Client(
                base_url=proxy,
                headers={"X-Wax-Key": KEY},
                timeout=PATIENCE_S,
                verify=ssl.create_default_context(cafile=certificate),
            ) as client,
        ):
            yield client

    return run


def _taking_off(configuration: str) -> str:
    """Let nginx take the prefix off, and say nothing of it."""
    whole = without(configuration, "X-Forwarded-Prefix")
    return whole.replace("proxy_pass http://127.0.0.1:8765;", "proxy_pass http://127.0.0.1:8765/;")


AT_ITS_NAME = (documented(), NAMED, "")
BELOW_A_PATH = (documented(below_path=True), NAMED, "/waxlocal")
TAKEN_OFF = (
    _taking_off(documented(below_path=True)),
    (*NAMED, "--root-path", "/waxlocal/"),
    "/waxlocal",
)
each_way = pytest.mark.parametrize(
    ("configuration", "options", "root"),
    [AT_ITS_NAME, BELOW_A_PATH, TAKEN_OFF],
    ids=["at its name", "below a path", "below a path that nginx takes off"],
)


@each_way
def test_a_person_logs_in_through_a_proxy(
    behind: Behind, configuration: str, options: tuple[str, ...], root: str
) -> None:
    """The form, where it leads, and the cookie are those of the address that the person sees."""
    with behind(configuration, *options) as client:
        del client.headers["X-Wax-Key"]
        first = client.get(f"{root}/analytics")
        assert first.headers["location"] == f"{root}/login?next=%2Fanalytics"
        assert (
            f'action="{root}/login?next=%2Fanalytics"' in client.get(first.headers["location"]).text
        )
        own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        into = client.post(first.headers["location"], data={"key": KEY}, headers=own)
        assert (into.status_code, into.headers["location"]) == (303, f"{root}/analytics")
        cookie = into.headers["set-cookie"]
        assert cookie.split("; ")[1:] == [
            "HttpOnly", "Max-Age=604800", f"Path={root or '/'}", "SameSite=strict", "Secure"
        ]  # fmt: skip
        assert client.get(into.headers["location"]).status_code == 200
        out = client.post(f"{root}/logout", headers=own)
        assert out.headers["location"] == f"{root}/login"
        assert client.get(f"{root}/analytics").status_code == 303


@each_way
def test_a_list_is_read_to_its_end_through_a_proxy(
    behind: Behind, configuration: str, options: tuple[str, ...], root: str
) -> None:
    """`next` has the scheme, the host and the path that the client asked."""
    with behind(configuration, *options) as client:
        page = get(client, f"{root}{SESSIONS}", limit=1)
        ids = [one["session_id"] for one in page["results"]]
        while page["next"]:
            assert page["next"].startswith(f"{client.base_url}".rstrip("/") + f"{root}{SESSIONS}?")
            page = client.get(page["next"]).json()
            ids += [one["session_id"] for one in page["results"]]
        assert sorted(ids) == ["a//b", "s1", "s2"]
        (server,) = get(client, f"{root}{DOCUMENT}")["servers"]
        assert server == {"url": root or "/"}


@each_way
def test_a_program_records_through_a_proxy(
    behind: Behind, configuration: str, options: tuple[str, ...], root: str, db_path: Path
) -> None:
    """Paths of a run, too, and a body that is larger than nginx takes by itself."""
    with behind(configuration, *options, db=db_path) as client:
        begun = client.post(f"{root}{OBSERVE}/runs/start/", json={"agent_name": "a"})
        assert begun.status_code == 201
        run = begun.json()["run_id"]
        steps = {"steps": [{"step_name": "s", "output": {"text": "x" * 2_000_000}}]}
        told = client.post(f"{root}{OBSERVE}/runs/{run}/steps/", json=steps)
        assert told.json() == {"recorded": 1}
        assert get(client, f"{root}{OBSERVABILITY}/runs/{run}/")["agent_name"] == "a"


@each_way
def test_an_upload_goes_through_a_proxy(
    behind: Behind,
    configuration: str,
    options: tuple[str, ...],
    root: str,
    path: Path,
    certificate: Path,
    db_path: Path,
) -> None:
    """`waxlocal sync` sends to the address of the proxy, in batches, and finds all there."""
    with behind(configuration, *options, db=db_path) as client:
        to = f"{client.base_url}".rstrip("/") + root
        trusted = {"SSL_CERT_FILE": str(certificate), "WAXELL_API_KEY": KEY}
        done = spawn("--db", path, "sync", "--api-url", to, **trusted)
        assert done.returncode == 0, done.stderr
        assert get(client, f"{root}{SESSIONS}")["count"] == 3


@pytest.mark.parametrize(
    ("configuration", "options", "status"), [(*BELOW_A_PATH[:2], 200), (*TAKEN_OFF[:2], 404)]
)
def test_escaped_slashes_reach_the_server_as_documented(
    behind: Behind, configuration: str, options: tuple[str, ...], status: int
) -> None:
    """nginx passes the path on as the client wrote it, unless it takes the prefix off."""
    with behind(configuration, *options) as client:
        assert client.get(f"/waxlocal{SESSIONS}a%2F%2Fb/").status_code == status


@each_way
def test_other_sites_change_nothing_through_a_proxy(
    behind: Behind, configuration: str, options: tuple[str, ...], root: str
) -> None:
    """Their origin is another, also where only the scheme or the port is."""
    with behind(configuration, *options) as client:
        for origin in ("https://evil.example", "https://localhost", f"http://{_authority(client)}"):
            answer = client.post(f"{root}/login", data={"key": KEY}, headers={"Origin": origin})
            assert answer.status_code == 403


def _authority(client: httpx.Client) -> str:
    return client.base_url.netloc.decode()


@each_way
def test_an_unknown_name_is_misdirected_through_a_proxy(
    behind: Behind, configuration: str, options: tuple[str, ...], root: str
) -> None:
    """A name that may have been made to point at the proxy gets nothing."""
    with behind(configuration, *options) as client:
        for path in ("/", "/healthz", SESSIONS):
            answer = client.get(f"{root}{path}", headers={"Host": "evil.example"})
            assert answer.status_code == 421


def test_what_a_client_says_of_the_proxy_is_replaced(behind: Behind) -> None:
    """As documented, nginx passes on none of these headers."""
    lies = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/evil",
    }
    with behind(documented(), *NAMED) as client:
        page = client.get(SESSIONS, params={"limit": 1}, headers=lies).json()
        assert page["next"].startswith(f"https://{_authority(client)}{SESSIONS}?")


def test_a_forged_host_that_is_passed_on_is_misdirected(behind: Behind) -> None:
    """A page of another name that points at the proxy names us, in vain."""
    passing = without(documented(), "X-Forwarded-Host")
    with behind(passing, *NAMED) as client:
        lie = {"Host": "evil.example", "X-Forwarded-Host": _authority(client)}
        assert client.get("/", headers=lie).status_code == 421
        assert client.get("/", headers={"X-Forwarded-Host": "evil.example"}).status_code == 421


def test_a_proxy_that_is_not_named_is_not_believed(behind: Behind) -> None:
    """Links are http, as the server sees it; a login is refused, and the answer says what to do."""
    options = ("--trusted-proxy", "192.0.2.7", "--allow-host", "localhost")
    with behind(documented(), *options) as client:
        page = get(client, SESSIONS, limit=1)
        assert page["next"].startswith(f"http://{_authority(client)}/")
        own = {"Origin": f"https://{_authority(client)}", "Sec-Fetch-Site": "same-origin"}
        answer = client.post("/login", data={"key": KEY}, headers=own)
        assert answer.status_code == 403
        assert "--trusted-proxy" in answer.json()["hint"]
