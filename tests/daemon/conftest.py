"""What the tests of the daemon share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture
def socket_path() -> Iterator[str]:
    """Yield a path for a socket: it may have 107 bytes, and the temporary folder may be deep."""
    with tempfile.TemporaryDirectory(prefix="waxlocal-", dir="/tmp") as place:
        yield f"{place}/notify"
