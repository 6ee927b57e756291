"""`waxlocal.types`, as programs import it; the module is `waxlocal.sdk.types`."""

from __future__ import annotations

from waxlocal.sdk.types import *  # noqa: F403
from waxlocal.sdk.types import __all__ as __all__
