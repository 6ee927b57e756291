"""The page that deletes: it shows what would go, and a form deletes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.tools.builders import Builder, run_id
from tests.tools.sync import ask, change
from tests.tools.web import serving, url_of
from waxlocal.storage.connection import open_writer

HOSTILE = '<script>alert("x")</script>/..?&#'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def client(db_path: Path) -> Iterator[httpx.Client]:
    """Serve a file with runs of two users, one of them with a hostile name."""
    with closing(open_writer(db_path)) as connection:
        make = Builder(connection)
        make.llm(make.run(HOSTILE, user=HOSTILE))
        make.run("s2", user=HOSTILE, seconds=None, process=make.process(alive=True))
        make.run("s2", user="bob")
    with serving(db_path) as client:
        yield client


def runs(path: Path) -> list[str]:
    """Return the ids of the runs that are there."""
    return [str(row[0]) for row in ask(path, "SELECT run_id FROM runs ORDER BY id")]


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("/user", {"id": HOSTILE}),
        ("/session", {"id": HOSTILE}),
        (f"/runs/{run_id(1)}", {}),
    ],
)
def test_a_page_leads_to_what_would_be_deleted(
    client: httpx.Client, db_path: Path, page: str, query: dict[str, str]
) -> None:
    """Which changes nothing, however often it is looked at."""
    text = client.get(page, params=query).text
    (link,) = {part.split('"')[0] for part in text.split('href="') if part.startswith("/forget?")}
    shown = client.get(link.replace("&amp;", "&"))
    assert (shown.status_code, "Delete for good" in shown.text) == (200, True)
    assert "<script>alert" not in shown.text
    assert len(runs(db_path)) == 3


def test_the_form_deletes(client: httpx.Client, db_path: Path) -> None:
    """And says how many runs have gone and how many are still open, without the name."""
    change(db_path, "INSERT INTO targets (target_id, url) VALUES (1, 'http://hub')")
    shown = client.get("/forget", params={"user": HOSTILE}).text
    assert "1 run still open" in shown
    assert "1 run waiting for" in shown
    done = client.post("/forget", data={"user": HOSTILE}, follow_redirects=False)
    assert done.status_code == 303
    assert "script" not in done.headers["location"]
    said = client.get(done.headers["location"]).text
    assert "1 run deleted." in said
    assert "1 run not deleted: still open" in said
    assert runs(db_path) == [run_id(2), run_id(3)]
    assert client.get("/session", params={"id": HOSTILE}).status_code == 404


def test_a_page_of_another_site_deletes_nothing(client: httpx.Client, db_path: Path) -> None:
    """Nor does a link: a GET only shows."""
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = client.post("/forget", data={"user": "bob"}, headers=headers)
        assert refused.status_code == 403
    own = client.get("/forget", params={"user": "bob"}, headers={"Origin": url_of(client)})
    assert own.status_code == 200
    assert len(runs(db_path)) == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"user=", 400),
        (b"user=bob&session=s2", 400),
        (b"user=bob&user=carol", 400),
        (b"all=1", 400),
        (b"user=" + b"x" * 70_000, 413),
    ],
)
def test_a_form_that_names_no_one_thing_is_refused(
    client: httpx.Client, db_path: Path, body: bytes, status: int
) -> None:
    """Clearly, and nothing is deleted."""
    assert client.post("/forget", content=body, headers=FORM).status_code == status
    assert client.post("/forget", json={"user": "bob"}).status_code == 415
    assert len(runs(db_path)) == 3


def test_what_is_not_there_is_not_found(client: httpx.Client, db_path: Path) -> None:
    """A user, a session or a run; and figures of a deletion that are none are 0."""
    for kind in ("user", "session", "run"):
        assert client.get("/forget", params={kind: "nobody"}).status_code == 404
        assert client.post("/forget", data={kind: "nobody"}).status_code == 404
    assert ask(db_path, "SELECT count(*) FROM forgotten") == [(0,)]
    assert client.get("/forget").status_code == 400
    assert "0 runs deleted." in client.get("/forget", params={"deleted": "<b>"}).text


def test_with_a_key_only_who_has_it_may_delete(db_path: Path) -> None:
    """As with all that the server does."""
    with closing(open_writer(db_path)) as connection:
        Builder(connection).run("s1", user="bob")
    with serving(db_path, key="wax_sk_secret") as client:
        assert client.post("/forget", data={"user": "bob"}).status_code in (303, 401)
        assert len(runs(db_path)) == 1
        key = {"X-Wax-Key": "wax_sk_secret"}
        assert client.post("/forget", data={"user": "bob"}, headers=key).status_code == 303
    assert runs(db_path) == []
