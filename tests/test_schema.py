"""A file is created whole or not at all, and nobody else's file is touched."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.files import rows
from waxlocal import schema
from waxlocal.connection import open_writer, reader, writer
from waxlocal.errors import FileLocked, FileMissing, ForeignDatabase, NewerSchema


def test_the_file_says_whose_it_is(db_path: Path) -> None:
    """application_id and user_version are those of schema.sql."""
    open_writer(db_path).close()
    assert rows(db_path, "PRAGMA application_id") == [schema.APPLICATION_ID]
    assert rows(db_path, "PRAGMA user_version") == [schema.VERSION]
    assert schema.APPLICATION_ID.to_bytes(4, "big") == b"WAXL"


def test_schema_sql_alone_makes_the_same_file(tmp_path: Path, db_path: Path) -> None:
    """What the sqlite3 shell makes of schema.sql is what the recorder makes."""
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as conn:
        conn.executescript(schema.schema_text())
    open_writer(db_path).close()
    asked = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
    assert rows(db_path, asked) == rows(other, asked)
    open_writer(other).close()
    assert rows(db_path, asked) == rows(other, asked)


def test_a_failure_half_way_leaves_nothing(db_path: Path) -> None:
    """The schema is created in one transaction."""

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *more: object) -> sqlite3.Cursor:  # type: ignore[override]
            if "CREATE TABLE scores" in sql:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *more)  # type: ignore[arg-type]

    with closing(sqlite3.connect(db_path, factory=Failing, isolation_level=None)) as conn:
        with pytest.raises(sqlite3.OperationalError):
            schema.prepare(conn)
        assert not conn.in_transaction
    assert rows(db_path, "SELECT count(*) FROM sqlite_schema") == [0]
    assert rows(db_path, "PRAGMA user_version") == [0]
    open_writer(db_path).close()
    assert rows(db_path, "PRAGMA user_version") == [schema.VERSION]


def test_many_meet_at_a_new_file(db_path: Path) -> None:
    """Threads that all create the file end up with one schema, and no surprise."""
    start, surprises = threading.Barrier(8), []

    def create() -> None:
        start.wait()
        for _ in range(20):
            while True:
                try:
                    open_writer(db_path).close()
                    break
                except FileLocked:
                    continue
                except Exception as error:
                    surprises.append(error)
                    return

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert surprises == []
    assert rows(db_path, "SELECT count(*) FROM sqlite_schema WHERE name = 'runs'") == [1]


def test_an_empty_database_is_version_0(db_path: Path) -> None:
    """A file without tables counts as new; a reader says that there is nothing in it."""
    with closing(sqlite3.connect(db_path)) as conn:
        assert schema.check(conn) == 0
    db_path.touch()
    with pytest.raises(FileMissing), reader(db_path):
        pass


@pytest.mark.parametrize(
    "make",
    ["CREATE TABLE t (a)", "PRAGMA user_version = 3", "PRAGMA application_id = 7"],
)
def test_a_foreign_database_is_refused(db_path: Path, make: str) -> None:
    """Anything that somebody else has written into is somebody else's, to the last byte."""
    with closing(sqlite3.connect(db_path)) as conn:
        conn.execute(make)
    before = db_path.read_bytes()
    with pytest.raises(ForeignDatabase, match="of another program"):
        open_writer(db_path)
    with pytest.raises(ForeignDatabase), reader(db_path):
        pass
    with pytest.raises(ForeignDatabase), writer(db_path):
        pass
    assert db_path.read_bytes() == before


def test_a_newer_schema_is_refused(db_path: Path) -> None:
    """The error names both versions, the file once, and the way out."""
    open_writer(db_path).close()
    with closing(sqlite3.connect(db_path)) as conn:
        conn.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerSchema) as caught:
        open_writer(db_path)
    assert f"schema 99, this one knows {schema.VERSION}" in str(caught.value)
    assert str(caught.value).count(str(db_path)) == 1
    assert "upgrade" in caught.value.hint


V1 = Path(__file__).with_name("data") / "v1.sql"
MADE = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"


def test_an_old_file_becomes_like_a_new_one(tmp_path: Path, db_path: Path) -> None:
    """A file of version 1 is upgraded when it is opened for writing, and keeps its rows."""
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as conn:
        conn.executescript(V1.read_text())
        conn.execute(
            "INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, "
            "status, started_at) VALUES ('r1', 'a', 'default', 't', 'autonomous', 'running', 'x')"
        )
        conn.commit()
    open_writer(old).close()
    open_writer(db_path).close()
    assert rows(old, MADE) == rows(db_path, MADE)
    assert rows(old, "PRAGMA user_version") == [schema.VERSION]
    assert rows(old, "SELECT run_id FROM runs") == ["r1"]


def test_an_upgrade_that_fails_leaves_the_old_version(tmp_path: Path) -> None:
    """A migration happens whole or not at all."""
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as conn:
        conn.executescript(V1.read_text())
    before = rows(old, MADE)

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *more: object) -> sqlite3.Cursor:  # type: ignore[override]
            if "CREATE TABLE received" in sql:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *more)  # type: ignore[arg-type]

    with (
        closing(sqlite3.connect(old, factory=Failing, isolation_level=None)) as conn,
        pytest.raises(sqlite3.OperationalError),
    ):
        schema.prepare(conn)
    assert rows(old, MADE) == before
    assert rows(old, "PRAGMA user_version") == [1]
