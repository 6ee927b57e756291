"""Compute charts as shapes, labels and a table of the numbers behind them.

Horizontal positions are percent of the chart's width, so that a chart fits any screen while its
text keeps its size; vertical positions are pixels. `templates/_charts.html` draws them as SVG.
Parts differ in pattern, dash or place, never in color alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from waxlocal.queries.histogram import Bin, drawn

__all__ = [
    "Bar",
    "Chart",
    "Line",
    "Mark",
    "Part",
    "Text",
    "columns",
    "histogram",
    "lines",
    "share",
    "sparkline",
    "stretch",
]

# Pixels for the labels below the columns, and for the one above them.
_FOOT, _HEAD = 18, 16
# The share of its slot that a column fills; the rest is the gap to the next one.
_COLUMN = 0.8
# The minimum height in pixels of a value above zero.
_LEAST_PX = 1.5
# The maximum number of labels below a chart: more would overlap on a phone.
_LABELS = 4
# Labels of this many characters or more do not fit below each column. Within this percentage of
# the edge, a centered label could overflow.
_SHORT, _EDGE = 4, 8
# A chart with up to this many columns shows a number above each.
_COUNTED = 20
_LEAST_COLUMNS = 8


class Bar(NamedTuple):
    """A rectangle; `kind` is a class of the style sheet, `label` is its tooltip."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str
    href: str = ""


class Line(NamedTuple):
    """A line through points (percent, pixels); `kind` is a class that sets its dash."""

    points: tuple[tuple[float, float], ...]
    kind: str
    label: str


class Mark(NamedTuple):
    """A vertical line with a label."""

    x: float
    label: str
    row: int
    anchor: str


class Text(NamedTuple):
    """A label; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str


class Part(NamedTuple):
    """A legend entry: a part of a stack, or a line."""

    kind: str
    name: str


@dataclass(frozen=True)
class Chart:
    """A chart: its shapes, its summary, and its numbers.

    `head` and `rows` are the table of the numbers, as text.
    """

    title: str
    summary: str
    height: int
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    texts: tuple[Text, ...] = ()
    parts: tuple[Part, ...] = ()
    # Where each row leads, in the table and as a column; none or one for each row.
    hrefs: tuple[str, ...] = ()

    @property
    def columns(self) -> Iterator[tuple[str, str, list[Bar]]]:
        """Yield what lead to one place together: the address, the words, the bars."""
        for (href, label), bars in groupby(self.bars, attrgetter("href", "label")):
            yield href, label, list(bars)

    @property
    def floor(self) -> int:
        """The vertical position of the baseline."""
        return self.height - _FOOT


def share(value: float | None, whole: float | None) -> float:
    """Return the width of a bar in percent; a value above zero gets at least a sliver."""
    if not value or not whole or value <= 0 or whole <= 0:
        return 0.0
    return round(max(min(value / whole, 1.0) * 100, 0.8), 2)


def stretch(start: float, length: float, whole: float) -> tuple[float, float]:
    """Return position and width, in percent, of an interval on a time axis, clipped to it."""
    if whole <= 0:
        return 0.0, 100.0
    place = min(max(start / whole, 0.0), 0.995)
    width = max(min(length / whole, 1.0 - place), 0.005)
    return round(place * 100, 2), round(width * 100, 2)


def sparkline(values: Sequence[float], height: float) -> tuple[tuple[float, float, float], ...]:
    """Return position (in bars from the left), top and height of each bar of a sparkline."""
    most = max(values, default=0)
    tall = [_tall(value, most, height) for value in values]
    return tuple((number, round(height - one, 2), round(one, 2)) for number, one in enumerate(tall))


def _tall(value: float, most: float, height: float) -> float:
    value, most = drawn(value), drawn(most)
    return max(value / most * height, _LEAST_PX) if value > 0 and most > 0 else 0.0


def columns(
    title: str,
    summary: str,
    labels: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    parts: Sequence[Part],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    hrefs: Sequence[str] = (),
    height: int = 132,
) -> Chart:
    """Return a column chart; each column is a stack of one or more parts.

    `values` holds the values of each column, in the order of `parts`. `rows` is the table, one row
    per column, also used for tooltips. A chart with few columns of one part shows a number above
    each column: the second cell of its row.
    """
    most = max((sum(stack) for stack in values), default=0)
    # Do not stretch a few columns over the whole width.
    places = max(len(values), _LEAST_COLUMNS)
    counted = len(values) <= _COUNTED and len(parts) == 1
    floor = height - _FOOT
    room = floor - (_HEAD if counted else 0)
    bars: list[Bar] = []
    texts = list(_below(labels, height, places))
    for number, stack in enumerate(values):
        said = _said(head, rows[number])
        href = hrefs[number] if hrefs else ""
        heights = [_tall(value, most, room) for value in stack]
        bars += _stacked(number, places, floor, heights, [part.kind for part in parts], said, href)
        if counted and heights[0]:
            x, y = (number + 0.5) / places * 100, floor - heights[0] - 4
            texts.append(Text(_two(x), _two(y), rows[number][1], "middle"))
    return Chart(
        title,
        summary,
        height,
        tuple(head),
        tuple(map(tuple, rows)),
        bars=tuple(bars),
        texts=tuple(texts),
        parts=tuple(parts) if len(parts) > 1 else (),
        hrefs=tuple(hrefs),
    )


def _stacked(
    number: int,
    places: int,
    floor: float,
    heights: Sequence[float],
    kinds: Sequence[str],
    said: str,
    href: str,
) -> Iterator[Bar]:
    """Yield the parts of a column, from the bottom up."""
    place = 100 / places
    x, width = _two((number + (1 - _COLUMN) / 2) * place), _two(place * _COLUMN)
    top = floor
    for kind, tall in zip(kinds, heights, strict=True):
        top -= tall
        if tall:
            yield Bar(x, _two(max(top, 0)), width, _two(tall), kind, said, href)


def _said(head: Sequence[str], row: Sequence[str]) -> str:
    """Return the tooltip for a row of the table."""
    return ", ".join(f"{name}: {text}" for name, text in zip(head, row, strict=True))


def _two(number: float) -> float:
    return round(number, 2)


def _below(labels: Sequence[str], height: int, places: int = 0) -> tuple[Text, ...]:
    """Return labels for some of the columns, each centered below its column."""
    places = places or len(labels)
    if len(labels) <= _COUNTED and max(map(len, labels), default=0) < _SHORT:
        chosen = range(0, len(labels), math.ceil(len(labels) / 12) or 1)
        return tuple(
            Text(_two((n + 0.5) / places * 100), height - 4, labels[n], "middle") for n in chosen
        )
    last = len(labels) - 1
    some = sorted({round(n * last / (_LABELS - 1)) for n in range(_LABELS)})
    return tuple(_long_label(labels[n], (n + 0.5) / places * 100, height - 4) for n in some)


def _long_label(text: str, middle: float, y: float) -> Text:
    """Return a label that may be wider than its column but does not overflow at the edges."""
    if middle < _EDGE:
        return Text(0.0, y, text, "start")
    if middle > 100 - _EDGE:
        return Text(100.0, y, text, "end")
    return Text(_two(middle), y, text, "middle")


def histogram(
    title: str,
    summary: str,
    found: Sequence[Bin],
    labels: Sequence[str],
    *,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    hrefs: Sequence[str] = (),
    marks: Sequence[tuple[float, str]] = (),
    height: int = 176,
) -> Chart:
    """Return a histogram of bins, with labeled lines at marked values."""
    floor = height - _FOOT
    room, place = floor - _HEAD * len(marks), 100 / max(len(found), 1)
    most = max((one.count for one in found), default=0)
    bars = []
    for number, one in enumerate(found):
        tall = _tall(one.count, most, room)
        if tall:
            x, width = _two((number + 0.04) * place), _two(place * 0.92)
            kind = "p1" if math.isfinite(one.high) else "p3"
            said = _said(head, rows[number])
            href = hrefs[number] if hrefs else ""
            bars.append(Bar(x, _two(floor - tall), width, _two(tall), kind, said, href))
    placed = []
    for row, (value, label) in enumerate(marks):
        x = _two(_across(value, found) * place)
        placed.append(Mark(x, label, row * _HEAD + 11, "end" if x > 60 else "start"))
    return Chart(
        title,
        summary,
        height,
        tuple(head),
        tuple(map(tuple, rows)),
        bars=tuple(bars),
        marks=tuple(placed),
        texts=_below(labels, height),
        hrefs=tuple(hrefs),
    )


def _across(value: float, found: Sequence[Bin]) -> float:
    """Return the position of a value, in bins from the left."""
    for number, one in enumerate(found):
        if value < one.high:
            width = one.high - one.low
            return number + ((value - one.low) / width if math.isfinite(width) else 0.5)
    return float(len(found))


def lines(
    title: str,
    summary: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    top_label: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    height: int = 176,
) -> Chart:
    """Return a line chart, one line per named series; `top_label` labels the largest value."""
    most = max((drawn(value) for _, values in series for value in values), default=0)
    room = height - _FOOT - _HEAD
    found, parts = [], []
    for number, (name, values) in enumerate(series):
        count = max(len(values) - 1, 1)
        points = [
            (_two(place / count * 100), _two(_HEAD + room - (value / most * room if most else 0)))
            for place, value in enumerate(map(drawn, values))
        ]
        if len(points) == 1:
            points.append((100.0, points[0][1]))
        found.append(Line(tuple(points), f"l{number % 6}", name))
        parts.append(Part(f"l{number % 6}", name))
    return Chart(
        title,
        summary,
        height,
        tuple(head),
        tuple(map(tuple, rows)),
        lines=tuple(found),
        texts=(*_below(labels, height), Text(0.0, 11, top_label, "start")),
        parts=tuple(parts),
    )
