"""One item of what a run sends."""

from __future__ import annotations

from typing import NamedTuple

from waxlocal.wire.values import Json

__all__ = ["Item"]


class Item(NamedTuple):
    """One item of a stage.

    `position` is that of its record in the run; 0 for the span of the run itself, and below 0 for
    a run that it opened, which is not a record. Several items of a stage may come from one record.
    """

    position: int
    body: Json
