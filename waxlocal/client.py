"""`waxlocal.client`, as programs import it; the module is `waxlocal.sdk.client`."""

from __future__ import annotations

from waxlocal.sdk.client import *  # noqa: F403
from waxlocal.sdk.client import __all__ as __all__
