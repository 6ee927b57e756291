"""Output for people: styled text on a terminal, plain text in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waxlocal.cli import figures
from waxlocal.clock import SYSTEM_CLOCK
from waxlocal.records import RunStatus
from waxlocal.wording import Costed

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
# A pipe has no width: never cut or wrap a line there.
_UNBOUNDED = 1_000_000
# Lines longer than this are hard to read, however wide the window is.
_MAX_WIDTH = 160
# From this width on, tables show their optional columns.
_ROOMY = 110
# A longer name is shown by its beginning, or each row would be as long; JSON has it whole.
_LONGEST_CELL = 1_000
# Spaces between two columns.
_BETWEEN = 2


def status_style(status: str) -> str:
    """Return the style of a status: only failures are red."""
    if status in (RunStatus.ERROR, RunStatus.BLOCKED):
        return ERROR
    return {RunStatus.RUNNING: ACCENT, RunStatus.INTERRUPTED: "yellow"}.get(status, DIM)


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, its alignment, and how far it may shrink.

    Without `least` the column keeps its width: a truncated number would be a wrong number.
    """

    title: str
    right: bool = False
    least: int | None = None


class Screen:
    """Writes to stdout: styled on a terminal, plain elsewhere.

    Takes `rich.text.Text`, not strings, so that recorded text is never read as markup.
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
        """The width in characters; in a pipe only bars use it, since text is never cut there."""
        return 80 if self.plain else self._console.width

    def when(self, stored: str | None) -> str:
        """Return a time: relative on a terminal, as stored in a pipe."""
        return (stored or "") if self.plain else figures.ago(stored, self._now_ns())

    def text(self, *parts: str | tuple[str, str]) -> Text:
        """Return one text from parts, each a string or a pair of string and style."""
        from rich.text import Text

        return Text.assemble(*parts, overflow="fold")

    def facts(self, *parts: str) -> str:
        """Return the non-empty parts joined by a separator."""
        return (" | " if self.ascii_only else " · ").join(part for part in parts if part)

    def write(self, renderable: RenderableType) -> None:
        """Write a renderable on its own lines."""
        self.put(self.lines(renderable))

    def lines(self, renderable: RenderableType) -> list[str]:
        """Return the rendered lines, with styles."""
        with self._console.capture() as captured:
            self._console.print(renderable)
        text = captured.get()
        if self.plain:  # no pattern: within a long line it would look at each run of spaces anew
            text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
        return text.rstrip("\n").split("\n")

    def put(self, lines: Iterable[str]) -> None:
        """Write rendered lines."""
        sys.stdout.write("".join(f"{line}\n" for line in lines))

    def command(self, command: str) -> None:
        """Write a command in one line, to be copied, however narrow the screen is."""
        self.put([f"  {command}"])

    def note(self, mark: str, text: str, style: str = "") -> None:
        """Write a paragraph after a mark, with a hanging indent."""
        from rich.table import Table

        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(self.text((mark, DIM)), self.text((text, style)))
        self.write(grid)

    @property
    def roomy(self) -> bool:
        """Whether there is room for optional columns."""
        return self.plain or self.width >= _ROOMY

    def gap(self) -> None:
        """Write an empty line."""
        sys.stdout.write("\n")

    def heading(self, title: str) -> None:
        """Write a section title."""
        self.gap()
        self.write(self.text((title, f"bold {ACCENT}")))

    def hairline(self) -> None:
        """Write a horizontal rule."""
        self.write(self.text((("-" if self.ascii_only else "─") * self.width, DIM)))

    def bar(self, value: float, whole: float, width: int) -> str:
        """Return a bar in characters that this screen can show."""
        return figures.bar(value, whole, width, ascii_only=self.ascii_only)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> Table:
        """Return a table; the cells must be escaped already."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        cells = [[Text(one) if isinstance(one, str) else one for one in row] for row in rows]
        for cell in (cell for row in cells for cell in row):
            cell.truncate(_LONGEST_CELL, overflow="ellipsis")
            cell.overflow = None  # the column's setting applies
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

    def write_rows(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Write a table of any number of rows; the cells must be escaped already, each one line.

        As `table` does it, but in a pipe by our own hand: Rich takes 0.1 to 0.3 ms for each row,
        and says nothing before the last.
        """
        if not self.plain:
            self.write(self.table(columns, rows))
            return
        lines = ([column.title for column in columns], *(list(map(_shown, row)) for row in rows))
        places = range(len(columns))
        # Rich leaves a place to a column whose characters have none: a combining one alone.
        widths = [max(1, *(_cell_width(line[place]) for line in lines)) for place in places]
        for line in lines:
            cells = map(_padded, line, widths, (column.right for column in columns))
            sys.stdout.write(f"{(' ' * _BETWEEN).join(cells).rstrip(' ')}\n")

    def _widths(self, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> list[int]:
        """Return widths that fit the screen; the columns with most to spare shrink first."""
        most = self._console.width
        widths = [
            min(most, max([_cell_width(column.title), *(_text_width(row[place]) for row in rows)]))
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


def cost_column(screen: Screen, rows: Sequence[Costed]) -> tuple[Column, list[str]]:
    """Return the cost column and its cells, in a short form on a narrow screen."""
    cells = [figures.cost_of(row) for row in rows]
    if screen.roomy:
        return Column("Cost", right=True), cells
    short = [cell.replace(" priced", "") for cell in cells]
    return Column("Cost" if short == cells else "Cost (priced)", right=True), short


def _shown(cell: str) -> str:
    return cell if len(cell) <= _LONGEST_CELL else f"{cell[: _LONGEST_CELL - 1]}…"


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _cell_width(cell))
    return space + cell if right else cell + space


def _cell_width(cell: str) -> int:
    if cell.isascii():
        return len(cell)
    from rich.cells import cell_len

    return cell_len(cell)


def _text_width(text: Text) -> int:
    """Return the width of the widest line in cells: a character may take two, or none."""
    return max(map(_cell_width, text.plain.split("\n")))
