"""The command `waxlocal`, one module for each verb."""

from __future__ import annotations

from waxlocal.cli.app import cli, main, waxlocald

__all__ = ["cli", "main", "waxlocald"]
