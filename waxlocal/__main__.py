"""`python -m waxlocal` is the command `waxlocal`."""

from __future__ import annotations

from waxlocal.cli import main

if __name__ == "__main__":
    main()
