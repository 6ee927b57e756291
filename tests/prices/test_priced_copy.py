"""A file that may not be written shows what its calls cost all the same."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import moment, run_id
from tests.tools.cli import PYTHON, environment, recorded
from tests.tools.file_versions import old_file
from tests.tools.patience import PATIENCE_S
from tests.tools.rights import as_anybody
from waxlocal.prices import priced_copy
from waxlocal.prices.priced_copy import priced
from waxlocal.storage.connection import reader

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights as on POSIX")
# 100 tokens in, 50 out, of gpt-4o-mini.
COST = pytest.approx(0.000045)


def fill(path: Path, model: str = "gpt-4o-mini") -> None:
    """Record what a program leaves that knew no price: a call without a cost, and its model."""
    with recorded(path) as file:
        file.llm(file.run("sess_aa", user="ann"), model=model)
        file.insert("model_prices", model=model, provider="openai", source="pending",
                    updated_at=moment(0))  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Path]:
    """A file with a call that waits for its price, in a directory that nobody may write to."""
    place = tmp_path / "readable"
    place.mkdir()
    path = place / "waxlocal.db"
    fill(path)
    path.chmod(0o444)
    place.chmod(0o555)
    yield path
    place.chmod(0o755)


def command(
    db: Path, *args: object, temporary: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody whom the rights of files hold for."""
    more = {} if temporary is None else {"TMPDIR": str(temporary)}
    return subprocess.run(
        [*as_anybody(), *PYTHON, "--db", str(db), *map(str, args)],
        env=environment(PYTHONDONTWRITEBYTECODE="1", **more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def first(db: Path, *args: object) -> Any:
    """Return the first of what a command lists with `--json`, or its only answer."""
    done = command(db, *args, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    return said[0] if isinstance(said, list) else said


@pytest.mark.parametrize("verb", ["sessions", "users", "models", "runs", "stats"])
def test_every_list_has_the_costs(db: Path, verb: str) -> None:
    """The totals of sessions, users, models and runs, and the statistics, know the price."""
    assert first(db, verb)["total_cost"] == COST


def test_a_session_and_a_run_have_the_costs(db: Path) -> None:
    """And so has each call, with the share of the tokens that have a price."""
    session, run = first(db, "session", "sess_aa"), first(db, "show", run_id(1))
    assert (session["total_cost"], session["priced_share"]) == (COST, 1.0)
    assert run["llm_calls"][0]["cost"] == COST


def test_the_file_stays_as_it_is(db: Path, tmp_path: Path) -> None:
    """Nothing is written beside it, and the copy is gone when the command ends."""
    before, temporary = db.read_bytes(), tmp_path / "temporary"
    temporary.mkdir()
    assert "$0.000045" in command(db, "sessions", temporary=temporary).stdout
    assert db.read_bytes() == before
    assert list(db.parent.iterdir()) == [db]
    assert list(temporary.iterdir()) == []


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a file lies that this process takes for one that it may not write."""
    monkeypatch.setattr(priced_copy, "may_write", lambda path: False)
    return tmp_path / "waxlocal.db"


def test_a_file_without_calls_to_price_is_not_copied(unwritable: Path) -> None:
    """A model that the price list does not have is no reason to copy."""
    fill(unwritable, "nobody-knows-this")
    with priced(unwritable) as found:
        assert found == (unwritable, "")


@pytest.mark.parametrize(
    ("owner", "setting", "value", "why"),
    [
        pytest.param(priced_copy, "MOST_BYTES", 1000, "too large", id="large"),
        pytest.param(tempfile, "tempdir", "/nonexistent", "nonexistent", id="no place"),
    ],
)
def test_a_file_that_is_not_copied_is_read_as_it_is(
    unwritable: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    setting: str,
    value: object,
    why: str,
) -> None:
    """No command copies gigabytes, and some containers have no place: what is missing is said."""
    fill(unwritable)
    monkeypatch.setattr(owner, setting, value)
    with priced(unwritable) as found:
        assert found.path == unwritable
        assert why in found.unpriced


def test_a_file_of_an_older_version_is_priced_too(unwritable: Path) -> None:
    """The copy is upgraded, the file is not."""
    path = unwritable
    old_file(path, 2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT OR REPLACE INTO model_prices (model, provider, source, updated_at)"
            " VALUES ('gpt-4o-mini', 'openai', 'pending', '2026')"
        )
    before = path.read_bytes()
    with priced(path) as found, reader(found.path) as connection:
        (source,) = connection.execute(
            "SELECT source FROM model_prices WHERE (model, provider) = ('gpt-4o-mini', 'openai')"
        ).fetchone()
    assert source not in ("pending", "unknown")
    assert path.read_bytes() == before


def test_the_copy_is_private_and_ends_with_the_block(unwritable: Path) -> None:
    """Recordings are read by whoever may read the file, and by nobody else."""
    fill(unwritable)
    with priced(unwritable) as found:
        assert found.path != unwritable
        assert found.path.parent.stat().st_mode & 0o077 == 0
        with reader(found.path) as connection:
            assert connection.execute("SELECT cost FROM llm_calls").fetchone()[0] == COST
    assert not found.path.parent.exists()
