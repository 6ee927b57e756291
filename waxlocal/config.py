"""`waxlocal.config`, as programs import it; the module is `waxlocal.settings.config`."""

from __future__ import annotations

from waxlocal.settings.config import *  # noqa: F403
from waxlocal.settings.config import __all__ as __all__
