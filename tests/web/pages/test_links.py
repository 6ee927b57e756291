"""Below a path, every link of every page stays below it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.builders import moment
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, Element, dashboard, parsed
from waxlocal.cli.demo_conversations import MAIN_SESSION
from waxlocal.cli.demo_recording import record_demo
from waxlocal.web.pages.files import STATIC
from waxlocal.web.pages.rendering import TEMPLATES

ROOT = "/wax"
ATTRIBUTES = ("href", "src", "action", "formaction", "poster", "data-live-from", "content")
# A text that begins with a slash, but for what is handed to the one function that knows the root
# path, and the end of an element.
LITERAL = re.compile(r"(?<!links\.to\()(?<!asked\.at\()[\"'`(=]/(?!>)[^\s\"'`)]*")


@pytest.mark.parametrize(
    "file",
    [*sorted(TEMPLATES.glob("*.html")), *sorted(STATIC.iterdir())],
    ids=lambda file: file.name,
)
def test_nothing_has_a_path_of_its_own(file: Path) -> None:
    """Templates, script and styles get each path from the server."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".js":  # the key that searches; the two patterns that it matches texts with
        text = re.sub(r'=== "/"|\.replace\(/.+?/,', "", text)
        text = re.sub(r"//.*", "", text)
    if file.suffix == ".html":
        text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    assert LITERAL.findall(text) == []


@pytest.mark.parametrize(
    "text",
    ['<a href="/runs">', "<a href='/'>", "<a href=/runs>", "{{ '/runs' }}", "url(/static/x)",
     'location.assign("/")', "fetch(`/live`)", "{{ links.at('/runs') }}"],
)  # fmt: skip
def test_the_search_for_paths_finds_them(text: str) -> None:
    """In each way to write one."""
    assert LITERAL.search(text)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Yield the pages of the demonstration, with an upload that has parked a run."""
    path = tmp_path_factory.mktemp("links") / "demo.db"
    record_demo(path)
    with recorded(path) as to:
        run = to.run("a/b", user="ada & co")
        to.insert("targets", target_id=1, url="https://hub.example")
        to.insert("deliveries", run_id=run, target_id=1, state="parked", remote_run_id="r")
        to.insert("requests", run_id=run, target_id=1, stage="spans", part=0, state="parked",
                  idempotency_key="k", positions=[1], body=b"", bytes=0, attempts=1, status=422,
                  reason="no", first_attempt_at=moment(0), last_attempt_at=moment(0))  # fmt: skip
    with dashboard(path, root_path=ROOT) as opened:
        yield opened


def _leads(page: Element) -> Iterator[tuple[str, str]]:
    for one in page.walk():
        for name in ATTRIBUTES:
            value = one.attributes.get(name, "")
            if "/" in value and not (name == "href" and value.startswith("#")):
                yield f"<{one.tag} {name}>", value


def test_every_link_that_can_be_followed_stays_below_the_path(pages: Dashboard) -> None:
    """From the list on to all pages, as far as they lead; none is missing."""
    seen: set[str] = set()
    to_come = [f"{ROOT}/", f"{ROOT}/nowhere", f"{ROOT}/?search=nothing&status=error"]
    to_come += [
        f"{ROOT}/?search={MAIN_SESSION[:12]}",
        f"{ROOT}/login",
        f"{ROOT}/analytics?since=7d",
    ]
    while to_come:
        path = to_come.pop()
        answer = pages.get(path)
        assert answer.status_code == (404 if path.endswith("nowhere") else 200), path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for where, value in _leads(parsed(answer.text)):
            assert value.startswith(f"{ROOT}/"), f"{where} of {path}: {value}"
            without = value.partition("#")[0]
            kind = re.sub(r"(=|sessions/|runs/)[^&?]*", r"\1", without)
            if where == "<a href>" and kind not in seen:
                seen.add(kind)
                to_come.append(without)
    for found in (
        "",
        "runs",
        "analytics",
        "models",
        "sync",
        "help",
        "sessions/",
        "runs/",
        "session?id=",
    ):
        assert f"{ROOT}/{found}" in seen


def test_a_form_leads_back_below_the_path(pages: Dashboard) -> None:
    """To the page of the upload, after its button."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://127.0.0.1:8321"}
    answer = pages.client.post(
        f"{ROOT}/sync/retry", content="all=1", headers=form, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}/sync?requeued=1")


def test_a_stranger_is_led_to_the_login_below_the_path(tmp_path: Path) -> None:
    """Also by the page of an error."""
    with dashboard(tmp_path / "waxlocal.db", root_path=ROOT, key="k" * 20) as pages:
        answer = pages.client.get("/static/nothing")
        assert (answer.status_code, parsed(answer.text).one("a")["href"]) == (404, f"{ROOT}/login")
