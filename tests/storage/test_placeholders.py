"""Values reach SQL by name or in order, never by number."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_placeholder_has_a_number() -> None:
    """Python 3.12 deprecates `?1` with a sequence of values; `:name` with a mapping stays."""
    sources = [ROOT / "schema.sql"]
    for folder in (ROOT / "waxlocal", ROOT / "daemon"):
        sources += [*folder.rglob("*.py"), *folder.rglob("*.sql")]
    assert len(sources) > 100
    assert [path for path in sources if re.search(r"\?[0-9]", path.read_text())] == []
