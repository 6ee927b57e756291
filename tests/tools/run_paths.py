"""What the path of a request says: the run and the stage that it belongs to."""

from __future__ import annotations

import re

from waxlocal.wire.paths import MEMORY_STAGES, OBSERVABILITY, OBSERVE, RUN_STAGES

__all__ = ["run_and_stage"]

_OF_RUN = re.compile(
    rf"{OBSERVE}/runs/([^/]*)/({'|'.join(RUN_STAGES)})/"
    rf"|{OBSERVABILITY}/runs/([^/]*)/memory/({'|'.join(MEMORY_STAGES)})/"
)


def run_and_stage(path: str) -> tuple[str, str] | None:
    """Return the run's id, as it is quoted, and the stage of such a path; None for any other.

    The id is empty where the start of a program's run had failed: the original SDK goes on so.
    """
    found = _OF_RUN.fullmatch(path)
    return None if found is None else (found[1] or found[3] or "", found[2] or found[4])
