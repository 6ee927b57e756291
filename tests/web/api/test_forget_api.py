"""The API deletes a session or a run for good."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import Builder, run_id
from tests.tools.sync import ask
from tests.tools.web import OBSERVABILITY, serving
from waxlocal.storage.connection import open_writer


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("sessions/s1/", [3, 4]),
        ("sessions/s1", [3, 4]),
        ("sessions/detail/?session_id=..", [1, 2, 4]),
        (f"runs/{run_id(1)}/", [3, 4]),
    ],
)
def test_it_is_gone_and_the_rest_stays(db_path: Path, path: str, left: list[int]) -> None:
    """With its runs of sub-agents; a second time there is nothing to delete."""
    with closing(open_writer(db_path)) as connection:
        make = Builder(connection)
        first = make.run("s1")
        make.run(None, parent=first)
        make.run("..")
        make.run("s1", seconds=None, process=make.process(alive=True))
    whole = f"{OBSERVABILITY}/{path}"
    with serving(db_path) as client:
        before = client.delete(whole)
        assert (before.status_code, before.json()["runs"]) == (200, 4 - len(left))
        assert before.json()["open_runs"] == ("sessions/s1" in path)
        rest = [row[0] for row in ask(db_path, "SELECT run_id FROM runs ORDER BY id")]
        assert rest == [run_id(number) for number in left]
        again = client.delete(whole)
        assert again.status_code == (200 if "sessions/s1" in path else 404)


@pytest.mark.parametrize("path", ["sessions/s/", "sessions/", "runs/", f"runs/{run_id(1)[:20]}/"])
def test_what_is_not_named_whole_is_not_deleted(db_path: Path, path: str) -> None:
    """Neither by the beginning of an id nor all at once; nor for a page of another site."""
    with closing(open_writer(db_path)) as connection:
        Builder(connection).run("s1")
    with serving(db_path) as client:
        assert client.delete(f"{OBSERVABILITY}/{path}").status_code in (404, 405)
        foreign = {"Origin": "http://evil.example"}
        refused = client.delete(f"{OBSERVABILITY}/sessions/s1/", headers=foreign)
        assert refused.status_code == 403
    assert ask(db_path, "SELECT count(*) FROM runs") == [(1,)]
