"""Rows as CSV, read back as others read them."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from waxlocal.exports import as_csv

# Not those at which a formula begins: they get an apostrophe.
CELLS = st.text(st.sampled_from("ab ,\"'\n;|"), max_size=6).map("x".__add__)


@given(st.lists(st.tuples(CELLS, CELLS)))
def test_every_row_comes_back_with_its_line_breaks(rows: list[tuple[str, str]]) -> None:
    """However text is cut into lines, a row stays a row."""
    lines = as_csv(("a", "b"), ({"a": a, "b": b} for a, b in rows))
    text = "".join(f"{line}\n" for line in lines)
    assert [*csv.reader(io.StringIO(text, newline=""))] == [["a", "b"], *map(list, rows)]
