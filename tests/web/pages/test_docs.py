"""What is said of the dashboard holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from waxlocal.web.api.parameters import FILTERS, RUN_FILTERS
from waxlocal.web.pages import ROUTES

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "dashboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [one.path for one in ROUTES if isinstance(one, Route)])
def test_every_address_is_documented(path: str) -> None:
    """Pages, fragments, files."""
    assert f"`{path}" in TEXT


@pytest.mark.parametrize("name", sorted({*FILTERS, *RUN_FILTERS}))
def test_every_filter_is_documented(name: str) -> None:
    """By its name in the address."""
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", ["sessions", "session", "run", "analytics", "sync"])
def test_every_page_has_its_picture(name: str) -> None:
    """Of no more than 200 kB, shown in the text."""
    picture = DOCS / "images" / f"{name}.png"
    assert picture.stat().st_size <= 200_000
    assert re.search(rf"!\[[^\]]+\]\(images/{name}\.png\)", TEXT)
