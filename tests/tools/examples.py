"""How thoroughly the tests look: a third of the examples is tried, in CI all of them."""

from __future__ import annotations

import os

__all__ = ["NOTHING_LEFT_OUT", "examples"]

# Read at the import: the settings of whoever runs the tests are hidden from them later.
NOTHING_LEFT_OUT = os.environ.get("WAXLOCAL_REQUIRE") == "all"


def examples(number: int) -> int:
    """Return how many examples of a property are tried, of the number that CI tries."""
    return number if NOTHING_LEFT_OUT else -(-number // 3)
