"""Tables and figures as Markdown, and the machine that they were measured on."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Samples
from waxlocal import __version__

__all__ = [
    "arguments",
    "directory",
    "figure",
    "latency_row",
    "machine",
    "note",
    "number",
    "progress",
    "table",
    "title",
]

LATENCY = ("p50 µs", "p99 µs", "p99.9 µs", "max µs", "mean µs")


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n## {text}\n", flush=True)


def note(text: str) -> None:
    """Print a paragraph."""
    print(f"\n{text}\n", flush=True)


def progress(text: str) -> None:
    """Say on stderr what is going on: some of it takes minutes."""
    print(f"... {text}", file=sys.stderr, flush=True)


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    if value != value or value in (float("inf"), float("-inf")):
        return "-"
    size = abs(value)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{decimals}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """Print a Markdown table; the first column is text, numbers are aligned to the right."""
    shown = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *shown, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for line in (header, rule, *shown):
        first, *rest = line
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print(f"| {' | '.join(cells)} |")
    sys.stdout.flush()


def latency_row(name: str, samples: Samples, *floors: Samples) -> list[str | float]:
    """Return a row of `LATENCY` columns, then the median as a multiple of each floor's."""
    p50 = samples.us(0.5)
    quantiles = [samples.us(quantile) for quantile in (0.5, 0.99, 0.999)]
    shares = [p50 / floor.us(0.5) for floor in floors]
    return [name, *quantiles, samples.max_us, samples.mean_us, *shares]


def figure(what: str, measured: float, bound: float, unit: str, *, at_least: bool = False) -> None:
    """Print what was measured beside what must be reached."""
    fine = measured >= bound if at_least else measured <= bound
    sign, verdict = "≥" if at_least else "≤", "ok" if fine else "OUT OF BOUNDS"
    reached = f"{number(measured)}{unit} (must be {sign} {number(bound)}{unit})"
    print(f"- {what}: {reached}: {verdict}")
    sys.stdout.flush()


def machine() -> str:
    """Return what kind of machine this is, and nothing that names it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, waxlocal {__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all programs here have."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "--dir",
        type=Path,
        help="where the files are written, on the disk to be measured; default: a temporary one",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: does it run?")
    return parser


@contextmanager
def directory(parent: Path | None) -> Iterator[Path]:
    """Give a fresh directory for files that are not kept."""
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="waxlocal-bench-", dir=parent) as made:
        yield Path(made)
