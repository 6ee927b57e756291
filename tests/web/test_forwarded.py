"""What a proxy says of a request counts from named proxies alone, and only if it is plain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.tools.cli import recorded, spawn
from tests.tools.pages import Dashboard
from tests.tools.web import OBSERVE
from waxlocal.errors import ConfigurationError
from waxlocal.web.api.problems import Problem
from waxlocal.web.app import create_app
from waxlocal.web.middleware.forwarded import Forwarded, TrustedProxies
from waxlocal.web.middleware.hosts import Hosts, parse_authority
from waxlocal.web.root_path import parse_root_path
from waxlocal.wire.paths import DOCUMENT, SESSIONS

KEY = "a-key-of-forty-characters-for-this-test-"
TOLD = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "hub.example:8443",
    "X-Forwarded-Prefix": "/wax",
}
PREFIX = "X-Forwarded-Prefix"
HEADERS = tuple(TOLD)

Serve = Callable[..., TestClient]


@pytest.fixture
def serve(db_path: Path) -> Iterator[Serve]:
    """Return what serves a file with two sessions to a client with an address of its own."""
    with recorded(db_path) as to:
        to.run("s1"), to.run("s2")
    with ExitStack() as stack:

        def start(peer: str = "10.1.0.7", **options: Any) -> TestClient:
            known = {"trusted_proxies": ["10.1.0.0/16"], "allowed_hosts": ["hub.example"]}
            app = create_app(db_path, **{**known, **options})
            client = TestClient(
                app, "http://127.0.0.1:8321", client=(peer, 50_000), follow_redirects=False
            )
            return stack.enter_context(client)

        yield start


def _next(client: TestClient, path: str = SESSIONS, **headers: str) -> str:
    answer = client.get(path, params={"limit": 1}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["next"]
    return found.partition("?")[0]


# -- who is believed ------------------------------------------------------------------------------


def test_a_named_proxy_is_believed(serve: Serve) -> None:
    """Scheme, host and prefix are those that its client asked."""
    assert _next(serve(), **TOLD) == f"https://hub.example:8443/wax{SESSIONS}"


@pytest.mark.parametrize("peer", ["10.2.0.7", "127.0.0.1", "::1", "testclient", "", "10.1.0.7,x"])
def test_nobody_else_is_believed(serve: Serve, peer: str) -> None:
    """Any client can send these headers."""
    assert _next(serve(peer), **TOLD) == f"http://127.0.0.1:8321{SESSIONS}"


def test_without_a_named_proxy_nobody_is_believed(serve: Serve) -> None:
    """Not even this machine: its browsers visit other pages, too."""
    client = serve("127.0.0.1", trusted_proxies=())
    assert _next(client, **TOLD) == f"http://127.0.0.1:8321{SESSIONS}"


@pytest.mark.parametrize(
    ("named", "peer"),
    [
        ("10.1.0.7", "10.1.0.7"),
        ("10.1.0.7", "::ffff:10.1.0.7"),
        ("10.1.0.0/16", "10.1.255.255"),
        ("fd00::/8", "fd00::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
    ],
)
def test_a_proxy_is_known_by_its_address(named: str, peer: str) -> None:
    """In whichever form the address is written."""
    proxies = TrustedProxies([named])
    assert peer in proxies
    assert not any(other in proxies for other in ("192.0.2.1", "2001:db8::1", "", "unix:"))


def test_a_client_without_an_address_is_not_believed() -> None:
    """Such as one that comes by a Unix socket."""
    forwarded = Forwarded(hosts=Hosts(), proxies=["10.1.0.7"])
    scope = _scope({"X-Forwarded-Proto": "https"}, client=None)
    assert forwarded.refusal(scope) is None
    assert scope["scheme"] == "http"


@pytest.mark.parametrize(
    "named", ["localhost", "10.0.0.1/8", "0.0.0.0/0", "::/0", "*", "", "10.0.0.1:80", "a b"]
)
def test_what_names_no_proxy_is_a_mistake(named: str) -> None:
    """A name, an address with more bits than its network, or everybody."""
    with pytest.raises(ConfigurationError):
        TrustedProxies([named])


def test_what_a_proxy_leaves_out_stays_as_it_is(serve: Serve) -> None:
    """Each header counts by itself; an empty one is none."""
    client = serve()
    assert _next(client) == f"http://127.0.0.1:8321{SESSIONS}"
    assert _next(client, **dict.fromkeys(HEADERS, "")) == f"http://127.0.0.1:8321{SESSIONS}"
    one = {"X-Forwarded-Proto": "HTTPS"}
    assert _next(client, **one) == f"https://127.0.0.1:8321{SESSIONS}"


# -- what is believed -----------------------------------------------------------------------------

HOSTILE = (
    "https,http",
    "hub.example, evil.example",
    "javascript",
    "javascript:alert(1)",
    "//evil.example",
    "/\\evil.example",
    "/wax//evil.example",
    "/wax/../..",
    "/wax evil",
    "/wax?x",
    "/wax#x",
    "/wax%2f%2fevil",
    "/wax;x",
    '/wax"><script>',
    "/<script>",
    "https://evil.example",
    "user@hub.example",
    "hub.example/path",
    "hub.example:99999",
    "w\tx",
    "é",
)


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_that_is_not_plain_is_refused(serve: Serve, name: str, value: str) -> None:
    """It is neither guessed at nor repeated; the answer names the header."""
    client = serve(key=KEY)
    for path in ("/", "/login?next=/", SESSIONS):
        answer = client.get(path, headers={name.encode(): value.encode("latin-1")})
        assert answer.status_code in (400, 421)
        assert "location" not in answer.headers
        assert value.strip() not in answer.text


def test_a_header_that_comes_twice_is_refused(serve: Serve) -> None:
    """Two proxies, or a client and its proxy: nobody knows which is right."""
    client = serve()
    for name, value in TOLD.items():
        answer = client.get("/", headers=[(name, value), (name, value)])
        assert answer.status_code == 400
        assert name in answer.json()["detail"]


def test_a_forwarded_host_must_be_allowed(serve: Serve) -> None:
    """As `Host` itself, which must be allowed all the same."""
    client = serve()
    for host, forwarded, status in (
        ("hub.example", "hub.example", 200),
        ("127.0.0.1:8321", "hub.example", 200),
        ("hub.example", "evil.example", 421),
        ("evil.example", "hub.example", 421),
    ):
        headers = {"Host": host, "X-Forwarded-Host": forwarded}
        assert client.get("/healthz", headers=headers).status_code == status


@pytest.mark.parametrize("prefix", ["/api", "/api/v1", "/runs", "/static/x", "/login", "/healthz"])
def test_a_prefix_may_not_be_one_of_our_own_paths(serve: Serve, prefix: str) -> None:
    """Whether the proxy has taken it off could not be told."""
    assert serve().get("/", headers={PREFIX: prefix}).status_code == 400
    with pytest.raises(ConfigurationError, match="pages of its own"):
        serve(root_path=prefix)


def _scope(headers: dict[str, str], **more: Any) -> dict[str, Any]:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http",
        "scheme": "http",
        "path": "/runs",
        "raw_path": b"/runs",
        "server": ("127.0.0.1", 80),
        "client": ("10.1.0.7", 1),
        "headers": [(b"host", b"localhost"), *raw],
        **more,
    }


_parts = st.sampled_from((*HOSTILE, *TOLD.values(), "/", "//", ".", "-", ":", "\r\n", " ", "http"))
_values = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=30),
    st.lists(_parts, max_size=4).map("".join),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(HEADERS, _values)))
def test_no_value_gets_anything_but_a_plain_address_into_a_scope(headers: dict[str, str]) -> None:
    """Whatever a proxy passes on: what links are made of has no other characters."""
    scope = _scope(headers)
    problem = Forwarded(hosts=Hosts(), proxies=["10.1.0.7"]).refusal(scope)
    assert problem is None or isinstance(problem, Problem)
    assert scope["scheme"] in ("http", "https")
    (host,) = [value.decode() for name, value in scope["headers"] if name == b"host"]
    assert parse_authority(host) is not None
    root = scope.get("root_path", "")
    assert re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", root)
    assert scope["path"] == f"{root}/runs"


# -- below a path ---------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["/wax", "/wax/", "/a/b.c/~d_e-f"])
def test_the_whole_path_and_the_rest_of_it_are_the_same(serve: Serve, given: str) -> None:
    """A proxy may leave the prefix in the path, or take it off."""
    client, root = serve(root_path=given), given.rstrip("/")
    pages = Dashboard(client)  # waits for the figures of a page
    for path in ("/sessions/s1", SESSIONS, f"{SESSIONS}s1/", f"{SESSIONS}s1", "/static/app.js"):
        whole, rest = pages.get(f"{root}{path}"), pages.get(path)
        assert whole.status_code == rest.status_code == 200
        assert whole.headers == rest.headers
    assert client.get(root).status_code == client.get(f"{root}/").status_code == 200
    assert client.get(f"{root}x/runs").status_code == 404
    assert client.get(f"{root}{root}/runs").status_code == 404
    assert _next(client) == f"http://127.0.0.1:8321{root}{SESSIONS}"


def test_a_path_that_was_configured_is_not_changed_by_a_header(serve: Serve) -> None:
    """Nor by one that would be refused."""
    client = serve(root_path="/wax")
    for prefix in ("/other", "//evil.example"):
        answer = client.get(DOCUMENT, headers={PREFIX: prefix})
        assert answer.json()["servers"] == [{"url": "/wax"}]


@pytest.mark.parametrize(
    "path",
    ["wax", "//evil", "/a//b", "/a b", "/..", "/a/../b", "/a?b", "/é", "/.a", "/" + "x" * 200],
)
def test_what_is_no_path_is_a_mistake(serve: Serve, path: str) -> None:
    """Which the command says at once."""
    assert parse_root_path(path) is None
    with pytest.raises(ConfigurationError, match="not a valid path for this server"):
        serve(root_path=path)


def test_a_mistake_is_said_before_a_file_is_made(db_path: Path) -> None:
    """With what to type instead."""
    for option, value in (("--trusted-proxy", "localhost"), ("--root-path", "wax")):
        done = spawn("--db", db_path, "serve", "--port", 0, option, value)
        assert done.returncode == 2
        assert "Try: " in done.stderr
        assert not db_path.exists()


def test_a_request_that_is_repeated_another_way_is_the_same(serve: Serve) -> None:
    """What a program sends through the proxy, and again directly, is stored once."""
    client = serve(root_path="/wax")
    headers = {"Idempotency-Key": "once"}
    start, body = f"{OBSERVE}/runs/start/", {"agent_name": "a"}
    first = client.post(f"/wax{start}", json=body, headers=headers)
    again = client.post(start, json=body, headers=headers)
    assert first.status_code == 201
    assert first.json() == again.json()


def test_a_login_leads_nowhere_else_below_a_path(serve: Serve) -> None:
    """Where to go after it is below the path, whatever was asked for."""
    client = serve(key=KEY, root_path="/wax")
    for wanted, reached in (
        ("/runs", "/wax/runs"),
        ("//evil.example", "/wax/"),
        ("https://evil.example", "/wax/"),
        ("javascript:alert(1)", "/wax/"),
    ):
        answer = client.post("/login", params={"next": wanted}, data={"key": KEY})
        assert (answer.status_code, answer.headers["location"]) == (303, reached)


def test_the_cookie_of_another_server_does_not_hide_ours(serve: Serve) -> None:
    """Two servers behind one name have cookies of one name; each knows its own."""
    client = serve(key=KEY)
    client.post("/login", data={"key": KEY})
    ((name, token),) = client.cookies.items()
    client.cookies.clear()
    for header in (f"{name}={token}; {name}=other", f"{name}=other; {name}={token}"):
        assert client.get(SESSIONS, headers={"Cookie": header}).status_code == 200
    assert client.get(SESSIONS, headers={"Cookie": f"{name}=other"}).status_code == 401


def test_an_answer_is_of_the_proxy_that_asked(serve: Serve) -> None:
    """What is kept for a while has no links: the next proxy may have another path."""
    pages = Dashboard(serve())
    for prefix in ("/one", "/two", ""):
        page = pages.get("/", headers={PREFIX: prefix}).text
        assert f'href="{prefix}/sessions/s1"' in page
        assert set(re.findall(r'href="(/one|/two|)/', page)) == {prefix}
