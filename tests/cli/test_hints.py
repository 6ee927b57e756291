"""A hint proposes commands that work on the file, and with the server, that the user chose."""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import click
import pytest

import waxlocal.cli
from tests.tools.cli import invoke, recorded
from waxlocal.cli.hints import DB_KEY, WITHOUT_FILE, as_typed
from waxlocal.cli.verbs import VERBS

WITH_FILE = [verb for verb in VERBS if verb not in WITHOUT_FILE]
PROPOSED = re.compile(rf"waxlocal (?:--db (\S+|'[^']*') )?(?:{'|'.join(WITH_FILE)})\b")
OTHER = "http://127.0.0.1:8"
SERVER = {"WAXELL_API_URL": "http://127.0.0.1:9", "WAXELL_API_KEY": "wax_sk_canary_2f8c"}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A file in a folder with a space in its name, with two sessions, one run parked."""
    path = tmp_path / "my files" / "site.db"
    path.parent.mkdir()
    with recorded(path) as file:
        file.run("sess_aa")
        file.llm(file.run("sess_ab"), model="nobody-knows-1", provider="")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO model_prices (model, provider, source, updated_at)"
            " VALUES ('nobody-knows-1', '', 'unknown', '2026-01-01T00:00:00.000000Z')"
        )
        connection.execute("INSERT INTO targets (target_id, url) VALUES (1, 'http://127.0.0.1:9')")
        connection.execute(
            "INSERT INTO deliveries (run_id, target_id, state, reason)"
            " SELECT run_id, 1, 'parked', '422: no' FROM runs LIMIT 1"
        )
    return path


def _files_of_proposed_commands(text: str) -> list[str]:
    """Return the file in each command that is proposed; an error may name a command, too."""
    text = "".join(line for line in text.splitlines(True) if not line.startswith("Error: "))
    return [shlex.split(one[1])[0] if one[1] else "" for one in PROPOSED.finditer(text)]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("session nothing", "waxlocal --db FILE sessions"),
        ("show nothing", "waxlocal --db FILE runs"),
        ("sessions --user nobody", "waxlocal --db FILE sessions"),
        ("stats --user nobody", "waxlocal --db FILE sessions"),
        ("models --since 2199-01-01", "waxlocal --db FILE models"),
        ("users", "waxlocal --db FILE run --user NAME app.py"),
        ("models", "waxlocal --db FILE prices list"),
        ("prices list", "waxlocal --db FILE prices set nobody-knows-1"),
        ("prices set m --input 1 --output 1", "waxlocal --db FILE models"),
        ("prices unset m", "waxlocal --db FILE prices list"),
        ("sync parked", "waxlocal --db FILE sync retry"),
        ("sync status", "waxlocal --db FILE sync parked"),
        ("sync retry nothing", "waxlocal --db FILE sync parked"),
        ("sync --patience 0", "waxlocal --db FILE daemon run"),
        (f"sync verify --api-url {OTHER}", f"waxlocal --db FILE sync --api-url {OTHER}"),
        (
            f"sync --patience 0 --api-url {OTHER} --allow-http",
            f"waxlocal --db FILE daemon run --api-url {OTHER} --allow-http",
        ),
        ("daemon status", "waxlocal --db FILE daemon install"),
    ],
)
def test_a_hint_repeats_the_file(db: Path, args: str, expected: str) -> None:
    """Before or after the command; quoted for a shell; and in every command that is proposed."""
    wanted = expected.replace("FILE", shlex.quote(str(db)))
    words = shlex.split(args)
    for line in (["--db", db, *words], [*words, "--db", db]):
        result = invoke(*line, HOME=str(db.parent), **SERVER)
        assert wanted in result.output
        assert set(_files_of_proposed_commands(result.output)) == {str(db)}


@pytest.mark.parametrize("args", ["models", "prices list", "sync status"])
def test_a_command_below_a_table_stands_in_one_line(db: Path, args: str) -> None:
    """To be copied, however narrow the terminal is."""
    narrow = {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "40"}
    lines = invoke(*args.split(), db=db, HOME=str(db.parent), **narrow).stdout.splitlines()
    (proposed,) = [line for line in lines if "waxlocal --db " in line]
    assert shlex.split(proposed.partition("waxlocal --db ")[2])[1] in VERBS


@pytest.mark.parametrize("args", ["sessions", "users", "stats", "models", "prices list", "sync"])
def test_a_hint_about_a_file_that_is_not_there_names_it(tmp_path: Path, args: str) -> None:
    """`waxlocal demo` alone would record into another file."""
    missing = tmp_path / "none.db"
    result = invoke(*args.split(), db=missing, **SERVER)
    assert result.exit_code == 5
    assert f"waxlocal --db {missing} demo" in result.stderr


def test_without_db_a_hint_is_as_it_is(tmp_path: Path) -> None:
    """A variable holds for the proposed command, too."""
    result = invoke("sessions", WAXLOCAL_DB=str(tmp_path / "none.db"))
    assert "or see samples: waxlocal demo\n" in result.stderr
    assert set(_files_of_proposed_commands(result.stderr)) == {""}


@pytest.mark.parametrize("verb", WITH_FILE)
def test_each_subcommand_in_a_hint_gets_the_file(verb: str) -> None:
    """Only a command to type: not the name of the package, nor a word that begins alike."""
    context = click.Context(click.Command("any"))
    context.meta[DB_KEY] = "a b.db"
    hint = f"pip install waxlocal, then: waxlocal {verb} x, or waxlocal {verb}er"
    with_it = f"pip install waxlocal, then: waxlocal --db 'a b.db' {verb} x, or waxlocal {verb}er"
    with context.scope():
        assert as_typed(hint) == with_it


@pytest.mark.parametrize("given", ["", "a b.db"])
def test_a_command_begins_with_the_path_where_the_PATH_does_not_lead_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """`.venv/bin/waxlocal` proposes what works from there; each command once, however often."""
    program = tmp_path / "waxlocal"
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program), "sessions"])
    context = click.Context(click.Command("any"))
    context.meta[DB_KEY] = given
    file = "--db 'a b.db' " if given else ""
    with context.scope():
        typed = as_typed("pip install waxlocal; waxlocal tail, or waxlocal schema: waxlocal --help")
        assert as_typed(typed) == typed
        assert typed == (
            f"pip install waxlocal; {program} {file}tail, or {program} schema: {program} --help"
        )
        monkeypatch.setenv("PATH", str(tmp_path))
        assert as_typed("waxlocal tail") == f"waxlocal {file}tail"
    assert f"Try: {program} sessions --help" in invoke("sessions", "--limit", "0", PATH="").stderr


def test_only_one_place_prints_hints() -> None:
    """What prints `Try:` itself would leave the file out."""
    folder = Path(waxlocal.cli.__file__).parent
    printing = {
        path.name for path in folder.glob("*.py") if "Try: " in path.read_text(encoding="utf-8")
    }
    # missing.py has no click: it says what to install.
    assert printing == {"hints.py", "missing.py"}
