"""What the server refuses before it looks at it: names, origins, keys, types."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.cli import recorded
from tests.tools.web import (
    OBSERVABILITY,
    OBSERVE,
    raw,
    serving,
)
from waxlocal.errors import ConfigurationError
from waxlocal.settings.addresses import is_loopback
from waxlocal.storage.connection import reader
from waxlocal.web.engine import Engine
from waxlocal.web.middleware.hosts import Hosts, parse_authority
from waxlocal.wire.paths import DOCUMENT

# For what a server does; the rest is the same whoever parses.
served_by_each = pytest.mark.usefixtures("engine")

KEY = "canary-key-0123456789abcdef"
SESSIONS = f"{OBSERVABILITY}/sessions/"
COST = f"{OBSERVE}/model-costs/gpt-4o/"
PRICE = b'{"input_cost_per_million": 1, "output_cost_per_million": 2}'


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with one session."""
    path = tmp_path_factory.mktemp("guards") / "waxlocal.db"
    with recorded(path) as builder:
        builder.llm(builder.run("s1"), cost=0.01)
    return path


@pytest.fixture(scope="module")
def client(engine: Engine, path: Path) -> Iterator[httpx.Client]:
    """Serve the file without a key."""
    with serving(path) as client:
        yield client


@pytest.fixture(scope="module")
def keyed(engine: Engine, path: Path) -> Iterator[httpx.Client]:
    """Serve the file with a key."""
    with serving(path, key=KEY) as client:
        yield client


def _port(client: httpx.Client) -> int:
    port = client.base_url.port
    assert port is not None
    return port


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:{port}",
        "localhost:{port}",
        "LOCALHOST:{port}",
        "localhost.:{port}",
        "[::1]:{port}",
        "[0:0:0:0:0:0:0:1]:{port}",
        "[::ffff:127.0.0.1]:{port}",
    ],
)
def test_the_machines_own_names_are_answered(client: httpx.Client, host: str) -> None:
    """Every way to write a loopback name with our port is one of ours."""
    named = host.format(port=_port(client))
    assert client.get("/healthz", headers={"Host": named}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil:{port}",
        "127.0.0.1",
        "localhost",
        "localhost:1",
        "localhost.evil:{port}",
        "evil-localhost:{port}",
        "[::2]:{port}",
        "192.0.2.1:{port}",
        "0x7f000001:{port}",
        "2130706433:{port}",
        "127.1:{port}",
    ],
)
def test_other_names_are_misdirected(client: httpx.Client, host: str) -> None:
    """A name that may have been made to point here (DNS rebinding) gets nothing."""
    named = host.format(port=_port(client))
    for path in ("/", "/healthz", SESSIONS):
        answer = client.get(path, headers={"Host": named})
        assert answer.status_code == 421
        assert answer.json()["type"] == "urn:waxlocal:problem:misdirected"


@pytest.mark.parametrize(
    "host",
    [
        b"user@127.0.0.1:%d",
        b"127.0.0.1:%d@evil",
        b"[::1:%d",
        b"::1:%d",
        b"127.0.0.1:%d/path",
        b"127.0.0.1:%d?a",
        b"localhost..:%d",
        b"loc\xe4lhost:%d",
        b"127.0.0.1:%d0000",
        b"[127.0.0.1]:%d",
        b"[::1%%25lo]:%d",
    ],
)
def test_what_is_no_name_is_refused(client: httpx.Client, host: bytes) -> None:
    """A Host header that has to be interpreted to be understood is not."""
    named = host % _port(client)
    request = b"GET /healthz HTTP/1.1\r\nHost: " + named + b"\r\nConnection: close\r\n\r\n"
    status = raw(str(client.base_url), request).split(b" ")[1]
    assert status in (b"400", b"421")


@pytest.mark.parametrize(
    "headers", [b"", b"Host: localhost:%d\r\nHost: localhost:%d\r\n", b"Host:\r\n"]
)
def test_the_host_is_named_once(client: httpx.Client, headers: bytes) -> None:
    """No Host header, two, or an empty one are refused."""
    named = headers.replace(b"%d", str(_port(client)).encode())
    for version in (b"1.0", b"1.1"):
        request = b"GET /healthz HTTP/" + version + b"\r\n" + named + b"Connection: close\r\n\r\n"
        assert raw(str(client.base_url), request).split(b" ")[1] == b"400"


@served_by_each
def test_an_allowed_name_is_answered(path: Path) -> None:
    """A name that was allowed holds with any port, one with a port with that port alone."""
    with serving(path, allowed_hosts=("hub.example", "other.example:81")) as client:
        for host, status in (
            ("hub.example", 200),
            ("HUB.example:443", 200),
            ("other.example:81", 200),
            ("other.example", 421),
            ("sub.hub.example", 421),
        ):
            assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_a_name_that_is_none_cannot_be_allowed() -> None:
    """A slip in the setting is an error, not a name that never fits."""
    for name in ("http://hub.example", "hub.example:port", "", "*"):
        with pytest.raises(ConfigurationError):
            Hosts([name])
    assert Hosts(["::1"]).verdict(b"[::1]:9", ("127.0.0.1", 80), "http")


def test_authorities_are_taken_apart_as_a_whole() -> None:
    """The port of an address in brackets is what stands behind the bracket."""
    assert parse_authority("[::1]:8765") == ("::1", 8765)
    assert parse_authority("LocalHost.:80") == ("localhost", 80)
    assert parse_authority("[::1]") == ("::1", None)
    for none in ("", ":80", "a:b:1", "[]:1", "a:0", "a:65536", "a b", "a\n", "."):
        assert parse_authority(none) is None


def test_loopback_is_known_by_address() -> None:
    """Only what this machine alone can reach counts as loopback."""
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "hub.example", "")))


# -- origins --------------------------------------------------------------------------------------


FOLLOWED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FETCHED = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FRAMED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("asked", [SESSIONS, "/", "/analytics", DOCUMENT])
def test_pages_of_other_sites_may_link_here_but_not_ask(
    client: httpx.Client, site: str, asked: str
) -> None:
    """They could not read the answers, but keep the server busy; a program sends no such header."""
    for how, status in ((FETCHED, 403), (FRAMED, 403), ({}, 403), (FOLLOWED, 200)):
        answer = client.get(asked, headers={"Sec-Fetch-Site": site, **how})
        assert answer.status_code == status, how
    for site in ("same-origin", "none"):
        assert client.get(asked, headers={"Sec-Fetch-Site": site, **FETCHED}).status_code == 200
    assert client.get(asked).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://{host}"},
        {"Origin": "http://{host}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"},
        {"Sec-Fetch-Site": "something"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_sites_change_nothing(
    client: httpx.Client, path: Path, method: str, headers: dict[str, str]
) -> None:
    """A change that a page of another site asks for is refused, and nothing changes."""
    host = client.base_url.netloc.decode()
    sent = {name: value.format(host=host) for name, value in headers.items()}
    for address in (COST, "/sync/retry", f"{OBSERVE}/runs/start/"):
        answer = client.request(
            method, address, content=PRICE, headers={"Content-Type": "application/json", **sent}
        )
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    with reader(path) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 1
        assert not connection.execute("SELECT 1 FROM model_prices").fetchall()


def test_own_pages_and_programs_may_change_things(client: httpx.Client) -> None:
    """Our own origin is welcome, and so is a client that is not a browser."""
    own = f"http://{client.base_url.netloc.decode()}"
    for headers in ({}, {"Origin": own, "Sec-Fetch-Site": "same-origin"}, {"Origin": own.upper()}):
        sent = {"Content-Type": "application/json", **headers}
        assert client.post(f"{OBSERVE}/policy-check/", content=b"{}", headers=sent).is_success


def test_no_site_may_read_an_answer(client: httpx.Client) -> None:
    """There are no CORS headers, neither on an answer nor to the question before it."""
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    for answer in (
        client.get(SESSIONS, headers=asked),
        client.options(COST, headers=asked),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options(COST, headers=asked).status_code == 405


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonx",
        "",
    ],
)
def test_the_api_takes_json_only(client: httpx.Client, kind: str) -> None:
    """What a form can send across sites is not a body of the API."""
    answer = client.put(COST, content=PRICE, headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_a_body_says_what_it_is(client: httpx.Client) -> None:
    """A body needs a type; a request without a body needs none; parameters of a type are fine."""
    start = f"{OBSERVE}/policy-check/"
    assert client.request("POST", start, content=b"{}").status_code == 415
    assert client.request("POST", start).status_code == 200
    typed = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post(start, content=b"{}", headers=typed).status_code == 200
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert client.post(start, content=b"{}", headers=packed).status_code == 415


# -- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["/", "/login", "/healthz", "/nowhere", SESSIONS, f"{SESSIONS}nope/", "/metrics"]
)
def test_every_answer_has_the_safe_headers(client: httpx.Client, address: str) -> None:
    """Pages, data and errors alike forbid foreign scripts, frames, guessing and caching."""
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    # Data is not a page: nothing at all may load there.
    scripts = "" if address.startswith("/api/") else " script-src 'self'; style-src 'self';"
    assert policy.startswith(f"default-src 'none';{scripts}")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    if scripts:
        assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


# -- keys -----------------------------------------------------------------------------------------

WRONG_KEYS = (
    "",
    "wrong",
    KEY[:-1],
    KEY + "x",
    KEY.upper(),
    f"{KEY} x",
    "\xe4" * 20,
    "\u20ac",
)


@pytest.mark.parametrize("wrong", WRONG_KEYS)
@pytest.mark.parametrize("address", [SESSIONS, f"{OBSERVE}/config/", "/metrics"])
def test_wrong_keys_are_refused(keyed: httpx.Client, wrong: str, address: str) -> None:
    """Empty, shorter, longer and odd keys get 401 in either header, and are not repeated."""
    for headers in (
        {b"X-Wax-Key": wrong.encode()},
        {b"Authorization": b" ".join((b"Bearer", wrong.encode())).strip()},
    ):
        answer = keyed.get(address, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
        assert not wrong or wrong not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Wax-Key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
    ],
)
def test_the_key_opens_everything(keyed: httpx.Client, headers: dict[str, str]) -> None:
    """Either header is enough, for data, pages and counters."""
    for address in (SESSIONS, "/", "/metrics", DOCUMENT):
        assert keyed.get(address, headers=headers).status_code == 200


def test_without_a_key_nothing_is_read_or_written(keyed: httpx.Client, path: Path) -> None:
    """No header is as good as a wrong one; basic credentials are none."""
    assert keyed.get(SESSIONS).status_code == 401
    assert keyed.get(SESSIONS, auth=("user", KEY)).status_code == 401
    assert keyed.put(COST, json={}).status_code == 401
    assert keyed.post(f"{OBSERVE}/runs/start/", json={"agent_name": "a"}).status_code == 401
    assert keyed.get("/api/v1/nowhere/").status_code == 401
    with reader(path) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 1


def test_health_needs_no_key(keyed: httpx.Client) -> None:
    """Whoever watches the process need not be let in."""
    assert keyed.get("/healthz").json() == {"status": "ok"}
    assert keyed.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [("GET", "/static/none.css", 404), ("PUT", "/readyz", 405), ("PUT", "/login", 405)],
)
def test_an_error_on_an_open_path_says_nothing_of_the_file(
    keyed: httpx.Client, path: Path, method: str, address: str, status: int
) -> None:
    """Neither where it is nor how its upload is; with the key it does."""
    stranger = keyed.request(method, address)
    friend = keyed.request(method, address, headers={"X-Wax-Key": KEY})
    assert stranger.status_code == friend.status_code == status
    assert str(path.parent) in friend.text
    for word in (str(path.parent), path.name, "upload", "Sync"):
        assert word not in stranger.text


def test_a_stranger_is_not_told_why_the_server_is_not_ready(tmp_path: Path) -> None:
    """That it is not is all that a load balancer needs."""
    path = tmp_path / "kept" / "waxlocal.db"
    path.parent.mkdir()
    with serving(path, key=KEY) as client:
        shutil.rmtree(path.parent)
        path.parent.write_text("no folder any more")
        stranger = client.get("/readyz")
        friend = client.get("/readyz", headers={"X-Wax-Key": KEY})
    assert stranger.status_code == friend.status_code == 503
    assert "kept" in friend.text
    assert "kept" not in stranger.text


def test_a_person_logs_in(keyed: httpx.Client) -> None:
    """A page leads to the form, the form to the page; the cookie is not the key."""
    with httpx.Client(base_url=keyed.base_url) as browser:
        first = browser.get("/analytics")
        assert first.status_code == 303
        assert first.headers["location"] == "/login?next=%2Fanalytics"
        assert 'type="password"' in browser.get(first.headers["location"]).text
        into = browser.post("/login?next=%2Fanalytics", data={"key": f" {KEY}\n"})
        assert (into.status_code, into.headers["location"]) == (303, "/analytics")
        cookie = into.headers["set-cookie"]
        assert KEY not in cookie
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        assert browser.get("/analytics").status_code == 200
        assert browser.get(SESSIONS).status_code == 200
        browser.post("/logout")
        assert browser.get(SESSIONS).status_code == 401


def test_a_wrong_key_is_no_login(keyed: httpx.Client) -> None:
    """The form says so, and gives no cookie."""
    answer = keyed.post("/login", data={"key": KEY[:-1]})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "Wrong key" in answer.text


@pytest.mark.parametrize(
    "next_",
    [
        "//evil.example",
        "http://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\r\nX: y",
    ],
)
def test_a_login_leads_nowhere_else(keyed: httpx.Client, next_: str) -> None:
    """Where to go after it is a path of this server."""
    with httpx.Client(base_url=keyed.base_url) as browser:
        answer = browser.post("/login", params={"next": next_}, data={"key": KEY})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize("change", ["cut", "later", "other", "empty", "dots"])
def test_a_forged_cookie_is_none(keyed: httpx.Client, change: str) -> None:
    """A cookie that was changed, or made up, opens nothing."""
    with httpx.Client(base_url=keyed.base_url) as browser:
        browser.post("/login", data={"key": KEY})
        ((name, token),) = browser.cookies.items()
    ends, _, rest = token.partition(".")
    forged: dict[str, Any] = {
        "cut": token[:-1],
        "later": f"{int(ends) + 1}.{rest}",
        "other": KEY,
        "empty": "",
        "dots": "..",
    }
    answer = keyed.get(SESSIONS, headers={"Cookie": f"{name}={forged[change]}"})
    assert answer.status_code == 401
    assert keyed.get(SESSIONS, headers={"Cookie": f"{name}={token}"}).status_code == 200
