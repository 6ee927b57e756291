"""A whole list as one file."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.tools.builders import Builder
from tests.tools.cli import invoke, recorded
from tests.tools.pages import Dashboard, dashboard
from waxlocal.storage.connection import open_writer
from waxlocal.web.pages import list_file

LISTS = {"/": "sessions", "/runs": "runs", "/users": "users"}


def some(to: Builder) -> None:
    """Record five sessions of two users."""
    for number in range(5):
        run = to.run(f"s{number}", at=number, user=f"u{number % 2}", inputs={"message": "=1+1"})
        to.llm(run, 10 * number, 1, cost=0.1)


@pytest.fixture
def pages(db_path: Path) -> Iterator[Dashboard]:
    with recorded(db_path) as to:
        some(to)
    with dashboard(db_path) as opened:
        yield opened


def rows(pages: Dashboard, path: str, form: str) -> list[dict[str, Any]]:
    """Return the rows of the file that a page offers."""
    link = next(one["href"] for one in pages.page(path).all("a") if f"file={form}" in one["href"])
    answer = pages.client.get(link)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    name = LISTS[path.partition("?")[0]]
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.{form}"'
    return read(form, answer.content)


def read(form: str, content: bytes) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    if form == "parquet":
        found: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
        return found
    text = content.decode()
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("piece", [2, 5, 1_000])
def test_the_file_has_what_the_command_writes(
    pages: Dashboard, db_path: Path, path: str, form: str, piece: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each row once, however it was read."""
    monkeypatch.setattr(list_file, "PIECE", piece)
    expected = read(form, invoke(LISTS[path], f"--{form}", db=db_path).stdout_bytes)
    assert rows(pages, path, form) == expected
    assert len(expected) in (5, 2)


def test_it_has_the_filter_and_the_order_of_its_page(pages: Dashboard) -> None:
    """Also more than one page has."""
    found = rows(pages, "/?user_id=u0&ordering=total_tokens&limit=1", "jsonl")
    assert [row["session_id"] for row in found] == ["s0", "s2", "s4"]


def test_what_a_spreadsheet_would_compute_is_text(pages: Dashboard) -> None:
    """As the command writes it."""
    assert {row["title"] for row in rows(pages, "/", "csv")} == {"'=1+1"}


def test_a_session_that_goes_on_meanwhile_is_there_once(
    pages: Dashboard, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves to the front of the list, while the file is half written."""
    monkeypatch.setattr(list_file, "PIECE", 2)

    def going_on(_lines: Any) -> bytes:
        with closing(open_writer(db_path)) as conn:
            late = Builder(conn, first=100)
            late.run("s0", at=1_000)
            late.run("new", at=1_001)
        return b""

    monkeypatch.setattr(list_file._JsonLines, "begin", going_on)
    found = {row["session_id"]: row["run_count"] for row in rows(pages, "/", "jsonl")}
    assert found == {"s4": 1, "s3": 1, "s2": 1, "s1": 1, "s0": 2}


def test_another_form_is_refused(pages: Dashboard) -> None:
    """With the ones that there are."""
    for path in LISTS:
        page = pages.page(f"{path}?file=xlsx", status=400)
        assert "use one of: csv, jsonl, parquet" in page.text


def test_without_the_package_parquet_says_what_to_install(
    pages: Dashboard, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page and at the command line; what the program lacks is no fault of its file."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    page = pages.page("/?file=parquet", status=400)
    assert "Parquet needs the package pyarrow" in page.text
    said = invoke("sessions", "--parquet", db=db_path)
    assert said.exit_code == 2
    assert "pip install 'waxlocal[parquet]'" in said.stderr
    assert not said.stdout_bytes
