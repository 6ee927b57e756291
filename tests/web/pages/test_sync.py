"""The page of the upload, and the line about it on every page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.tools.builders import (
    START_NS,
    Builder,
    moment,
    run_id,
)
from tests.tools.cli import recorded
from tests.tools.pages import dashboard
from waxlocal.delivery.status import TargetStatus
from waxlocal.storage.connection import open_writer
from waxlocal.web.pages.upload_state import host_of, line_of

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://127.0.0.1:8321"}


def target(**changes: object) -> TargetStatus:
    """Return the status of a target where nothing is left to do, with something changed."""
    known: dict[str, object] = {
        "url": "https://hub", "pending": 0, "open": 0, "parked": 0, "delivered": 5,
        "oldest_pending_at": None, "not_before": None, "failures": 0, "paused_at": None,
        "reason": None, "last_attempt_at": None, "last_success_at": moment(-120),
        "pending_reason": None,
    }  # fmt: skip
    return TargetStatus(**{**known, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("targets", "kind", "text"),
    [
        ([], "none", "no sync yet"),
        ([target()], "ok", "up to date"),
        ([target(open=1)], "ok", "up to date · 1 run in progress"),
        ([target(pending=12)], "work", "12 pending · last upload 2 min ago"),
        ([target(pending=12, last_success_at=None)], "work", "12 pending"),
        ([target(pending=3, failures=4, last_success_at=moment(-10_900))], "work",
         "offline for 3 h"),
        ([target(pending=3, failures=4, last_success_at=None)], "work", "offline"),
        ([target(pending=2, parked=1)], "needs", "1 parked, 2 pending"),
        ([target(parked=7)], "needs", "7 parked"),
        ([target(paused_at=moment(0), parked=7)], "needs", "paused: the server rejects the key"),
        ([target(), target(pending=1_200)], "work", "1,200 pending · last upload 2 min ago"),
    ],
)  # fmt: skip
def test_the_line_tells_the_worst_news(targets: list[TargetStatus], kind: str, text: str) -> None:
    """In a few words, for the top of every page."""
    line = line_of(targets, START_NS)
    assert (line.kind, line.text) == (kind, text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://acme.waxell.dev/api", "acme.waxell.dev"),
        ("https://key:secret@hub.example:8443/x?key=1", "hub.example:8443"),
        ("http://[::1]:8321", "::1:8321"),
        ("https://[broken", "?"),
        ("", "?"),
    ],
)
def test_only_the_host_of_a_target_is_shown(url: str, shown: str) -> None:
    """Nothing that an address may carry beside it."""
    assert host_of(url) == shown


@contextmanager
def an_upload(path: Path) -> Iterator[tuple[Builder, sqlite3.Connection]]:
    """Open a file of four runs of which one is delivered, two parked, and one not yet seen."""
    with recorded(path) as to, closing(open_writer(path)) as connection:
        for number in range(4):
            to.run("s", at=number * 10, agent=f"agent {number + 1}")
        connection.execute(
            "INSERT INTO targets (target_id, url, cursor, delivered, last_success_at)"
            " VALUES (1, 'https://k@hub.example', 3, 1, ?)",
            (moment(50),),
        )
        for number, state in ((1, "delivered"), (2, "parked"), (3, "parked")):
            connection.execute(
                "INSERT INTO deliveries (run_id, target_id, state, remote_run_id)"
                " VALUES (?, 1, ?, 'r')",
                (run_id(number), state),
            )
            connection.execute(
                "INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state,"
                " positions, body, bytes, attempts, status, reason, first_attempt_at,"
                " last_attempt_at)"
                " VALUES (?, 1, 'spans', 0, ?, ?, '[1,2,3]', x'00', 2048, 2,"
                " ?, ?, ?, ?)",
                (run_id(number), f"k{number}", state, 201 if number == 1 else 422,
                 None if number == 1 else "name is too long", moment(40), moment(45)),
            )  # fmt: skip
        yield to, connection


def test_what_is_parked_comes_with_its_reason_and_the_way_on(db_path: Path) -> None:
    """Which run and part, what was answered, the button, and the command that does the same."""
    with an_upload(db_path), dashboard(db_path) as pages:
        page = pages.page("/sync")
    part = page.one("section", data_live="parked")
    rows = part.one("tbody").all("tr")
    assert [row.one("a").text for row in rows] == ["agent 2", "agent 3"]
    assert [cell.text for cell in rows[0].all("td")][1:7] == [
        "spans", "422", "name is too long", "3", "2.0 kB", "2",
    ]  # fmt: skip
    assert "waxlocal sync retry" in part.text
    assert page.one("a", id="upload").text == "Upload: 2 parked, 1 pending"


def test_the_state_of_a_target_is_told_in_figures(db_path: Path) -> None:
    """Pending, delivered, last success; its host alone."""
    with an_upload(db_path), dashboard(db_path) as pages:
        page = pages.page("/sync")
    facts = {one.one("dt").text: one.one("dd").text for one in page.one("dl", "facts").all("div")}
    assert (facts["pending"], facts["parked"], facts["delivered"]) == ("1", "2", "1")
    assert "hub.example" in page.one("section", "target").text
    assert "k@" not in page.text


def test_the_last_attempts_are_listed(db_path: Path) -> None:
    """With what became of each."""
    with an_upload(db_path), dashboard(db_path) as pages:
        rows = pages.page("/sync").one("table", "receipts").one("tbody").all("tr")
    states = sorted(row.all("td")[2].text for row in rows)
    assert states == ["delivered", "parked", "parked"]


def test_a_parked_run_is_tried_again(db_path: Path) -> None:
    """That run alone; the page says how many are pending again."""
    with an_upload(db_path) as (_, connection), dashboard(db_path) as pages:
        answer = pages.client.post("/sync/retry", content=f"run_id={run_id(2)}", headers=FORM)
        states = connection.execute("SELECT state FROM deliveries ORDER BY run_id").fetchall()
    assert "1 run pending again" in answer.text
    assert states == [("delivered",), ("pending",), ("parked",)]


def test_all_parked_runs_are_tried_again(db_path: Path) -> None:
    """With one button."""
    with an_upload(db_path) as (_, connection), dashboard(db_path) as pages:
        answer = pages.client.post("/sync/retry", content="all=1", headers=FORM)
        states = connection.execute("SELECT state FROM deliveries ORDER BY run_id").fetchall()
    assert answer.url.path == "/sync"
    assert states == [("delivered",), ("pending",), ("pending",)]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ("", FORM, 400),
        ("run=1", FORM, 400),
        ("all=1", {**FORM, "Origin": "https://evil.example"}, 403),
        ("all=1", {**FORM, "Origin": "null"}, 403),
        ("all=1", {**FORM, "Sec-Fetch-Site": "cross-site"}, 403),
        ('{"all": 1}', {**FORM, "Content-Type": "application/json"}, 415),
        ("all=1", {**FORM, "Content-Type": "text/plain"}, 415),
        ("x=" + "y" * 70_000, FORM, 413),
    ],
)
def test_nobody_else_may_have_runs_tried_again(
    db_path: Path, content: str, headers: dict[str, str], status: int
) -> None:
    """Not another site, not by a link, not with anything but the form."""
    with an_upload(db_path) as (_, connection), dashboard(db_path) as pages:
        answer = pages.client.post("/sync/retry", content=content, headers=headers)
        assert answer.status_code == status
        assert pages.client.get("/sync/retry").status_code == 405
        count = "SELECT count(*) FROM deliveries WHERE state = 'parked'"
        assert connection.execute(count).fetchone() == (2,)


def test_an_empty_id_names_the_events_outside_any_run(db_path: Path) -> None:
    """Where none of them is parked, nothing is tried again."""
    with an_upload(db_path) as (_, connection), dashboard(db_path) as pages:
        answer = pages.client.post("/sync/retry", content="run_id=", headers=FORM)
        assert answer.status_code == 200
        count = "SELECT count(*) FROM deliveries WHERE state = 'parked'"
        assert connection.execute(count).fetchone() == (2,)


def test_without_a_target_the_page_says_how_to_get_one(db_path: Path) -> None:
    """And that nothing leaves the machine until then."""
    with recorded(db_path) as to:
        to.run("s")
    with dashboard(db_path) as pages:
        page = pages.page("/sync")
    assert "waxlocal sync --api-url" in page.one("pre").text
    assert "One run is stored in this file" in page.text
    assert page.one("a", id="upload").text == "Upload: no sync yet"
