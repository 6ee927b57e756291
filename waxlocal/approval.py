"""`waxlocal.approval`, as programs import it; the module is `waxlocal.sdk.approval`."""

from __future__ import annotations

from waxlocal.sdk.approval import *  # noqa: F403
from waxlocal.sdk.approval import __all__ as __all__
