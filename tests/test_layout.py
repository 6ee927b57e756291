"""The layout: SQL stands in the packages that speak it, and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import waxlocal

ROOT = Path(waxlocal.__file__).parents[1]
SPEAK_SQL = (
    "storage",
    "recording",
    "ingest",
    "delivery",
    "queries",
    "prices",
    "maintenance",
    "search",
)
STATEMENT = re.compile(
    r"\s*(SELECT\s|INSERT\s|UPDATE\s+\w+\s+SET|DELETE\s+FROM|WITH\s+\w+\s+AS|PRAGMA\s|BEGIN\s+IMMEDIATE"
    r"|CREATE\s+(TABLE|INDEX|TRIGGER|VIEW)|ALTER\s+TABLE|DROP\s|ATTACH\s)"
)


def _statements(module: Path) -> Iterator[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and STATEMENT.match(text):
            yield f"{module.relative_to(ROOT)}:{node.lineno}: {text.split()[:4]}"


def _modules() -> Iterator[Path]:
    yield from (ROOT / "waxlocal").rglob("*.py")
    yield from (ROOT / "daemon").rglob("*.py")


def test_sql_stands_only_in_the_packages_that_speak_it() -> None:
    """A question of another package is a function of one of these."""
    allowed = {("waxlocal", name) for name in SPEAK_SQL}
    others = (path for path in _modules() if path.relative_to(ROOT).parts[:2] not in allowed)
    assert [found for module in others for found in _statements(module)] == []


def test_the_search_for_sql_finds_it() -> None:
    """Each of the packages that may speak it does."""
    for name in SPEAK_SQL:
        assert any(
            any(True for _ in _statements(module))
            for module in (ROOT / "waxlocal" / name).rglob("*.py")
        ), name
