"""An exception as text, also one whose own code fails when it is printed."""

from __future__ import annotations

from types import TracebackType

from waxlocal.encode import own_text
from waxlocal.known_types import name_of_type
from waxlocal.signal_handlers import raised_by_handler

__all__ = ["formatted", "printed"]


def printed(error: BaseException) -> str:
    """Return the text of an exception, a placeholder if its `__str__` raises."""
    try:
        return own_text(error)
    except Exception as raised:  # from the program's own __str__
        if raised_by_handler(raised):
            raise
        return f"<unprintable {name_of_type(type(error))}>"


def formatted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> str:
    """Return the traceback as Python prints it, with the exceptions that caused this one.

    Where Python itself cannot print it, as without a file descriptor to load its sources with, it
    is the places in the code and the last line alone.
    """
    try:
        import traceback  # 3 ms, and most runs succeed

        return "".join(traceback.format_exception(kind, error, trace))
    except Exception as raised:  # also of a `__str__` of the program's, of any error in the chain
        if raised_by_handler(raised):
            raise
    return f"{_places(trace)}{name_of_type(kind)}: {printed(error)}"


def _places(trace: TracebackType | None) -> str:
    lines = []
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}\n')
        trace = trace.tb_next
    return "".join(("Traceback (most recent call last):\n", *lines)) if lines else ""
