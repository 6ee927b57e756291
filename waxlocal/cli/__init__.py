"""The command line, `waxlocal`: one module per subcommand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from waxlocal.cli.app import cli

__all__ = ["cli", "main", "waxlocald"]


def main() -> NoReturn:
    """Run the command with the arguments of the process."""
    _run(sys.argv[1:])


def waxlocald() -> NoReturn:
    """Run the daemon: `waxlocald` is `waxlocal daemon run`."""
    _run(["daemon", "run", *sys.argv[1:]])


def _run(arguments: list[str]) -> NoReturn:
    try:
        from waxlocal.cli.app import cli
    except ModuleNotFoundError as error:
        from waxlocal.cli.missing import say_missing

        sys.exit(say_missing(error, "the command line"))
    cli.main(arguments)


def __getattr__(name: str) -> Any:
    # `waxlocal.cli` must import without click, so that the command can name the missing package.
    if name == "cli":
        from waxlocal.cli.app import cli

        return cli
    raise AttributeError(f"module 'waxlocal.cli' has no attribute {name!r}")
