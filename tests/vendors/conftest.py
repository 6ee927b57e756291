"""One stand-in for each test."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.tools.patience import PATIENCE_S
from tests.vendors.server import VendorServer, vendor_server


@pytest.fixture
def vendors() -> Iterator[VendorServer]:
    """Return a stand-in that nothing was told."""
    with vendor_server() as server:
        yield server


@pytest.fixture
def http(vendors: VendorServer) -> Iterator[httpx.Client]:
    """Return a client of the stand-in."""
    with httpx.Client(base_url=vendors.url, timeout=PATIENCE_S, trust_env=False) as client:
        yield client
