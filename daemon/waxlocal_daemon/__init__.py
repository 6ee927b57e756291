"""Delivers what waxlocal has recorded: the uploader, and the daemon around it."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the daemon: `waxlocald` is `waxlocal daemon run`."""
    import sys

    from waxlocal.cli import cli

    cli.main(["daemon", "run", *sys.argv[1:]])
