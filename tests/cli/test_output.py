"""Tables in a pipe."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tools.cli import invoke, recorded
from waxlocal import escaping
from waxlocal.cli.output import Column, Screen

CELLS = st.text(max_size=12).map(escaping.line)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Column], list[list[str]]]:
    """Columns with a heading each, and rows of any words."""
    # Rich leaves out a heading whose characters take no place, which ours are not.
    heads = st.builds(Column, CELLS.filter(cell_len), right=st.booleans(), least=st.just(8))
    columns = draw(st.lists(heads, min_size=1, max_size=4))
    row = st.lists(CELLS, min_size=len(columns), max_size=len(columns))
    return columns, draw(st.lists(row, max_size=5))


@given(tables())
@example(([Column("🏻", right=True, least=8)], []))
def test_rows_in_a_pipe_stand_as_in_a_table(table: tuple[list[Column], list[list[str]]]) -> None:
    """Wide characters, too; but without Rich, which takes a minute for 300,000 rows."""
    columns, rows = table
    with redirect_stdout(io.StringIO()) as out:
        screen = Screen()
        screen.write_rows(columns, rows)
    assert screen.plain
    expected = screen.lines(screen.table(columns, rows))
    assert out.getvalue().rstrip("\n").split("\n") == expected


def test_a_name_of_a_megabyte_is_shown_by_its_beginning(tmp_path: Path) -> None:
    """The rows below it are not padded to its width; JSON has it whole."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as to:
        run = to.run("s")
        for model in ("m" * 1_000_000, "short"):
            to.llm(run, model=model, cost=1.7e308)
    for command in (("models",), ("session", "s"), ("show", "last")):
        done = invoke(*command, db=path)
        assert done.exit_code == 0
        assert "m" * 100 in done.stdout
    tables = [invoke(command, db=path).stdout for command in ("models", "runs", "sessions")]
    assert max(len(line) for table in tables for line in table.splitlines()) < 2_000
    assert "m" * 1_000_000 in invoke("models", "--json", db=path).stdout
