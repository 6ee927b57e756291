"""Recorded content never becomes anything but text: every page, parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.browser.hostile import PAYLOADS, record_hostile, session_id
from tests.tools.pages import (
    Dashboard,
    Element,
    dashboard,
    parsed,
)
from waxlocal.web.pages.addresses import Links, session_url
from waxlocal.web.pages.files import STATIC
from waxlocal.web.pages.rendering import TEMPLATES, environment

# What our templates consist of; anything else came from a recording.
TAGS = frozenset(
    re.findall(
        r"\w+",
        """
    a article aside bdi body button caption circle code col colgroup datalist dd defs
    details dialog div dl dt em fieldset figcaption figure form h1 h2 h3 head header html input kbd
    label legend li line link main mark meta nav noscript ol option p path pattern polyline pre rect
    script section select small span strong summary svg table tbody td text th thead time
    title tr ul
    """,
    )
)
LINKS = re.compile(r"(/|#turn-|#where|#main|#)[^\s]*|url\(#[\w-]+\)")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dashboard, list[str]]]:
    """Yield the pages of a recording that has the payloads in every field, and its runs."""
    path = tmp_path_factory.mktemp("hostile") / "waxlocal.db"
    ids = record_hostile(path)
    with dashboard(path) as opened:
        yield opened, ids


def check(page: Element) -> None:
    """Fail on anything in a page that our templates have not put there."""
    for one in page.walk():
        if not one.tag:
            continue
        assert one.tag in TAGS, f"<{one.tag}>"
        for name, value in one.attributes.items():
            assert not name.startswith("on"), f"<{one.tag} {name}>"
            assert name not in ("style", "srcdoc", "formaction", "xlink:href", "ping"), name
            if name in ("href", "src", "action", "fill") and one.tag != "code":
                assert LINKS.fullmatch(value), f"<{one.tag} {name}={value!r}>"
        if one.tag == "script":
            assert one.text == ""
    scripts = [one["src"].partition("?v=")[0] for one in page.all("script")]
    assert sorted(scripts) == sorted(f"/static/{one.name}" for one in STATIC.glob("*.js"))
    assert all(one.tag == "link" and one["href"] for one in page.all("link"))
    assert "http-equiv" not in {name for one in page.all("meta") for name in one.attributes}


def test_there_are_forty_payloads() -> None:
    """And no two are alike."""
    assert len(set(PAYLOADS)) == 40


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_a_payload_is_text_on_every_page_that_shows_it(
    hostile: tuple[Dashboard, list[str]], number: int
) -> None:
    """In its session, its run, as a filter, as a search, as an address."""
    pages, ids = hostile
    payload = PAYLOADS[number]
    check(pages.page(session_url(session_id(number + 1, payload))))
    check(pages.page(f"/runs/{ids[number]}"))
    check(pages.page(Links("").user(payload)))
    check(pages.page(f"/search?{urlencode({'q': payload})}"))
    for name in ("search", "user_id", "agent", "tag"):
        check(pages.page(f"/?{urlencode({name: payload})}"))
    for name in ("since", "status", "ordering", "offset", "limit"):
        check(pages.page(f"/?{urlencode({name: payload})}", status=400))


@pytest.mark.parametrize(
    "path",
    ["/", "/?limit=200", "/runs", "/search", "/search?q=-nowhere", "/users", "/errors",
     "/analytics", "/models", "/sync", "/help",
     "/live/status", "/?live=1", "/sync?requeued=<script>", "/nowhere/<script>alert(1)</script>",
     "/sessions/<script>", "/runs/<script>", "/run?id=<img src=x onerror=1>"],
)  # fmt: skip
def test_pages_of_many_recordings_hold_text_alone(
    hostile: tuple[Dashboard, list[str]], path: str
) -> None:
    """Lists, statistics, errors: only elements of ours, only addresses of ours."""
    pages, _ = hostile
    tree = parsed(pages.get(path).text)
    if path in ("/live/status", "/?live=1"):
        assert not tree.all("script")
    else:
        check(tree)


def test_what_is_shown_is_what_was_recorded(hostile: tuple[Dashboard, list[str]]) -> None:
    """Escaped once, not twice and not never."""
    pages, ids = hostile
    for number in (0, 12, 38):
        run = pages.page(f"/runs/{ids[number]}")
        assert run.one("h1").text == f"{PAYLOADS[number]} / {PAYLOADS[number]}"


def test_every_template_escapes_and_knows_its_names() -> None:
    """No template turns escaping off, and none asks for a filter that would."""
    assert environment.autoescape is True
    for template in TEMPLATES.glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|style=|\son\w+=", text), template.name


def test_answers_forbid_what_is_not_from_here(hostile: tuple[Dashboard, list[str]]) -> None:
    """No inline script or style, no frame, no other host, no guessing of types, no cache."""
    pages, _ = hostile
    headers = pages.client.get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", sorted(one.name for one in STATIC.iterdir()))
def test_the_files_are_served_with_their_types(
    hostile: tuple[Dashboard, list[str]], name: str
) -> None:
    """For ever under the address with their mark, and not at all beyond them."""
    pages, _ = hostile
    page = pages.page("/help")
    address = next(
        value for one in page.walk() for value in one.attributes.values()
        if value.startswith(f"/static/{name}")
    )  # fmt: skip
    answer = pages.client.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert pages.client.get(f"/static/{name}").headers["cache-control"] == "no-cache"
    text = answer.text
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(['\"]?(?!#)", text)


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/app.css%00",
     "/static/", "/static//etc/passwd", "/static/%252e%252e/app.py", "/static/..\\app.py"],
)  # fmt: skip
def test_no_other_file_is_served(hostile: tuple[Dashboard, list[str]], path: str) -> None:
    """Whatever way the address spells it."""
    pages, _ = hostile
    assert pages.client.get(path).status_code == 404
