"""Charts as shapes: where each stands, what it says, and the numbers behind it as a table.

Across, everything is in percent of the chart's width, so that a chart fits any screen while its
text keeps its size; down, it is in pixels. `templates/_charts.html` draws them as SVG. Parts are
told apart by pattern, dash or place, never by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "Bar",
    "Chart",
    "Line",
    "Mark",
    "Part",
    "Text",
    "bins",
    "columns",
    "histogram",
    "lines",
    "share",
    "sparkline",
    "stretch",
]

# Pixels for the labels below the columns, and for the one above them.
_FOOT, _HEAD = 18, 16
# A column takes this share of its place; the rest is the gap to the next.
_COLUMN = 0.8
# What is more than nothing shows at least as so many pixels.
_LEAST_PX = 1.5
# Labels below a chart: more would touch each other on a phone.
_LABELS = 4
# Characters from which on labels do not fit below each column; percent of the width from which on
# a label in the middle of its column could stick out.
_SHORT, _EDGE = 4, 8
# Up to so many columns have their number above them.
_COUNTED = 20
_LEAST_COLUMNS = 8


class Bar(NamedTuple):
    """A rectangle; `kind` is a class of the style sheet, `label` what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str
    href: str = ""


class Line(NamedTuple):
    """A line through points (percent, pixels); `kind` is a class that gives its dash."""

    points: tuple[tuple[float, float], ...]
    kind: str
    label: str


class Mark(NamedTuple):
    """A line from top to bottom with a name."""

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
    """A part of a stack or a line, as the legend names it."""

    kind: str
    name: str


@dataclass(frozen=True)
class Chart:
    """What is drawn, and the same said in words and numbers.

    `head` and `rows` are the table of its numbers, as text.
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

    @property
    def floor(self) -> int:
        """The height of the line that the columns stand on."""
        return self.height - _FOOT


def share(value: float | None, whole: float | None) -> float:
    """Return how much of the width a bar takes, in percent; a bit for what is more than nothing."""
    if not value or not whole or value <= 0 or whole <= 0:
        return 0.0
    return round(max(min(value / whole, 1.0) * 100, 0.8), 2)


def stretch(start: float, length: float, whole: float) -> tuple[float, float]:
    """Return place and width, in percent, of a stretch in a waterfall; inside it in any case."""
    if whole <= 0:
        return 0.0, 100.0
    place = min(max(start / whole, 0.0), 0.995)
    width = max(min(length / whole, 1.0 - place), 0.005)
    return round(place * 100, 2), round(width * 100, 2)


def sparkline(values: Sequence[float], height: float) -> tuple[tuple[float, float, float], ...]:
    """Return place (in bars from the left), top and height of each bar of a tiny chart."""
    most = max(values, default=0)
    tall = [_tall(value, most, height) for value in values]
    return tuple((number, round(height - one, 2), round(one, 2)) for number, one in enumerate(tall))


def _tall(value: float, most: float, height: float) -> float:
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
    """Return columns, each of one or several parts on top of each other.

    `values` holds the values of each column, in the order of `parts`; `rows` is the table, one row
    for each column, the text that it says when pointed at. A few columns of one part have their
    number above them: the second cell of their row.
    """
    most = max((sum(stack) for stack in values), default=0)
    # A few columns as wide as the page would say no more, only louder.
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
    """Yield the parts of a column, from the floor up."""
    place = 100 / places
    x, width = _two((number + (1 - _COLUMN) / 2) * place), _two(place * _COLUMN)
    top = floor
    for kind, tall in zip(kinds, heights, strict=True):
        top -= tall
        if tall:
            yield Bar(x, _two(max(top, 0)), width, _two(tall), kind, said, href)


def _said(head: Sequence[str], row: Sequence[str]) -> str:
    """Return what a part of a chart says when it is pointed at."""
    return ", ".join(f"{name}: {text}" for name, text in zip(head, row, strict=True))


def _two(number: float) -> float:
    return round(number, 2)


def _below(labels: Sequence[str], height: int, places: int = 0) -> tuple[Text, ...]:
    """Return some of the columns' labels, each below the middle of its column."""
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
    """Return a label that may be wider than its column; at the edges it must not stick out."""
    if middle < _EDGE:
        return Text(0.0, y, text, "start")
    if middle > 100 - _EDGE:
        return Text(100.0, y, text, "end")
    return Text(_two(middle), y, text, "middle")


@dataclass(frozen=True, slots=True)
class Bin:
    """How many values lie from `low` up to `high`; the last one holds all that is larger."""

    low: float
    high: float
    count: int


def bins(ordered: Sequence[float], upper: float, most: int = 24) -> list[Bin]:
    """Return sorted values counted in equal steps up to `upper`, the rest in one more."""
    if not ordered:
        return []
    step = _round_step(max(upper, ordered[0], 1e-9) / most)
    count = max(1, math.ceil(upper / step - 1e-9))
    counts = [0] * (count + 1)
    for value in ordered:
        counts[min(int(value / step + 1e-9), count)] += 1
    found = [Bin(number * step, (number + 1) * step, n) for number, n in enumerate(counts[:-1])]
    return [*found, Bin(count * step, math.inf, counts[-1])] if counts[-1] else found


def _round_step(least: float) -> float:
    """Return the next number of the kind 1, 2, 2.5, 5, 10 that is not smaller."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * 0.999)


def histogram(
    title: str,
    summary: str,
    found: Sequence[Bin],
    labels: Sequence[str],
    *,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    marks: Sequence[tuple[float, str]] = (),
    height: int = 176,
) -> Chart:
    """Return bins as columns without gaps, with values marked by lines that have names."""
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
            bars.append(Bar(x, _two(floor - tall), width, _two(tall), kind, said))
    drawn = []
    for row, (value, label) in enumerate(marks):
        x = _two(_across(value, found) * place)
        drawn.append(Mark(x, label, row * _HEAD + 11, "end" if x > 60 else "start"))
    return Chart(
        title,
        summary,
        height,
        tuple(head),
        tuple(map(tuple, rows)),
        bars=tuple(bars),
        marks=tuple(drawn),
        texts=_below(labels, height),
    )


def _across(value: float, found: Sequence[Bin]) -> float:
    """Return where a value lies, in bins from the left."""
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
    """Return one line for each named series over the same stretches; `top_label` is the largest."""
    most = max((value for _, values in series for value in values), default=0)
    room = height - _FOOT - _HEAD
    drawn, parts = [], []
    for number, (name, values) in enumerate(series):
        count = max(len(values) - 1, 1)
        points = [
            (_two(place / count * 100), _two(_HEAD + room - (value / most * room if most else 0)))
            for place, value in enumerate(values)
        ]
        if len(points) == 1:
            points.append((100.0, points[0][1]))
        drawn.append(Line(tuple(points), f"l{number % 6}", name))
        parts.append(Part(f"l{number % 6}", name))
    return Chart(
        title,
        summary,
        height,
        tuple(head),
        tuple(map(tuple, rows)),
        lines=tuple(drawn),
        texts=(*_below(labels, height), Text(0.0, 11, top_label, "start")),
        parts=tuple(parts),
    )
