"""The names of `waxell_observe`, answered by waxlocal.

The submodules that programs import are waxlocal's own modules under their original names, so that
classes are the same whichever way they were imported.
"""

import importlib
import sys

import waxlocal
from waxlocal import *  # noqa: F403 (whatever waxlocal offers)
from waxlocal import __version__, context  # noqa: F401

_MODULES = {
    "approval": "waxlocal.sdk.approval",
    "client": "waxlocal.sdk.client",
    "config": "waxlocal.settings.config",
    "context": "waxlocal.sdk.context",
    "decorator": "waxlocal.sdk.decorators",
    "errors": "waxlocal.errors",
    "instrumentors": "waxlocal.shim.instrumentors",
    "instrumentors._collector": "waxlocal.shim.collector",
    "instrumentors._guard": "waxlocal.shim.guard",
    "types": "waxlocal.sdk.types",
}
for _name, _module in _MODULES.items():
    sys.modules[f"waxell_observe.{_name}"] = importlib.import_module(_module)

# `import waxell_observe.client` finds the entry above and, unlike a real import, sets no attribute.
from waxlocal import errors  # noqa: E402, F401
from waxlocal.sdk import approval, client, types  # noqa: E402, F401
from waxlocal.sdk import decorators as decorator  # noqa: E402, F401
from waxlocal.settings import config  # noqa: E402, F401
from waxlocal.shim import instrumentors  # noqa: E402, F401

# Two functions go by a second name in the original, which its `__all__` does not list.
get_current_context = waxlocal.get_context
observed_input = waxlocal.input

__all__ = waxlocal.__all__
