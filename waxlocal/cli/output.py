"""What goes to stdout for people: rich text on a terminal, plain text in a pipe."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from waxlocal.cli import figures
from waxlocal.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "ACCENT",
    "DIM",
    "ERROR",
    "Column",
    "Screen",
    "cost_column",
    "status_style",
]

ACCENT = "cyan"
DIM = "dim"
ERROR = "red"
# A pipe has no width: nothing may be cut or broken there.
_UNBOUNDED = 1_000_000
# Lines longer than this are hard to read, however wide the window is.
_MAX_WIDTH = 160
# From this width on a table need not count its columns.
_ROOMY = 110
# Blanks between two columns.
_BETWEEN = 2
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)


def status_style(status: str) -> str:
    """Return the style of a status: only failures are red."""
    if status in ("error", "blocked"):
        return ERROR
    return {"running": ACCENT, "interrupted": "yellow"}.get(status, DIM)


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, how its cells stand, and how far it may shrink.

    Without `least` the column keeps all of its width: a figure that is cut says something else.
    """

    title: str
    right: bool = False
    least: int | None = None


class Priced(Protocol):
    """A row with a cost, and the share of its tokens that the cost is of."""

    @property
    def total_cost(self) -> float | None: ...
    @property
    def priced_share(self) -> float | None: ...


class Screen:
    """Writes to stdout as it is: a terminal, or something that wants plain text.

    Text comes in as `rich.text.Text`, so that nothing recorded is read as markup.
    """

    def __init__(self, now_ns: Callable[[], int] = SYSTEM_CLOCK.time_ns) -> None:
        from rich.console import Console

        console = Console(markup=False, emoji=False, highlight=False)
        self.plain = not console.is_terminal
        if os.environ.get("NO_COLOR"):
            console = Console(markup=False, emoji=False, highlight=False, color_system=None)
        console.width = _UNBOUNDED if self.plain else min(console.width, _MAX_WIDTH)
        self._console = console
        self._now_ns = now_ns
        self.ascii_only = console.options.ascii_only

    @property
    def width(self) -> int:
        """Columns for text and bars; in a pipe, where nothing is cut, those of bars."""
        return 80 if self.plain else self._console.width

    def when(self, stored: str | None) -> str:
        """Return a time: relative for a person at a terminal, as stored for a pipe."""
        return (stored or "") if self.plain else figures.ago(stored, self._now_ns())

    def text(self, *parts: str | tuple[str, str]) -> Text:
        """Return a text of parts, each plain or with a style."""
        from rich.text import Text

        return Text.assemble(*parts, overflow="fold")

    def facts(self, *parts: str) -> str:
        """Return facts beside each other, without the empty ones."""
        return (" | " if self.ascii_only else " · ").join(part for part in parts if part)

    def write(self, renderable: RenderableType) -> None:
        """Write something on lines of its own."""
        self.put(self.lines(renderable))

    def lines(self, renderable: RenderableType) -> list[str]:
        """Return the lines as they are to be written, styles and all."""
        with self._console.capture() as captured:
            self._console.print(renderable)
        text = captured.get()
        return (_TRAILING.sub("", text) if self.plain else text).rstrip("\n").split("\n")

    def put(self, lines: Iterable[str]) -> None:
        """Write finished lines."""
        sys.stdout.write("".join(f"{line}\n" for line in lines))

    def note(self, mark: str, text: str, style: str = "") -> None:
        """Write a paragraph behind a mark, its further lines below its first."""
        from rich.table import Table

        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(self.text((mark, DIM)), self.text((text, style)))
        self.write(grid)

    @property
    def roomy(self) -> bool:
        """Whether there is room for columns that can be done without."""
        return self.plain or self.width >= _ROOMY

    def gap(self) -> None:
        """Write an empty line."""
        sys.stdout.write("\n")

    def heading(self, title: str) -> None:
        """Write the title of a part."""
        self.gap()
        self.write(self.text((title, f"bold {ACCENT}")))

    def hairline(self) -> None:
        """Write a line across."""
        self.write(self.text((("-" if self.ascii_only else "─") * self.width, DIM)))

    def bar(self, value: float, whole: float, width: int) -> str:
        """Return a bar fit for this screen."""
        return figures.bar(value, whole, width, ascii_only=self.ascii_only)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> Table:
        """Return a table; the cells are text already made safe."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        cells = [[Text(one) if isinstance(one, str) else one for one in row] for row in rows]
        for cell in (cell for row in cells for cell in row):
            cell.overflow = None  # the column's holds
        table = Table(
            box=None if self.plain else box.SIMPLE_HEAD,
            show_edge=False,
            show_header=any(column.title for column in columns),
            pad_edge=False,
            padding=(0, 2, 0, 0) if self.plain else (0, 1, 0, 0),
            header_style="" if self.plain else DIM,
            border_style=DIM,
        )
        for column, width in zip(columns, self._widths(columns, cells), strict=True):
            table.add_column(
                Text(column.title),
                justify="right" if column.right else "left",
                no_wrap=True,
                overflow="ellipsis",
                width=width,
            )
        for row in cells:
            table.add_row(*row)
        return table

    def _widths(self, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> list[int]:
        """Return widths that fit the screen; the widest that may shrink pay for it."""
        widths = [
            max([len(column.title), *(_text_width(row[place]) for row in rows)])
            for place, column in enumerate(columns)
        ]
        over = sum(widths) + _BETWEEN * (len(widths) - 1) - self._console.width
        while over > 0:
            spare = [
                width - column.least if column.least is not None else 0
                for width, column in zip(widths, columns, strict=True)
            ]
            if max(spare) <= 0:
                break
            widths[spare.index(max(spare))] -= 1
            over -= 1
        return widths


def cost_column(screen: Screen, rows: Sequence[Priced]) -> tuple[Column, list[str]]:
    """Return the column of costs and its cells, in few characters where there is little room."""
    cells = [figures.cost(row.total_cost, row.priced_share) for row in rows]
    if screen.roomy:
        return Column("Cost", right=True), cells
    short = [cell.replace(" priced", "") for cell in cells]
    return Column("Cost" if short == cells else "Cost (priced)", right=True), short


def _text_width(text: Text) -> int:
    """Return the columns of the widest line: some characters take two, some none."""
    from rich.cells import cell_len

    return max(map(cell_len, text.plain.split("\n")))
