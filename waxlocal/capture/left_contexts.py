"""Keeps OpenTelemetry from printing a traceback for a captured span that ends in another context.

An async generator that is not read to its end is closed by the event loop, in a context of its own.
The span that is the current one inside it cannot be taken from the context it was put into, which
does no harm: that context is gone. OpenTelemetry logs it as an error all the same, and a program
that has no logging prints that.
"""

from __future__ import annotations

import logging
import sys

from waxlocal.capture.captured_span import captured

__all__ = ["say_nothing_of_ours"]


def say_nothing_of_ours() -> None:
    """Leave out what `opentelemetry.context` logs of captured spans; of the program's own, nothing.

    May be called again: a logger has a filter once.
    """
    logging.getLogger("opentelemetry.context").addFilter(_of_the_program)


def _of_the_program(_record: logging.LogRecord) -> bool:
    """Return whether a record is not of a captured span: of one that `use_span` takes away now."""
    frame = sys._getframe().f_back
    while frame is not None:
        if frame.f_code.co_name == "use_span":
            return captured(frame.f_locals.get("span")) is None
        frame = frame.f_back
    return True
