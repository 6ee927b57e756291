"""A file is created whole or not at all, and nobody else's file is touched."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.files import ROOT, assert_sound, rows
from tests.tools.file_versions import (
    ADD_RUN,
    all_rows,
    make_newer,
    old_file,
    parsed_schema,
)
from waxlocal.errors import FileLocked, FileMissing, ForeignDatabase, NewerSchema
from waxlocal.storage import schema
from waxlocal.storage.connection import open_writer, reader, writer


def test_the_file_says_whose_it_is(db_path: Path) -> None:
    """application_id and schema_version are those of schema.sql; 0.2 finds the number it knows."""
    open_writer(db_path).close()
    assert rows(db_path, "PRAGMA application_id") == [schema.APPLICATION_ID]
    assert rows(db_path, "PRAGMA user_version") == [2]
    assert rows(db_path, STATED) == [(schema.VERSION, 2, 2)]
    assert schema.APPLICATION_ID.to_bytes(4, "big") == b"WAXL"


def test_schema_sql_alone_makes_the_same_file(tmp_path: Path, db_path: Path) -> None:
    """What the sqlite3 shell makes of schema.sql is what the recorder makes."""
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as conn:
        conn.executescript(schema.schema_text())
    open_writer(db_path).close()
    for _ in range(2):
        assert rows(db_path, MADE) == rows(other, MADE)
        assert rows(db_path, STATED) == rows(other, STATED)
        open_writer(other).close()


def test_the_page_names_every_table_and_view(db_path: Path) -> None:
    """Who looks into the file with another tool finds there what each is for."""
    open_writer(db_path).close()
    page = (ROOT / "docs" / "file.md").read_text(encoding="utf-8")
    made = rows(db_path, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
    assert [name for name in made if f"`{name}`" not in page and "sqlite_" not in name] == []


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
    assert rows(db_path, STATED) == [(schema.VERSION, 2, 2)]


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
        assert schema.check(conn, writing=True) == 0
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


def test_a_file_that_needs_a_later_version_is_refused(db_path: Path) -> None:
    """The error names the versions, the file once, and the way out; what may be read is read."""
    open_writer(db_path).close()
    make_newer(db_path, min_writer=98, min_reader=schema.VERSION)
    with pytest.raises(NewerSchema) as caught:
        open_writer(db_path)
    said = str(caught.value)
    assert f"schema 99; writing it needs 98, this one knows {schema.VERSION}" in said
    assert said.count(str(db_path)) == 1
    assert "upgrade" in caught.value.hint
    with reader(db_path) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 0
    make_newer(db_path, min_writer=98, min_reader=97)
    with pytest.raises(NewerSchema, match="reading it needs 97"), reader(db_path):
        pass


def test_a_newer_file_that_may_be_written_is_written_and_not_changed(db_path: Path) -> None:
    """A later version says in the file that this one may go on; no step is taken."""
    open_writer(db_path).close()
    make_newer(db_path, min_writer=schema.VERSION, min_reader=2)
    before = rows(db_path, MADE)
    with writer(db_path) as connection:
        connection.execute(ADD_RUN)
    assert rows(db_path, "SELECT run_id FROM runs") == ["r1"]
    assert rows(db_path, STATED) == [(99, schema.VERSION, 2)]
    assert rows(db_path, MADE) == before


def test_a_number_that_no_table_explains_is_taken_at_its_word(db_path: Path) -> None:
    """Without `schema_version` a file is as new as its user_version says."""
    open_writer(db_path).close()
    with closing(sqlite3.connect(db_path)) as conn:
        conn.execute("DROP TABLE schema_version")
        conn.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerSchema, match="needs 99"):
        open_writer(db_path)


MADE = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
STATED = "SELECT version, min_writer, min_reader FROM schema_version"


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_file_becomes_like_a_new_one(tmp_path: Path, db_path: Path, version: int) -> None:
    """A file of an older version is upgraded when it is opened for writing, and keeps its rows."""
    old = tmp_path / "old.db"
    old_file(old, version)
    tables = [name for kind, name in parsed_schema(old) if kind == "table"]
    before = all_rows(old, tables)
    open_writer(old).close()
    open_writer(db_path).close()
    assert parsed_schema(old) == parsed_schema(db_path)
    assert rows(old, STATED) == rows(db_path, STATED)
    assert rows(old, "PRAGMA user_version") == rows(db_path, "PRAGMA user_version")
    after = all_rows(old, tables)
    for table in tables:
        pairs = zip(before[table], after[table], strict=True)
        assert all(kept.items() <= row.items() for kept, row in pairs)
    assert_sound(old)


def test_a_column_added_later_counts_as_one_of_the_table(tmp_path: Path) -> None:
    """The comparison sees columns, wherever they stand, and every difference."""
    whole = (
        "CREATE TABLE t (a TEXT CHECK (a IN ('x', 'Y')), -- why\n b INTEGER NOT NULL DEFAULT 0, c)"
    )
    added = "CREATE TABLE t (a TEXT CHECK (a IN ('x', 'Y')), c -- last\n)"
    b, made = "ALTER TABLE t ADD COLUMN {} INTEGER NOT NULL DEFAULT {}", []
    for number, script in enumerate(
        (
            [whole],
            [added, b.format("b", 0)],
            [added, b.format("b", 1)],
            [added, b.format("d", 0)],
            [whole.replace("'Y'", "'y'")],
            [f"{whole} STRICT".replace("c)", "c ANY)")],
        )
    ):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as conn:
            for statement in script:
                conn.execute(statement)
        made.append(parsed_schema(tmp_path / f"{number}.db"))
    assert [schema == made[0] for schema in made] == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("failing", "left"), [("CREATE TABLE received", 1), ("CREATE TABLE schema_version", 2)]
)
def test_a_step_that_fails_leaves_the_version_before(
    tmp_path: Path, db_path: Path, failing: str, left: int
) -> None:
    """Each step happens whole or not at all, and those before it stay."""
    old_file(db_path, 1)
    old_file(tmp_path / "expected.db", left)

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *more: object) -> sqlite3.Cursor:  # type: ignore[override]
            if failing in sql:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *more)  # type: ignore[arg-type]

    with (
        closing(sqlite3.connect(db_path, factory=Failing, isolation_level=None)) as conn,
        pytest.raises(sqlite3.OperationalError),
    ):
        schema.prepare(conn)
    assert parsed_schema(db_path) == parsed_schema(tmp_path / "expected.db")
    assert rows(db_path, "PRAGMA user_version") == [left]
    open_writer(db_path).close()
    assert rows(db_path, STATED) == [(schema.VERSION, 2, 2)]


class Guarded(sqlite3.Connection):
    """One whose SQLite lets nobody write to the schema; Python can ask for it from 3.12 on."""

    def execute(self, sql: str, *more: object) -> sqlite3.Cursor:  # type: ignore[override]
        """Refuse what SQLite would refuse, where it cannot be asked to."""
        if hasattr(self, "setconfig"):
            self.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        elif "UPDATE sqlite_schema" in sql:
            raise sqlite3.OperationalError("table sqlite_master may not be modified")
        return super().execute(sql, *more)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [1, 2])
def test_a_sqlite_that_guards_its_schema_copies_the_runs(
    tmp_path: Path, db_path: Path, version: int
) -> None:
    """As that of macOS does; the file becomes the same as elsewhere."""
    old_file(db_path, version)
    elsewhere = tmp_path / "elsewhere.db"
    old_file(elsewhere, version)
    with closing(sqlite3.connect(db_path, factory=Guarded, isolation_level=None)) as conn:
        schema.prepare(conn)
    open_writer(elsewhere).close()
    assert parsed_schema(db_path) == parsed_schema(elsewhere)
    tables = [name for kind, name in parsed_schema(db_path) if kind == "table"]
    assert all_rows(db_path, tables) == all_rows(elsewhere, tables)
    assert_sound(db_path)


def test_a_step_may_be_python(db_path: Path) -> None:
    """A step gets the connection inside the transaction, once, whichever way it is written."""
    taken = []

    def step(version: int) -> schema.Step:
        def upgrade(connection: sqlite3.Connection) -> None:
            taken.append((version, connection.in_transaction))
            schema.migration(version)(connection)

        return upgrade

    old_file(db_path, 1)
    for _ in range(2):
        with closing(sqlite3.connect(db_path, isolation_level=None)) as conn:
            schema.prepare(conn, migration=step)
    assert taken == [(version, True) for version in range(2, schema.VERSION + 1)]


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (
            "processes",
            "process_id host boot_id pid_namespace pid started program python waxlocal"
            " first_seen_at",
        ),
        ("received", "idempotency_key fingerprint answer received_at"),
        (
            "model_prices",
            "model provider input_per_mtok output_per_mtok cache_read_per_mtok"
            " cache_write_per_mtok tiers source matched updated_at",
        ),
    ],
)
def test_what_0_2_takes_by_position_keeps_its_columns(
    db_path: Path, table: str, columns: str
) -> None:
    """While `min_writer` is 2: waxlocal 0.2 inserts these without names, or reads them by `*`."""
    open_writer(db_path).close()
    assert rows(db_path, f"SELECT name FROM pragma_table_info('{table}')") == columns.split()


# "INSERT INTO t VALUES" or "INSERT INTO t SELECT": without the columns that it fills.
UNNAMED = re.compile(r"INTO\s+[\w{}]+\s+(?:VALUES|SELECT)\b")


def test_every_insert_names_its_columns() -> None:
    """A column that a later version adds must not stop what is written by this one."""
    assert UNNAMED.search("INSERT OR IGNORE INTO processes VALUES (?)")
    for path in (ROOT / "schema.sql", *ROOT.glob("waxlocal/**/*.py"), *ROOT.glob("daemon/**/*.py")):
        assert UNNAMED.findall(path.read_text(encoding="utf-8")) == [], path
