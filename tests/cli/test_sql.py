"""`waxlocal sql` reads, and only reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.cli import answer, invoke, recorded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one run."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as builder:
        builder.run(session="s1", user="ada")
    return path


def test_a_query_answers_with_its_own_column_names(file: Path) -> None:
    """Rows come as JSON objects with the names that the query gives."""
    asked = "SELECT user_id AS who, run_count FROM sessions"
    assert answer("sql", asked, db=file) == [{"who": "ada", "run_count": 1}]


def test_a_query_may_begin_with_a_comment(file: Path) -> None:
    """As those in the documentation do; an option that is typed wrong is none."""
    asked = "-- who?\nSELECT user_id AS who FROM sessions"
    assert answer("sql", asked, db=file) == [{"who": "ada"}]
    assert "did you mean --param?" in invoke("sql", "--parm", "SELECT 1", db=file).stderr


def test_values_are_bound_by_name(file: Path) -> None:
    """What the person gives is a value of the query and never a part of it."""
    asked = "SELECT session_id FROM runs WHERE user_id = :user"
    assert answer("sql", asked, "-p", "user", "ada", db=file) == [{"session_id": "s1"}]
    assert answer("sql", asked, "-p", "user", "' OR 1 --", db=file) == []


def test_a_name_may_be_given_with_its_colon(file: Path) -> None:
    """As it stands in the query."""
    assert answer("sql", "SELECT :a AS a", "-p", ":a", "x", db=file) == [{"a": "x"}]


def test_csv_has_a_header_line(file: Path) -> None:
    """--csv writes the names first."""
    result = invoke("sql", "SELECT session_id, run_count FROM sessions", "--csv", db=file)
    assert result.stdout == "session_id,run_count\ns1,1\n"


def test_csv_has_a_header_line_also_without_rows(file: Path) -> None:
    """A program that reads it finds the names that it asked for, and nothing below."""
    asked = "SELECT session_id, run_count FROM sessions WHERE user_id = :user"
    result = invoke("sql", asked, "--csv", "-p", "user", "nobody", db=file)
    assert result.stdout == "session_id,run_count\n"


def test_a_blob_is_printed_as_sql_writes_it(file: Path) -> None:
    """Neither JSON nor a table has a value for bytes; what is printed can be asked for again."""
    assert answer("sql", "SELECT x'00ff' AS body", db=file) == [{"body": "x'00ff'"}]
    for option in ((), ("--csv",)):
        assert "x'00ff'" in invoke("sql", "SELECT x'00ff' AS body", *option, db=file).stdout


@pytest.mark.parametrize(
    ("query", "said", "hint"),
    [
        ("SELECT :x", "the parameter :x has no value", "give its value with: -p NAME VALUE"),
        ("SELECT $x", "the parameter :x has no value", "give its value with: -p NAME VALUE"),
        ("SELECT ?", "the query has a parameter without a name", "write :NAME in place of ?"),
        ("SELECT 1; SELECT 2", "the query has more than one statement", "one statement at a time"),
        ("SELECT 1 FROM x", "no such table: x", "waxlocal schema"),
    ],
)
def test_what_is_wrong_with_a_query_is_said_in_our_words(
    file: Path, query: str, said: str, hint: str
) -> None:
    """Python's words speak of its own arguments, a dictionary that nobody gave."""
    result = invoke("sql", query, db=file)
    error, advice = result.stderr.splitlines()
    assert (result.exit_code, error) == (2, f"Error: {said}")
    assert hint in advice


def test_a_value_for_a_parameter_that_the_query_does_not_have_is_an_error(file: Path) -> None:
    """Such as one that is misspelled; SQLite would pass over it."""
    query = ("SELECT :name AS name", "-p", "name", "a")
    assert answer("sql", *query, db=file) == [{"name": "a"}]
    result = invoke("sql", *query, "-p", "nam", "b", db=file)
    error, hint = result.stderr.splitlines()
    assert (result.exit_code, error) == (2, "Error: the query has no parameter :nam")
    assert hint == "Try: leave out: -p nam"


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM runs",
        "UPDATE runs SET user_id = 'x' RETURNING user_id",
        "PRAGMA user_version = 7",
        "DROP TABLE runs",
        "SELECT 1; DELETE FROM runs",
        "PRAGMA journal_mode = delete",
        "PRAGMA wal_checkpoint",
        "CREATE TEMP TABLE t (a)",
        "SELEC 1",
        "",
        "-- nothing",
    ],
)
def test_what_is_no_question_is_refused_and_changes_nothing(file: Path, query: str) -> None:
    """Anything but one reading statement is an error with a hint, exit 2, and leaves the file."""
    before = file.read_bytes()
    result = invoke("sql", query, db=file)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert "Try: " in result.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "query",
    [
        "PRAGMA journal_mode = delete",
        "pragma QUERY_ONLY = off",
        "PRAGMA optimize",
        "INSERT INTO runs DEFAULT VALUES",
        "DELETE FROM runs RETURNING id",
        "BEGIN",
    ],
)
def test_a_statement_that_would_write_is_told_that_only_reading_is_allowed(
    file: Path, query: str
) -> None:
    """In words of waxlocal, whatever SQLite or the library below says."""
    result = invoke("sql", query, db=file)
    assert result.stderr == (
        "Error: waxlocal sql only reads: this statement is not allowed\n"
        "Try: write a SELECT; see the tables with: waxlocal schema\n"
    )


@pytest.mark.parametrize("query", ["VACUUM INTO '{}'", "ATTACH '{}' AS other"])
def test_no_other_file_is_written_either(file: Path, query: str) -> None:
    """A statement that reads this file and writes another is refused, too."""
    other = file.with_name("other.db")
    assert invoke("sql", query.format(other), db=file).exit_code == 2
    assert not other.exists()


@pytest.mark.parametrize(
    "query",
    [
        "PRAGMA table_info(runs)",
        "PRAGMA journal_mode",
        "SELECT name FROM pragma_table_info('runs')",
        "SELECT value FROM json_each('[1]')",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT 2 FROM c) SELECT x FROM c",
        "EXPLAIN QUERY PLAN SELECT * FROM runs",
    ],
)
def test_every_statement_that_only_reads_is_allowed(file: Path, query: str) -> None:
    """Pragmas that show something, functions that are tables, and plans of queries."""
    assert answer("sql", query, db=file)


def test_a_value_that_is_missing_is_asked_for(file: Path) -> None:
    """The hint names the option that binds it."""
    assert "Try: give its value with: -p NAME VALUE" in invoke("sql", "SELECT :x", db=file).stderr
