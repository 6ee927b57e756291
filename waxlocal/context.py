"""`waxlocal.context`, as programs import it; the module is `waxlocal.sdk.context`."""

from __future__ import annotations

from waxlocal.sdk.context import *  # noqa: F403
from waxlocal.sdk.context import __all__ as __all__
