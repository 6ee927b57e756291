"""`waxlocal.decorators`, as programs import it; the module is `waxlocal.sdk.decorators`."""

from __future__ import annotations

from waxlocal.sdk.decorators import *  # noqa: F403
from waxlocal.sdk.decorators import __all__ as __all__
