"""The package of instrumentors: none is installed, calls are recorded where programs say so."""

from waxlocal.shim import collector as _collector
from waxlocal.shim import guard as _guard

__all__ = ["_collector", "_guard"]
