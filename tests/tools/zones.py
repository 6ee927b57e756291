"""The time zone of this process, for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["HAVANA", "NEW_YORK", "TOKYO", "UTC", "in_zone"]

# By their rules, not by their names: a small machine has no list of zones.
UTC = "UTC0"
TOKYO = "JST-9"
NEW_YORK = "EST5EDT,M3.2.0,M11.1.0"
HAVANA = "CST5CDT,M3.2.0/0,M11.1.0/1"  # no midnight on a day in March, two on one in November


@contextmanager
def in_zone(rules: str) -> Iterator[None]:
    """Let local time be that of a zone, in the form of `TZ`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", rules)
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()
